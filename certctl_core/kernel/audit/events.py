"""What happens to the audit log itself; it is in the log like anything else."""

from __future__ import annotations

from datetime import datetime

from certctl_core.kernel.events import Category, Event, Severity
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class AuditExported(Event):
    """Somebody took a copy of a part of the log."""

    tag = "audit.exported"
    category = Category.AUTH
    resource_type = "audit_log"
    from_time: datetime
    to_time: datetime
    event_category: str | None = None
    format: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class AuditVerified(Event):
    """The log was verified and found whole."""

    tag = "audit.verified"
    category = Category.CONFIG
    resource_type = "audit_log"
    tree_size: int
    from_index: int
    is_full: bool


@dataclass(frozen=True, kw_only=True)
class AuditBreakDetected(Event):
    """The log was verified and found broken."""

    tag = "audit.break_detected"
    category = Category.CONFIG
    resource_type = "audit_log"
    severity = Severity.CRITICAL
    reason: str
    first_bad_index: int | None = None
    first_bad_event_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class AuditKeyRotated(Event):
    """Another key signs the log from the next checkpoint on, which both keys sign."""

    tag = "audit.key_rotated"
    category = Category.CONFIG
    resource_type = "audit_log"
    severity = Severity.WARNING
    from_key: str
    to_key: str
    from_signer: str
    to_signer: str
