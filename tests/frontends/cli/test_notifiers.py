"""``certctl notifiers`` and ``notification-routes``: made, changed, tested, deleted (06 §7, §8)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.core.notifications.conftest import Receiver, receiver, receiver_of
from tests.frontends.cli.conftest import Run
from tests.frontends.client.live import Live, live_installation

__all__ = ["receiver", "receiver_of"]

SECRET = "whsec_" + "QUJD" * 11


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """An installation that may connect to receivers on this machine."""
    folder = tmp_path_factory.mktemp("live")
    with live_installation(folder, outbound_allow="127.0.0.1") as found:
        yield found


@pytest.mark.spec("06/WH-1", "06/WH-4")
def test_a_notifier_is_made_tested_changed_and_deleted(certctl: Run, receiver: Receiver) -> None:
    url = json.dumps(receiver.url)
    made = certctl(
        "notifiers", "create", "Operators", "--kind", "webhook", "--id", "nfr-operators",
        "--set", f"url={url}", "--test", "--json",
    )  # fmt: skip
    assert made.code == 0, made.err
    secret = made.json["generated_secrets"]["secret"]
    assert receiver.received == []

    reached = certctl("notifiers", "test", "nfr-operators")
    assert (reached.code, "HTTP status 204" in reached.out, receiver.received) == (0, True, [])

    sent = certctl("notifiers", "test", "nfr-operators", "--send", "--json")
    assert (sent.code, sent.json["ok"]) == (0, True)
    (message,) = receiver.received
    assert message.json()["test"] is True
    assert message.is_signed_with(secret)

    changed = certctl(
        "notifiers", "change", "nfr-operators", "--name", "Night shift", "--set",
        "format=cloudevents", "--json",
    )  # fmt: skip
    assert changed.code == 0, changed.err
    assert certctl("notifiers", "test", "nfr-operators", "--send").code == 0
    assert receiver.received[1].json()["specversion"] == "1.0"
    assert receiver.received[1].is_signed_with(secret)

    shown = certctl("notifiers", "show", "nfr-operators", "--json")
    assert (shown.json["name"], shown.json["health"]) == ("Night shift", "healthy")
    assert shown.json["config"]["secret"]["set"] is True
    for answer in (changed, shown, certctl("notifiers", "list", "--json")):
        assert secret not in answer.out
    assert certctl("notifiers", "delete", "nfr-operators", "-y", "--json").json == {
        "status": "deleted",
        "id": "nfr-operators",
    }
    assert certctl("notifiers", "show", "nfr-operators").code == 3


def test_the_secret_that_was_made_is_printed_once(certctl: Run, receiver: Receiver) -> None:
    made = certctl(
        "notifiers", "create", "Once", "--kind", "webhook", "--set", f"url={receiver.url}"
    )

    assert made.code == 0, made.err
    assert "Secrets, shown this once: secret=whsec_" in " ".join(made.out.split())
    (row,) = certctl("notifiers", "list", "-q", "Once", "--json").json["data"]
    assert "whsec_" not in certctl("notifiers", "show", row["id"]).out


def test_a_receiver_that_refuses_ends_the_test_with_1(certctl: Run, receiver: Receiver) -> None:
    config = json.dumps({"url": receiver.url, "secret": SECRET})
    made = certctl(
        "notifiers",
        "create",
        "Broken",
        "--kind",
        "webhook",
        "--config",
        "-",
        "--json",
        stdin=config,
    ).json
    receiver.status = 500

    result = certctl("notifiers", "test", made["id"], "--send")

    assert result.code == 1
    assert "500" in result.out
    assert certctl("notifiers", "show", made["id"], "--json").json["health"] == "failing"
    listed = certctl("notifiers", "list", "--health", "failing", "--kind", "webhook")
    assert made["id"] in listed.out
    assert "No notifiers match" in certctl("notifiers", "list", "--health", "degraded").err


def test_what_is_wrong_is_named(certctl: Run, receiver: Receiver) -> None:
    kind = certctl("notifiers", "create", "Wrong", "--kind", "pigeon", "--set", "url=x")
    member = certctl("notifiers", "create", "Wrong", "--kind", "webhook", "--set", "colour=red")
    down = certctl(
        "notifiers",
        "create",
        "x",
        "--kind",
        "webhook",
        "--set",
        "url=http://127.0.0.1:1/",
        "--test",
    )

    assert (kind.code, "'pigeon'" in kind.err) == (1, True)
    assert (member.code, "config.colour" in member.err) == (1, True)
    assert (down.code, "nothing was saved" in down.err) == (1, True)
    assert certctl("notifiers", "list", "-q", "Wrong", "--json").json["total"] == 0


def test_a_route_is_made_changed_looked_at_and_deleted(certctl: Run, receiver: Receiver) -> None:
    hook = certctl(
        "notifiers", "create", "Pager", "--kind", "webhook", "--id", "nfr-pager", "--set",
        f"url={receiver.url}",
    )  # fmt: skip
    assert hook.code == 0, hook.err

    made = certctl(
        "notification-routes", "create", "Revocations", "--id", "nr-revoked",
        "--set", 'match={"events": ["certificate.revoked"]}', "--set", 'notifiers=["nfr-pager"]',
        "--set", "continue=false", "--json",
    )  # fmt: skip
    changed = certctl(
        "notification-routes", "change", "nr-revoked", "--set", "priority=5", "--json"
    )

    assert made.code == 0, made.err
    assert (changed.json["priority"], changed.json["version"]) == (5, 2)
    assert changed.json["match"] == made.json["match"]
    shown = certctl("notification-routes", "show", "nr-revoked")
    said = " ".join(shown.out.split())
    assert "Events: certificate.revoked Severities: all Notifiers: nfr-pager Goes on: no" in said
    first = certctl("notification-routes", "list").out.splitlines()[1]
    assert first.startswith("nr-revoked")

    told = certctl("notification-routes", "preview", "certificate.revoked", "--json", role="viewer")
    assert [item["route_id"] for item in told.json["notifiers"]] == ["nr-revoked"]
    nobody = certctl("notification-routes", "preview", "certificate.issued")
    assert (nobody.code, "Nobody would be told" in nobody.err) == (0, True)

    in_use = certctl("notifiers", "delete", "nfr-pager", "-y")
    assert (in_use.code, "in use" in in_use.err) == (1, True)
    assert certctl("notification-routes", "delete", "nr-revoked", "-y").code == 0
    assert certctl("notifiers", "delete", "nfr-pager", "-y", "--force").code == 0


def test_what_one_route_prints_another_is_made_from(certctl: Run) -> None:
    shown = certctl("notification-routes", "show", "nr-default", "--json")

    copied = certctl(
        "notification-routes", "create", "Copy", "--file", "-", "--json", stdin=shown.out
    )

    assert copied.code == 0, copied.err
    assert copied.json["match"] == shown.json["match"]
    assert copied.json["id"] != "nr-default"


def test_a_route_to_nowhere_is_refused(certctl: Run) -> None:
    result = certctl(
        "notification-routes", "create", "x", "--set", 'notifiers=["nfr-none"]', "--set",
        'match={"events": ["certificate.sold"]}',
    )  # fmt: skip

    assert result.code == 1
    assert "nfr-none" in result.err
    assert "certificate.sold" in result.err


@pytest.mark.parametrize("kind", ["notifiers", "notification-routes"])
def test_who_only_reads_changes_nothing(certctl: Run, kind: str) -> None:
    assert certctl(kind, "list", role="viewer").code == 0
    refused = certctl(kind, "delete", "nr-default", "-y", role="viewer")
    assert (refused.code, "permission" in refused.err) == (4, True)
    nothing = certctl(kind, "change", "x")
    assert (nothing.code, "--set" in nothing.err) == (2, True)
