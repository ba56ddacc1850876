"""Deployments: what goes where, and what agents report about it (07 §6, §9)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from certctl_core.fleet.deployments import (
    DeployTargetNotLinked,
    NothingToDeploy,
    ReportIncomplete,
)
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.jobs import JobLeaseLost, JobNotFound
from certctl_core.kernel.observability.metrics import REGISTRY
from certctl_core.lifecycle.certificates import CertificateNotFound, VersionNotFound, WrongState
from certctl_core.lifecycle.renewal import run_renewals
from certctl_core.testing.factories import issue
from tests.core.agents.fleet import NGINX, Fleet, deploy_result


def _deploy(fleet: Fleet, certificate_id: str, **body: object) -> Any:
    path = {"certificate_id": certificate_id}
    return fleet.call("certificates.deploy", path=path, body=body)


def _metric(name: str, *labels: str) -> float:
    metric = REGISTRY.get(name)
    assert metric is not None
    return metric.value(*labels)


@pytest.mark.spec("07/JOB-01", "07/DEP-12", "01/AGP-03")
def test_a_new_version_goes_to_its_targets(fleet: Fleet) -> None:
    _, certificate_id, target_id, item = fleet.deployed()

    assert (item.type, item.status, item.attempt) == ("Deployment", "Running", 1)
    assert item.target.id == target_id
    assert item.target.config["cert_path"] == NGINX["cert_path"]
    assert item.certificate_pem.startswith("-----BEGIN CERTIFICATE-----")
    assert item.version_id == fleet.get(certificate_id).current_version_id
    (event,) = fleet.events("deployment.jobs_created")
    assert event.details["job_ids"] == [item.id]


@pytest.mark.spec("07/JOB-07", "07/JOB-09", "07/DEP-14", "07/OBS-01", "01/AGP-05")
def test_a_success_is_kept_counted_and_told(fleet: Fleet) -> None:
    agent, certificate_id, target_id, item = fleet.deployed()
    before = _metric("certctl_deploy_attempts_total", "nginx", "success")
    fleet.clock.advance(timedelta(seconds=5))

    answer = fleet.report(agent, item, "Completed", result=deploy_result(item))

    assert answer.status == "Completed"
    job = fleet.job(item.id)
    assert (job.verification_status, job.result["outcome"]) == ("success", "deployed")
    (row,) = fleet.call("certificates.deployments", path={"certificate_id": certificate_id}).data
    assert (row.outcome, row.target_id, row.attempt, row.duration_ms) == (
        "deployed",
        target_id,
        1,
        1234,
    )
    assert row.fingerprint_sha256 == item.fingerprint_sha256
    assert fleet.call("targets.deployments", path={"target_id": target_id}).total == 1
    assert fleet.get(certificate_id).last_deployment_at == fleet.clock.now()
    (event,) = fleet.events("deployment.succeeded")
    assert (event.actor, event.resource_id) == (agent.id, row.id)
    assert len(fleet.events("verification.succeeded")) == 1
    assert _metric("certctl_deploy_attempts_total", "nginx", "success") == before + 1


@pytest.mark.spec("07/JOB-05", "07/JOB-08")
def test_a_retryable_failure_is_tried_again_after_1_5_and_30_minutes(fleet: Fleet) -> None:
    agent, _, _, item = fleet.deployed()
    result = deploy_result(item, "rolled_back", rollback={"attempted": True, "ok": True})
    error = {"code": "reload_failed", "message": "exit status 1", "stage": "RELOAD"}
    jobs = fleet.core.rooms.jobs
    for wait in (1, 5):
        fleet.report(agent, item, "Failed", result=result, error=error)
        assert fleet.job(item.id).next_attempt_at == fleet.clock.now() + timedelta(minutes=wait)
        fleet.clock.advance(timedelta(minutes=wait))
        with fleet.core.begin() as uow:
            jobs.retry_due(uow)
        (item,) = fleet.work(agent)

    assert item.attempt == 3
    fleet.report(agent, item, "Failed", result=result, error=error)

    job = fleet.job(item.id)
    assert (job.status, job.next_attempt_at, job.error_code) == ("Failed", None, "reload_failed")
    events = fleet.events("deployment.failed")
    assert [event.details["retry"] for event in events] == [True, True, False]
    view = fleet.call("agents.get", path={"agent_id": agent.id})
    assert (view.status, view.failed_deployments) == ("Degraded", 3)


def test_a_retry_by_hand_adds_to_the_history(fleet: Fleet) -> None:
    agent, certificate_id, _, item = fleet.deployed()
    result = deploy_result(item, "failed_precheck")
    fleet.report(agent, item, "Failed", result=result, error={"code": "key_missing"})
    fleet.call("jobs.retry", path={"job_id": item.id})
    (again,) = fleet.work(agent)
    assert again.attempt == 1

    fleet.report(agent, again, "Completed", result=deploy_result(again))

    rows = fleet.call("certificates.deployments", path={"certificate_id": certificate_id}).data
    assert sorted(row.attempt for row in rows) == [1, 2]


def test_a_rollback_that_failed_is_told_as_critical_and_not_tried_again(fleet: Fleet) -> None:
    agent, _, _, item = fleet.deployed()

    fleet.report(
        agent,
        item,
        "Failed",
        result=deploy_result(item, "rollback_failed"),
        error={"code": "rollback_failed", "message": "look at the host"},
    )

    assert fleet.job(item.id).next_attempt_at is None
    assert len(fleet.events("deployment.rollback_failed")) == 1
    assert fleet.events("deployment.failed") == []


@pytest.mark.spec("07/JOB-06")
@pytest.mark.parametrize("status", ["Running", "Completed", "Failed"])
def test_a_stale_lease_is_refused(fleet: Fleet, status: str) -> None:
    agent, certificate_id, _, item = fleet.deployed()
    stale = item.model_copy(update={"lease_id": "0" * 32})
    outcome = "deployed" if status == "Completed" else "rolled_back"
    members: dict[str, Any] = {"result": deploy_result(item, outcome)}
    if status == "Failed":
        members["error"] = {"code": "reload_failed"}

    with pytest.raises(JobLeaseLost):
        fleet.report(agent, stale, status, **members)

    path = {"certificate_id": certificate_id}
    assert fleet.call("certificates.deployments", path=path).total == 0
    assert fleet.job(item.id).status == "Running"


@pytest.mark.spec("07/JOB-06", "07/AGT-13")
def test_a_second_report_and_a_foreign_one_are_refused(fleet: Fleet) -> None:
    agent, _, _, item = fleet.deployed()
    other = fleet.agent("web-2")
    with pytest.raises(JobNotFound):
        fleet.report(other, item, "Completed", result=deploy_result(item))
    fleet.report(agent, item, "Running", stage="STAGE")
    fleet.report(agent, item, "Completed", result=deploy_result(item))

    with pytest.raises(CertctlError) as refused:
        fleet.report(agent, item, "Completed", result=deploy_result(item))
    assert refused.value.kind == "conflict"
    with pytest.raises(CertctlError) as refused:
        fleet.report(agent, item, "Running")
    assert refused.value.kind == "conflict"


@pytest.mark.parametrize(
    ("status", "members"),
    [
        pytest.param("Completed", {}, id="no_result"),
        pytest.param("Failed", {"error": {"code": "busy"}}, id="failed_without_result"),
        pytest.param("Completed", {"outcome": "rolled_back"}, id="completed_but_rolled_back"),
        pytest.param("Failed", {"outcome": "deployed"}, id="failed_but_deployed"),
        pytest.param("Failed", {"outcome": "rolled_back"}, id="failed_without_error"),
    ],
)
def test_an_incomplete_report_is_refused(
    fleet: Fleet, status: str, members: dict[str, Any]
) -> None:
    agent, _, _, item = fleet.deployed()
    if "outcome" in members:
        members = {"result": deploy_result(item, members["outcome"])}

    with pytest.raises(ReportIncomplete):
        fleet.report(agent, item, status, **members)

    assert fleet.job(item.id).status == "Running"


def test_an_unknown_status_is_a_bad_field(fleet: Fleet) -> None:
    agent, _, _, item = fleet.deployed()

    with pytest.raises(CertctlError) as refused:
        fleet.report(agent, item, "Done")
    assert refused.value.kind == "invalid"


def test_what_looks_like_a_key_in_a_report_is_not_stored(fleet: Fleet) -> None:
    agent, _, _, item = fleet.deployed()
    pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAA\n-----END PRIVATE KEY-----"
    stage = {"name": "VALIDATE", "ok": True, "detail": f"output: {pem}"}

    fleet.report(agent, item, "Completed", result=deploy_result(item, stages=[stage]))

    assert "MC4CAQ" not in str(fleet.job(item.id).result)


def test_a_report_with_odd_characters_is_stored(fleet: Fleet) -> None:
    agent, certificate_id, _, item = fleet.deployed()
    result = deploy_result(item, "failed_precheck", details={"a\x00b": ["c\x00d"]})
    error = {"code": "check_failed", "message": "nul \x00 and \u202e"}

    fleet.report(agent, item, "Failed", result=result, error=error)

    (row,) = fleet.call("certificates.deployments", path={"certificate_id": certificate_id}).data
    assert row.details == {"a\ufffdb": ["c\ufffdd"]}
    assert row.error_message == "nul \ufffd and \u202e"
    for lease_id in ("é", "", "x" * 65):
        with pytest.raises(CertctlError) as refused:
            fleet.report(agent, item.model_copy(update={"lease_id": lease_id}), "Running")
        assert refused.value.kind == "invalid"


def test_a_deployment_by_hand_reaches_the_linked_targets(fleet: Fleet) -> None:
    agent, certificate_id, target_id, item = fleet.deployed()
    assert _deploy(fleet, certificate_id).job_ids == [item.id]
    fleet.report(agent, item, "Completed", result=deploy_result(item))

    answer = _deploy(fleet, certificate_id, target_id=target_id, force=True)

    (again,) = fleet.work(agent)
    assert answer.job_ids == [again.id]
    assert again.options.force is True
    assert len(fleet.events("deployment.requested")) == 2


def test_a_deployment_that_cannot_be_is_refused(fleet: Fleet) -> None:
    agent = fleet.agent()
    linked, other = fleet.target(agent, "a"), fleet.target(agent, "b")
    certificate_id = fleet.certificate().id
    with pytest.raises(NothingToDeploy):
        _deploy(fleet, certificate_id)
    fleet.link(certificate_id, linked)
    with pytest.raises(NothingToDeploy):
        _deploy(fleet, certificate_id)
    with pytest.raises(DeployTargetNotLinked):
        _deploy(fleet, certificate_id, target_id=other)
    with pytest.raises(CertificateNotFound):
        _deploy(fleet, "mc-none")
    fleet.call("certificates.archive", path={"certificate_id": certificate_id})
    with pytest.raises(WrongState):
        _deploy(fleet, certificate_id)


def test_a_newer_version_supersedes_an_unfinished_deployment(fleet: Fleet) -> None:
    agent, certificate_id, _, item = fleet.deployed()
    fleet.call("certificates.renew", path={"certificate_id": certificate_id}, body={})
    (renewal,) = fleet.work(agent)
    assert renewal.type == "Renewal"

    issued = fleet.answer_csr(agent, renewal)

    assert fleet.job(item.id).status == "Cancelled"
    with pytest.raises(CertctlError):
        fleet.report(agent, item, "Completed", result=deploy_result(item))
    (newer,) = fleet.work(agent)
    assert newer.version_id == issued.version_id


def test_the_scheduler_renews_after_two_thirds_of_a_short_life(fleet: Fleet) -> None:
    rooms, units = fleet.core.rooms, fleet.core.units
    profile = fleet.call(
        "profiles.create",
        body={"name": "short", "default_validity_seconds": 6 * 3600, "max_ttl_seconds": 6 * 3600},
    )
    agent = fleet.agent()
    certificate_id = fleet.certificate(certificate_profile_id=profile.id).id
    fleet.link(certificate_id, fleet.target(agent))
    first = fleet.answer_csr(agent, fleet.work(agent)[0])
    (item,) = fleet.work(agent)
    fleet.report(agent, item, "Completed", result=deploy_result(item))
    assert run_renewals(units, rooms.renewal, rooms.certificates) == 0

    fleet.clock.advance(timedelta(hours=4, minutes=20))
    assert run_renewals(units, rooms.renewal, rooms.certificates) == 1

    (renewal,) = fleet.work(agent)
    assert renewal.type == "Renewal"
    second = fleet.answer_csr(agent, renewal)
    (item,) = fleet.work(agent)
    assert item.version_id == second.version_id != first.version_id
    fleet.report(agent, item, "Completed", result=deploy_result(item))
    assert fleet.get(certificate_id).status == "Active"


def test_linking_where_the_agent_has_the_key_deploys_at_once(fleet: Fleet) -> None:
    agent, certificate_id, _, item = fleet.deployed()
    fleet.report(agent, item, "Completed", result=deploy_result(item))

    fleet.link(certificate_id, fleet.target(agent, "second"))

    (work,) = fleet.work(agent)
    assert (work.type, work.version_id) == ("Deployment", item.version_id)


def test_a_link_without_auto_deploy_and_a_disabled_target_get_nothing(fleet: Fleet) -> None:
    agent = fleet.agent()
    certificate_id = fleet.certificate().id
    fleet.link(certificate_id, fleet.target(agent, "off", enabled=False))
    assert fleet.work(agent) == []
    fleet.link(certificate_id, fleet.target(agent, "manual"), auto_deploy=False)
    fleet.answer_csr(agent, fleet.work(agent)[0])

    assert fleet.work(agent) == []
    assert len(_deploy(fleet, certificate_id).job_ids) == 1


def test_a_certificate_whose_key_a_person_holds_is_not_deployed(fleet: Fleet) -> None:
    agent = fleet.agent()
    issued = issue(fleet.core, "web.example.test", managed_renewal=False)

    fleet.link(issued.certificate.id, fleet.target(agent))

    assert fleet.work(agent) == []


def test_unlinking_calls_an_unfinished_deployment_off(fleet: Fleet) -> None:
    _, certificate_id, target_id, item = fleet.deployed()

    path = {"certificate_id": certificate_id, "target_id": target_id}
    fleet.call("certificates.unlink_target", path=path)

    assert fleet.job(item.id).status == "Cancelled"


def test_revoking_calls_deployments_off(fleet: Fleet) -> None:
    agent, certificate_id, _, item = fleet.deployed()

    path = {"certificate_id": certificate_id}
    fleet.call("certificates.revoke", path=path, body={"reason": "keyCompromise"})

    assert fleet.job(item.id).status == "Cancelled"
    assert fleet.work(agent) == []


def test_a_target_whose_plugin_is_gone_fails_its_deployment(fleet: Fleet) -> None:
    agent = fleet.agent()
    target_id = fleet.target(agent)
    certificate_id = fleet.certificate().id
    fleet.link(certificate_id, target_id)
    fleet.answer_csr(agent, fleet.work(agent)[0])
    with fleet.core.begin() as uow:
        import sqlalchemy as sa

        uow.execute(sa.text("""UPDATE targets SET secrets = '{"token": "broken"}'"""))

    assert fleet.work(agent) == []
    (job,) = fleet.call("jobs.list", query={"target_id": target_id}).data
    assert (job.status, job.error_code) == ("Failed", "config_invalid")


@pytest.mark.spec("07/AGT-13")
def test_an_agent_fetches_only_certificates_of_its_own_keys(fleet: Fleet) -> None:
    agent, certificate_id, _, item = fleet.deployed()
    other = fleet.agent("web-2")
    foreign = issue(fleet.core, "db.example.test").certificate
    path = {"agent_id": agent.id, "certificate_id": certificate_id}

    view = fleet.call("agents.certificate", actor=agent, path=path, query={})

    assert view.fingerprint_sha256 == item.fingerprint_sha256
    assert view.certificate_pem == item.certificate_pem + item.chain_pem
    assert len(fleet.events("certificate.retrieved")) == 1
    with pytest.raises(CertificateNotFound):
        fleet.call(
            "agents.certificate",
            actor=agent,
            path={**path, "certificate_id": foreign.id},
            query={},
        )
    with pytest.raises(CertificateNotFound):
        fleet.call("agents.certificate", actor=other, path={**path, "agent_id": other.id}, query={})
    fleet.link(certificate_id, fleet.target(other))
    with pytest.raises(VersionNotFound):
        fleet.call(
            "agents.certificate",
            actor=other,
            path={**path, "agent_id": other.id},
            query={"version_id": item.version_id},
        )


@pytest.mark.spec("07/JOB-03")
def test_the_servers_own_runner_takes_no_job_of_an_agent(fleet: Fleet) -> None:
    agent, certificate_id, _, item = fleet.deployed()
    fleet.report(agent, item, "Completed", result=deploy_result(item))
    (job_id,) = _deploy(fleet, certificate_id).job_ids

    with fleet.core.begin() as uow:
        taken = fleet.core.rooms.jobs.claim(
            uow, types=("Deployment",), limit=10, lease=timedelta(minutes=1), holder="server-1"
        )

    assert taken == []
    assert fleet.job(job_id).status == "Pending"
