"""Keys that follow each other: places, refusals, and what an export says of them (05 AUD-25)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certctl_core.kernel.audit import (
    AuditKeys,
    AuditKeyUnusable,
    AuditLog,
    BadExport,
    BadNote,
    Checkpoint,
    KeyPlace,
    NoteSigner,
    SignerCalls,
    export,
    verify_export,
)
from certctl_core.kernel.audit.notes import sign_by
from certctl_core.kernel.audit.schemas import ExportQuery
from certctl_core.kernel.db import Database, UnitOfWorkFactory, Uow
from certctl_core.kernel.events import Bus, Emitted
from certctl_core.kernel.secrets import Keyring, generate_keyring
from certctl_core.testing.fakes import FakeClock
from tests.core.kernel.audit.conftest import OPERATOR, LanternLit

pytestmark = pytest.mark.spec("05/AUD-25")

ORIGIN = "certctl/rotated"


class Log:
    """A log whose keys lie where one says; a store of keys by reference stands for a token."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.store: dict[str, Any] = {}
        self.keyring = Keyring.from_setting(generate_keyring(), salt=bytes(16))
        bus: Bus[Uow] = Bus()
        bus.at_commit(self._record)
        self.units = UnitOfWorkFactory(database, clock=clock, bus=bus)
        self.clock = clock
        self.start()

    def _record(self, uow: Uow, emitted: Sequence[Emitted]) -> None:
        self.audit.record(uow, emitted)  # of the log that was started last

    def keys(self, signer: str = "", ref: str = "") -> AuditKeys:
        return AuditKeys(
            self.keyring,
            origin=ORIGIN,
            place=KeyPlace(signer=signer, ref=ref),
            signers=SignerCalls(load=lambda _kind, ref: self.store[ref], generate=self._generate),
        )

    def start(self, signer: str = "", ref: str = "") -> bool:
        keys = self.keys(signer, ref)
        self.audit = AuditLog(signer=keys.open(self.units), keys=keys)
        return keys.move(self.units)

    def write(self) -> None:
        with self.units.begin(OPERATOR) as uow:
            uow.emit(LanternLit(resource_id="lan-1"))
        assert self.audit.seal(self.units)

    def vkey(self) -> str:
        with self.units.read() as uow:
            return self.audit.published_key(uow)

    def export(self) -> list[str]:
        now = self.clock.now()
        query = ExportQuery.model_validate(
            {"from": now - timedelta(days=1), "to": now + timedelta(days=1)}
        )
        file = export(self.audit, self.units, query, actor=OPERATOR, request_id="")
        return file.content.decode().splitlines()

    def _generate(self, _kind: str, hint: str) -> tuple[object, str]:
        ref = f"{hint}-{len(self.store)}"
        self.store[ref] = Ed25519PrivateKey.generate()
        return self.store[ref], ref


@pytest.fixture
def log(database: Database, clock: FakeClock) -> Log:
    return Log(database, clock)


def test_of_two_that_start_with_the_same_wish_one_rotates(log: Log) -> None:
    log.write()
    first, second = log.keys("token"), log.keys("token")
    assert first.move(log.units)
    assert not second.move(log.units)
    log.write()
    assert not log.keys("token").move(log.units)
    assert log.audit.verify(log.units, full=True).ok


def test_a_key_that_cannot_hand_over_stays(log: Log) -> None:
    assert log.start("token")
    log.write()
    before = log.vkey()
    kept = dict(log.store)
    log.store.clear()
    with pytest.raises(KeyError):
        log.start("database")
    assert log.vkey() == before
    log.store.update(kept)
    assert log.start("database")
    log.write()
    assert log.vkey() != before
    assert log.audit.verify(log.units, full=True).ok


@pytest.mark.parametrize("database_engine", ["sqlite"])
@pytest.mark.parametrize("wrong", ["of_another_kind", "exchanged", "used_before"])
def test_a_key_that_is_not_the_right_one_is_refused(log: Log, wrong: str) -> None:
    log.store["own"] = Ed25519PrivateKey.generate()
    log.write()
    if wrong == "of_another_kind":
        log.store["own"] = generate_private_key(SECP256R1())
        with pytest.raises(AuditKeyUnusable, match="no Ed25519 key"):
            log.start("token", "own")
        return
    log.start("token", "own")
    log.write()
    if wrong == "exchanged":
        log.store["own"] = Ed25519PrivateKey.generate()
        log.start("token", "own")
        with pytest.raises(AuditKeyUnusable, match="another key than the one on record"):
            log.write()
        return
    log.start("database")
    log.write()
    with pytest.raises(AuditKeyUnusable, match="signed this log before"):
        log.start("token", "own")


def _changed(lines: list[str], change: Callable[[dict[str, Any]], None]) -> list[str]:
    trailer = json.loads(lines[-1])
    change(trailer["_trailer"])
    return [*lines[:-1], json.dumps(trailer)]


def test_an_export_leads_from_each_former_key_to_the_newest(log: Log) -> None:
    log.write()
    keys = [log.vkey()]
    for place in ("token", "database", "token"):
        log.start(place)
        log.write()
        log.write()
        keys.append(log.vkey())
    assert len(set(keys)) == 4
    lines = log.export()
    assert {verify_export(lines, None, key).tree_size for key in keys} == {10}


@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_a_key_that_the_former_one_did_not_introduce_is_not_followed(log: Log) -> None:
    log.write()
    old = log.vkey()
    log.start("token")
    log.write()
    log.write()
    lines = log.export()
    stranger = NoteSigner(ORIGIN, Ed25519PrivateKey.generate())

    def forge(trailer: dict[str, Any]) -> None:
        point = Checkpoint(origin=ORIGIN, tree_size=1, root_hash=bytes(32))
        trailer["rotations"] = [{"key": stranger.verifier.vkey, "checkpoint": stranger.sign(point)}]

    with pytest.raises(BadNote):
        verify_export(_changed(lines, forge), None, old)
    with pytest.raises(BadNote):
        verify_export(_changed(lines, lambda trailer: trailer.pop("rotations")), None, old)
    with pytest.raises(BadExport, match="rotation of the key is malformed"):
        verify_export(_changed(lines, lambda trailer: trailer.update(rotations=["x"])), None, old)


def test_a_note_of_two_signers_is_a_note_of_each() -> None:
    signers = [NoteSigner(ORIGIN, Ed25519PrivateKey.generate()) for _ in range(2)]
    point = Checkpoint(origin=ORIGIN, tree_size=3, root_hash=bytes(range(32)))
    note = sign_by(signers, point)
    assert [signer.verifier.checkpoint(note) for signer in signers] == [point, point]
    assert note.count("\n") == len(point.body().splitlines()) + 3
