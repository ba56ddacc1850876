"""Revoking and releasing (02 §10): what is covered, what is refused, what is written."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from cryptography import x509

from certctl_core.app import Core
from certctl_core.kernel.errors import CertctlError
from certctl_core.lifecycle.certificates import Status, VersionNotFound
from certctl_core.lifecycle.revocation import (
    AlreadyRevoked,
    BadRevocationReason,
    NotOnHold,
    NotRevocable,
)
from certctl_core.lifecycle.revocation._tables import certificate_revocations as rows
from certctl_core.pki.keys import KeyAlgorithm, generate
from certctl_core.pki.reasons import CRLReason
from certctl_core.testing.factories import make_csr
from certctl_core.testing.fakes import FakeClock
from tests.core.revocation.support import Web, make, revoke


def certificate(core: Core, certificate_id: str):
    return core.call("certificates.get", path={"certificate_id": certificate_id})


def versions(core: Core, certificate_id: str) -> dict[str, bool]:
    """Serial → whether it is stamped as revoked."""
    page = core.call("certificates.versions", path={"certificate_id": certificate_id})
    return {item.serial_number: item.revoked_at is not None for item in page.data}


def renew(core: Core, certificate_id: str, csr: str | None = None) -> str:
    """A new version; gives its serial."""
    body = {"csr_pem": csr or make_csr("web.example.test")}
    path = {"certificate_id": certificate_id}
    serial: str = core.call("certificates.renew", path=path, body=body).issued.version.serial_number
    return serial


def answer(web: Web, serial: str) -> tuple[str | None, datetime | None]:
    """Reason and date as OCSP gives them."""
    single = web.ask(serial).answers[0]
    return single.reason, single.revoked_at


def number(web: Web) -> int:
    return web.crl().extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def entry_reason(entry: x509.RevokedCertificate) -> str | None:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except x509.ExtensionNotFound:
        return None


def count(core: Core) -> int:
    with core.units.read() as uow:
        return int(uow.scalar(sa.select(sa.func.count()).select_from(rows)))


@pytest.mark.spec("02/REV-2", "01/CERT-12", "06/REV-1")
def test_certificate_row_audit_and_answer_agree(core: Core, web: Web, clock: FakeClock) -> None:
    made = make(core)

    serials = revoke(core, made.certificate_id, reason="keyCompromise")

    assert serials == [made.serial]
    view = certificate(core, made.certificate_id)
    assert (view.status, view.revocation_reason) == (Status.REVOKED, "keyCompromise")
    assert view.revoked_at == clock.now()
    assert view.next_renewal_at is None
    with core.units.read() as uow:
        row = uow.execute(sa.select(rows)).one()
    assert (row.serial_number, row.reason, row.reason_code) == (made.serial, "keyCompromise", 1)
    assert (row.issuer_id, row.ca_key_id) == ("iss-local", web.key().ca_key_id)
    audited = [item.action for item in core.call("audit.list").data]
    assert "certificate.revoked" in audited
    counts = core.call("certificates.list", query={"status": "Revoked"})
    assert counts.total == 1


@pytest.mark.spec("02/REV-1")
@pytest.mark.parametrize(
    ("spelling", "stored"),
    [
        ("unspecified", "unspecified"),
        ("caCompromise", "cACompromise"),
        ("cACompromise", "cACompromise"),
        ("affiliation_changed", "affiliationChanged"),
        ("superseded", "superseded"),
        ("cessation_of_operation", "cessationOfOperation"),
        ("privilegeWithdrawn", "privilegeWithdrawn"),
    ],
)
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_reasons_in_their_spellings(core: Core, spelling: str, stored: str) -> None:
    made = make(core)

    revoke(core, made.certificate_id, reason=spelling)

    assert certificate(core, made.certificate_id).revocation_reason == stored


@pytest.mark.parametrize("reason", ["removeFromCRL", "aACompromise", "8", "key compromise", "1"])
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_other_reasons_are_refused(core: Core, reason: str) -> None:
    made = make(core)

    with pytest.raises(BadRevocationReason):
        revoke(core, made.certificate_id, reason=reason)

    assert count(core) == 0
    assert certificate(core, made.certificate_id).status is Status.ACTIVE


def test_a_second_revocation_is_refused_and_changes_nothing(core: Core, clock: FakeClock) -> None:
    made = make(core)
    revoke(core, made.certificate_id, reason="superseded")
    before = certificate(core, made.certificate_id)
    clock.advance(timedelta(minutes=1))

    for reason in ("superseded", "keyCompromise"):
        with pytest.raises(AlreadyRevoked):
            revoke(core, made.certificate_id, reason=reason)

    assert certificate(core, made.certificate_id) == before
    assert count(core) == 1


@pytest.mark.spec("01/CERT-12")
def test_what_cannot_be_revoked(core: Core) -> None:
    pending = core.call("certificates.create", body={"common_name": "later.example.test"})
    archived = make(core)
    core.call("certificates.archive", path={"certificate_id": archived.certificate_id})

    with pytest.raises(CertctlError, match="There is no certificate"):
        revoke(core, "mc-unknown")
    for certificate_id in (pending.id, archived.certificate_id):
        with pytest.raises(NotRevocable):
            revoke(core, certificate_id)
    with pytest.raises(VersionNotFound):
        revoke(core, make(core).certificate_id, serial="00ff")
    assert count(core) == 0


@pytest.mark.parametrize("form", ["{0:X}", "0x{0:x}", "000{0:x}", "colons"])
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_a_serial_in_any_spelling(core: Core, form: str) -> None:
    made = make(core)
    pairs = ":".join(made.serial[i : i + 2] for i in range(0, len(made.serial), 2))
    text = pairs if form == "colons" else form.format(int(made.serial, 16))

    assert revoke(core, made.certificate_id, serial=text) == [made.serial]


@pytest.mark.parametrize("text", ["", "no hex", "-1", "0x", "zz:zz"])
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_what_is_no_serial_is_refused(core: Core, text: str) -> None:
    made = make(core)

    with pytest.raises(CertctlError) as caught:
        revoke(core, made.certificate_id, serial=text)

    assert [item.field for item in caught.value.fields] == ["serial"]
    assert count(core) == 0


@pytest.mark.spec("02/REV-1")
def test_only_the_current_version_by_default(core: Core, clock: FakeClock) -> None:
    made = make(core)
    clock.advance(timedelta(seconds=1))
    newest = renew(core, made.certificate_id)

    assert revoke(core, made.certificate_id) == [newest]
    assert versions(core, made.certificate_id) == {newest: True, made.serial: False}


@pytest.mark.spec("02/REV-1")
def test_the_current_version_also_when_all_are_of_one_moment(core: Core) -> None:
    made = make(core)
    newest = renew(core, renew(core, made.certificate_id) and made.certificate_id)

    assert revoke(core, made.certificate_id) == [newest]


@pytest.mark.spec("02/REV-1")
def test_key_compromise_covers_every_unexpired_version_of_that_key(
    core: Core, clock: FakeClock
) -> None:
    key = generate(KeyAlgorithm.ECDSA_P256)
    made = core.issue(make_csr("web.example.test", key=key))
    certificate_id, expired = made.certificate.id, made.version.serial_number
    clock.advance(timedelta(days=60))
    same = renew(core, certificate_id, make_csr("web.example.test", key=key))
    clock.advance(timedelta(days=40))
    other = renew(core, certificate_id)
    newest = renew(core, certificate_id, make_csr("web.example.test", key=key))

    serials = revoke(core, certificate_id, reason="keyCompromise")

    assert set(serials) == {same, newest}
    assert versions(core, certificate_id) == {
        newest: True, other: False, same: True, expired: False,
    }  # fmt: skip


@pytest.mark.spec("02/REV-1")
def test_all_unexpired_covers_every_key(core: Core) -> None:
    made = make(core)
    newest = renew(core, made.certificate_id)

    serials = revoke(core, made.certificate_id, scope="all_unexpired")

    assert set(serials) == {made.serial, newest}


def test_an_old_version_by_serial_leaves_the_certificate_alive(core: Core, web: Web) -> None:
    made = make(core)
    newest = renew(core, made.certificate_id)

    assert revoke(core, made.certificate_id, serial=made.serial) == [made.serial]

    view = certificate(core, made.certificate_id)
    assert view.status is Status.ACTIVE
    assert view.next_renewal_at is not None
    assert (web.status(made.serial), web.status(newest)) == ("revoked", "good")
    with pytest.raises(AlreadyRevoked):
        revoke(core, made.certificate_id, serial=made.serial)
    assert revoke(core, made.certificate_id) == [newest]
    assert certificate(core, made.certificate_id).status is Status.REVOKED


def test_older_versions_of_a_revoked_certificate_can_follow(core: Core, web: Web) -> None:
    made = make(core)
    newest = renew(core, made.certificate_id)
    revoke(core, made.certificate_id, reason="superseded")

    assert revoke(core, made.certificate_id, scope="all_unexpired") == [made.serial]

    assert (web.status(made.serial), web.status(newest)) == ("revoked", "revoked")
    assert certificate(core, made.certificate_id).revocation_reason == "superseded"


@pytest.mark.spec("01/CERT-03")
def test_open_jobs_end_with_the_certificate(core: Core) -> None:
    made = make(core)
    core.rooms.renewal.set_key_holders(lambda _uow, _id: ["ag-one"])
    renewal = core.call("certificates.renew", path={"certificate_id": made.certificate_id})

    revoke(core, made.certificate_id)

    job = core.call("jobs.get", path={"job_id": renewal.job_ids[0]})
    assert job.status == "Cancelled"
    with pytest.raises(CertctlError) as caught:
        renew(core, made.certificate_id)
    assert caught.value.code == "wrong_state"


class TestHold:
    def test_hold_and_release(self, core: Core, web: Web) -> None:
        made = make(core)
        planned = certificate(core, made.certificate_id).next_renewal_at
        revoke(core, made.certificate_id, reason="certificateHold")
        assert web.status(made.serial) == "revoked"
        assert set(web.listed()) == {made.serial.lstrip("0")}

        view = core.call("certificates.unhold", path={"certificate_id": made.certificate_id})

        assert view.serials == [made.serial]
        after = certificate(core, made.certificate_id)
        assert (after.status, after.revoked_at, after.revocation_reason) == (
            Status.ACTIVE, None, None,
        )  # fmt: skip
        assert after.next_renewal_at == planned
        assert versions(core, made.certificate_id) == {made.serial: False}
        assert web.status(made.serial) == "good"
        assert web.listed() == {}
        assert "certificate.unheld" in [item.action for item in core.call("audit.list").data]

    def test_release_returns_to_what_the_dates_say(self, core: Core, clock: FakeClock) -> None:
        made = make(core)
        revoke(core, made.certificate_id, reason="certificateHold")
        clock.advance(timedelta(days=91))

        core.call("certificates.unhold", path={"certificate_id": made.certificate_id})

        assert certificate(core, made.certificate_id).status is Status.EXPIRED

    def test_only_a_hold_is_released(self, core: Core, web: Web) -> None:
        active, revoked = make(core), make(core)
        revoke(core, revoked.certificate_id, reason="superseded")

        for made in (active, revoked):
            with pytest.raises(NotOnHold):
                core.call("certificates.unhold", path={"certificate_id": made.certificate_id})
        assert web.status(revoked.serial) == "revoked"

    def test_a_held_old_version_is_released_alone(self, core: Core, web: Web) -> None:
        made = make(core)
        newest = renew(core, made.certificate_id)
        revoke(core, made.certificate_id, serial=made.serial, reason="certificateHold")

        view = core.call("certificates.unhold", path={"certificate_id": made.certificate_id})

        assert view.serials == [made.serial]
        assert (web.status(made.serial), web.status(newest)) == ("good", "good")
        assert certificate(core, made.certificate_id).status is Status.ACTIVE

    def test_hold_again_after_release(self, core: Core, web: Web) -> None:
        made = make(core)
        path = {"certificate_id": made.certificate_id}
        for _ in range(2):
            revoke(core, made.certificate_id, reason="certificateHold")
            assert set(web.listed()) == {made.serial.lstrip("0")}
            core.call("certificates.unhold", path=path)
            assert web.listed() == {}


class TestHoldMadeFinal:
    @pytest.mark.spec("02/REV-2", "02/CRL-1")
    @pytest.mark.parametrize("reason", [one for one in CRLReason if one.value != "certificateHold"])
    def test_every_relying_party_sees_the_reason_and_the_day_of_the_hold(
        self, core: Core, web: Web, clock: FakeClock, reason: CRLReason
    ) -> None:
        made = make(core)
        revoke(core, made.certificate_id, reason="certificateHold")
        held_at, before = clock.now(), number(web)
        assert answer(web, made.serial) == ("certificateHold", held_at)
        clock.advance(timedelta(days=2))

        view = core.call(
            "certificates.revoke",
            path={"certificate_id": made.certificate_id},
            body={"reason": reason.value},
        )

        assert (view.serials, view.reason, view.revoked_at) == ([made.serial], reason, held_at)
        shown_reason = None if reason is CRLReason.UNSPECIFIED else reason.value
        assert answer(web, made.serial) == (shown_reason, held_at)
        (entry,) = web.listed().values()
        assert (entry_reason(entry), entry.revocation_date_utc) == (shown_reason, held_at)
        assert number(web) > before
        shown = certificate(core, made.certificate_id)
        assert (shown.status, shown.revocation_reason, shown.revoked_at) == (
            Status.REVOKED, reason.value, held_at,
        )  # fmt: skip
        assert count(core) == 1
        with pytest.raises(NotOnHold):
            core.call("certificates.unhold", path={"certificate_id": made.certificate_id})

    def test_the_log_tells_both_steps(self, core: Core) -> None:
        made = make(core)
        for reason in ("certificateHold", "superseded"):
            revoke(core, made.certificate_id, reason=reason)

        found = core.call("audit.list", query={"action": "certificate.revoked"}).data
        assert [item.details["reason"] for item in found] == ["superseded", "certificateHold"]

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("certificateHold", "certificateHold"),
            ("superseded", "certificateHold"),
            ("superseded", "keyCompromise"),
        ],
    )
    def test_nothing_else_changes_a_reason(self, core: Core, first: str, second: str) -> None:
        made = make(core)
        revoke(core, made.certificate_id, reason=first)
        version = certificate(core, made.certificate_id).version

        with pytest.raises(AlreadyRevoked):
            revoke(core, made.certificate_id, reason=second)

        shown = certificate(core, made.certificate_id)
        assert (shown.revocation_reason, shown.version) == (first, version)

    @pytest.mark.spec("02/PROF-3")
    def test_a_compromised_key_is_blocked(self, core: Core) -> None:
        made = make(core)
        revoke(core, made.certificate_id, reason="certificateHold")

        revoke(core, made.certificate_id, reason="keyCompromise")

        assert len(core.call("blocked_keys.list").data) == 1

    def test_the_later_invalidity_date_counts(self, core: Core, web: Web, clock: FakeClock) -> None:
        made = make(core)
        since = [clock.now() - timedelta(days=days) for days in (3, 5)]
        hold = {"reason": "certificateHold", "invalidity_date": since[0].isoformat()}
        revoke(core, made.certificate_id, **hold)

        revoke(core, made.certificate_id, reason="superseded", invalidity_date=since[1].isoformat())

        (entry,) = web.listed().values()
        found = entry.extensions.get_extension_for_class(x509.InvalidityDate).value
        assert found.invalidity_date_utc == since[1]

    def test_an_old_version_on_hold_leaves_the_certificate_alone(
        self, core: Core, web: Web
    ) -> None:
        made = make(core)
        newest = renew(core, made.certificate_id)
        for reason in ("certificateHold", "superseded"):
            assert revoke(core, made.certificate_id, serial=made.serial, reason=reason) == [
                made.serial
            ]

        assert (web.status(made.serial), web.status(newest)) == ("revoked", "good")
        assert certificate(core, made.certificate_id).status is Status.ACTIVE

    def test_what_was_not_revoked_yet_is_revoked_now(
        self, core: Core, web: Web, clock: FakeClock
    ) -> None:
        made = make(core)
        newest = renew(core, made.certificate_id)
        revoke(core, made.certificate_id, reason="certificateHold")
        held_at = clock.now()
        clock.advance(timedelta(hours=1))

        done = revoke(core, made.certificate_id, reason="superseded", scope="all_unexpired")

        assert set(done) == {newest, made.serial}
        assert answer(web, newest) == ("superseded", held_at)
        assert answer(web, made.serial) == ("superseded", clock.now())


def test_a_failing_transaction_leaves_no_trace(core: Core, web: Web) -> None:
    made = make(core)

    def interrupted() -> None:
        with core.begin() as uow:
            core.rooms.revocation.revoke(uow, certificate_id=made.certificate_id)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()

    assert count(core) == 0
    assert certificate(core, made.certificate_id).status is Status.ACTIVE
    assert web.status(made.serial) == "good"


def test_of_two_writers_one_wins(core: Core) -> None:
    made = make(core)
    outcomes: list[str] = []

    def attempt(reason: str) -> None:
        try:
            revoke(core, made.certificate_id, reason=reason)
            outcomes.append(reason)
        except AlreadyRevoked:
            outcomes.append("")

    reasons = ["superseded", "keyCompromise", "cessationOfOperation", "privilegeWithdrawn"]
    threads = [threading.Thread(target=attempt, args=(reason,)) for reason in reasons]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    winners = [reason for reason in outcomes if reason]
    assert len(winners) == 1
    assert certificate(core, made.certificate_id).revocation_reason == winners[0]
    assert count(core) == 1
    audited = [item.action for item in core.call("audit.list").data]
    assert audited.count("certificate.revoked") == 1
