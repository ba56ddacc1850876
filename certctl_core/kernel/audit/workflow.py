"""Sealing, verifying and exporting: the work on the log that spans units of work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError
from typing_extensions import override

from certctl_core.kernel.actors import Actor, system_actor
from certctl_core.kernel.audit import _store as store
from certctl_core.kernel.audit.errors import (
    AuditLogBroken,
    BadNote,
    SealerFenced,
    VerifiedJustNow,
)
from certctl_core.kernel.audit.events import AuditBreakDetected, AuditVerified
from certctl_core.kernel.audit.keys import AuditKeys, known_verifiers, rotations
from certctl_core.kernel.audit.merkle import EMPTY_ROOT, Frontier
from certctl_core.kernel.audit.notes import Checkpoint, NoteSigner, NoteVerifier, sign_by
from certctl_core.kernel.audit.rules import event_json, hash_of_event, hash_of_row
from certctl_core.kernel.audit.schemas import VerifyReport
from certctl_core.kernel.audit.service import AuditService, b64
from certctl_core.kernel.audit.types import Break, BreakReason, PIIPolicy
from certctl_core.kernel.db import Lease, Leases, UnitOfWorkFactory, Uow
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.observability import Merge, count_limited, counter, gauge

_log = structlog.get_logger("certctl.audit")
LOG_SIZE = gauge("certctl_audit_log_size", "Leaves of the audit log.", merge=Merge.MAX)
UNSEALED = gauge("certctl_audit_unsealed", "Events that the last look found without a leaf.")
SEAL_LAG = gauge("certctl_audit_seal_lag_seconds", "Age of the oldest of them.")
LAST_CHECKPOINT = gauge(
    "certctl_audit_last_checkpoint_timestamp_seconds",
    "When the newest checkpoint was signed.",
    merge=Merge.MAX,
)
LAST_VERIFIED = gauge(
    "certctl_audit_last_verified_timestamp_seconds",
    "When the log was last found whole.",
    merge=Merge.MAX,
)
VERIFICATIONS = counter("certctl_audit_verify_total", "Verifications by result.", ("result",))
BREAKS = counter("certctl_audit_break_detected_total", "Verifications that found a break.")
SEAL_BATCH = 1000
VERIFY_CHUNK = 1000
_LOOKS = (
    (3600.0, timedelta(hours=24)),
    (15.0, timedelta(minutes=2)),
    (0.0, timedelta(seconds=5)),
)
"""How often to look how far back. Two minutes are more than a transaction's time limits allow."""
_GRACE = timedelta(minutes=1)
_MIN_BETWEEN_REQUESTS = timedelta(minutes=1)
_SEAL_SECONDS = 10.0
"""So long a person's verification seals first, where the sealer is behind."""
_FULL_EVERY = timedelta(days=7)
SEALER = system_actor("scheduler:audit_seal")
VERIFIER = system_actor("scheduler:audit_verify")


def never() -> bool:
    """No budget."""
    return False


