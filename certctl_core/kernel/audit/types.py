"""The audit log as values."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from certctl_core.values import dataclass


class PIIPolicy(StrEnum):
    """What happens to details that name a person (spec 05 AUD-11)."""

    REDACT = "redact"
    HASH = "hash"
    KEEP = "keep"


class BreakReason(StrEnum):
    """What a verification found wrong."""

    EVENT_MISSING = "event_missing"
    EVENT_CHANGED = "event_changed"
    LEAF_MISSING = "leaf_missing"
    EVENT_UNSEALED = "event_unsealed"
    NODE_CHANGED = "node_changed"
    ROOT_DIFFERS = "root_differs"
    CHECKPOINT_INVALID = "checkpoint_invalid"
    LOG_TRUNCATED = "log_truncated"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditStats:
    """Figures for metrics.

    Attributes:
        log_size: Leaves.
        unsealed: Events of the last day without a leaf.
        seal_lag_seconds: Age of the oldest of them.
    """

    log_size: int
    unsealed: int
    seal_lag_seconds: float
    last_checkpoint_at: datetime | None
    last_verified_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """Where the log is broken.

    Attributes:
        index: The first leaf index that is wrong; for ``ROOT_DIFFERS`` the first of the stretch
            between two checkpoints in which a leaf was replaced; None for an unsealed event.
        event_id: The event concerned, where one is known.
    """

    reason: BreakReason
    index: int | None = None
    event_id: str | None = None
