"""Bulk revocation: many certificates by what they have in common (spec 02 REV-4 … REV-6)."""

from certctl_core.lifecycle.bulk_revocation.errors import CountMismatch
from certctl_core.lifecycle.bulk_revocation.events import (
    BulkRevocationFinished,
    BulkRevocationStarted,
)
from certctl_core.lifecycle.bulk_revocation.schemas import BulkResult, BulkRevoke
from certctl_core.lifecycle.bulk_revocation.workflow import BULK_JOB, BulkRevocation

__all__ = [
    "BULK_JOB",
    "BulkResult",
    "BulkRevocation",
    "BulkRevocationFinished",
    "BulkRevocationStarted",
    "BulkRevoke",
    "CountMismatch",
]
