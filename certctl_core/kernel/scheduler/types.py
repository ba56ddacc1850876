"""Loop runs and replicas as values."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from certctl_core.values import dataclass

LEASE_TTL = timedelta(seconds=30)
"""How long a loop's lease lives without renewal (spec 08 HA-2)."""
HEARTBEAT = timedelta(seconds=10)
DEAD_AFTER = timedelta(seconds=30)
"""A replica that has not been heard of for this long is dead (spec 08 HA-1)."""


class RunResult(StrEnum):
    """How a run of a loop ended."""

    OK = "ok"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopRun:
    """One run.

    Attributes:
        items: How many things it dealt with, as the loop counts them.
        error: The code of a typed error, or the class of any other; empty when it went well.
        fence: The fence of the lease it ran under, or None for loops that need none.
    """

    loop: str
    replica_id: str
    started_at: datetime
    ended_at: datetime
    result: RunResult
    items: int
    error: str
    fence: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One server process as it registers itself.

    Attributes:
        id: Unique among all processes; also the holder of its job leases.
        role: ``serve``, ``worker`` …
    """

    id: str
    hostname: str
    version: str
    role: str
