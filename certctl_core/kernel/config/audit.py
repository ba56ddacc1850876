"""The audit log."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from certctl_core.kernel.config.fields import Section, setting
from certctl_core.kernel.config.values import (
    Text,
    choice,
)

_DAY = timedelta(days=1)
_CENTURY = 36_525 * _DAY


class AuditVerifyMode(StrEnum):
    """How much of the audit log a scheduled verification walks."""

    INCREMENTAL = "incremental"
    FULL = "full"


class AuditPII(StrEnum):
    """What becomes of data about persons in audit details."""

    REDACT = "redact"
    HASH = "hash"
    KEEP = "keep"


class AuditSettings(Section):
    """``settings.audit``; the intervals are in ``settings.scheduler``."""

    verify_mode: Annotated[AuditVerifyMode, choice(AuditVerifyMode)] = setting(
        "AUDIT_VERIFY_MODE",
        AuditVerifyMode.INCREMENTAL,
        "incremental: from the last verified checkpoint, and the whole once a week; full: always "
        "the whole.",
        example="full",
    )
    log_origin: Text | None = setting(
        "AUDIT_LOG_ORIGIN",
        None,
        "Origin line of the audit log's checkpoints; certctl/<instance id> when unset.",
        example="example.com/certctl",
    )
    key: Text | None = setting(
        "AUDIT_KEY",
        None,
        "An Ed25519 key in a token that signs the audit log, as a pkcs11: URI without PIN. "
        "CERTCTL_SIGNER_AUDIT makes a key when unset.",
        example="pkcs11:token=certctl;object=audit",
    )
    pii: Annotated[AuditPII, choice(AuditPII)] = setting(
        "AUDIT_PII",
        AuditPII.REDACT,
        "What the audit log does with data about persons.",
        example="hash",
    )