class AuditLog(AuditService):
    """The whole log: the service, and the work that opens its own units of work.

    Args:
        signer: As of :class:`AuditService`, like ``pii`` and ``pii_key``.
        known_verifiers: Keys that signed older checkpoints, for verification.
        keys: The keys on record, looked at for each checkpoint and verification; None where
            ``signer`` is the only one for ever.
    """

    def __init__(
        self,
        *,
        signer: NoteSigner,
        known_verifiers: tuple[NoteVerifier, ...] = (),
        keys: AuditKeys | None = None,
        pii: PIIPolicy = PIIPolicy.REDACT,
        pii_key: bytes = b"",
    ) -> None:
        super().__init__(signer=signer, pii=pii, pii_key=pii_key)
        self._verifiers = {
            verifier.key_id: verifier for verifier in (*known_verifiers, self.signer.verifier)
        }
        self._keys = keys
        self._frontier: Frontier | None = None
        self._sealing = threading.Lock()
        self._looked: dict[int, float] = {}

    # Sealing.

    def seal(
        self,
        units: UnitOfWorkFactory,
        *,
        lease: Lease | None = None,
        is_over: Callable[[], bool] = never,
    ) -> int:
        """Give every committed event its leaf; the body of the loop ``audit_seal``.

        Args:
            units: Opens units of work.
            lease: The loop's lease; its fence is checked in each sealing transaction. Even without
                it a second sealer cannot fork the log: the leaf index is the primary key.
            is_over: Whether to stop after the batch at hand.

        Returns:
            The number of events sealed.

        Raises:
            SealerFenced: Another sealer has taken over.
            AuditLogBroken: The stored leaves do not match the newest checkpoint.
        """
        total = 0
        with self._sealing:
            since = self._search_from(units)
            while not is_over():
                with units.read(SEALER) as uow:
                    start = None if since is None else uow.now - since
                    events = store.unsealed(uow, since=start, limit=SEAL_BATCH)
                    ages = [(uow.now - row.timestamp).total_seconds() for row in events]
                UNSEALED.set(len(events))
                SEAL_LAG.set(max(ages, default=0.0))
                if not events:
                    break
                self._seal_batch(units, events, lease)
                total += len(events)
                if len(events) < SEAL_BATCH:
                    # What came meanwhile waits for the next tick: under load there is always more,
                    # and a look, a signature and a commit for a handful cost as much as for many.
                    UNSEALED.set(0)
                    SEAL_LAG.set(0.0)
                    break
        return total

    def _search_from(self, units: UnitOfWorkFactory) -> timedelta | None:
        """How far back to look: at first to a day before the newest checkpoint, then by turns."""
        now = units.clock.monotonic()
        if not self._looked:
            self._looked = dict.fromkeys(range(len(_LOOKS)), now)
            with units.read(SEALER) as uow:
                point = store.newest_checkpoint(uow)
                return None if point is None else uow.now - point.created_at + _LOOKS[0][1]
        for turn, (every, window) in enumerate(_LOOKS):
            if now - self._looked[turn] >= every:
                self._looked.update(dict.fromkeys(range(turn, len(_LOOKS)), now))
                return window
        return _LOOKS[-1][1]

    def _seal_batch(
        self, units: UnitOfWorkFactory, events: Sequence[Row[Any]], lease: Lease | None
    ) -> None:
        hashes = [hash_of_row(row) for row in events]
        try:
            with units.read(SEALER) as uow:
                start = self._edge(uow)
                signers = self._signers(uow)
            edge = start.copy()
            nodes = [node for value in hashes for node in edge.append(value)]
            point = Checkpoint(origin=self.origin, tree_size=edge.size, root_hash=edge.root())
            note = sign_by(signers, point)  # a token may take its time: nothing is open meanwhile
            with units.begin(SEALER) as uow:
                _check_fence(uow, lease)
                if store.sizes(uow) != (start.size, start.size):
                    raise SealerFenced  # noqa: TRY301 - the frontier is forgotten below
                if self._keys is not None and not self._keys.signed(uow, signers, size=edge.size):
                    raise SealerFenced  # noqa: TRY301 - the keys were rotated meanwhile
                store.insert_leaves(uow, start.size, [row.id for row in events], hashes)
                store.insert_tiles(uow, nodes)
                store.insert_checkpoint(
                    uow, size=edge.size, origin=self.origin, root=point.root_hash, note=note
                )
                uow.touch("audit")
        except IntegrityError as error:
            self._frontier = None
            raise SealerFenced from error
        except Exception:
            self._frontier = None
            raise
        self._frontier = edge
        LOG_SIZE.set(edge.size)
        LAST_CHECKPOINT.set(units.clock.now().timestamp())

    def _signers(self, uow: Uow) -> tuple[NoteSigner, ...]:
        """Who signs the next checkpoint; the first of them signs all that follow."""
        if self._keys is None:
            return (self.signer,)
        signers = self._keys.signers(uow)
        self.signer = signers[0]
        return signers

    @override
    def published_key(self, uow: Uow) -> str:
        """The verifier key for auditors, also when another process has rotated it."""
        return self._signers(uow)[0].verifier.vkey

    def _edge(self, uow: Uow) -> Frontier:
        """The tree's right edge, from memory if nobody else has sealed since."""
        leaves, size = store.sizes(uow)
        if leaves != size:
            raise AuditLogBroken(log={"leaves": leaves, "checkpoint": size})
        if self._frontier is None or self._frontier.size != size:
            edge = store.frontier(uow, size)
            point = store.newest_checkpoint(uow)
            if point is not None and point.tree_size != size:
                raise SealerFenced  # another sealer has moved on since the sizes were read
            if point is not None and edge.root() != bytes(point.root_hash):
                raise AuditLogBroken(log={"tree_size": size})
            self._frontier = edge
        return self._frontier

    # Verifying.

    def verify(
        self,
        units: UnitOfWorkFactory,
        *,
        full: bool = False,
        actor: Actor = VERIFIER,
        request_id: str = "",
        is_over: Callable[[], bool] = never,
    ) -> VerifyReport:
        """Check the log against itself; a break is reported, never repaired (spec 05 AUD-24).

        Recomputes leaves from events and roots from leaves, checks the signature of each
        checkpoint, and that neither an event lacks its leaf nor a leaf its event. It begins after
        the last tree that was found whole, or with ``full`` at the first leaf. When the budget is
        spent the report covers what was reached, and the next run goes on from there.

        Emits ``audit.verified`` or ``audit.break_detected``.
        """
        if self._keys is not None:
            with units.read(VERIFIER) as uow:
                self._verifiers |= {found.key_id: found for found in known_verifiers(uow)}
        walker = _Walker(units, self._verifiers, is_over)
        found = walker.run(full=full)
        with units.begin(actor, request_id=request_id) as uow:
            values = {
                "checked_at": uow.now,
                "ok": found is None,
                "is_full": walker.is_full,
                "from_index": walker.start,
                "tree_size": walker.verified_size,
                "root_hash": walker.verified_root,
                "reason": None if found is None else found.reason,
                "first_bad_index": None if found is None else found.index,
                "first_bad_event_id": None if found is None else found.event_id,
            }
            store.insert_verification(uow, values)
            self._announce(uow, found, walker)
        VERIFICATIONS.labels("ok" if found is None else "broken").inc()
        if found is None:
            LAST_VERIFIED.set(units.clock.now().timestamp())
        else:
            BREAKS.inc()
            _log.error(
                "audit.break_detected",
                reason=found.reason,
                first_bad_index=found.index,
                first_bad_event_id=found.event_id,
            )
        return VerifyReport.model_validate({**values, "root_hash": b64(walker.verified_root)})

    def verify_on_request(
        self, units: UnitOfWorkFactory, *, full: bool, actor: Actor, request_id: str = ""
    ) -> VerifyReport:
        """:meth:`verify` for a person: once a minute, after what waits has been sealed.

        Without that the log of an installation that has just started would be intact for having
        no entries.

        Raises:
            VerifiedJustNow: The last verification is less than a minute old.
        """
        with units.read(actor) as uow:
            last = store.last_verification(uow)
            age = None if last is None else uow.now - last.checked_at
        if age is not None and timedelta(0) <= age < _MIN_BETWEEN_REQUESTS:
            left = (_MIN_BETWEEN_REQUESTS - age).total_seconds()
            count_limited("audit_verify")
            raise VerifiedJustNow(retry_after_seconds=max(1, round(left)))
        until = units.clock.monotonic() + _SEAL_SECONDS
        with suppress(CertctlError):  # that is the loop's to tell; the log is verified as it is
            self.seal(units, is_over=lambda: units.clock.monotonic() >= until)
        return self.verify(units, full=full, actor=actor, request_id=request_id)

    def is_full_due(self, units: UnitOfWorkFactory) -> bool:
        """Whether the weekly walk over everything is due."""
        with units.read(VERIFIER) as uow:
            last = store.last_verification(uow, ok=True, full=True)
            return last is None or uow.now - last.checked_at > _FULL_EVERY

    def _announce(self, uow: Uow, found: Break | None, walker: _Walker) -> None:
        if found is None:
            uow.emit(
                AuditVerified(
                    resource_id=self.origin,
                    tree_size=walker.verified_size,
                    from_index=walker.start,
                    is_full=walker.is_full,
                )
            )
        else:
            uow.emit(
                AuditBreakDetected(
                    resource_id=self.origin,
                    reason=found.reason,
                    first_bad_index=found.index,
                    first_bad_event_id=found.event_id,
                )
            )


