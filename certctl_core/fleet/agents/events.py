"""What happens to agents and enrollment tokens (AGT-08, OBS-02)."""

from __future__ import annotations

from certctl_core.kernel.events import Category, Event, Severity
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class AgentEvent(Event):
    """Common to all events of one agent."""

    category = Category.CONFIG
    resource_type = "agent"
    name: str


@dataclass(frozen=True, kw_only=True)
class AgentEnrolled(AgentEvent):
    """An agent enrolled itself with a token."""

    tag = "agent.enrolled"
    token_id: str
    source_address: str


@dataclass(frozen=True, kw_only=True)
class AgentRegistered(AgentEvent):
    """An operator registered an agent ahead of its first contact."""

    tag = "agent.registered"


@dataclass(frozen=True, kw_only=True)
class AgentUpdated(AgentEvent):
    """Name or labels were changed; ``changes`` maps field → [before, after]."""

    tag = "agent.updated"
    changes: dict[str, list[object]]


@dataclass(frozen=True, kw_only=True)
class AgentKeyRotated(AgentEvent):
    """The agent has a new credential; the old one works a little longer."""

    tag = "agent.key_rotated"
    category = Category.AUTH
    overlap_seconds: int


@dataclass(frozen=True, kw_only=True)
class AgentRetired(AgentEvent):
    """The agent was retired for good."""

    tag = "agent.retired"
    reason: str


@dataclass(frozen=True, kw_only=True)
class AgentRetirementCascaded(AgentEvent):
    """Targets and jobs went with a retired agent; the counts are those before."""

    tag = "agent.retirement_cascaded"
    severity = Severity.WARNING
    reason: str
    active_targets: int
    active_certificates: int
    pending_jobs: int


@dataclass(frozen=True, kw_only=True)
class AgentWentOffline(AgentEvent):
    """The agent was silent for too long."""

    tag = "agent.went_offline"
    severity = Severity.WARNING


@dataclass(frozen=True, kw_only=True)
class AgentReturned(AgentEvent):
    """An agent that was offline reported again."""

    tag = "agent.returned"


@dataclass(frozen=True, kw_only=True)
class AgentIdentityMismatch(Event):
    """Somebody called a route of this agent with another identity (AGT-12)."""

    tag = "agent.identity_mismatch"
    category = Category.AUTH
    resource_type = "agent"
    severity = Severity.WARNING
    actor_type: str
    actor_id: str


@dataclass(frozen=True, kw_only=True)
class EnrollmentTokenCreated(Event):
    """A token for enrolling agents was made."""

    tag = "enrollment_token.created"
    category = Category.AUTH
    resource_type = "enrollment_token"
    label: str
    max_uses: int


@dataclass(frozen=True, kw_only=True)
class EnrollmentTokenRevoked(Event):
    """A token for enrolling agents was switched off."""

    tag = "enrollment_token.revoked"
    category = Category.AUTH
    resource_type = "enrollment_token"
    label: str
