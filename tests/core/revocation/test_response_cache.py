"""Stored OCSP answers (02 §12 OCC, DATA-2, DATA-3): what is kept, and that it never outlives the truth."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from time import monotonic, sleep
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.app import Core
from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.config import Settings
from certctl_core.kernel.secrets import generate_keyring
from certctl_core.lifecycle.revocation import run_ocsp_presign, run_ocsp_purge
from certctl_core.pki.ocsp import CertIDHash, ResponseStatus, cert_id, inspect_response
from certctl_core.testing.fakes import FakeClock
from tests.core.revocation.support import Issued, Web, make, revoke, sql
from tests.machine import eventually

ROW = (
    "SELECT ca_key_id, response_der, cert_status, revocation_reason, revoked_at, responder_serial, "
    "next_update FROM ocsp_response_cache WHERE issuer_id = 'iss-local' AND serial_hex = :serial"
)
COUNT = "SELECT count(*) FROM ocsp_response_cache"


@pytest.fixture
def made(core: Core) -> Issued:
    return make(core)


def stored(core: Core, serial: str) -> list[tuple[Any, ...]]:
    """The rows about a serial, once everything that waits is stored."""
    core.rooms.responses.flush()
    return sql(core, ROW, serial=serial)


def count(core: Core) -> int:
    core.rooms.responses.flush()
    return int(sql(core, COUNT)[0][0])


def forget(core: Core) -> None:
    """What a process does when it hears of a change."""
    core.feed.wake("pki")


def fresh(web: Web, made: Issued) -> bytes:
    """The answer of this moment to a request without a nonce."""
    return web.post(web.question(made.serial)).body


def status_of(der: bytes) -> str:
    return inspect_response(der).answers[0].status.value


def becomes(check: Callable[[], bool]) -> None:
    """Ask until something holds; what is asked after a second must hold (DATA-2)."""
    began = asked = monotonic()
    while not check():
        assert asked - began < 1.0, "it did not happen in time"
        sleep(0.002)
        asked = monotonic()


@pytest.mark.spec("02/OCC-1", "02/OCC-3")
class TestWhatIsStored:
    def test_good_then_revoked(self, core: Core, web: Web, made: Issued, clock: FakeClock) -> None:
        good = fresh(web, made)
        key, der, status, reason, revoked_at, signer, _ = stored(core, made.serial)[0]

        assert (bytes(der), status, reason, revoked_at) == (good, "good", None, None)
        assert key == web.key().ca_key_id
        assert signer == sql(core, "SELECT serial_number FROM ocsp_responder_certs")[0][0]
        revoke(core, made.certificate_id, reason="superseded")
        revoked = fresh(web, made)
        _, der, status, reason, revoked_at, _, _ = stored(core, made.serial)[0]
        assert (bytes(der), status, reason) == (revoked, "revoked", 4)
        assert revoked_at is not None

    def test_one_row_a_hash_and_none_with_a_nonce(self, core: Core, web: Web, made: Issued) -> None:
        web.ask(made.serial, nonce=bytes(16))
        assert count(core) == 0
        for hashed in CertIDHash:
            web.ask(made.serial, hashed=hashed)
        web.get(f"ocsp/iss-local/{made.serial}")
        web.get(f"ocsp/iss-local/{made.serial}?hash=sha256")

        rows = sql(core, "SELECT hash_alg FROM ocsp_response_cache") if count(core) else []
        assert sorted(name for (name,) in rows) == ["sha1", "sha256", "sha384", "sha512"]

    def test_unknown_serials_leave_the_table_as_it_is(self, core: Core, web: Web) -> None:
        caller = Web(core, address="")
        for number in range(2000):
            caller.get(f"ocsp/iss-local/{number:040x}")

        assert count(core) == 0

    def test_one_answer_for_every_process_and_both_forms(
        self, core: Core, web: Web, made: Issued
    ) -> None:
        answer = fresh(web, made)
        assert web.get(f"ocsp/iss-local/{made.serial}").body == answer
        core.rooms.responses.flush()
        with Core.open(core.settings, clock=core.clock, migrate=False) as replica:
            assert fresh(Web(replica), made) == answer
            assert Web(replica).get(f"ocsp/iss-local/{made.serial}").body == answer

    def test_what_waits_is_found(self, core: Core, web: Web, made: Issued) -> None:
        """Memory may be dropped before the row is there: the same answer goes out."""
        answer = fresh(web, made)
        forget(core)
        assert fresh(web, made) == answer

    def test_the_table_is_gone(self, core: Core, web: Web, made: Issued) -> None:
        sql(core, "ALTER TABLE ocsp_response_cache RENAME TO elsewhere")
        forget(core)

        assert status_of(fresh(web, made)) == "good"
        core.rooms.responses.flush()
        revoke(core, made.certificate_id)
        assert status_of(fresh(web, made)) == "revoked"


DAMAGES = {
    "garbage": "UPDATE ocsp_response_cache SET response_der = :garbage",
    "another_certificate": "UPDATE ocsp_response_cache SET response_der = :other",
    "an_error": "UPDATE ocsp_response_cache SET response_der = :error",
    "a_broken_signature": "UPDATE ocsp_response_cache SET response_der = :broken",
    "ended": "UPDATE ocsp_response_cache SET next_update = this_update",
    "another_responder": "UPDATE ocsp_response_cache SET responder_serial = '0123'",
    "another_ca": "UPDATE ocsp_response_cache SET ca_key_id = 'abababababababababababababababababababab'",
    "status_of_the_row": "UPDATE ocsp_response_cache SET cert_status = 'revoked'",
    "no_row": "DELETE FROM ocsp_response_cache",
}


@pytest.mark.spec("02/OCC-2", "02/DATA-2")
class TestWhatIsBelieved:
    @pytest.mark.parametrize("damage", DAMAGES)
    @pytest.mark.parametrize("database_engine", ["sqlite"])
    def test_a_row_that_is_wrong_is_a_miss(
        self, core: Core, web: Web, made: Issued, damage: str
    ) -> None:
        good, other = fresh(web, made), fresh(web, make(core, "other.example.test"))
        core.rooms.responses.flush()
        values = {
            "garbage": b"\x30\x03garbage",
            "other": other,
            "error": bytes.fromhex("3003 0a0102"),
            "broken": good.replace(good[-700:-690], bytes(10)),
        }
        words = re.findall(r":(\w+)", DAMAGES[damage])
        sql(core, DAMAGES[damage], **{word: values[word] for word in words})

        answer = fresh(web, made)

        assert answer not in {*values.values(), good}
        assert status_of(answer) == "good"
        assert inspect_response(answer).answers[0].serial == made.serial
        assert bytes(stored(core, made.serial)[0][1]) == answer

    @pytest.mark.spec("02/DR-9")
    def test_a_stale_good_by_hand(self, core: Core, web: Web, made: Issued) -> None:
        """The runbook's case: the row says good, the certificate is revoked."""
        fresh(web, made)
        (row,) = stored(core, made.serial)
        revoke(core, made.certificate_id)
        assert stored(core, made.serial) == []
        sql(
            core,
            "INSERT INTO ocsp_response_cache (issuer_id, serial_hex, hash_alg, ca_key_id, "
            "response_der, cert_status, responder_serial, this_update, next_update, generated_at) "
            "SELECT 'iss-local', :serial, 'sha1', :key, :der, 'good', :signer, not_before, "
            "not_after, not_before FROM ocsp_responder_certs",
            serial=made.serial, key=row[0], der=bytes(row[1]), signer=row[5],
        )  # fmt: skip

        assert status_of(fresh(web, made)) == "revoked"
        forget(core)
        assert status_of(fresh(web, made)) == "revoked"
        assert stored(core, made.serial)[0][2] == "revoked"

    @pytest.mark.spec("02/DR-7", "02/ROT-5")
    def test_without_its_responder(self, core: Core, web: Web, made: Issued) -> None:
        first = fresh(web, made)
        core.rooms.responses.flush()
        sql(core, "DELETE FROM ocsp_responder_certs WHERE issuer_id = 'iss-local'")

        becomes(lambda: fresh(web, made) != first)

        assert status_of(fresh(web, made)) == "good"

    @pytest.mark.spec("02/DR-9")
    def test_deleted_by_hand(self, core: Core, web: Web, made: Issued) -> None:
        first = fresh(web, made)
        core.rooms.responses.flush()
        sql(
            core,
            "DELETE FROM ocsp_response_cache WHERE issuer_id = 'iss-local' AND serial_hex = :s",
            s=made.serial,
        )

        becomes(lambda: fresh(web, made) != first)

        assert bytes(stored(core, made.serial)[0][1]) == fresh(web, made)

    def test_changed_by_hand(self, core: Core, web: Web, made: Issued, clock: FakeClock) -> None:
        """A valid answer that somebody puts into the row is what every process then serves."""
        with Core.open(core.settings, clock=SystemClock(), migrate=False) as live:
            there = Web(live)
            first = fresh(there, made)
            live.rooms.responses.flush()
            key = there.key()
            second = live.rooms.ocsp.sign(
                key, cert_id(CertIDHash.SHA1, key.certificate, made.serial), None
            )
            told: list[str] = []
            live.feed.subscribe("pki", lambda: told.append("pki"))
            sql(
                core,
                "UPDATE ocsp_response_cache SET response_der = :der, this_update = :a, "
                "next_update = :b",
                der=second.der,
                a=_as_stored(live, second.this_update),
                b=_as_stored(live, second.next_update),
            )
            becomes(lambda: fresh(there, made) == second.der)
            assert first != second.der
            eventually(lambda: bool(told), what="announced: it is not found by a time-out alone")

    @pytest.mark.spec("02/DR-10", "02/DATA-3")
    def test_emptied(self, core: Core, web: Web, made: Issued, database_engine: str) -> None:
        fresh(web, made)
        core.rooms.responses.flush()
        statement = (
            "TRUNCATE ocsp_response_cache"
            if database_engine == "postgres"
            else "DELETE FROM ocsp_response_cache"
        )
        for _ in range(3):
            sql(core, statement)
            assert status_of(fresh(web, made)) == "good"


