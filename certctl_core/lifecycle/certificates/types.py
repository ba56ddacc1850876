"""States of a managed certificate and the one table of steps between them (spec 01 §2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from certctl_core.values import dataclass


class Status(StrEnum):
    """Where a managed certificate is in its life."""

    PENDING = "Pending"
    ACTIVE = "Active"
    EXPIRING = "Expiring"
    EXPIRED = "Expired"
    RENEWING = "RenewalInProgress"
    FAILED = "Failed"
    REVOKED = "Revoked"
    ARCHIVED = "Archived"


class Source(StrEnum):
    """Which path made the certificate."""

    API = "API"
    AGENT = "Agent"
    ACME = "ACME"
    EST = "EST"
    SCEP = "SCEP"
    DISCOVERY = "Discovery"
    IMPORT = "Import"


class KeyScope(StrEnum):
    """Whether each agent holds a key of its own (07 KEY-02)."""

    PER_AGENT = "per_agent"
    SINGLE_HOLDER = "single_holder"


TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.RENEWING, Status.ACTIVE, Status.FAILED, Status.ARCHIVED}),
    Status.ACTIVE: frozenset(
        {
            Status.ACTIVE,
            Status.RENEWING,
            Status.EXPIRING,
            Status.EXPIRED,
            Status.REVOKED,
            Status.ARCHIVED,
        }
    ),
    Status.EXPIRING: frozenset(
        {Status.RENEWING, Status.ACTIVE, Status.EXPIRED, Status.REVOKED, Status.ARCHIVED}
    ),
    Status.EXPIRED: frozenset({Status.RENEWING, Status.ACTIVE, Status.REVOKED, Status.ARCHIVED}),
    Status.RENEWING: frozenset(
        {
            Status.ACTIVE,
            Status.EXPIRING,
            Status.EXPIRED,
            Status.FAILED,
            Status.REVOKED,
            Status.ARCHIVED,
        }
    ),
    Status.FAILED: frozenset({Status.RENEWING, Status.ACTIVE, Status.REVOKED, Status.ARCHIVED}),
    Status.REVOKED: frozenset({Status.ACTIVE, Status.EXPIRING, Status.EXPIRED, Status.ARCHIVED}),
    Status.ARCHIVED: frozenset(),
}
"""From → to. Revoked → Active/Expiring/Expired is the release of a certificateHold only; the
revocation room guards it."""

RENEWABLE = frozenset(
    {Status.PENDING, Status.ACTIVE, Status.EXPIRING, Status.EXPIRED, Status.FAILED}
)


def sources_of(target: Status) -> tuple[Status, ...]:
    """The states from which ``target`` may be reached."""
    return tuple(status for status, targets in TRANSITIONS.items() if target in targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownVersion:
    """A version that is stored here, and whose it is."""

    id: str
    certificate_id: str
    not_after: datetime
