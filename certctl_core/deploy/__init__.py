"""The deploy transaction: certificate files, reload, verification, rollback (spec 07 §9 to §11).

It runs on the target host, inside the agent: no database, no server. ``DeployEngine`` is the door.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from certctl_core.deploy.errors import (
    BaselineBroken,
    Cancelled,
    CheckFailed,
    CommandUnavailable,
    ConnectFailed,
    DeployError,
    IdRefused,
    KeyMissing,
    PathRefused,
    PolicyDenied,
    PolicyUnsafe,
    ReloadFailed,
    TargetBusy,
    ValidateFailed,
    VerifyFailed,
    WriteFailed,
)
from certctl_core.deploy.report import (
    RETRYABLE,
    DeployReport,
    Failure,
    Outcome,
    Rollback,
    Stage,
    StageResult,
    Verification,
    VerificationStatus,
)

if TYPE_CHECKING:
    from certctl_core.deploy.engine import DeployEngine
    from certctl_core.deploy.policy import Policy

__all__ = [
    "RETRYABLE",
    "BaselineBroken",
    "Cancelled",
    "CheckFailed",
    "CommandUnavailable",
    "ConnectFailed",
    "DeployEngine",
    "DeployError",
    "DeployReport",
    "Failure",
    "IdRefused",
    "KeyMissing",
    "Outcome",
    "PathRefused",
    "Policy",
    "PolicyDenied",
    "PolicyUnsafe",
    "ReloadFailed",
    "Rollback",
    "Stage",
    "StageResult",
    "TargetBusy",
    "ValidateFailed",
    "Verification",
    "VerificationStatus",
    "VerifyFailed",
    "WriteFailed",
]

# The control plane reads reports and deploys nothing: it does not load what does.
_LATE = {"DeployEngine": "engine", "Policy": "policy"}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
