"""Certificate requests of agents: what a job asks for, and what becomes of an answer (07 §5)."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from certctl_core.fleet.deployments import JobNotAwaitingCSR
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.jobs import JobNotFound
from certctl_core.lifecycle.certificates import Status
from certctl_core.lifecycle.issuance import CSRRejected
from certctl_core.pki.keys import KeyAlgorithm, generate
from certctl_core.testing.factories import make_csr
from tests.core.agents.fleet import Fleet
from tests.machine import PATIENCE_SECONDS


@pytest.mark.spec("01/AGP-02", "01/AGP-04", "07/KEY-12")
def test_linking_a_new_certificate_starts_its_first_issuance(fleet: Fleet) -> None:
    agent = fleet.agent()
    certificate = fleet.certificate(sans=["192.0.2.1", "alt.example.test"])

    fleet.link(certificate.id, fleet.target(agent))

    (item,) = fleet.work(agent)
    assert (item.type, item.status, item.common_name) == (
        "Issuance",
        "AwaitingCSR",
        "web.example.test",
    )
    assert [(name.type, name.value) for name in item.sans] == [
        ("dns", "web.example.test"),
        ("ip", "192.0.2.1"),
        ("dns", "alt.example.test"),
    ]
    assert item.key_spec.model_dump() == {"algorithm": "ECDSA", "size": 256}
    assert fleet.get(certificate.id).status is Status.RENEWING

    view = fleet.answer_csr(agent, item)

    assert view.status == "issued"
    leaf = x509.load_pem_x509_certificate(view.certificate_pem.encode())
    assert leaf.subject.rfc4514_string() == "CN=web.example.test"
    assert fleet.get(certificate.id).status is Status.ACTIVE
    job = fleet.job(item.id)
    assert (job.status, job.version_id, job.attempts) == ("Completed", view.version_id, 0)
    assert job.next_attempt_at is None
    (event,) = fleet.events("csr.submitted")
    assert (event.actor, event.details["certificate_id"]) == (agent.id, certificate.id)


@pytest.mark.spec("07/KEY-06")
def test_the_same_request_after_success_is_answered_again(fleet: Fleet) -> None:
    agent = fleet.agent()
    certificate = fleet.certificate()
    fleet.link(certificate.id, fleet.target(agent))
    (item,) = fleet.work(agent)
    key = generate(KeyAlgorithm.ECDSA_P256)

    first = fleet.csr(agent, item, make_csr("web.example.test", key=key))
    again = fleet.csr(agent, item, make_csr("web.example.test", key=key))

    assert again == first
    with pytest.raises(JobNotAwaitingCSR):
        fleet.csr(agent, item, make_csr("web.example.test"))
    versions = fleet.call("certificates.versions", path={"certificate_id": certificate.id})
    assert versions.total == 1


def test_parallel_requests_for_one_job_are_signed_once(fleet: Fleet) -> None:
    agent = fleet.agent()
    certificate = fleet.certificate()
    fleet.link(certificate.id, fleet.target(agent))
    (item,) = fleet.work(agent)
    start = threading.Barrier(3)
    results: list[str] = []

    def send() -> None:
        csr_pem = make_csr("web.example.test")
        start.wait(PATIENCE_SECONDS)
        try:
            results.append(fleet.csr(agent, item, csr_pem).status)
        except CertctlError as error:
            results.append(error.code)

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == ["issued", "job_not_awaiting_csr", "job_not_awaiting_csr"]


@pytest.mark.spec("07/KEY-06")
def test_a_job_whose_server_died_at_the_issuer_goes_on_at_once(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = fleet.agent()
    certificate = fleet.certificate()
    fleet.link(certificate.id, fleet.target(agent))
    (item,) = fleet.work(agent)

    def die(*_args: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(fleet.core.rooms.issuers, "submit", die)
        with pytest.raises(SystemExit):
            fleet.answer_csr(agent, item)
    assert fleet.job(item.id).status == "Running"

    fleet.core.rooms.issuance.recover(everything=True)

    assert fleet.job(item.id).status == "AwaitingCSR"
    (item,) = fleet.work(agent)
    assert fleet.answer_csr(agent, item).status == "issued"
    assert fleet.get(certificate.id).status is Status.ACTIVE


@pytest.mark.spec("07/KEY-11", "02/PROF-1")
@pytest.mark.parametrize("defect", ["extra_san", "garbage", "weak_key"])
def test_a_refused_request_counts_and_the_job_waits_again(fleet: Fleet, defect: str) -> None:
    agent = fleet.agent()
    certificate = fleet.certificate()
    fleet.link(certificate.id, fleet.target(agent))
    (item,) = fleet.work(agent)
    bad = {
        "extra_san": lambda: make_csr("web.example.test", "evil.example.test"),
        "garbage": lambda: "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n",
        "weak_key": _weak,
    }[defect]()

    with pytest.raises(CSRRejected) as refused:
        fleet.csr(agent, item, bad)

    assert refused.value.data["reasons"]
    job = fleet.job(item.id)
    assert (job.status, job.attempts, job.error_code) == ("AwaitingCSR", 1, "csr_rejected")
    assert fleet.work(agent) == []
    fleet.clock.advance(timedelta(minutes=1))
    (again,) = fleet.work(agent)
    assert fleet.answer_csr(agent, again).status == "issued"


def _weak() -> str:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return make_csr("web.example.test", key=rsa.generate_private_key(65537, 1024))  # noqa: S505 - weak on purpose


def test_the_last_refusal_ends_the_job_and_the_certificate_is_failed(fleet: Fleet) -> None:
    agent = fleet.agent()
    certificate = fleet.certificate()
    fleet.link(certificate.id, fleet.target(agent))
    job_id = ""
    for _ in range(20):
        items = fleet.work(agent)
        if not items:
            break
        job_id = items[0].id
        with pytest.raises(CSRRejected):
            fleet.csr(agent, items[0], make_csr("other.example.test"))
        fleet.clock.advance(timedelta(minutes=59))

    assert fleet.job(job_id).status == "Failed"
    assert fleet.get(certificate.id).status is Status.FAILED
    assert fleet.events("renewal.failed")


def test_an_agent_that_cannot_make_a_request_says_so(fleet: Fleet) -> None:
    agent = fleet.agent()
    fleet.link(fleet.certificate().id, fleet.target(agent))
    (item,) = fleet.work(agent)

    fleet.report(agent, item, "Failed", error={"code": "unsupported", "message": "no ML-DSA"})

    assert (fleet.job(item.id).attempts, fleet.job(item.id).error_code) == (1, "unsupported")


@pytest.mark.spec("07/AGT-13")
@pytest.mark.parametrize("defect", ["other_agents_job", "other_certificate", "unknown_job"])
def test_a_job_that_is_not_the_agents_is_not_found(fleet: Fleet, defect: str) -> None:
    one, two = fleet.agent("web-1"), fleet.agent("web-2")
    certificate = fleet.certificate()
    fleet.link(certificate.id, fleet.target(one))
    (item,) = fleet.work(one)
    caller = two if defect == "other_agents_job" else one
    body = {
        "job_id": "job-none" if defect == "unknown_job" else item.id,
        "certificate_id": "mc-none" if defect == "other_certificate" else certificate.id,
        "csr_pem": make_csr("web.example.test"),
    }

    with pytest.raises(JobNotFound):
        fleet.call("agents.csr", actor=caller, path={"agent_id": caller.id}, body=body)


@pytest.mark.spec("07/KEY-02", "01/VER-02")
def test_each_agent_makes_a_key_of_its_own(fleet: Fleet) -> None:
    one, two = fleet.agent("web-1"), fleet.agent("web-2")
    certificate = fleet.certificate()
    fleet.link(certificate.id, fleet.target(one))
    fleet.link(certificate.id, fleet.target(two))

    views = [fleet.answer_csr(agent, fleet.work(agent)[0]) for agent in (one, two)]

    assert views[0].version_id != views[1].version_id
    for agent, view in zip((one, two), views, strict=True):
        (item,) = fleet.work(agent)
        assert (item.type, item.version_id) == ("Deployment", view.version_id)
    assert fleet.get(certificate.id).status is Status.ACTIVE
    assert fleet.events("renewal.failed") == []


def test_a_second_target_of_the_same_agent_waits_for_the_same_key(fleet: Fleet) -> None:
    agent = fleet.agent()
    certificate = fleet.certificate()
    fleet.link(certificate.id, fleet.target(agent, "a"))
    fleet.link(certificate.id, fleet.target(agent, "b"))

    (item,) = fleet.work(agent)
    fleet.answer_csr(agent, item)

    assert [work.type for work in fleet.work(agent)] == ["Deployment", "Deployment"]


def test_a_request_whose_server_died_is_offered_again(fleet: Fleet) -> None:
    agent = fleet.agent()
    fleet.link(fleet.certificate().id, fleet.target(agent))
    (item,) = fleet.work(agent)
    jobs = fleet.core.rooms.jobs
    with fleet.core.begin() as uow:
        jobs.transition(uow, item.id, "Running", from_=("AwaitingCSR",))
    assert fleet.work(agent) == []

    fleet.clock.advance(timedelta(minutes=11))
    with fleet.core.begin() as uow:
        jobs.reap(uow)
    fleet.clock.advance(timedelta(minutes=2))

    (again,) = fleet.work(agent)
    assert (again.id, again.status) == (item.id, "AwaitingCSR")
    assert fleet.answer_csr(agent, again).status == "issued"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([{"algorithm": "RSA", "min_size": 3000}], ("RSA", 3072)),
        ([{"algorithm": "ECDSA", "min_size": 384}], ("ECDSA", 384)),
        ([{"algorithm": "Ed25519"}], ("Ed25519", 0)),
        ([{"algorithm": "RSA", "min_size": 8192}, {"algorithm": "Ed25519"}], ("Ed25519", 0)),
    ],
)
@pytest.mark.spec("07/KEY-03")
def test_the_profile_says_which_key(
    fleet: Fleet, rules: list[dict[str, Any]], expected: tuple[str, int]
) -> None:
    profile = fleet.call("profiles.create", body={"name": "p", "allowed_key_algorithms": rules})
    agent = fleet.agent()
    certificate = fleet.certificate(certificate_profile_id=profile.id)
    fleet.link(certificate.id, fleet.target(agent))

    (item,) = fleet.work(agent)

    assert (item.key_spec.algorithm, item.key_spec.size) == expected


def test_a_profile_without_a_key_for_agents_fails_the_job(fleet: Fleet) -> None:
    rules = [{"algorithm": "RSA", "min_size": 8192}]
    profile = fleet.call("profiles.create", body={"name": "p", "allowed_key_algorithms": rules})
    agent = fleet.agent()
    certificate = fleet.certificate(certificate_profile_id=profile.id)
    fleet.link(certificate.id, fleet.target(agent))

    assert fleet.work(agent) == []
    (job,) = fleet.call("jobs.list", query={"certificate_id": certificate.id}).data
    assert (job.error_code, job.attempts) == ("no_key_offered", 1)
