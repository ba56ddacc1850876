"""Trees of CAs: roots, offline ones too, the CAs below them, and their end (02 §9)."""

from __future__ import annotations

from certctl_core.lifecycle.hierarchy.errors import (
    ActiveRootExists,
    CACertificateRejected,
    CAKeyInUse,
    CAKeyRefused,
    CANameTaken,
    CAStateWrong,
    CAStillIssues,
    CASubjectRejected,
    CertificateOfOtherKey,
    ChildrenNotRetired,
    ConstraintsNotAllowed,
    HierarchyRefused,
    IntermediateNotFound,
    ParentNotActive,
    PathLengthNotAllowed,
    RootRejected,
)
from certctl_core.lifecycle.hierarchy.events import (
    CARetired,
    CARetiring,
    CARevoked,
    CertificateInstalled,
    ChildCreated,
    RootCreated,
)
from certctl_core.lifecycle.hierarchy.schemas import (
    CreateIntermediate,
    InstallCertificate,
    IntermediatesView,
    IntermediateView,
    RetiredIntermediateView,
    RetireIntermediate,
    RevokedIntermediateView,
    RevokeIntermediate,
)
from certctl_core.lifecycle.hierarchy.service import HierarchyService
from certctl_core.lifecycle.hierarchy.types import CAState
from certctl_core.lifecycle.hierarchy.workflow import HierarchyWorkflow

__all__ = [
    "ActiveRootExists",
    "CACertificateRejected",
    "CAKeyInUse",
    "CAKeyRefused",
    "CANameTaken",
    "CARetired",
    "CARetiring",
    "CARevoked",
    "CAState",
    "CAStateWrong",
    "CAStillIssues",
    "CASubjectRejected",
    "CertificateInstalled",
    "CertificateOfOtherKey",
    "ChildCreated",
    "ChildrenNotRetired",
    "ConstraintsNotAllowed",
    "CreateIntermediate",
    "HierarchyRefused",
    "HierarchyService",
    "HierarchyWorkflow",
    "InstallCertificate",
    "IntermediateNotFound",
    "IntermediateView",
    "IntermediatesView",
    "ParentNotActive",
    "PathLengthNotAllowed",
    "RetireIntermediate",
    "RetiredIntermediateView",
    "RevokeIntermediate",
    "RevokedIntermediateView",
    "RootCreated",
    "RootRejected",
]
