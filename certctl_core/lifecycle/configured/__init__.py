"""What configured plugins share: sealed configurations, running instances, their state and locks.

Each room of such plugins brings its table, its errors and its views; the logic is here, once.
"""

from __future__ import annotations

from certctl_core.lifecycle.configured.configs import (
    ConfigKeeper,
    Refusals,
    Views,
    below_config,
    kind_view,
    row_view,
    validated,
)
from certctl_core.lifecycle.configured.instances import (
    RECHECK,
    Built,
    ClosableHttp,
    Instances,
    Source,
    Wanted,
    build,
)
from certctl_core.lifecycle.configured.rows import Rows
from certctl_core.lifecycle.configured.sealing import Sealer
from certctl_core.lifecycle.configured.state import LeasedLocks, Owner, SealedState
from certctl_core.lifecycle.configured.types import StoredConfig, Unreadable

__all__ = [
    "RECHECK",
    "Built",
    "ClosableHttp",
    "ConfigKeeper",
    "Instances",
    "LeasedLocks",
    "Owner",
    "Refusals",
    "Rows",
    "SealedState",
    "Sealer",
    "Source",
    "StoredConfig",
    "Unreadable",
    "Views",
    "Wanted",
    "below_config",
    "build",
    "kind_view",
    "row_view",
    "validated",
]
