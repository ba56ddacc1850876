"""Requests that differ in their nonce only: one is understood, the others are recognised (02 OCSP-10)."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic, sleep

import pytest

from certctl_core.app import Core
from certctl_core.kernel.clock import SystemClock
from certctl_core.pki.ocsp import ResponseStatus, inspect_response, verify_response
from certctl_core.testing.fakes import FakeClock
from tests.core.revocation.support import Issued, Web, make, revoke
from tests.machine import eventually

ONE_ENGINE = pytest.mark.parametrize("database_engine", ["sqlite"])


@pytest.fixture
def made(core: Core) -> Issued:
    return make(core)


def nonce_of(number: int, size: int = 16) -> bytes:
    return number.to_bytes(size, "big")


def is_recognised(core: Core, web: Web, made: Issued, size: int = 16) -> bool:
    """Whether a request with a new nonce needs no second understanding."""
    der = web.question(made.serial, nonce=nonce_of(999, size))
    return core.rooms.ocsp.repeated("iss-local", der) is not None


@ONE_ENGINE
def test_each_answer_has_the_nonce_of_its_request(
    core: Core, web: Web, made: Issued, clock: FakeClock
) -> None:
    other = make(core, "other.example.test")
    for number in range(6):
        size = 16 if number % 2 else 32
        for wanted in ([made.serial], [other.serial], [made.serial, other.serial]):
            reply = web.post(web.question(*wanted, nonce=nonce_of(number, size)))
            said = verify_response(reply.body, issuer_cert=web.ca(), at=clock.now())
            assert said.nonce == nonce_of(number, size)
            assert [(a.serial, a.status.value) for a in said.answers] == [
                (serial, "good") for serial in wanted
            ]
            assert said.produced_at == clock.now().replace(microsecond=0)
            assert said.answers[0].this_update == said.produced_at
            assert reply.headers["Cache-Control"] == "no-store"
        clock.advance(timedelta(milliseconds=700))
    assert is_recognised(core, web, made)
    assert is_recognised(core, web, made, size=32)


@ONE_ENGINE
def test_what_only_begins_like_a_known_request_is_malformed(
    core: Core, web: Web, made: Issued
) -> None:
    der = web.question(made.serial, nonce=nonce_of(1))
    long = web.question(made.serial, nonce=nonce_of(1, 32))
    for known in (der, long):
        assert inspect_response(web.post(known).body).error is None

    for broken in (der + b"x", der[:-1], der[:-16], der + bytes(16), long[:-16], long[:-32]):
        answer = inspect_response(web.post(broken).body)
        assert answer.error is ResponseStatus.MALFORMED_REQUEST


@ONE_ENGINE
def test_what_was_unknown_is_looked_up_each_time(core: Core, web: Web, made: Issued) -> None:
    for number in range(3):
        said = web.ask("ab" * 16, nonce=nonce_of(number))
        assert (said.nonce, said.answers[0].status.value) == (nonce_of(number), "unknown")
    unknown = web.question("ab" * 16, nonce=nonce_of(9))
    assert core.rooms.ocsp.repeated("iss-local", unknown) is None


@ONE_ENGINE
def test_another_issuer_is_not_answered_for(core: Core, web: Web, made: Issued) -> None:
    for number in range(3):
        der = web.question(made.serial, nonce=nonce_of(number))
        assert web.post(der).status == 200
        assert web.post(der, issuer_id="iss-unknown").status == 404


@pytest.mark.spec("02/OCC-2")
def test_a_revocation_shows_in_the_next_answer(core: Core, web: Web, made: Issued) -> None:
    for number in range(3):
        assert web.ask(made.serial, nonce=nonce_of(number)).answers[0].status.value == "good"
    eventually(lambda: is_recognised(core, web, made))

    revoke(core, made.certificate_id)

    said = web.ask(made.serial, nonce=nonce_of(4))
    assert (said.answers[0].status.value, said.nonce) == ("revoked", nonce_of(4))
    assert web.ask(made.serial, nonce=nonce_of(5)).answers[0].status.value == "revoked"


@pytest.mark.spec("02/OCC-2", "02/DATA-2")
def test_a_revocation_shows_in_another_process(core: Core, web: Web, made: Issued) -> None:
    with Core.open(core.settings, clock=SystemClock(), migrate=False) as replica:
        there = Web(replica)

        def is_trusted() -> bool:
            assert there.ask(made.serial, nonce=nonce_of(1)).answers[0].status.value == "good"
            return is_recognised(replica, there, made)

        eventually(is_trusted)
        revoke(core, made.certificate_id)
        revoked_at = monotonic()
        for number in range(10, 10_000):
            begun = monotonic()
            said = there.ask(made.serial, nonce=nonce_of(number))
            if said.answers[0].status.value == "revoked":
                break
            assert begun - revoked_at < 1.0
            sleep(0.01)
        assert web.ask(made.serial, nonce=nonce_of(8)).answers[0].status.value == "revoked"


@pytest.mark.spec("02/RSP-4")
@ONE_ENGINE
def test_a_new_responder_signs_the_next_answer(
    core: Core, web: Web, made: Issued, clock: FakeClock
) -> None:
    first = web.ask(made.serial, nonce=nonce_of(1))

    core.rooms.responders.rotate(web.key(), cause="test")

    second = web.post(web.question(made.serial, nonce=nonce_of(2)))
    said = verify_response(second.body, issuer_cert=web.ca(), at=clock.now())
    assert said.responder_key_id != first.responder_key_id
    assert said.nonce == nonce_of(2)
