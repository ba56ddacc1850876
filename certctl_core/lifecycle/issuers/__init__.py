"""Configured issuers: who signs for us, tested, enabled, running behind their guards."""

from __future__ import annotations

from certctl_core.lifecycle.issuers.errors import (
    ConnectionTestFailed,
    IssuerCannotStart,
    IssuerChanged,
    IssuerDisabled,
    IssuerIdTaken,
    IssuerInUse,
    IssuerKindUnavailable,
    IssuerManagedElsewhere,
    IssuerNameTaken,
    IssuerNotFound,
    IssuerUnavailable,
    UnknownIssuerKind,
    UnsupportedByIssuer,
)
from certctl_core.lifecycle.issuers.events import (
    IssuerCreated,
    IssuerDeleted,
    IssuerDisabledEvent,
    IssuerEnabled,
    IssuerTested,
    IssuerUpdated,
)
from certctl_core.lifecycle.issuers.facts import IssuerFacts
from certctl_core.lifecycle.issuers.instances import Parts, RunningIssuer
from certctl_core.lifecycle.issuers.schemas import (
    CAChainView,
    CAKeysView,
    CreateIssuer,
    IssuerBody,
    IssuerKindView,
    IssuerQuery,
    IssuerView,
    PatchIssuer,
    ReportView,
    TryIssuer,
)
from certctl_core.lifecycle.issuers.service import IssuerService
from certctl_core.lifecycle.issuers.types import (
    IssuerHealth,
    IssuerSource,
    IssuerState,
    TestStatus,
)
from certctl_core.lifecycle.issuers.workflow import IssuerWorkflow

__all__ = [
    "CAChainView",
    "CAKeysView",
    "ConnectionTestFailed",
    "CreateIssuer",
    "IssuerBody",
    "IssuerCannotStart",
    "IssuerChanged",
    "IssuerCreated",
    "IssuerDeleted",
    "IssuerDisabled",
    "IssuerDisabledEvent",
    "IssuerEnabled",
    "IssuerFacts",
    "IssuerHealth",
    "IssuerIdTaken",
    "IssuerInUse",
    "IssuerKindUnavailable",
    "IssuerKindView",
    "IssuerManagedElsewhere",
    "IssuerNameTaken",
    "IssuerNotFound",
    "IssuerQuery",
    "IssuerService",
    "IssuerSource",
    "IssuerState",
    "IssuerTested",
    "IssuerUnavailable",
    "IssuerUpdated",
    "IssuerView",
    "IssuerWorkflow",
    "Parts",
    "PatchIssuer",
    "ReportView",
    "RunningIssuer",
    "TestStatus",
    "TryIssuer",
    "UnknownIssuerKind",
    "UnsupportedByIssuer",
]
