"""Revoking many certificates at once (02 REV-4, REV-5, REV-6; acceptance 28)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from certctl_core.app import Core
from certctl_core.kernel.actors import SYSTEM
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.operations import Accepted
from certctl_core.lifecycle.bulk_revocation import BulkResult, BulkRevoke
from certctl_core.pki.keys import KeyAlgorithm, generate
from certctl_core.testing.factories import make_csr
from certctl_core.testing.fakes import FakeClock

pytestmark = pytest.mark.spec("02/REV-4", "02/REV-5")
KEY = generate(KeyAlgorithm.ECDSA_P256)


def issue(core: Core, count: int, profile_id: str | None = None, prefix: str = "h") -> list[str]:
    return [
        core.issue(
            make_csr(f"{prefix}{number}.example.test", key=KEY), certificate_profile_id=profile_id
        ).certificate.id
        for number in range(count)
    ]


def profile(core: Core) -> str:
    return str(core.call("profiles.create", body={"name": "fleet"}).id)


def bulk(core: Core, **body: Any) -> BulkResult:
    body.setdefault("reason", "superseded")
    result: BulkResult = core.call("certificates.bulk_revoke", body=body)
    return result


def statuses(core: Core) -> dict[str, int]:
    found: dict[str, int] = {}
    for status in ("Active", "Revoked", "Archived", "Pending"):
        found[status] = core.call("certificates.list", query={"status": status}).total
    return found


@pytest.mark.spec("01/BULK-02", "01/BULK-03")
def test_every_match_is_revoked_and_nothing_else(core: Core) -> None:
    fleet = profile(core)
    issue(core, 230, fleet)
    others = issue(core, 3, prefix="other")

    preview = bulk(core, profile_id=fleet, dry_run=True)
    assert (preview.total_matched, preview.to_revoke, preview.total_revoked) == (230, 230, 0)
    assert statuses(core)["Revoked"] == 0

    done = bulk(core, profile_id=fleet, expected_count=preview.total_matched)

    assert (done.total_revoked, done.total_failed, done.total_skipped) == (230, 0, 0)
    assert statuses(core) == {"Active": 3, "Revoked": 230, "Archived": 0, "Pending": 0}
    for certificate_id in others:
        path = {"certificate_id": certificate_id}
        assert core.call("certificates.get", path=path).status == "Active"
    revoked = _crl(core)
    assert len(revoked) == 230


def _crl(core: Core) -> x509.CertificateRevocationList:
    (key,) = core.rooms.authorities.authority_keys("iss-local")
    body = core.rooms.crls.current(key).der
    return x509.load_der_x509_crl(body)


@pytest.mark.spec("02/REV-6")
def test_the_same_request_goes_on_where_it_stopped(core: Core) -> None:
    fleet = profile(core)
    ids = issue(core, 5, fleet)
    for certificate_id in ids[:2]:
        core.call("certificates.revoke", path={"certificate_id": certificate_id}, body={})
    core.call("certificates.archive", path={"certificate_id": ids[2]})

    first = bulk(core, profile_id=fleet, expected_count=5)
    again = bulk(core, profile_id=fleet, expected_count=5)

    assert (first.total_matched, first.total_revoked, first.total_skipped) == (5, 2, 3)
    assert (again.total_matched, again.total_revoked, again.total_skipped) == (5, 0, 5)
    events = {event.action: event for event in core.call("audit.list").data}
    started = events["certificate.bulk_revoke_started"]
    assert started.details["criteria"] == {"profile_id": fleet}
    assert started.details["total_matched"] == 5
    assert "certificate.bulk_revoke_finished" in events


@pytest.mark.parametrize("by", ["profile_id", "ca_key_id"])
def test_what_is_on_hold_is_revoked_for_good(core: Core, by: str) -> None:
    fleet = profile(core)
    ids = issue(core, 4, fleet)
    (key,) = core.rooms.authorities.authority_keys("iss-local")
    wanted = {by: fleet if by == "profile_id" else key.ca_key_id}
    for certificate_id, reason in zip(ids, ("certificateHold", "superseded"), strict=False):
        path = {"certificate_id": certificate_id}
        core.call("certificates.revoke", path=path, body={"reason": reason})
    final = 1 if by == "profile_id" else 0  # the other is not in use any more by that key

    preview = bulk(core, **wanted, reason="certificateHold", dry_run=True)
    assert (preview.to_revoke, preview.total_skipped) == (2, 1 + final)
    preview = bulk(core, **wanted, reason="keyCompromise", dry_run=True)
    assert (preview.to_revoke, preview.total_skipped) == (3, final)
    done = bulk(core, **wanted, reason="keyCompromise")

    assert (done.total_revoked, done.total_failed, done.total_skipped) == (3, 0, final)
    shown = core.call("certificates.get", path={"certificate_id": ids[0]})
    assert shown.revocation_reason == "keyCompromise"
    again = bulk(core, **wanted, reason="keyCompromise")
    assert (again.total_revoked, again.total_failed) == (0, 0)


@pytest.mark.spec("01/BULK-03")
def test_another_number_than_expected_revokes_nothing(core: Core) -> None:
    fleet = profile(core)
    issue(core, 2, fleet)

    with pytest.raises(CertctlError) as caught:
        bulk(core, profile_id=fleet, expected_count=1)

    assert caught.value.code == "expected_count_mismatch"
    assert caught.value.public == {"total_matched": 2, "expected_count": 1}
    assert statuses(core)["Revoked"] == 0


@pytest.mark.spec("01/BULK-01", "01/BULK-04")
def test_what_cannot_be_revoked_is_told_and_stops_nothing(core: Core) -> None:
    good = issue(core, 2)
    waiting = core.call("certificates.create", body={"common_name": "new.example.test"}).id

    done = bulk(core, certificate_ids=[good[0], "mc-none", waiting, good[1], good[0]])

    assert (done.total_matched, done.total_revoked, done.total_failed) == (3, 2, 2)
    assert {item.certificate_id: item.code for item in done.errors} == {
        "mc-none": "certificate_not_found",
        waiting: "not_revocable",
    }


@pytest.mark.spec("01/BULK-01")
def test_criteria_are_all_needed(core: Core) -> None:
    fleet = profile(core)
    mine = issue(core, 1, fleet)
    other = issue(core, 1, prefix="other")
    (key,) = core.rooms.authorities.authority_keys("iss-local")

    assert bulk(core, certificate_ids=mine + other, profile_id=fleet).total_revoked == 1
    assert bulk(core, issuer_id="iss-none", dry_run=True).total_matched == 0
    assert bulk(core, agent_id="ag-none", dry_run=True).total_matched == 0
    assert bulk(core, ca_key_id="0" * 40, dry_run=True).total_matched == 0
    assert bulk(core, ca_key_id=key.ca_key_id, dry_run=True).total_matched == 1
    assert bulk(core, issuer_id="iss-local", source="Agent", dry_run=True).total_matched == 0
    assert bulk(core, issuer_id="iss-local", source="API").total_revoked == 1


@pytest.mark.spec("01/BULK-01")
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"source": "API"},
        {"profile_id": "prof-x", "reason": "removeFromCRL"},
        {"certificate_ids": []},
        {"owner_id": "o-x"},
    ],
)
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_what_is_too_broad_or_wrong_is_refused(core: Core, body: dict[str, Any]) -> None:
    issue(core, 1)
    with pytest.raises(CertctlError):
        bulk(core, **body)
    assert statuses(core)["Revoked"] == 0


@pytest.mark.spec("01/BULK-03")
def test_a_large_one_is_a_job_that_goes_on_after_a_death(
    core: Core, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = profile(core)
    issue(core, 120, fleet)
    workflow = core.rooms.bulk_revocation
    workflow._at_once = 50

    answer = workflow.run(
        BulkRevoke(profile_id=fleet, reason="superseded"),
        scopes=None,
        actor=SYSTEM,
        request_id="req-1",
    )

    assert isinstance(answer, Accepted)
    assert answer.status == 202
    result = answer.body
    assert isinstance(result, BulkResult)
    path = {"job_id": str(result.job_id)}
    assert core.call("jobs.get", path=path).type == "BulkRevocation"
    with monkeypatch.context() as patch:
        patch.setattr(core.rooms.revocation, "revoke", _dying_after(110, core))
        core.background.runner.run_once()
    job = core.call("jobs.get", path=path)
    assert job.status != "Completed"
    assert statuses(core)["Revoked"] == job.result["total_revoked"] == 100
    clock.advance(timedelta(hours=7))
    core.background.scheduler.run_once("job_timeout")
    clock.advance(timedelta(days=1))
    core.background.scheduler.run_once("job_retry")
    core.background.runner.run_once()
    job = core.call("jobs.get", path=path)
    assert job.status == "Completed", job
    assert statuses(core)["Revoked"] == 120
    assert job.result["total_failed"] == 0
    assert job.result["total_revoked"] == 120
    finished = core.call("audit.list", query={"action": "certificate.bulk_revoke_finished"}).data
    assert [item.details["total_revoked"] for item in finished] == [120]


def _dying_after(count: int, core: Core) -> Any:
    revoke, left = core.rooms.revocation.revoke, [count]

    def die(*args: Any, **members: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError
        return revoke(*args, **members)

    return die
