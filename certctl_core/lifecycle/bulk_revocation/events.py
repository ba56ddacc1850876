"""What happens to bulk revocations."""

from __future__ import annotations

from certctl_core.kernel.events import Category, Event, Severity
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class BulkRevocationStarted(Event):
    """Somebody revokes many certificates; the resource is the request's id (02 REV-6)."""

    tag = "certificate.bulk_revoke_started"
    category = Category.CERT_LIFECYCLE
    resource_type = "bulk_revocation"
    severity = Severity.CRITICAL
    criteria: dict[str, object]
    reason: str
    total_matched: int
    to_revoke: int
    job_id: str | None


@dataclass(frozen=True, kw_only=True)
class BulkRevocationFinished(Event):
    """All that match were visited."""

    tag = "certificate.bulk_revoke_finished"
    category = Category.CERT_LIFECYCLE
    resource_type = "bulk_revocation"
    severity = Severity.WARNING
    total_revoked: int
    total_failed: int
