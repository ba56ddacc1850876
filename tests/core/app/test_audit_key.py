"""The key of the audit log in a token: made, named, lost, rotated (05 AUD-25, DESIGN §7)."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from certctl_core.app import Core
from certctl_core.contracts.signers import SignerPINRefused
from certctl_core.kernel.audit import AuditKeyUnusable, BadNote, NoteVerifier, verify_export
from certctl_core.kernel.config import Settings
from certctl_core.kernel.secrets import generate_keyring
from certctl_core.pki.pkcs11_uri import parse_pkcs11_uri
from certctl_core.testing.fakes import FakeClock
from tests.softhsm import SoftHSM

if TYPE_CHECKING:
    from certctl_signers.pkcs11 import PKCS11
    from certctl_signers.pkcs11.token import Token

pytestmark = pytest.mark.spec("05/AUD-25")


class House:
    """One installation, opened again and again with other settings."""

    def __init__(self, data: Path, database_url: str, clock: FakeClock, hsm: SoftHSM) -> None:
        self._data, self._url, self._clock, self._hsm = data, database_url, clock, hsm
        self._keyring = generate_keyring()
        self._stack = ExitStack()

    def open(self, **settings: Any) -> Core:
        """Close what is open and start with these settings; the token is at hand always."""
        self.close()
        core = Core.open(
            Settings.for_directory(
                self._data,
                database_url=self._url,
                config_encryption_keys=self._keyring,
                **{
                    "pkcs11_module": self._hsm.module,
                    "pkcs11_token": self._hsm.label,
                    "pkcs11_pin": self._hsm.pin,
                    **settings,
                },
            ),
            clock=self._clock,
        )
        return self._stack.enter_context(core)

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def house(database_url: str, clock: FakeClock, tmp_path: Path, softhsm: SoftHSM) -> Iterator[House]:
    house = House(tmp_path / "data", database_url, clock, softhsm)
    yield house
    house.close()


def sealed(core: Core) -> str:
    """Something happens and is sealed; the note of the newest checkpoint."""
    core.call("profiles.list")
    core.call("blocked_keys.create", body={"spki_sha256": _digest(core)})
    assert core.rooms.audit.seal(core.units) > 0
    return str(core.call("audit.checkpoint").note)


def _digest(core: Core) -> str:
    return f"{core.call('blocked_keys.list').total:064x}"


def vkey(core: Core) -> str:
    return str(core.call("audit.checkpoint").key)


def verified(core: Core, *, full: bool = True) -> None:
    report = core.rooms.audit.verify(core.units, full=full)
    assert (report.ok, report.reason) == (True, None)


def exported(core: Core) -> list[bytes]:
    now = core.units.clock.now()
    query = {"from": now - timedelta(days=30), "to": now + timedelta(days=1)}
    return bytes(core.call("audit.export", query=query).content).splitlines()


def signatures(note: str) -> int:
    return note.partition("\n\n")[2].count("\n")


def purpose(core: Core) -> tuple[str, str]:
    (row,) = [p for p in core.rooms.signers.choices() if p.purpose == "audit"]
    return row.signer, row.setting


def test_the_first_start_makes_the_key_in_the_token(house: House, softhsm: SoftHSM) -> None:
    core = house.open(signer_audit="pkcs11")
    note = sealed(core)

    assert purpose(core) == ("pkcs11", "CERTCTL_SIGNER_AUDIT")
    assert "audit/log" in softhsm.tool("--list-objects", "--type", "privkey")
    with core.database.read() as connection:
        row = connection.exec_driver_sql("SELECT signer, key_ref, sealed_key FROM audit_keys").one()
    assert (row.signer, row.sealed_key) == ("pkcs11", None)
    assert row.key_ref.startswith(f"pkcs11:token={softhsm.label};object=audit%2Flog;id=")
    assert softhsm.pin not in row.key_ref
    assert NoteVerifier.parse(vkey(core)).checkpoint(note).tree_size > 0
    verified(core)
    assert verify_export(exported(core), note, vkey(core)).rows > 0

    before = vkey(core)
    again = house.open(signer_audit="pkcs11")
    sealed(again)
    assert vkey(again) == before
    verified(again)
    unset = house.open()
    assert signatures(sealed(unset)) == 1
    assert purpose(unset) == ("pkcs11", "CERTCTL_SIGNER_AUDIT")
    assert vkey(unset) == before, "without a choice the key stays where it is"


def test_a_key_of_the_token_is_found_by_its_uri(house: House, softhsm: SoftHSM) -> None:
    ident = secrets.token_hex(4)
    made = ("--keypairgen", "--key-type", "EC:edwards25519", "--label", "log", "--id", ident)
    softhsm.tool(*made)
    octets = "".join(f"%{ident[at : at + 2]}" for at in range(0, len(ident), 2))
    uri = f"pkcs11:token={softhsm.label};object=log;id={octets}"
    core = house.open(audit_key=uri)

    note = sealed(core)
    assert purpose(core) == ("pkcs11", "CERTCTL_AUDIT_KEY")
    with core.database.read() as connection:
        assert connection.exec_driver_sql("SELECT key_ref FROM audit_keys").scalar() == uri
    verify_export(exported(core), note, vkey(core))
    verified(core)


@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_a_key_of_another_kind_is_refused(house: House, softhsm: SoftHSM) -> None:
    softhsm.tool("--keypairgen", "--key-type", "EC:secp256r1", "--label", "no-log")
    with pytest.raises(AuditKeyUnusable, match="no Ed25519 key"):
        house.open(audit_key=f"pkcs11:token={softhsm.label};object=no-log")


def test_a_rotation_is_one_checkpoint_signed_by_both_keys(house: House) -> None:
    core = house.open()
    first_note = sealed(core)
    old = vkey(core)
    verified(core)

    moved = house.open(signer_audit="pkcs11")
    both = sealed(moved)
    new = vkey(moved)
    assert new != old
    with moved.units.read() as uow:
        assert moved.rooms.audit.published_key(uow) == new
    assert signatures(both) == 2
    for key in (old, new):
        assert NoteVerifier.parse(key).checkpoint(both).origin == moved.rooms.audit.origin
    alone = sealed(moved)
    assert signatures(alone) == 1
    with pytest.raises(BadNote):
        NoteVerifier.parse(old).open(alone)
    events = [e for e in moved.call("audit.list").data if e.action == "audit.key_rotated"]
    (event,) = events
    assert (event.details["from_signer"], event.details["to_signer"]) == ("database", "pkcs11")

    verified(moved)
    verified(moved, full=False)
    file = exported(moved)
    assert verify_export(file, None, new).rows > 0
    report = verify_export(file, None, old)
    assert report.rows == verify_export(file, alone, new).rows, "the old key leads to the new one"
    proof = moved.call(
        "audit.consistency",
        query={"from": NoteVerifier.parse(old).checkpoint(first_note).tree_size},
    )
    hashes = [_decode(text) for text in proof.hashes]
    verify_export(file, first_note, old, consistency=hashes)


def _decode(text: str) -> bytes:
    return base64.b64decode(text)


@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_the_key_comes_back_into_the_database(house: House) -> None:
    sealed(house.open(signer_audit="pkcs11"))
    back = house.open(signer_audit="database")
    assert signatures(sealed(back)) == 2
    assert purpose(back) == ("database", "CERTCTL_SIGNER_AUDIT")
    again = house.open(signer_audit="pkcs11")
    assert signatures(sealed(again)) == 2
    assert signatures(sealed(again)) == 1
    verified(again)
    (first,) = _first_key(again)
    verify_export(exported(again), None, first)


def _first_key(core: Core) -> list[str]:
    statement = "SELECT vkey FROM audit_keys WHERE since_size IS NULL"
    with core.database.read() as connection:
        return [str(row.vkey) for row in connection.exec_driver_sql(statement)]


@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_who_kept_the_old_key_cannot_go_on_with_the_log(house: House) -> None:
    core = house.open()
    sealed(core)
    old = core.rooms.audit.signer
    moved = house.open(signer_audit="pkcs11")
    sealed(moved)
    verified(moved)
    moved.rooms.audit._keys = None  # somebody with the database and the former key
    moved.rooms.audit.signer = old
    sealed(moved)

    checked = house.open(signer_audit="pkcs11")
    for full in (True, False):
        report = checked.rooms.audit.verify(checked.units, full=full)
        assert (report.ok, report.reason) == (False, "checkpoint_invalid")
    with pytest.raises(BadNote):
        verify_export(exported(checked), None, old.verifier.vkey)


def token_of(core: Core, softhsm: SoftHSM) -> Token:
    signer = cast("PKCS11", core.rooms.signers.get("pkcs11"))
    return signer.token(parse_pkcs11_uri(f"pkcs11:token={softhsm.label}"))


@pytest.mark.spec("02/SIGN-8")
def test_a_lost_session_loses_no_event(house: House, softhsm: SoftHSM) -> None:
    core = house.open(signer_audit="pkcs11")
    sealed(core)
    token = token_of(core, softhsm)

    token.library.restart(token._generation)  # every session and handle is void
    assert signatures(sealed(core)) == 1
    assert token._login is not None
    token._login.close()  # logs the process out
    sealed(core)
    verified(core)


@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_without_its_token_the_server_starts_and_seals_later(
    house: House, softhsm: SoftHSM
) -> None:
    core = house.open(signer_audit="pkcs11")
    sealed(core)
    key = vkey(core)

    without = house.open(pkcs11_token="gone", signer_audit="pkcs11")
    with without.units.read() as uow:
        assert without.rooms.audit.published_key(uow) == key
    without.call("blocked_keys.create", body={"spki_sha256": "f" * 64})
    softhsm.log_out()
    with_pin = house.open(pkcs11_pin="00000000", signer_audit="pkcs11")
    with pytest.raises(SignerPINRefused):
        with_pin.rooms.audit.seal(with_pin.units)
    with with_pin.units.read() as uow:
        assert with_pin.rooms.audit.stats(uow).unsealed > 0

    again = house.open(signer_audit="pkcs11")
    assert again.rooms.audit.seal(again.units) > 0
    with again.units.read() as uow:
        assert again.rooms.audit.stats(uow).unsealed == 0
    verified(again)
