"""Values of the agents room."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from certctl_core.values import dataclass

HEARTBEAT_SECONDS = 60
"""How often agents are asked to report (AGT-20)."""

POLL_SECONDS = 30
"""How often agents are asked to look for work (AGT-31)."""

KEY_OVERLAP = timedelta(minutes=10)
"""How long the old key of an agent still works after a rotation."""

MAX_SKEW = timedelta(seconds=300)
"""A clock that is further off makes the agent Degraded (AGT-23, AGT-24)."""

FAILED_DEPLOYMENTS = 3
"""So many failed deployments in a row make it Degraded (AGT-24)."""

KEY_PREFIX = "cca_"
TOKEN_PREFIX = "ctl_enrl_"  # noqa: S105 - a prefix
AGENT_ROLE = "r-agent"


class AgentStatus(StrEnum):
    """How an agent is doing."""

    ONLINE = "Online"
    OFFLINE = "Offline"
    DEGRADED = "Degraded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependents:
    """What hangs on an agent (RET-01)."""

    active_targets: int = 0
    active_certificates: int = 0
    pending_jobs: int = 0

    @property
    def any(self) -> bool:
        """Whether something does."""
        return bool(self.active_targets or self.active_certificates or self.pending_jobs)
