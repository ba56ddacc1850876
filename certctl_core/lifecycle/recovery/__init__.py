"""What is done when a CA key or a database was lost: rotation, stolen keys, lost revocations."""

from __future__ import annotations

from certctl_core.lifecycle.recovery.errors import (
    CertificatesForeign,
    CertificatesUnreadable,
    CRLForeign,
    CRLUnreadable,
)
from certctl_core.lifecycle.recovery.events import RecoveryImported, RenewalsPlanned
from certctl_core.lifecycle.recovery.schemas import (
    CompromisedView,
    ImportedCertificatesView,
    ImportedCRLView,
    RenewalsPlannedView,
    RetiredCAView,
    RotatedCAView,
)
from certctl_core.lifecycle.recovery.service import RecoveryService
from certctl_core.lifecycle.recovery.workflow import RecoveryWorkflow

__all__ = [
    "CRLForeign",
    "CRLUnreadable",
    "CertificatesForeign",
    "CertificatesUnreadable",
    "CompromisedView",
    "ImportedCRLView",
    "ImportedCertificatesView",
    "RecoveryImported",
    "RecoveryService",
    "RecoveryWorkflow",
    "RenewalsPlanned",
    "RenewalsPlannedView",
    "RetiredCAView",
    "RotatedCAView",
]
