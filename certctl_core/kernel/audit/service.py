"""The audit log: events in their own transaction, reading, proofs.

Writers insert and take no lock; sealing and verifying are in ``workflow.py``.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy.engine import Row

from certctl_core.kernel.audit import _store as store
from certctl_core.kernel.audit.canonical import storable
from certctl_core.kernel.audit.errors import (
    AuditEventNotFound,
    AuditEventNotSealed,
    AuditLogEmpty,
    BadTimeRange,
    BadTreeRange,
)
from certctl_core.kernel.audit.merkle import consistency_ranges, inclusion_ranges
from certctl_core.kernel.audit.notes import NoteSigner
from certctl_core.kernel.audit.rules import hashed_pii
from certctl_core.kernel.audit.schemas import (
    AuditEventView,
    AuditQuery,
    CheckpointView,
    ConsistencyView,
    ProofView,
    VerifyReport,
)
from certctl_core.kernel.audit.types import AuditStats, PIIPolicy
from certctl_core.kernel.db import RowView, Uow, paginate, recipe
from certctl_core.kernel.events import JSON, Emitted
from certctl_core.kernel.operations import Page, Resource
from certctl_core.kernel.secrets import redact

SORTS = tuple(store.SORTS)
"""Sort fields of the audit list."""
_LAG_WINDOW = timedelta(days=1)


class AuditService:
    """The log inside one unit of work.

    Args:
        signer: The log's key; its name is the log's origin.
        pii: What to do with details that name a person.
        pii_key: The key of the hash for ``PIIPolicy.HASH``, at least 16 bytes.

    Raises:
        ValueError: ``PIIPolicy.HASH`` without a key.
    """

    def __init__(
        self, *, signer: NoteSigner, pii: PIIPolicy = PIIPolicy.REDACT, pii_key: bytes = b""
    ) -> None:
        if pii is PIIPolicy.HASH and len(pii_key) < 16:  # noqa: PLR2004 - as documented
            message = "hashing personal data needs a key of at least 16 bytes"
            raise ValueError(message)
        self.signer = signer
        self._pii = pii
        self._pii_key = pii_key

    @property
    def origin(self) -> str:
        """The name of the log in its checkpoints."""
        return self.signer.verifier.name

    @property
    def vkey(self) -> str:
        """The verifier key that this process knows as the log's."""
        return self.signer.verifier.vkey

    def published_key(self, uow: Uow) -> str:  # noqa: ARG002 - who knows of rotations looks
        """The verifier key for auditors as of now."""
        return self.vkey

    def record(self, uow: Uow, emitted: Sequence[Emitted]) -> None:
        """The at-commit handler: store what happened, with the change itself or not at all."""
        if emitted:
            store.insert_events(uow, [self._row(envelope) for envelope in emitted])

    def get(self, uow: Uow, event_id: str) -> AuditEventView:
        """One event.

        Raises:
            AuditEventNotFound: No such id.
        """
        row = store.view(uow, event_id)
        if row is None:
            raise AuditEventNotFound(event_id=event_id)
        return _view(row)

    def list(
        self, uow: Uow, query: AuditQuery, *, scopes: Sequence[Resource] | None = None
    ) -> Page[AuditEventView]:
        """A page of events, the newest first.

        Raises:
            BadTimeRange: ``until`` is not after ``since``.
        """
        if query.since and query.until and query.until <= query.since:
            raise BadTimeRange(reason="until is not after since")
        return paginate(
            uow,
            recipe(store.filtered, query, scopes),
            query=query,
            sorts=store.SORTS,
            id_column=store.e.id,
            view=_view,
            default="-timestamp",
        )

    def checkpoint(self, uow: Uow) -> CheckpointView:
        """The newest checkpoint and the newest verification.

        Raises:
            AuditLogEmpty: Nothing is sealed yet.
        """
        row = self._newest(uow)
        last = store.last_verification(uow)
        return CheckpointView(
            note=row.note,
            origin=row.origin,
            tree_size=row.tree_size,
            root_hash=b64(row.root_hash),
            created_at=row.created_at,
            key=self.published_key(uow),
            last_verification=None if last is None else report(last),
        )

    def proof(self, uow: Uow, event_id: str) -> ProofView:
        """The proof that the newest checkpoint covers an event; reads O(log n) nodes.

        Raises:
            AuditEventNotFound: No such id.
            AuditEventNotSealed: It has no leaf yet.
            AuditLogBroken: A stored node is missing.
        """
        self.get(uow, event_id)
        leaf = store.leaf_of(uow, event_id)
        point = store.newest_checkpoint(uow)
        if leaf is None or point is None or leaf.leaf_index >= point.tree_size:
            raise AuditEventNotSealed(event_id=event_id)
        ranges = inclusion_ranges(leaf.leaf_index, point.tree_size)
        return ProofView(
            event_id=event_id,
            leaf_index=leaf.leaf_index,
            leaf_hash=b64(leaf.leaf_hash),
            tree_size=point.tree_size,
            hashes=[b64(store.root_of(uow, low, high)) for low, high in ranges],
            checkpoint=point.note,
        )

    def consistency(self, uow: Uow, first: int, second: int | None = None) -> ConsistencyView:
        """The proof that the log of ``first`` leaves is a prefix of that of ``second``.

        Raises:
            AuditLogEmpty: Nothing is sealed yet.
            BadTreeRange: The sizes are not 0 < first ≤ second ≤ size of the newest checkpoint.
            AuditLogBroken: A stored node is missing.
        """
        newest = self._newest(uow).tree_size
        size = newest if second is None else second
        if not 0 < first <= size <= newest:
            raise BadTreeRange(tree_size=newest)
        return ConsistencyView(
            first=first,
            second=size,
            first_root=b64(store.root_of(uow, 0, first)),
            second_root=b64(store.root_of(uow, 0, size)),
            hashes=[
                b64(store.root_of(uow, low, high)) for low, high in consistency_ranges(first, size)
            ],
        )

    def stats(self, uow: Uow) -> AuditStats:
        """Figures for metrics (spec 05 AUD-27)."""
        unsealed, oldest = store.count_unsealed(uow, since=uow.now - _LAG_WINDOW)
        point = store.newest_checkpoint(uow)
        verified = store.last_verification(uow, ok=True)
        return AuditStats(
            log_size=0 if point is None else point.tree_size,
            unsealed=unsealed,
            seal_lag_seconds=0.0 if oldest is None else (uow.now - oldest).total_seconds(),
            last_checkpoint_at=None if point is None else point.created_at,
            last_verified_at=None if verified is None else verified.checked_at,
        )

    def _newest(self, uow: Uow) -> Row[Any]:
        row = store.newest_checkpoint(uow)
        if row is None:
            raise AuditLogEmpty
        return row

    def _row(self, envelope: Emitted) -> dict[str, object]:
        event = envelope.event
        details, redacted = self._redacted(event.details())
        return {
            "id": envelope.id,
            "timestamp": envelope.at,
            "actor": storable(envelope.actor.id),
            "actor_type": envelope.actor.type,
            "action": event.tag,
            "event_category": event.category,
            "resource_type": event.resource_type,
            "resource_id": storable(event.resource_id),
            "request_id": envelope.request_id,
            "details": details,
            "redacted_keys": redacted,
        }

    def _redacted(self, details: dict[str, JSON]) -> tuple[JSON, JSON]:
        keeps = self._pii is PIIPolicy.KEEP
        redacted, paths = redact(details, pii=not keeps)
        if self._pii is PIIPolicy.HASH:
            redacted = hashed_pii(details, redacted, key=self._pii_key)
        return storable(redacted), [str(storable(path)) for path in paths]


def b64(value: bytes) -> str:
    """Standard base64."""
    return base64.b64encode(bytes(value)).decode()


def report(row: Row[Any]) -> VerifyReport:
    """A stored verification as the API shows it."""
    return VerifyReport(
        ok=row.ok,
        tree_size=row.tree_size,
        root_hash=b64(row.root_hash),
        from_index=row.from_index,
        is_full=row.is_full,
        reason=row.reason,
        first_bad_index=row.first_bad_index,
        first_bad_event_id=row.first_bad_event_id,
        checked_at=row.checked_at,
    )


_view = RowView(AuditEventView)
