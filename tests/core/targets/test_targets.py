"""Targets: kinds from plugins, configurations checked and sealed, links to certificates."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from certctl_core.contracts.host.registry import Entry, Kinds, PluginInfo
from certctl_core.contracts.options import ConfigInvalid, Secret, secret
from certctl_core.contracts.targets import Bundle, File, FileTarget, PairConfig, Plan
from certctl_core.fleet.agents import AgentUnusable
from certctl_core.fleet.targets import (
    SingleHolder,
    TargetConfigs,
    TargetInUse,
    TargetNameTaken,
    TargetNotFound,
    TargetNotLinked,
    TargetUnusable,
    TestStatus,
    UnknownTargetKind,
)
from certctl_core.kernel.errors import CertctlError, PreconditionFailed
from certctl_core.lifecycle.certificates import CertificateNotFound, WrongState
from certctl_core.testing.factories import actor_with, issue
from tests.core.agents.fleet import NGINX, Fleet


class VaultConfig(PairConfig):
    token: Secret = secret(title="Token")


class Vaulted(FileTarget):
    kind = "vaulted"
    title = "Vaulted"
    api_version = 1
    Config = VaultConfig

    def plan(self, bundle: Bundle) -> Plan:
        return Plan(files=(File(path="/srv/x", data=bundle.combined, secret=True),))


@pytest.fixture
def vaulted(fleet: Fleet) -> Fleet:
    """The fleet with one more kind, which has a secret."""
    entries = dict(fleet.core.plugins.targets.items())
    info = PluginInfo(
        kind="vaulted",
        hook="certctl_targets",
        title="Vaulted",
        distribution="test",
        version="1",
        available=False,
        error="needs a package that only agents have",
    )
    entries["vaulted"] = Entry(info=info, plugin=Vaulted)
    kinds: Any = Kinds("certctl_targets", entries)
    fleet.targets.configs = TargetConfigs(kinds=kinds, keyring=fleet.core.keyring)
    return fleet


def _get(fleet: Fleet, target_id: str) -> Any:
    return fleet.call("targets.get", path={"target_id": target_id})


@pytest.mark.spec("01/TGT-01", "07/PLG-02")
def test_a_target_is_stored_under_its_canonical_kind(fleet: Fleet) -> None:
    agent = fleet.agent()

    target_id = fleet.target(agent, kind="NGINX")

    view = _get(fleet, target_id)
    assert (view.kind, view.title, view.test_status) == ("nginx", "NGINX", TestStatus.UNTESTED)
    assert view.config["key_path"] == "/etc/nginx/tls/web.key"
    assert len(fleet.events("target.created")) == 1
    (kind,) = [item for item in fleet.call("target_types.list").data if item.kind == "nginx"]
    assert kind.available
    assert "cert_path" in kind.schema_["properties"]


@pytest.mark.parametrize(
    ("members", "error", "field"),
    [
        pytest.param({"kind": "toaster"}, UnknownTargetKind, "kind", id="unknown_kind"),
        pytest.param({"agent_id": "ag-none"}, AgentUnusable, None, id="unknown_agent"),
        pytest.param(
            {"config": {"cert_path": "relative", "key_path": "/etc/ssl/k"}},
            ConfigInvalid,
            "config.cert_path",
            id="relative_path",
        ),
        pytest.param(
            {"config": {**NGINX, "reload_command": "nginx -s reload; id"}},
            ConfigInvalid,
            "config.reload_command",
            id="shell_metacharacter",
        ),
        pytest.param({"config": {**NGINX, "x": 1}}, ConfigInvalid, "config.x", id="unknown_key"),
    ],
)
@pytest.mark.spec("01/TGT-02", "07/CMD-03")
def test_a_body_that_does_not_do_is_refused(
    fleet: Fleet, members: dict[str, Any], error: type[CertctlError], field: str | None
) -> None:
    agent = fleet.agent()

    with pytest.raises(error) as refused:
        fleet.target(agent, **members)

    if field is not None:
        assert [item.field for item in refused.value.fields] == [field]
    assert fleet.call("targets.list").total == 0


def test_a_name_is_unique_per_agent(fleet: Fleet) -> None:
    one, two = fleet.agent("web-1"), fleet.agent("web-2")
    fleet.target(one, "site")

    with pytest.raises(TargetNameTaken):
        fleet.target(one, "site")
    fleet.target(two, "site")


@pytest.mark.spec("07/PLG-01", "07/JOB-01")
def test_a_secret_is_sealed_shown_as_set_kept_and_opened_for_its_agent(vaulted: Fleet) -> None:
    fleet = vaulted
    agent = fleet.agent()
    config = {**NGINX, "token": "hunter2-hunter2"}
    target_id = fleet.target(agent, kind="vaulted", config=config)

    shown = _get(fleet, target_id)
    assert shown.config["token"]["set"] is True
    with fleet.core.units.read() as uow:
        rows = str(uow.execute(sa.text("SELECT * FROM targets")).all())
        work = fleet.targets.work(uow, target_id)
    assert "hunter2" not in rows
    assert "hunter2" not in repr(work)
    assert work.config["token"] == "hunter2-hunter2"

    changed = fleet.call(
        "targets.replace",
        path={"target_id": target_id},
        body={"name": "nginx", "config": {**NGINX, "token": "********"}},
    )
    assert changed.version == shown.version
    fleet.call(
        "targets.update",
        path={"target_id": target_id},
        body={"config": {"cert_path": "/etc/nginx/tls/new.crt"}},
    )
    with fleet.core.units.read() as uow:
        work = fleet.targets.work(uow, target_id)
    assert (work.config["token"], work.config["cert_path"]) == (
        "hunter2-hunter2",
        "/etc/nginx/tls/new.crt",
    )


def test_an_edit_needs_the_version_that_was_read(fleet: Fleet) -> None:
    target_id = fleet.target(fleet.agent())
    call = fleet.core.dispatcher.call
    path = {"target_id": target_id}

    view = call("targets.update", path=path, body={"enabled": False}, if_match=1)

    assert (view.enabled, view.version) == (False, 2)
    assert fleet.events("target.updated")[0].details["fields"] == ["enabled"]
    with pytest.raises(PreconditionFailed):
        call("targets.update", path=path, body={"name": "x"}, if_match=1)
    with pytest.raises(PreconditionFailed):
        call("targets.delete", path=path, query={}, if_match=1)


@pytest.mark.spec("01/TGT-02")
def test_a_linked_target_is_deleted_by_force_only(fleet: Fleet) -> None:
    _, certificate_id, target_id, item = fleet.deployed()
    path = {"target_id": target_id}

    with pytest.raises(TargetInUse) as blocked:
        fleet.call("targets.delete", path=path, query={})
    assert blocked.value.public == {"certificates": 1}

    fleet.call("targets.delete", path=path, query={"force": True})

    assert fleet.job(item.id).status == "Cancelled"
    links = fleet.call("certificates.targets", path={"certificate_id": certificate_id}, query={})
    assert links.total == 0
    with pytest.raises(TargetNotFound):
        _get(fleet, target_id)


@pytest.mark.spec("07/TGT-03", "01/TGT-03")
def test_a_test_is_a_job_of_the_agent(fleet: Fleet) -> None:
    agent = fleet.agent()
    target_id = fleet.target(agent)
    path = {"target_id": target_id}

    first = fleet.call("targets.test", path=path)
    assert fleet.call("targets.test", path=path).job_id == first.job_id
    (item,) = fleet.work(agent)
    assert (item.type, item.target.id) == ("Validation", target_id)
    assert item.target.config["cert_path"] == NGINX["cert_path"]
    check = {"name": "path", "ok": False, "detail": "there is no such directory"}
    fleet.report(agent, item, "Completed", result={"ok": False, "checks": [check]})

    view = _get(fleet, target_id)
    assert view.test_status is TestStatus.FAILED
    assert view.last_result.checks[0].detail == "there is no such directory"
    assert fleet.job(item.id).status == "Completed"
    assert fleet.events("target.tested")[0].details["failed"] == ["path"]


def test_a_test_that_could_not_run_counts_as_failed(fleet: Fleet) -> None:
    agent = fleet.agent()
    target_id = fleet.target(agent)
    fleet.call("targets.test", path={"target_id": target_id})
    (item,) = fleet.work(agent)

    fleet.report(agent, item, "Failed", error={"code": "config_invalid", "message": "no plugin"})

    assert _get(fleet, target_id).test_status is TestStatus.FAILED
    assert fleet.job(item.id).status == "Failed"


def test_links_are_listed_changed_and_undone(fleet: Fleet) -> None:
    agent = fleet.agent()
    target_id = fleet.target(agent)
    certificate_id = fleet.certificate(managed_renewal=False).id
    path = {"certificate_id": certificate_id, "target_id": target_id}

    fleet.link(certificate_id, target_id)
    fleet.link(certificate_id, target_id, auto_deploy=False)

    page = fleet.call("certificates.targets", path={"certificate_id": certificate_id}, query={})
    assert [(row.id, row.auto_deploy) for row in page.data] == [(target_id, False)]
    assert len(fleet.events("target.linked")) == 1
    with fleet.core.units.read() as uow:
        assert fleet.targets.key_holders(uow, certificate_id) == [agent.id]
        assert fleet.targets.certificates_of(uow, agent.id) == [certificate_id]
    fleet.call("certificates.unlink_target", path=path)
    with pytest.raises(TargetNotLinked):
        fleet.call("certificates.unlink_target", path=path)
    with pytest.raises(CertificateNotFound):
        fleet.link("mc-none", target_id)
    with pytest.raises(TargetNotFound):
        fleet.link(certificate_id, "tgt-none")


@pytest.mark.spec("07/KEY-02")
def test_a_single_holder_certificate_stays_with_one_agent(fleet: Fleet) -> None:
    one, two = fleet.agent("web-1"), fleet.agent("web-2")
    certificate_id = fleet.certificate(key_scope="single_holder").id
    fleet.link(certificate_id, fleet.target(one, "a"))
    fleet.link(certificate_id, fleet.target(one, "b"))

    with pytest.raises(SingleHolder) as refused:
        fleet.link(certificate_id, fleet.target(two))
    assert refused.value.kind == "unprocessable"


def test_a_revoked_certificate_gets_no_target(fleet: Fleet) -> None:
    certificate = issue(fleet.core, "web.example.test").certificate
    path = {"certificate_id": certificate.id}
    fleet.call("certificates.revoke", path=path, body={"reason": "keyCompromise"})

    with pytest.raises(WrongState):
        fleet.link(certificate.id, fleet.target(fleet.agent()))


@pytest.mark.spec("01/TGT-04")
def test_a_retired_target_takes_nothing_any_more(fleet: Fleet) -> None:
    agent = fleet.agent()
    target_id = fleet.target(agent)
    fleet.call(
        "agents.retire", path={"agent_id": agent.id}, query={"force": True, "reason": "gone"}
    )

    with pytest.raises(TargetUnusable):
        fleet.link(fleet.certificate().id, target_id)
    with pytest.raises(TargetUnusable):
        fleet.call("targets.test", path={"target_id": target_id})


def test_a_viewer_reads_targets_and_changes_none(fleet: Fleet) -> None:
    target_id = fleet.target(fleet.agent())
    viewer = actor_with(fleet.core, "r-viewer")

    assert fleet.call("targets.list", actor=viewer, query={"kind": "nginx"}).total == 1
    with pytest.raises(CertctlError, match=r"target\.edit"):
        fleet.call(
            "targets.update", actor=viewer, path={"target_id": target_id}, body={"enabled": False}
        )
