"""The ledger: every signature is in it, once (02 CERT-2, CERT-3)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from certctl_core.lifecycle.authorities import LedgerKind, SerialAlreadyIssued
from certctl_core.pki.errors import MalformedSerial
from certctl_core.testing.fakes import EPOCH

if TYPE_CHECKING:
    from tests.core.authorities.conftest import Room

KEY_ID = "ab" * 20


def entry(**changes: object) -> dict[str, Any]:
    return {
        "issuer_id": "iss-local",
        "ca_key_id": KEY_ID,
        "serial": "0a1b2c",
        "certificate_id": "mc-1",
        "profile_id": "prof-default",
        "subject": "CN=web.example.test",
        "not_before": EPOCH,
        "not_after": EPOCH + timedelta(days=90),
        "fingerprint_sha256": "cd" * 32,
    } | changes


def test_what_was_recorded_is_found(room: Room) -> None:
    with room.units.begin() as uow:
        room.authorities.record_issued(uow, **entry(short_lived=True))
    with room.units.read() as uow:
        assert room.authorities.is_issued(uow, "iss-local", KEY_ID, "0a1b2c")
        assert not room.authorities.is_issued(uow, "iss-local", KEY_ID, "0a1b2d")
        assert not room.authorities.is_issued(uow, "iss-other", KEY_ID, "0a1b2c")
        found = room.authorities.find_issued(uow, "iss-local", "0a1b2c", ca_key_id=KEY_ID)
        assert found is not None
        assert found.kind is LedgerKind.LEAF
        assert found.short_lived
        assert found.issued_at == EPOCH
        assert found.not_after == EPOCH + timedelta(days=90)


@pytest.mark.spec("02/CERT-2")
def test_a_serial_is_recorded_once_and_the_transaction_goes_on(room: Room) -> None:
    with room.units.begin() as uow:
        room.authorities.record_issued(uow, **entry())
    with room.units.begin() as uow:
        with pytest.raises(SerialAlreadyIssued):
            room.authorities.record_issued(uow, **entry(fingerprint_sha256="ef" * 32))
        room.authorities.record_issued(uow, **entry(serial="0a1b2d"))
    with room.units.read() as uow:
        assert room.authorities.is_issued(uow, "iss-local", KEY_ID, "0a1b2d")
        found = room.authorities.find_issued(uow, "iss-local", "0a1b2c", ca_key_id=KEY_ID)
        assert found is not None
        assert found.fingerprint_sha256 == "cd" * 32


def test_the_same_serial_under_another_key_is_another_certificate(room: Room) -> None:
    with room.units.begin() as uow:
        room.authorities.record_issued(uow, **entry())
        room.authorities.record_issued(uow, **entry(ca_key_id="ef" * 20))


def test_a_rollback_leaves_nothing(room: Room) -> None:
    def crash() -> None:
        with room.units.begin() as uow:
            room.authorities.record_issued(uow, **entry())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        crash()
    with room.units.read() as uow:
        assert not room.authorities.is_issued(uow, "iss-local", KEY_ID, "0a1b2c")


def test_serials_are_stored_in_canonical_form(room: Room) -> None:
    with room.units.begin() as uow:
        room.authorities.record_issued(uow, **entry(serial="00:A1:B2"))
    with room.units.read() as uow:
        assert room.authorities.is_issued(uow, "iss-local", KEY_ID, "a1b2")
    with room.units.begin() as uow, pytest.raises(MalformedSerial):
        room.authorities.record_issued(uow, **entry(serial="no serial"))


def test_a_serial_is_found_under_any_key_of_the_issuer(room: Room) -> None:
    key = room.authorities.boot()
    with room.units.begin() as uow:
        room.authorities.record_issued(uow, **entry(ca_key_id=key.ca_key_id))
    with room.units.read() as uow:
        found = room.authorities.find_issued(uow, "iss-local", "0a1b2c")
        assert found is not None
        assert found.ca_key_id == key.ca_key_id
        assert room.authorities.find_issued(uow, "iss-local", "ff") is None


@pytest.mark.spec("02/PKI-3")
def test_unexpired_entries_are_counted_until_they_end(room: Room) -> None:
    with room.units.begin() as uow:
        room.authorities.record_issued(uow, **entry())
        room.authorities.record_issued(uow, **entry(serial="02", kind=LedgerKind.OCSP_RESPONDER))
    with room.units.read() as uow:
        assert room.authorities.has_unexpired(uow, "iss-local")
        assert room.authorities.count_unexpired(uow, "iss-local") == 1
        assert not room.authorities.has_unexpired(uow, "iss-other")
    room.clock.advance(timedelta(days=91))
    with room.units.read() as uow:
        assert not room.authorities.has_unexpired(uow, "iss-local")
        assert room.authorities.count_unexpired(uow, "iss-local") == 0