def _as_stored(core: Core, moment: Any) -> Any:
    return moment if core.database.is_postgres else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.mark.spec("02/REV-2")
class TestRevoking:
    def test_the_rows_go_with_the_transaction(self, core: Core, web: Web, made: Issued) -> None:
        web.ask(made.serial)
        web.ask(made.serial, hashed=CertIDHash.SHA256)
        other = make(core, "other.example.test")
        web.ask(other.serial)
        assert count(core) == 3

        revoke(core, made.certificate_id)

        assert count(core) == 1

    def test_hold_and_release(self, core: Core, web: Web, made: Issued) -> None:
        assert status_of(fresh(web, made)) == "good"
        revoke(core, made.certificate_id, reason="certificateHold")
        assert status_of(fresh(web, made)) == "revoked"
        core.call("certificates.unhold", path={"certificate_id": made.certificate_id})
        assert status_of(fresh(web, made)) == "good"

    def test_a_delete_that_fails_is_a_warning(
        self, core: Core, web: Web, made: Issued, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fresh(web, made)
        core.rooms.responses.flush()
        sql(core, "ALTER TABLE ocsp_response_cache RENAME TO elsewhere")

        assert revoke(core, made.certificate_id) == [made.serial]

        said = capsys.readouterr().out
        assert "InvalidateOnRevoke" in said
        assert "iss-local" in said
        assert made.serial in said
        sql(core, "ALTER TABLE elsewhere RENAME TO ocsp_response_cache")
        forget(core)
        assert status_of(fresh(web, made)) == "revoked", "the row that stayed is not served"


@pytest.mark.spec("02/OCSP-7")
def test_an_error_of_the_database_is_never_good(core: Core, web: Web, made: Issued) -> None:
    assert status_of(fresh(web, made)) == "good"
    other = make(core, "other.example.test")
    sql(core, "ALTER TABLE certificate_revocations RENAME TO elsewhere")
    forget(core)

    reply = web.post(web.question(other.serial))
    by_serial = web.get(f"ocsp/iss-local/{other.serial}")

    assert (reply.status, by_serial.status) == (500, 500)
    assert inspect_response(reply.body).error is ResponseStatus.INTERNAL_ERROR
    assert by_serial.headers["Content-Type"] == "application/problem+json"
    sql(core, "ALTER TABLE elsewhere RENAME TO certificate_revocations")
    assert status_of(web.post(web.question(other.serial)).body) == "good"


@pytest.mark.spec("02/OCSP-11", "02/OCC-4")
def test_an_answer_lasts_as_long_as_caches_keep_it(
    core: Core, web: Web, made: Issued, clock: FakeClock
) -> None:
    first = fresh(web, made)
    core.rooms.responses.flush()
    for minutes in range(5, 55, 5):
        clock.advance(timedelta(minutes=5))
        reply = web.post(web.question(made.serial))
        age = int(re.findall(r"max-age=(\d+)", reply.headers["Cache-Control"])[0])
        left = inspect_response(reply.body).answers[0].next_update
        assert left is not None
        assert clock.now() + timedelta(seconds=age) <= left
        assert (reply.body == first) == (minutes < 55), minutes
    clock.advance(timedelta(minutes=6))
    second = fresh(web, made)
    assert second != first
    core.rooms.responses.flush()
    assert run_ocsp_purge(core.rooms.responses) == 0
    clock.advance(timedelta(hours=2))
    assert run_ocsp_purge(core.rooms.responses) == 1
    assert count(core) == 0


@pytest.mark.spec("02/OCC-4")
def test_signed_ahead(core: Core, web: Web, clock: FakeClock) -> None:
    made = [make(core, f"w{number}.example.test") for number in range(5)]
    revoke(core, made[0].certificate_id)

    def tick() -> int:
        return run_ocsp_presign(
            core.rooms.presigner, interval=timedelta(minutes=30), is_over=lambda: False
        )

    assert tick() == 5
    assert count(core) == 5, "the responder's own certificate is not among them"
    assert tick() == 0
    rows = dict(sql(core, "SELECT serial_hex, response_der FROM ocsp_response_cache"))
    for item in made:
        answer = fresh(web, item)
        assert answer == bytes(rows[item.serial])
        assert status_of(answer) == ("revoked" if item is made[0] else "good")
    revoke(core, made[1].certificate_id)
    assert tick() == 1
    clock.advance(timedelta(minutes=31))
    assert tick() == 5
    core.call("ocsp.rotate", path={"issuer_id": "iss-local"})
    assert tick() == 5
    clock.advance(timedelta(days=200))
    assert tick() == 0, "nobody asks about certificates that have ended"


@pytest.mark.spec("02/OCC-4")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_the_loops_are_there(database_url: str, tmp_path: Any) -> None:
    keys = generate_keyring()
    for presign in (False, True):
        settings = Settings.for_directory(
            tmp_path / "data",
            database_url=database_url,
            config_encryption_keys=keys,
            ocsp_presign=presign,
        )
        with Core.open(settings) as core:
            names = core.background.scheduler.names
            assert "ocsp_purge" in names
            assert ("ocsp_presign" in names) == presign


@pytest.mark.spec("02/DR-9")
def test_the_runbooks_pipe(
    core: Core, web: Web, made: Issued, openssl: Callable[..., str], tmp_path: Any
) -> None:
    (tmp_path / "ca.pem").write_bytes(web.ca().public_bytes(Encoding.PEM))
    (tmp_path / "leaf.pem").write_text(made.pem)
    shown = openssl("x509", "-in", "leaf.pem", "-noout", "-serial")
    serial = shown.strip().partition("=")[2].lower()
    assert serial == made.serial

    def pipe() -> str:
        body = web.get(f"ocsp/iss-local/{serial}").body
        return openssl(
            "ocsp", "-respin", "/dev/stdin", "-resp_text", "-CAfile", "ca.pem", data=body
        )

    assert "Cert Status: good" in pipe()
    revoke(core, made.certificate_id)
    said = pipe()
    assert "Cert Status: revoked" in said
    assert "Response verify OK" in said
