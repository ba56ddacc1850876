"""The audit log: an append-only Merkle log (RFC 6962) with signed checkpoints, fed by events only."""

from certctl_core.kernel.audit.errors import (
    AuditEventNotFound,
    AuditEventNotSealed,
    AuditKeyUnusable,
    AuditLogBroken,
    AuditLogEmpty,
    BadExport,
    BadNote,
    SealerFenced,
    VerifiedJustNow,
)
from certctl_core.kernel.audit.events import (
    AuditBreakDetected,
    AuditExported,
    AuditKeyRotated,
    AuditVerified,
)
from certctl_core.kernel.audit.export import export
from certctl_core.kernel.audit.keys import (
    DATABASE,
    AuditKeys,
    KeyPlace,
    SignerCalls,
    known_verifiers,
)
from certctl_core.kernel.audit.notes import Checkpoint, NoteSigner, NoteVerifier
from certctl_core.kernel.audit.offline import OfflineReport, verify_export
from certctl_core.kernel.audit.schemas import AuditEventView, AuditQuery, VerifyReport
from certctl_core.kernel.audit.triggers import create_triggers, drop_triggers
from certctl_core.kernel.audit.types import AuditStats, BreakReason, PIIPolicy
from certctl_core.kernel.audit.workflow import AuditLog

__all__ = [
    "DATABASE",
    "AuditBreakDetected",
    "AuditEventNotFound",
    "AuditEventNotSealed",
    "AuditEventView",
    "AuditExported",
    "AuditKeyRotated",
    "AuditKeyUnusable",
    "AuditKeys",
    "AuditLog",
    "AuditLogBroken",
    "AuditLogEmpty",
    "AuditQuery",
    "AuditStats",
    "AuditVerified",
    "BadExport",
    "BadNote",
    "BreakReason",
    "Checkpoint",
    "KeyPlace",
    "NoteSigner",
    "NoteVerifier",
    "OfflineReport",
    "PIIPolicy",
    "SealerFenced",
    "SignerCalls",
    "VerifiedJustNow",
    "VerifyReport",
    "create_triggers",
    "drop_triggers",
    "export",
    "known_verifiers",
    "verify_export",
]