@dataclass(slots=True)
class _Walker:
    """One verification."""

    units: UnitOfWorkFactory
    verifiers: dict[bytes, NoteVerifier]
    is_over: Callable[[], bool]
    start: int = 0
    is_full: bool = True
    verified_size: int = 0
    verified_root: bytes = EMPTY_ROOT
    reached_end: bool = False
    trusted: frozenset[bytes] = frozenset()
    """Ids of the keys that may sign the next checkpoint; empty before the first one."""

    def run(self, *, full: bool) -> Break | None:
        with self.units.read(VERIFIER) as uow:
            greatest = store.greatest_verified(uow)
            leaves, size = store.sizes(uow)
            base = None if full else store.last_verification(uow, ok=True)
            edge = Frontier()
            if base is not None and 0 < base.tree_size <= size:
                edge = self._resumed(uow, base)
            if edge.size:
                self._resume_keys(uow, edge)
        self.start, self.is_full = edge.size, edge.size == 0
        self.verified_size = edge.size
        self.verified_root = edge.root()
        broken = self._walk(edge, min(leaves, size))
        if broken is not None or not self.reached_end:
            return broken
        if leaves != size:
            return Break(reason=BreakReason.LEAF_MISSING, index=min(leaves, size))
        if size < greatest:
            return Break(reason=BreakReason.LOG_TRUNCATED, index=size)
        return self._forgotten()

    @staticmethod
    def _resumed(uow: Uow, base: Row[Any]) -> Frontier:
        """The edge at the last whole tree; an empty one, for a full walk, if it does not fit."""
        try:
            edge = store.frontier(uow, base.tree_size)
        except AuditLogBroken:
            return Frontier()
        return edge if edge.root() == bytes(base.root_hash) else Frontier()

    def _resume_keys(self, uow: Uow, edge: Frontier) -> None:
        """The key of the checkpoint where the walk begins; of a rotation's, the new one."""
        rotated = rotations(uow, up_to=edge.size)
        if rotated:
            self.trusted = frozenset({NoteVerifier.parse(rotated[-1][0]).key_id})
            return
        for point in store.checkpoints_between(uow, edge.size - 1, edge.size).values():
            expected = Checkpoint(
                origin=point.origin, tree_size=edge.size, root_hash=bytes(point.root_hash)
            )
            self._follow(point.note, expected)

    def _walk(self, edge: Frontier, size: int) -> Break | None:
        while edge.size < size:
            if self.is_over():
                return None
            low, high = edge.size, min(edge.size + VERIFY_CHUNK, size)
            with self.units.read(VERIFIER) as uow:
                rows = store.walk(uow, low, high)
                points = store.checkpoints_between(uow, low, high)
                for place in range(low, high):
                    row = rows[place - low] if place - low < len(rows) else None
                    broken = _leaf_break(row, place) or self._grown(uow, edge, row, points)
                    if broken is not None:
                        return broken
        self.reached_end = True
        return None

    def _grown(
        self, uow: Uow, edge: Frontier, row: Row[Any] | None, points: dict[int, Row[Any]]
    ) -> Break | None:
        """Add a good leaf; compare the tiles that it completes and the checkpoint after it."""
        assert row is not None  # noqa: S101 - _leaf_break has seen it
        for node in edge.append(bytes(row.leaf_hash)):
            if node.level and node.level % store.TILE_LEVELS == 0:
                stored = store.tile_hash(uow, node.level, node.index)
                if stored != node.hash:
                    return Break(reason=BreakReason.NODE_CHANGED, index=node.index << node.level)
        point = points.get(edge.size)
        return None if point is None else self._checkpoint_break(point, edge)

    def _checkpoint_break(self, point: Row[Any], edge: Frontier) -> Break | None:
        root = edge.root()
        if bytes(point.root_hash) != root:
            return Break(reason=BreakReason.ROOT_DIFFERS, index=self.verified_size)
        expected = Checkpoint(origin=point.origin, tree_size=edge.size, root_hash=root)
        if not self._follow(point.note, expected):
            return Break(reason=BreakReason.CHECKPOINT_INVALID, index=edge.size - 1)
        self.verified_size, self.verified_root = edge.size, root
        return None

    def _follow(self, note: str, expected: Checkpoint) -> bool:
        """Whether a trusted key has signed. A key that has signed with one follows it."""
        by = {
            key_id
            for key_id, verifier in self.verifiers.items()
            if self._is_signed(note, verifier, expected)
        }
        if not by or (self.trusted and not by & self.trusted):
            return False
        self.trusted = frozenset(by - self.trusted if self.trusted and by - self.trusted else by)
        return True

    @staticmethod
    def _is_signed(note: str, by: NoteVerifier, expected: Checkpoint) -> bool:
        try:
            return by.checkpoint(note) == expected
        except BadNote:
            return False

    def _forgotten(self) -> Break | None:
        with self.units.read(VERIFIER) as uow:
            newest = store.newest_checkpoint(uow)
            if newest is None:
                return None
            event_id = store.forgotten(uow, before=newest.created_at, grace=_GRACE)
        if event_id is None:
            return None
        return Break(reason=BreakReason.EVENT_UNSEALED, event_id=event_id)


def _check_fence(uow: Uow, lease: Lease | None) -> None:
    if lease is not None and not Leases().is_held(uow, lease):
        raise SealerFenced


def _leaf_break(row: Row[Any] | None, place: int) -> Break | None:
    if row is None or row.leaf_index != place:
        return Break(reason=BreakReason.LEAF_MISSING, index=place)
    if row.id is None:
        return Break(reason=BreakReason.EVENT_MISSING, index=place, event_id=row.event_id)
    if hash_of_event(event_json(row._asdict())) != bytes(row.leaf_hash):
        return Break(reason=BreakReason.EVENT_CHANGED, index=place, event_id=row.event_id)
    return None
