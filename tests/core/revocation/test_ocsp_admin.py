"""OCSP for operators (02 §17): state, rotation, purge, check, what is counted, where keys lie."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certctl_core.app import Core
from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.config import Settings
from certctl_core.kernel.errors import Forbidden, Invalid, NotFound
from certctl_core.kernel.observability import REGISTRY
from certctl_core.lifecycle.authorities import LocalConfig
from certctl_core.lifecycle.revocation.errors import ResponderKeysApart
from certctl_core.pki.keys import KeyAlgorithm, generate, private_key_pem
from certctl_core.pki.ocsp import ResponseStatus, inspect_response
from certctl_core.testing.fakes import FakeClock
from tests.core.revocation.support import Issued, Web, make, revoke, sql
from tests.machine import PATIENCE_SECONDS, eventually

LOCAL = {"issuer_id": "iss-local"}


@pytest.fixture
def made(core: Core) -> Issued:
    return make(core)


def counted(label: str, metric: str = "certctl_ocsp_counter_total") -> float:
    """A counter of this process."""
    found = REGISTRY.get(metric)
    assert found is not None
    return sum(s.value for s in found.series() if label in dict(s.labels).values())


def events(core: Core, action: str) -> list[Any]:
    """What the audit log has of one action."""
    return [event for event in core.call("audit.list").data if event.action == action]


class TestState:
    def test_responders_and_stored_answers(
        self, core: Core, web: Web, made: Issued, clock: FakeClock
    ) -> None:
        assert core.call("ocsp.state").responders == []
        web.ask(made.serial)
        other = make(core, "other.example.test")
        revoke(core, other.certificate_id)
        web.ask(other.serial)
        core.rooms.responses.flush()

        state = core.call("ocsp.state")

        (responder,), (cache,) = state.responders, state.cache
        assert (responder.key_state, responder.problem) == ("ready", None)
        assert responder.cert_subject.startswith("CN=OCSP Responder for")
        assert (cache.issuer_id, cache.good, cache.revoked) == ("iss-local", 1, 1)
        clock.advance(timedelta(days=24))
        assert core.call("ocsp.state").responders[0].key_state == "due"

    def test_a_key_that_is_gone(self, core: Core, web: Web, made: Issued) -> None:
        web.ask(made.serial)
        Path(sql(core, "SELECT key_path FROM ocsp_responder_certs")[0][0]).unlink()

        (responder,) = core.call("ocsp.state").responders

        assert responder.key_state == "unusable"
        assert responder.problem == "its key file cannot be read"

    def test_it_needs_the_permission(self, core: Core) -> None:
        nobody = Actor(type=ActorType.API_KEY, id="ak-nobody", label="nobody")
        for name in ("ocsp.state", "ocsp.purge", "ocsp.rotate"):
            path = LOCAL if name == "ocsp.rotate" else None
            with pytest.raises(Forbidden):
                core.call(name, actor=nobody, path=path)


class TestRotate:
    def test_it_is_audited_with_who_asked(self, core: Core, web: Web, made: Issued) -> None:
        web.ask(made.serial)
        before = sql(core, "SELECT serial_number FROM ocsp_responder_certs")[0][0]

        operator = Actor(type=ActorType.SYSTEM, id="drill", label="drill")

        view = core.call("ocsp.rotate", path=LOCAL, actor=operator)

        (serial,) = view.serial_numbers.values()
        assert sql(core, "SELECT serial_number, rotated_from FROM ocsp_responder_certs") == [
            (serial, before)
        ]
        found = {e.details["serial_number"]: e for e in events(core, "ocsp_responder.rotated")}
        assert set(found) == {serial, before}
        assert (found[serial].resource_id, found[serial].actor) == ("iss-local", operator.id)
        with pytest.raises(NotFound):
            core.call("ocsp.rotate", path={"issuer_id": "iss-none"})


class TestPurge:
    @pytest.fixture
    def serials(self, core: Core, web: Web) -> list[str]:
        made = [make(core, f"w{number}.example.test").serial for number in range(3)]
        for serial in made:
            web.ask(serial)
        core.rooms.responses.flush()
        return made

    def test_one_serial_in_any_spelling(self, core: Core, web: Web, serials: list[str]) -> None:
        der = web.question(serials[0])
        before = web.post(der).body
        body = {"issuer_id": "iss-local", "serial": f"0x{serials[0].upper()}"}

        assert core.call("ocsp.purge", body=body).purged == 1

        assert web.post(der).body != before
        (event,) = events(core, "ocsp_cache.purged")
        assert event.details == {"serial_number": serials[0], "purged": 1}

    def test_an_issuer_or_everything(self, core: Core, web: Web, serials: list[str]) -> None:
        assert core.call("ocsp.purge", body={"issuer_id": "iss-none"}).purged == 0
        assert core.call("ocsp.purge", body={"issuer_id": "iss-local"}).purged == 3
        assert core.call("ocsp.purge").purged == 0
        with pytest.raises(Invalid):
            core.call("ocsp.purge", body={"serial": "no serial"})


class TestCheck:
    def test_it_says_what_relying_parties_hear(self, core: Core, made: Issued) -> None:
        path = {"certificate_id": made.certificate_id}

        good = core.call("ocsp.check", path=path)
        revoke(core, made.certificate_id, reason="superseded")
        revoked = core.call("ocsp.check", path=path)

        assert (good.response_status, good.status) == ("successful", "good")
        assert (good.is_verified, good.problem, good.serial_number) == (True, None, made.serial)
        assert (revoked.status, revoked.reason) == ("revoked", "superseded")
        assert revoked.revoked_at is not None
        assert revoked.next_update > revoked.this_update

    def test_without_a_certificate(self, core: Core) -> None:
        with pytest.raises(NotFound):
            core.call("ocsp.check", path={"certificate_id": "cert-none"})


@pytest.mark.spec("02/OPS-1")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_what_is_counted(core: Core, web: Web, made: Issued, clock: FakeClock) -> None:
    labels = (
        "request_get", "request_post", "request_success", "request_invalid", "issuer_not_found",
        "cert_not_found", "signing_failed", "nonce_echoed", "nonce_malformed", "rate_limited",
        "status_good", "status_revoked", "status_unknown", "cache_hit", "cache_miss",
        "cache_invalidated", "responder_rotated",
    )  # fmt: skip
    before = {label: counted(label) for label in labels}

    def moved(*, since: dict[str, float]) -> dict[str, float]:
        now = {label: counted(label) for label in labels}
        return {label: now[label] - since[label] for label in labels if now[label] != since[label]}

    web.ask(made.serial)
    assert moved(since=before) == {
        "request_post": 1, "request_success": 1, "status_good": 1, "cache_miss": 1,
        "responder_rotated": 1,
    }  # fmt: skip
    core.rooms.responses.flush()
    at = {label: counted(label) for label in labels}
    web.get(f"ocsp/iss-local/{made.serial}")
    assert moved(since=at) == {
        "request_get": 1, "request_success": 1, "status_good": 1, "cache_hit": 1
    }  # fmt: skip
    for _ in range(2):  # from memory, too, one request is one hit
        at = {label: counted(label) for label in labels}
        web.ask(made.serial)
        assert moved(since=at) == {
            "request_post": 1, "request_success": 1, "status_good": 1, "cache_hit": 1
        }  # fmt: skip
    text = base64.b64encode(web.question(made.serial)).decode()
    for _ in range(3):
        at = {label: counted(label) for label in labels}
        web.get(f"ocsp/iss-local/{text}")
        assert moved(since=at) == {
            "request_get": 1, "request_success": 1, "status_good": 1, "cache_hit": 1
        }  # fmt: skip
    at = {label: counted(label) for label in labels}
    web.ask(made.serial, nonce=bytes(16))
    web.post(web.question(made.serial, nonce=bytes(129)))
    web.ask("00")
    web.post(b"garbage")
    assert moved(since=at) == {
        "request_post": 4, "request_success": 2, "status_good": 1, "status_unknown": 1,
        "cert_not_found": 1, "nonce_echoed": 1, "nonce_malformed": 1, "request_invalid": 2,
    }  # fmt: skip
    at = {label: counted(label) for label in labels}
    revoke(core, made.certificate_id)
    web.ask(made.serial)
    assert moved(since=at) == {
        "cache_invalidated": 1, "request_post": 1, "request_success": 1, "status_revoked": 1,
        "cache_miss": 1,
    }  # fmt: skip
    gauge = REGISTRY.get("certctl_ocsp_responder_not_after_timestamp_seconds")
    assert gauge is not None
    end = gauge.value("iss-local", web.key().ca_key_id)
    assert end == (clock.now() + timedelta(days=30)).timestamp()


@pytest.mark.spec("02/RSP-6")
def test_the_ca_key_signs_nothing_but_the_responder(core: Core, web: Web, made: Issued) -> None:
    """Acceptance 27: a thousand questions, and the counter of the CA's signer stays flat."""
    web.ask(made.serial)
    metric = "certctl_signer_operations_total"
    before = counted("success", metric)
    caller = Web(core, address="")
    for number in range(500):
        caller.ask(made.serial, nonce=number.to_bytes(16, "big"))
        caller.ask(f"{number:040x}")

    assert counted("success", metric) == before


