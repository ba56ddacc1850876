"""Bodies and answers of the agents room."""

import ipaddress
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints, field_validator

from certctl_core.fleet.agents.types import AgentStatus
from certctl_core.kernel.operations import Input, ListQuery, View, patch_of
from certctl_core.kernel.secrets import Secret

_NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=_NO_CONTROLS)]
HostName = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=_NO_CONTROLS)]
Short = Annotated[str, StringConstraints(max_length=64, pattern=_NO_CONTROLS)]
LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_NO_CONTROLS)]
LabelValue = Annotated[str, StringConstraints(max_length=256, pattern=_NO_CONTROLS)]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=50)]
_MAX_TOKEN_LIFE = 30 * 86400
_FIRST_YEAR, _LAST_YEAR = 2000, 2200


def _plausible(moment: datetime) -> datetime:
    """A clock may be wrong, but not beyond what every database can store."""
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        message = f"the year must be between {_FIRST_YEAR} and {_LAST_YEAR}"
        raise ValueError(message)
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_plausible)]


class Capabilities(Input):
    """What the agent can do: its installed target kinds and discovery sources."""

    targets: list[Short] = Field(default_factory=list, max_length=200)
    sources: list[Short] = Field(default_factory=list, max_length=200)


class AgentBody(Input):
    """The part of an agent that operators change."""

    name: Name = Field(description="Unique among agents that are not retired.")
    labels: Labels = Field(default_factory=dict, description="For filters and groups.")


PatchAgent = patch_of(AgentBody, "PatchAgent")


class RegisterAgent(AgentBody):
    """An agent that an operator registers ahead of its first contact."""

    hostname: HostName = Field(description="Name of its host.")


class EnrollAgent(Input):
    """How an agent introduces itself; the token that lets it is part of the body."""

    token: Secret = Field(description="The enrollment token.")
    name: Name = Field(description="Unique among agents that are not retired.")
    hostname: HostName = Field(description="Name of its host.")
    os: Short = ""
    architecture: Short = ""
    ip_address: Short = ""
    version: Short = Field("", description="Version of the agent program.")
    labels: Labels = Field(default_factory=dict, description="The token's labels win.")


class Heartbeat(Input):
    """A sign of life. An empty text leaves the stored value as it is."""

    version: Short = Field("", description="Version of the agent program.")
    hostname: Annotated[str, StringConstraints(max_length=255, pattern=_NO_CONTROLS)] = ""
    os: Short = ""
    architecture: Short = ""
    ip_address: Short = ""
    started_at: Moment | None = None
    boot_id: Short = ""
    capabilities: Capabilities | None = None
    policy_digest: Short = Field("", description="SHA-256 of the host's policy file.")
    running_jobs: list[Short] = Field(
        default_factory=list, max_length=100, description="Their leases are prolonged."
    )
    recovery_pending: int = Field(0, ge=0, le=1_000_000)
    clock: Moment | None = Field(None, description="The agent's time.")


class HeartbeatView(View):
    """The answer to a sign of life."""

    status: str = "heartbeat_recorded"
    server_time: datetime
    heartbeat_interval_seconds: int
    poll_interval_seconds: int


class AgentView(View):
    """An agent; its credential is never shown."""

    id: str
    name: str
    hostname: str
    os: str
    architecture: str
    ip_address: str
    agent_version: str = Field(description="Version of the agent program.")
    labels: dict[str, str]
    capabilities: dict[str, list[str]]
    status: AgentStatus
    last_heartbeat_at: datetime | None
    started_at: datetime | None
    policy_digest: str
    recovery_pending: int = Field(description="Interrupted deployments that it has to settle.")
    failed_deployments: int = Field(description="Failed deployments in a row.")
    clock_skew_seconds: float | None = Field(description="Server time minus agent time.")
    credential_rotated_at: datetime
    registered_at: datetime
    retired_at: datetime | None
    retired_reason: str | None
    version: int = Field(description="Moves with every edit; not with heartbeats.")
    updated_at: datetime


class NewAgentView(AgentView):
    """An agent with its credential: shown this once."""

    api_key: str


class EnrolledView(View):
    """The answer to an enrollment; the credential is shown this once."""

    id: str
    name: str
    api_key: str
    heartbeat_interval_seconds: int
    poll_interval_seconds: int
    server_time: datetime


class AgentKeyView(View):
    """A fresh credential, shown this once."""

    id: str
    api_key: str
    old_key_expires_at: datetime


class AgentQuery(ListQuery):
    """Filters of the agent list."""

    status: AgentStatus | None = None
    os: str | None = Field(None, max_length=64)
    label: str | None = Field(None, max_length=330, description="`key=value`")


class RetireQuery(Input):
    """How an agent is retired."""

    force: bool = Field(default=False, description="Retire its targets and cancel its jobs, too.")
    reason: str = Field("", max_length=1000, pattern=_NO_CONTROLS, description="Needed with force.")


class DependentsView(View):
    """What hung on the agent."""

    active_targets: int
    active_certificates: int
    pending_jobs: int


class RetiredView(View):
    """How an agent was retired; the counts are those before."""

    retired_at: datetime
    already_retired: bool = False
    cascade: bool
    counts: DependentsView


class CreateEnrollmentToken(Input):
    """A new enrollment token."""

    label: Name = Field(description="What it is for.")
    expires_in_seconds: int = Field(86400, ge=60, le=_MAX_TOKEN_LIFE, description="Its life.")
    max_uses: int = Field(1, ge=1, le=1000, description="How many agents may enroll with it.")
    agent_labels: Labels = Field(default_factory=dict, description="Given to those agents.")
    name_pattern: Name | None = Field(None, description="Agents must be named like this (`web-*`).")
    source_cidrs: list[str] = Field(
        default_factory=list, max_length=50, description="Only from these networks."
    )

    @field_validator("source_cidrs")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        return [str(ipaddress.ip_network(text, strict=False)) for text in value]


class EnrollmentTokenView(View):
    """An enrollment token without its value."""

    id: str
    label: str
    max_uses: int
    uses: int
    agent_labels: dict[str, str]
    name_pattern: str | None
    source_cidrs: list[str]
    created_by: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


class NewEnrollmentTokenView(EnrollmentTokenView):
    """A token that was just made, with its value: shown this once."""

    token: str


class EnrollmentTokenQuery(ListQuery):
    """Filters of the token list."""

    include_ended: bool = Field(
        default=False, description="Expired, used up and revoked ones, too."
    )
