"""``certctl agents`` and ``certctl targets`` against a real server (spec 01 §13, 07 §3)."""

from __future__ import annotations

from typing import Any

import pytest

from certctl_core.testing.factories import make_csr
from tests.frontends.cli.conftest import Run
from tests.frontends.client.live import Live


@pytest.fixture
def agent(live: Live, request: pytest.FixtureRequest) -> str:
    """The id of an agent of this test's own."""
    name = request.node.originalname
    with live.client() as client:
        made: dict[str, Any] = client.call("agents.create", body={"name": name, "hostname": "h"})
    return str(made["id"])


@pytest.fixture
def target(certctl: Run, agent: str) -> str:
    """The id of a target of that agent."""
    result = certctl(
        "targets", "create", "web", "--kind", "nginx", "--agent", agent,
        "--set", "cert_path=/etc/nginx/tls/cert.pem", "--set", "key_path=/etc/nginx/tls/key.pem",
        "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    return str(result.json["id"])


def test_a_token_is_made_shown_once_and_revoked(certctl: Run) -> None:
    made = certctl(
        "agents", "token", "create", "rack 1", "--expires-in", "2h", "--uses", "3",
        "--agent-label", "rack=1", "--json",
    ).json  # fmt: skip
    value = certctl("agents", "token", "create", "rack 2").out.strip()

    assert made["max_uses"] == 3
    assert made["agent_labels"] == {"rack": "1"}
    assert value.startswith("ctl_enrl_")
    listed = certctl("agents", "token", "list", "--all")
    assert "0/3" in listed.out
    assert value not in listed.out
    assert certctl("agents", "token", "revoke", made["id"], "-y").code == 0
    assert made["id"] not in certctl("agents", "token", "list", "--all").out


def test_a_label_needs_a_value(bare: Run) -> None:
    result = bare("agents", "token", "create", "x", "--agent-label", "rack")

    assert result.code == 2
    assert "KEY=VALUE" in result.err


def test_agents_are_listed_shown_and_retired(certctl: Run, agent: str) -> None:
    assert agent in certctl("agents", "list", "--all").out
    assert agent in certctl("agents", "show", agent).out
    retired = certctl("agents", "retire", agent, "-y")
    again = certctl("agents", "retire", agent, "-y")

    assert retired.code == 0, retired.err
    assert "before" in again.out
    assert agent not in certctl("agents", "list", "--all").out
    assert agent in certctl("agents", "list", "--retired", "--all").out


def test_an_agent_with_targets_is_retired_by_force_only(
    certctl: Run, agent: str, target: str
) -> None:
    blocked = certctl("agents", "retire", agent, "-y")
    forced = certctl("agents", "retire", agent, "-y", "--force", "--reason", "gone", "--json")

    assert blocked.code == 1
    assert '"active_targets": 1' in blocked.err
    assert forced.json["counts"]["active_targets"] == 1
    assert target not in certctl("targets", "list", "--all").out
    assert target in certctl("targets", "list", "--all", "--retired").out


def test_targets_are_linked_listed_and_unlinked(certctl: Run, live: Live, target: str) -> None:
    with live.client() as client:
        client.certificates.create(common_name="linked.example.test")
    name = "linked.example.test"
    linked = certctl("targets", "link", name, target, "--manual")
    rows = certctl("targets", "list", "--certificate", name, "--json").json["data"]

    assert linked.code == 0, linked.err
    assert [(row["id"], row["auto_deploy"]) for row in rows] == [(target, False)]
    assert certctl("targets", "unlink", name, target, "-y").code == 0
    assert certctl("targets", "list", "--certificate", name, "--json").json["data"] == []
    assert certctl("targets", "unlink", name, target).code == 2
    assert certctl("targets", "list", "--certificate", name, "--kind", "nginx").code == 2


def test_a_certificate_says_who_renews_it(certctl: Run, live: Live, target: str) -> None:
    name = "renewed.example.test"
    with live.client() as client:
        client.certificates.create(common_name=name, csr_pem=make_csr(name))

    alone = certctl("certificates", "show", name).out
    certctl("targets", "link", name, target, "--manual")
    linked = certctl("certificates", "show", name).out

    assert "by hand: no agent holds the key" in alone
    assert "Next renewal:" not in alone
    assert "by agents" in linked


def test_a_target_is_shown_and_tested(certctl: Run, target: str) -> None:
    shown = certctl("targets", "show", target)
    started = certctl("targets", "test", target, "--json").json
    waited = certctl("jobs", "show", started["job_id"], "--wait", "--wait-timeout", "0")

    assert "cert_path=/etc/nginx/tls/cert.pem" in shown.out
    assert waited.code == 5
    assert started["job_id"] in waited.err
    assert certctl("jobs", "cancel", started["job_id"], "-y").code == 0
    ended = certctl("jobs", "show", started["job_id"], "--wait")
    assert ended.code == 1
    assert "Cancelled" in ended.err


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [(("--config", "-"), "[1]"), (("--config", "-"), "{"), (("--set", "nothing"), "")],
    ids=["a_list", "broken", "no_value"],
)
def test_a_configuration_that_is_none_is_a_usage_error(
    bare: Run, arguments: tuple[str, ...], stdin: str
) -> None:
    result = bare(
        "targets", "create", "x", "--kind", "nginx", "--agent", "ag-1", *arguments, stdin=stdin
    )

    assert result.code == 2
