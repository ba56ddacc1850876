"""Failures of the agents room."""

from __future__ import annotations

from certctl_core.kernel.errors import (
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    RateLimited,
    Unauthenticated,
)


class AgentNotFound(NotFound):
    """No agent has this id."""

    code = "agent_not_found"
    text = "There is no agent {agent_id}."
    hint = "'certctl agents list' shows the agents."


class AgentNameTaken(Conflict):
    """An active agent has this name."""

    code = "agent_name_taken"
    text = "An active agent is named '{name}' already."
    hint = "Choose another name, or retire the old agent first."


class AgentUnusable(Invalid):
    """A body names an agent that does not exist or is retired (RET-06)."""

    code = "agent_unusable"
    text = "The agent {agent_id} does not exist or is retired."


class AgentRetired(Gone):
    """The agent was retired: its credential opens nothing any more (AGT-11)."""

    code = "agent_retired"
    text = "This agent has been retired."
    hint = "Enroll it again under a new id if it is still needed."


class AgentKeyInvalid(Unauthenticated):
    """The bearer key is no agent's."""

    code = "unauthenticated"
    text = "The credential is not valid."


class AgentMismatch(Forbidden):
    """Somebody other than the agent itself called a route of the agent (AGT-12)."""

    code = "agent_mismatch"
    text = "Only the agent itself may call this."


class EnrollmentTokenInvalid(Unauthenticated):
    """Unknown, expired, exhausted, revoked, from elsewhere or for another name: all look alike."""

    code = "invalid_enrollment_token"
    text = "The enrollment token is not valid."
    hint = "Ask an operator for a new one."


class EnrollmentTokenNotFound(NotFound):
    """No enrollment token has this id."""

    code = "enrollment_token_not_found"
    text = "There is no enrollment token {token_id}."


class TooManyEnrollments(RateLimited):
    """One address tries to enroll too often (AGT-03)."""

    code = "rate_limited"
    text = "Too many attempts to enroll from this address."


class AgentHasDependencies(Conflict):
    """The agent still has targets, certificates or open jobs (RET-01)."""

    code = "blocked_by_dependencies"
    text = "The agent still has targets, certificates or open jobs."
    hint = "Move them first, or retire it with force and a reason: they go with it."
    members = ("counts",)


class RetireReasonMissing(Invalid):
    """``force`` without ``reason`` (RET-01)."""

    code = "reason_required"
    text = "Retiring an agent by force needs a reason."
