"""The log's signing key: sealed in the database or kept by a signer; made at first start, rotated.

A rotation is one checkpoint signed by both keys (DESIGN §7): the former key is ``retiring`` until it
is stored, then ``retired``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.engine import Row
from typing_extensions import override

from certctl_core.kernel.actors import system_actor
from certctl_core.kernel.audit._tables import audit_checkpoints, audit_keys
from certctl_core.kernel.audit.errors import AuditKeyUnusable
from certctl_core.kernel.audit.events import AuditKeyRotated
from certctl_core.kernel.audit.notes import Checkpoint, NoteSigner, NoteVerifier
from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.kernel.secrets import Keyring, Purpose
from certctl_core.values import dataclass

c = audit_keys.c
DATABASE = "database"
"""The keyring seals the key in the database."""

_ROTATOR = system_actor("audit-key")
_PROBE = Checkpoint(origin="certctl-probe", tree_size=0, root_hash=bytes(32))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlace:
    """Where the settings want the key.

    Attributes:
        signer: Kind of the signer, ``database``, or empty for wherever it is.
        ref: The signer's reference of a key that exists; empty lets the signer make one.
    """

    signer: str = ""
    ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerCalls:
    """What the log needs of signers.

    Attributes:
        load: Kind, reference → the private key.
        generate: Kind, words for the reference → a new Ed25519 key and its reference.
    """

    load: Callable[[str, str], object]
    generate: Callable[[str, str], tuple[object, str]]


class StoredSigner(NoteSigner):
    """Signs with a key that is fetched when it is first needed.

    Args:
        verifier: Its public half.
        fetch: Gives the private half.
    """

    def __init__(self, verifier: NoteVerifier, fetch: Callable[[], object]) -> None:
        self.verifier = verifier
        self._fetch = fetch
        self._found: Ed25519PrivateKey | None = None

    @override
    def sign(self, checkpoint: Checkpoint) -> str:
        """The signed note.

        Raises:
            AuditKeyUnusable: The key is of another kind, or another one than is on record.
            CertctlError: What the signer raises when it cannot be reached.
        """
        if self._found is None:
            self._found = _ed25519(self._fetch(), self.verifier)
        self._key = self._found
        return super().sign(checkpoint)


class AuditKeys:
    """The keys of one log. Signers are asked outside any unit of work.

    Args:
        keyring: Seals a key in the database (purpose ``audit-key``).
        origin: The log's name for a first key, e.g. ``certctl/<instance id>``. The name stored with a
            key wins: a log does not change its name because a setting does.
        place: Where the settings want the key.
        signers: Makes and loads keys elsewhere; None where there are no signers.
    """

    def __init__(
        self,
        keyring: Keyring,
        *,
        origin: str,
        place: KeyPlace | None = None,
        signers: SignerCalls | None = None,
    ) -> None:
        self._keyring = keyring
        self._origin = origin
        self._place = place or KeyPlace()
        self._signers = signers
        self._known: dict[str, StoredSigner] = {}
        self.kept_by = ""
        """Kind of the signer that keeps the active key, as of the last look."""

    def open(self, units: UnitOfWorkFactory) -> NoteSigner:
        """The active key's signer; the key is made where there is none.

        Two processes that start together end up with one key.

        Raises:
            UnknownKeyId, SealBroken: The stored key does not open with this keyring.
            AuditKeyUnusable: The key that the settings name is no Ed25519 key.
            CertctlError: What the signer raises.
        """
        with units.read() as uow:
            row = uow.first(_in_state("active"))
        if row is None:
            new = self._new(self._origin)
            with units.begin() as uow:
                statement = uow.insert(audit_keys).values(**new, created_at=uow.now)
                uow.execute(statement.on_conflict_do_nothing())
            with units.read() as uow:
                row = uow.execute(_in_state("active")).one()
        self.kept_by = str(row.signer)
        if row.signer == DATABASE:
            self._unsealed(row)  # said at start, not at the first checkpoint
        return self._signer(row)

    def move(self, units: UnitOfWorkFactory) -> bool:
        """Rotate the key if the settings want it elsewhere; emits ``audit.key_rotated``.

        The next checkpoint is signed by both keys. Both sign a test note before anything changes.

        Raises:
            AuditKeyUnusable: The key that the settings name is no Ed25519 key.
            CertctlError: What a signer raises.
        """
        with units.read() as uow:
            old = uow.execute(_in_state("active")).one()
            rotating = uow.first(_in_state("retiring"))
        if rotating is not None or not self._is_elsewhere(old):
            return False
        self._signer(old).sign(_PROBE)
        new = self._new(old.name)
        if new["key_id"] == old.key_id:
            return False
        with units.read() as uow:
            if uow.scalar(sa.select(c.state).where(c.key_id == new["key_id"])) is not None:
                raise AuditKeyUnusable(reason="it signed this log before; make another one")
        with units.begin(_ROTATOR) as uow:
            left = (
                sa.update(audit_keys)
                .where(c.key_id == old.key_id, c.state == "active")
                .values(state="retiring")
            )
            if uow.execute(left).rowcount == 0:
                return False  # another process was first
            uow.execute(uow.insert(audit_keys).values(**new, created_at=uow.now))
            uow.emit(
                AuditKeyRotated(
                    resource_id=old.name,
                    from_key=old.key_id,
                    to_key=str(new["key_id"]),
                    from_signer=old.signer,
                    to_signer=str(new["signer"]),
                )
            )
        self.kept_by = str(new["signer"])
        return True

    def signers(self, uow: Uow) -> tuple[NoteSigner, ...]:
        """Who signs the next checkpoint: the active key, then one that is being retired."""
        rows = uow.execute(
            sa.select(audit_keys).where(c.state.in_(("active", "retiring"))).order_by(c.state)
        ).all()
        self.kept_by = str(rows[0].signer)
        return tuple(self._signer(row) for row in rows)

    @staticmethod
    def signed(uow: Uow, by: tuple[NoteSigner, ...], *, size: int) -> bool:
        """Retire what signs its last checkpoint, of ``size``; False if the keys are others by now."""
        wanted = [signer.verifier.key_id.hex() for signer in by]
        rows = uow.execute(
            sa.select(c.key_id).where(c.state.in_(("active", "retiring"))).order_by(c.state)
        )
        if [row.key_id for row in rows] != wanted:
            return False
        if len(wanted) > 1:
            uow.execute(sa.update(audit_keys).where(c.state == "retiring").values(state="retired"))
            uow.execute(sa.update(audit_keys).where(c.state == "active").values(since_size=size))
        return True

    def _is_elsewhere(self, row: Row[Any]) -> bool:
        place = self._place
        if not place.signer:
            return False
        return bool(place.signer != row.signer or (place.ref and place.ref != row.key_ref))

    def _new(self, name: str) -> dict[str, object]:
        """A row of a new key, or of the existing one that the settings name."""
        kind = self._place.signer or DATABASE
        if kind == DATABASE:
            key = Ed25519PrivateKey.generate()
            ref = ""
        elif self._place.ref:
            ref = self._place.ref
            key = _ed25519(self._calls.load(kind, ref))
        else:
            made, ref = self._calls.generate(kind, "audit/log")
            key = _ed25519(made)
        verifier = NoteSigner(name, key).verifier
        key_id = verifier.key_id.hex()
        sealed = None
        if kind == DATABASE:
            sealed = self._keyring.seal(
                Purpose.AUDIT_KEY,
                key.private_bytes_raw(),
                table="audit_keys",
                column="sealed_key",
                row_id=key_id,
            )
        else:
            StoredSigner(verifier, lambda: key).sign(_PROBE)
        return {
            "key_id": key_id,
            "name": name,
            "vkey": verifier.vkey,
            "signer": kind,
            "key_ref": ref,
            "sealed_key": sealed,
            "state": "active",
        }

    def _signer(self, row: Row[Any]) -> StoredSigner:
        found = self._known.get(row.key_id)
        if found is None:
            verifier = NoteVerifier.parse(row.vkey)
            if row.signer == DATABASE:
                found = StoredSigner(verifier, lambda: self._unsealed(row))
            else:
                kind, ref = str(row.signer), str(row.key_ref)
                found = StoredSigner(verifier, lambda: self._calls.load(kind, ref))
            self._known[row.key_id] = found
        return found

    def _unsealed(self, row: Row[Any]) -> Ed25519PrivateKey:
        raw = self._keyring.open(
            Purpose.AUDIT_KEY,
            row.sealed_key,
            table="audit_keys",
            column="sealed_key",
            row_id=row.key_id,
        )
        return Ed25519PrivateKey.from_private_bytes(raw)

    @property
    def _calls(self) -> SignerCalls:
        if self._signers is None:
            raise AuditKeyUnusable(reason="there are no signers here")
        return self._signers


def known_verifiers(uow: Uow) -> tuple[NoteVerifier, ...]:
    """Every key that ever signed the log, the newest first."""
    rows = uow.execute(sa.select(c.vkey).order_by(c.created_at.desc()))
    return tuple(NoteVerifier.parse(row.vkey) for row in rows)


def rotations(uow: Uow, *, up_to: int) -> list[tuple[str, str]]:
    """Verifier key and checkpoint of each rotation in a log of ``up_to`` leaves, in order."""
    points = audit_checkpoints.c
    statement = (
        sa.select(c.vkey, points.note)
        .join(audit_checkpoints, points.tree_size == c.since_size)
        .where(c.since_size <= up_to)
        .order_by(c.since_size)
    )
    return [(str(row.vkey), str(row.note)) for row in uow.execute(statement)]


def _in_state(state: str) -> sa.Select[Any]:
    return sa.select(audit_keys).where(c.state == state)


def _ed25519(key: object, expected: NoteVerifier | None = None) -> Ed25519PrivateKey:
    if not isinstance(key, Ed25519PrivateKey):
        raise AuditKeyUnusable(reason="it is no Ed25519 key")
    if expected is not None and key.public_key().public_bytes_raw() != expected.public:
        raise AuditKeyUnusable(reason="it is another key than the one on record")
    return key