@pytest.mark.spec("02/RSP-5")
class TestKeyPlaces:
    """Several servers of one PostgreSQL have to share the keys of their responders."""

    @pytest.fixture
    def living(self, core: Core) -> Iterator[Core]:
        """The first server, with its background running."""
        core.background.start()
        yield core
        core.background.stop()

    @staticmethod
    def elsewhere(core: Core, folder: Path) -> Settings:
        """The settings of a server with a directory of its own."""
        ocsp = core.settings.ocsp.model_copy(update={"responder_key_dir": folder / "elsewhere"})
        return core.settings.model_copy(update={"ocsp": ocsp})

    @pytest.mark.parametrize("database_engine", ["postgres"])
    def test_separate_directories_refuse_to_start(self, living: Core, tmp_path: Path) -> None:
        changed = self.elsewhere(living, tmp_path)
        with pytest.raises(ResponderKeysApart):
            Core.open(changed, clock=SystemClock(), migrate=False)

        with Core.open(living.settings, clock=SystemClock(), migrate=False) as second:
            second.background.start()

    @pytest.mark.parametrize("database_engine", ["postgres"])
    def test_the_dead_do_not_count(self, core: Core, tmp_path: Path) -> None:
        core.background.start()
        core.background.stop()
        changed = self.elsewhere(core, tmp_path)
        with Core.open(changed, clock=SystemClock(), migrate=False) as second:
            second.background.start()

    @pytest.mark.parametrize("database_engine", ["postgres"])
    def test_two_replicas_make_one_responder(self, core: Core, web: Web, made: Issued) -> None:
        """First requests to both at once: one responder, one row, no ping-pong."""
        answers: list[bytes] = []
        with Core.open(core.settings, clock=core.clock, migrate=False) as second:
            both = [web, Web(second)]
            der = web.question(made.serial, nonce=bytes(8))
            start = threading.Barrier(8)

            def ask(there: Web) -> None:
                start.wait(PATIENCE_SECONDS)
                answers.append(there.post(der).body)

            threads = [threading.Thread(target=ask, args=(both[n % 2],)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        statuses = {inspect_response(der).answers[0].status.value for der in answers}
        made_rows = sql(core, "SELECT * FROM ca_issued_certificates WHERE kind = 'ocsp_responder'")
        assert statuses == {"good"}
        assert len(made_rows) == 1


def write_later(path: Path, data: bytes) -> None:
    """Overwrite a file at another moment of the file system's clock, which goes in steps."""
    before = path.stat().st_mtime_ns

    def is_later() -> bool:
        path.write_bytes(data)
        return path.stat().st_mtime_ns != before

    eventually(is_later)


@pytest.mark.spec("02/RSP-3", "02/RSP-4")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_a_foreign_key_file_is_seen_at_the_next_signature(
    core: Core, web: Web, made: Issued, tmp_path: Path
) -> None:
    """No second has to pass: the identity of the file is looked at each time."""
    web.ask(made.serial, nonce=bytes(8))
    path = tmp_path / "data" / "ocsp-responder-keys" / "iss-local.key"
    before = sql(core, "SELECT serial_number FROM ocsp_responder_certs")
    write_later(path, private_key_pem(generate(KeyAlgorithm.ECDSA_P256)))

    info = web.ask(made.serial, nonce=bytes(8))

    assert info.error is not ResponseStatus.INTERNAL_ERROR
    assert sql(core, "SELECT serial_number FROM ocsp_responder_certs") != before


@pytest.mark.spec("02/OCSP-7")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_serials_with_leading_zeros_are_found(core: Core, web: Web) -> None:
    """Acceptance 19: a serial number has whole bytes, and DER one more where its first bit is set."""
    given = iter([0x0123, 0x00FF_00, 0x7F, 0x80, 0x8001, 0x0001_0000_0000_0000_0000, 0x0A])
    core.rooms.authorities._draw = lambda: next(given)
    web.get("ocsp/iss-local/00")  # the responder takes the first
    for number in range(6):
        made = make(core, f"z{number}.example.test")
        assert len(made.serial) % 2 == 0
        assert web.status(made.serial) == "good"
        assert web.ask(made.serial, nonce=bytes(8)).answers[0].status.value == "good"
        for text in (made.serial, made.serial.lstrip("0"), f"0000{made.serial}"):
            found = inspect_response(web.get(f"ocsp/iss-local/{text}").body).answers[0]
            assert (found.serial, found.status.value) == (made.serial, "good")


@pytest.mark.spec("02/RSP-3")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_key_files_of_two_issuers_that_were_swapped(core: Core, web: Web, made: Issued) -> None:
    core.rooms.authorities.ensure("iss-second", LocalConfig(ca_common_name="Second CA"))
    core.feed.wake("pki")
    web.ask(made.serial)
    assert web.get("ocsp/iss-second/00").status == 200
    paths = [Path(row[0]) for row in sql(core, "SELECT key_path FROM ocsp_responder_certs")]
    assert len(set(paths)) == 2
    first, second = (path.read_bytes() for path in paths)
    write_later(paths[0], second)
    write_later(paths[1], first)

    assert web.ask(made.serial, nonce=bytes(8)).answers[0].status.value == "good"
    assert web.get("ocsp/iss-second/00").status == 200
    assert not {first, second} & {path.read_bytes() for path in paths}
