"""A foreign issuer hears of a revocation, until it has taken it (02 REV-3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from certctl_core.app import Core
from certctl_core.contracts.issuers import Cap, CertRef, Revoked, RevokePending
from certctl_core.kernel.errors import Unavailable
from certctl_core.pki.reasons import CRLReason
from certctl_core.testing.fakes import FakeClock
from tests.core.revocation.support import make, revoke, sql


@dataclass
class Vendor:
    """The revoking side of an issuer that is not ours."""

    answers: list[object] = field(default_factory=list)
    capabilities: frozenset[Cap] = frozenset({Cap.REVOKE})
    heard: list[tuple[CertRef, CRLReason]] = field(default_factory=list)

    def revoke(self, certificate: CertRef, reason: CRLReason) -> object:
        self.heard.append((certificate, reason))
        answer = self.answers.pop(0) if self.answers else Revoked()
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def vendor(core: Core, monkeypatch: pytest.MonkeyPatch) -> Vendor:
    made = Vendor()
    monkeypatch.setattr(core.rooms.issuers, "is_local", lambda _issuer_id: False)
    monkeypatch.setattr(core.rooms.issuers, "instance", lambda _issuer_id: made)
    return made


def notices(core: Core) -> list[tuple[str, int]]:
    page = core.call("jobs.list", query={"type": "RevocationNotice"}).data
    return [(job.status, job.attempts) for job in page]


def work(core: Core, clock: FakeClock) -> None:
    clock.advance(timedelta(days=1))
    core.background.scheduler.run_once("job_retry")
    core.background.runner.run_once()


def waiting(core: Core) -> int:
    statement = "SELECT count(*) FROM certificate_revocations WHERE NOT issuer_notified"
    found = int(sql(core, statement)[0][0])
    with core.units.read() as uow:  # what the metric says (02 OPS-2)
        assert core.rooms.revocation.count_unnotified(uow) == found
    return found


@pytest.mark.spec("06/REV-1")
def test_it_is_told_once(core: Core, vendor: Vendor, clock: FakeClock) -> None:
    made = make(core)
    revoke(core, made.certificate_id, reason="keyCompromise")
    assert (waiting(core), vendor.heard) == (1, [])

    work(core, clock)
    work(core, clock)

    (reference, reason), *more = vendor.heard
    assert more == []
    assert reason is CRLReason.KEY_COMPROMISE
    assert (reference.serial, reference.certificate_id) == (made.serial, made.certificate_id)
    assert reference.certificate_pem == made.pem
    assert reference.issuer_dn.startswith("CN=")
    assert reference.vendor_ref == f"local-{made.serial}"
    assert waiting(core) == 0
    assert notices(core) == [("Completed", 1)]


@pytest.mark.spec("02/REV-3", "06/REV-2")
@pytest.mark.parametrize("answer", [Unavailable(), RevokePending(vendor_ref="v-1")])
def test_until_it_has_taken_it(
    core: Core, vendor: Vendor, clock: FakeClock, answer: object
) -> None:
    vendor.answers = [answer, answer]
    revoke(core, make(core).certificate_id)

    for _ in range(2):
        work(core, clock)
        assert waiting(core) == 1
    work(core, clock)

    assert waiting(core) == 0
    assert len(vendor.heard) == 3
    assert [status for status, _ in notices(core)] == ["Completed"]


def test_one_that_cannot_revoke_is_not_asked(core: Core, vendor: Vendor, clock: FakeClock) -> None:
    vendor.capabilities = frozenset()
    revoke(core, make(core).certificate_id)

    work(core, clock)

    assert vendor.heard == []
    assert [status for status, _ in notices(core)] == ["Completed"]


def test_each_with_its_own_reason(core: Core, vendor: Vendor, clock: FakeClock) -> None:
    from certctl_core.testing.factories import make_csr

    made = make(core)
    vendor.answers = [Unavailable()]
    path = {"certificate_id": made.certificate_id}
    csr = {"csr_pem": make_csr("web.example.test")}
    newest = core.call("certificates.renew", path=path, body=csr).issued.version.serial_number
    revoke(core, made.certificate_id, serial=made.serial, reason="superseded")
    revoke(core, made.certificate_id, reason="keyCompromise")

    work(core, clock)
    work(core, clock)

    told = {reference.serial: reason for reference, reason in vendor.heard}
    assert told == {made.serial: CRLReason.SUPERSEDED, newest: CRLReason.KEY_COMPROMISE}
    assert waiting(core) == 0


def test_the_final_reason_of_a_hold_is_told_too(
    core: Core, vendor: Vendor, clock: FakeClock
) -> None:
    made = make(core)
    for reason in ("certificateHold", "superseded"):
        revoke(core, made.certificate_id, reason=reason)
        work(core, clock)

    assert [reason.value for _, reason in vendor.heard] == ["certificateHold", "superseded"]
    assert waiting(core) == 0


def test_what_becomes_final_while_the_hold_is_told_is_told_again(
    core: Core, vendor: Vendor, clock: FakeClock
) -> None:
    made = make(core)
    revoke(core, made.certificate_id, reason="certificateHold")
    tell = vendor.revoke

    def meanwhile(certificate: CertRef, reason: CRLReason) -> object:
        if reason is CRLReason.CERTIFICATE_HOLD:
            revoke(core, made.certificate_id, reason="keyCompromise")
        return tell(certificate, reason)

    vendor.revoke = meanwhile  # type: ignore[method-assign] # the test's own vendor

    work(core, clock)

    assert [reason.value for _, reason in vendor.heard] == ["certificateHold", "keyCompromise"]
    assert waiting(core) == 0


def test_our_own_ca_needs_no_notice(core: Core) -> None:
    revoke(core, make(core).certificate_id)

    assert (waiting(core), notices(core)) == (0, [])
