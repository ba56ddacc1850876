"""The contract of a deployment target: how a certificate gets into a service (spec 07 §8).

A target is one file: a configuration model, a class, and a hook::

    class Nginx(FileTarget):
        kind, title, api_version, Config = "nginx", "NGINX", 1, NginxConfig

        def plan(self, bundle: Bundle) -> Plan:
            c = self.config
            return Plan(files=(*c.cert(bundle, default=bundle.fullchain), *c.key(bundle)),
                        validate=(c.validate_command,), reload=(c.reload_command,))

It runs on the agent, as the agent's user. ``certctl_core.testing.target`` ships the suite that every
target must pass.
"""

from __future__ import annotations

from certctl_core.contracts.checks import Check, CheckReport
from certctl_core.contracts.targets.bundle import Bundle
from certctl_core.contracts.targets.config import (
    WORLD,
    Endpoint,
    FileConfig,
    OnFailure,
    PairConfig,
    Protocol,
    TargetConfig,
    Verify,
)
from certctl_core.contracts.targets.errors import (
    BundleChainInvalid,
    BundleExpired,
    BundleMalformed,
    BundleNamesMissing,
    BundleRejected,
    PairMismatch,
)
from certctl_core.contracts.targets.plan import File, Plan
from certctl_core.contracts.targets.target import (
    CommandResult,
    FileTarget,
    Runner,
    TargetContext,
    certctl_targets,
)

__all__ = [
    "WORLD",
    "Bundle",
    "BundleChainInvalid",
    "BundleExpired",
    "BundleMalformed",
    "BundleNamesMissing",
    "BundleRejected",
    "Check",
    "CheckReport",
    "CommandResult",
    "Endpoint",
    "File",
    "FileConfig",
    "FileTarget",
    "OnFailure",
    "PairConfig",
    "PairMismatch",
    "Plan",
    "Protocol",
    "Runner",
    "TargetConfig",
    "TargetContext",
    "Verify",
    "certctl_targets",
]
