"""CA keys that we hold, the ledger of what they signed, and the ``local`` issuer."""

from __future__ import annotations

from certctl_core.lifecycle.authorities.errors import (
    AuthorityUnavailable,
    CAKeyInFiles,
    CAKeyInTree,
    CAKeyJustChanged,
    CAKeyStateWrong,
    CAKeyStillNeeded,
    CAKeyUsageForbidsOCSP,
    CAMaterialError,
    IssuingCAUnusable,
    LeafNotPossible,
    LintRefused,
    MustStapleNeedsOCSPURL,
    NameConstraintViolated,
    SelfCheckFailed,
    SerialAlreadyIssued,
    UnknownAuthority,
)
from certctl_core.lifecycle.authorities.events import (
    CAKeyChanged,
    CAKeyCompromised,
    CAKeyExpiring,
    CAKeyLoaded,
    CAKeyRecertified,
    CAKeyRetired,
)
from certctl_core.lifecycle.authorities.expiry import run_ca_expiry
from certctl_core.lifecycle.authorities.loading import (
    LOCAL_ISSUER_ID,
    AuthoritySettings,
    FormerCA,
    Loader,
    NewKey,
)
from certctl_core.lifecycle.authorities.local_issuer import KIND, Local, LocalIssuerPlugin
from certctl_core.lifecycle.authorities.members import Members
from certctl_core.lifecycle.authorities.schemas import CAKeyView, LocalConfig
from certctl_core.lifecycle.authorities.second_lint import pkilint_errors
from certctl_core.lifecycle.authorities.service import AuthorityService
from certctl_core.lifecycle.authorities.signers import GuardedSigner
from certctl_core.lifecycle.authorities.types import (
    AuthorityKey,
    AuthorityURLs,
    CAKeyState,
    CAOrigin,
    HierarchyMode,
    LedgerEntry,
    LedgerKind,
    NewCA,
)

__all__ = [
    "KIND",
    "LOCAL_ISSUER_ID",
    "AuthorityKey",
    "AuthorityService",
    "AuthoritySettings",
    "AuthorityURLs",
    "AuthorityUnavailable",
    "CAKeyChanged",
    "CAKeyCompromised",
    "CAKeyExpiring",
    "CAKeyInFiles",
    "CAKeyInTree",
    "CAKeyJustChanged",
    "CAKeyLoaded",
    "CAKeyRecertified",
    "CAKeyRetired",
    "CAKeyState",
    "CAKeyStateWrong",
    "CAKeyStillNeeded",
    "CAKeyUsageForbidsOCSP",
    "CAKeyView",
    "CAMaterialError",
    "CAOrigin",
    "FormerCA",
    "GuardedSigner",
    "HierarchyMode",
    "IssuingCAUnusable",
    "LeafNotPossible",
    "LedgerEntry",
    "LedgerKind",
    "LintRefused",
    "Loader",
    "Local",
    "LocalConfig",
    "LocalIssuerPlugin",
    "Members",
    "MustStapleNeedsOCSPURL",
    "NameConstraintViolated",
    "NewCA",
    "NewKey",
    "SelfCheckFailed",
    "SerialAlreadyIssued",
    "UnknownAuthority",
    "pkilint_errors",
    "run_ca_expiry",
]
