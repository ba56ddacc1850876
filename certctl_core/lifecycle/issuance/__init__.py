"""Issuance: the single choke point through which every certificate passes."""

from certctl_core.lifecycle.issuance.errors import (
    ApprovalRequired,
    CommonNameMissing,
    CSRRejected,
    IssuancePending,
    IssuedCertificateRejected,
    OrderInProgress,
)
from certctl_core.lifecycle.issuance.events import CertificateRejected, OrderInterrupted
from certctl_core.lifecycle.issuance.preview import ProfilePreviewer
from certctl_core.lifecycle.issuance.results import IssuedCertificate
from certctl_core.lifecycle.issuance.schemas import OrderView
from certctl_core.lifecycle.issuance.service import OrderNotFound, OrderService
from certctl_core.lifecycle.issuance.types import JobRef, OrderState
from certctl_core.lifecycle.issuance.workflow import IssuanceWorkflow

__all__ = [
    "ApprovalRequired",
    "CSRRejected",
    "CertificateRejected",
    "CommonNameMissing",
    "IssuancePending",
    "IssuanceWorkflow",
    "IssuedCertificate",
    "IssuedCertificateRejected",
    "JobRef",
    "OrderInProgress",
    "OrderInterrupted",
    "OrderNotFound",
    "OrderService",
    "OrderState",
    "OrderView",
    "ProfilePreviewer",
]
