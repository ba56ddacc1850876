"""Bodies and answers of the targets room."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from certctl_core.fleet.targets.types import TestStatus
from certctl_core.kernel.operations import Input, ListQuery, View

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")
]


def storable(text: str) -> str:
    """The text without NUL, which PostgreSQL does not store."""
    return text.replace("\x00", "\ufffd")


Config = dict[str, Any]
"""Plain JSON; the kind's schema says what belongs in it."""


class TargetBody(Input):
    """The mutable part of a target."""

    name: Name = Field(description="Unique among the targets of the agent.")
    config: Config = Field(
        default_factory=dict, description="By the kind's schema (see target types)."
    )
    enabled: bool = Field(default=True, description="Off: it gets no deployments.")


class CreateTarget(TargetBody):
    """A new target."""

    id: str | None = Field(None, max_length=128, description="Chosen id; made when absent.")
    kind: str = Field(min_length=1, max_length=64, description="Kind or alias; never changes.")
    agent_id: str = Field(
        pattern=r"^[A-Za-z0-9._-]{1,128}$", description="The agent that drives it."
    )


class PatchTarget(Input):
    """A merge patch: what is absent stays, null clears; a secret that is absent is kept."""

    name: Name | None = None
    config: Config | None = None
    enabled: bool | None = None


class CheckView(View):
    """One thing that a test looked at."""

    name: Annotated[str, StringConstraints(max_length=128), AfterValidator(storable)]
    ok: bool
    detail: Annotated[str, StringConstraints(max_length=4096), AfterValidator(storable)] = ""
    hint: Annotated[str, StringConstraints(max_length=1024), AfterValidator(storable)] = ""


class TestReport(View):
    """The result of a test on the agent."""

    __test__ = False

    ok: bool
    checks: list[CheckView] = Field(default_factory=list, max_length=100)


class TargetView(View):
    """A target; secrets show as ``{"set": true, …}``."""

    id: str
    name: str
    kind: str
    title: str = Field(description="The kind's name for people.")
    agent_id: str
    config: Config
    enabled: bool
    test_status: TestStatus
    last_tested_at: datetime | None
    last_result: TestReport | None
    retired_at: datetime | None
    retired_reason: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class TargetQuery(ListQuery):
    """Filters of the target list."""

    kind: str | None = Field(None, max_length=64)
    agent_id: str | None = Field(None, max_length=128)
    enabled: bool | None = None
    test_status: TestStatus | None = None
    include_retired: bool = False


class DeleteTargetQuery(Input):
    """How a target is deleted."""

    force: bool = Field(default=False, description="Unlink its certificates first.")


class TargetKindView(View):
    """One kind of target that is installed, also one that cannot be used and why."""

    kind: str
    title: str
    summary: str
    available: bool
    error: str | None = Field(description="Why it cannot be used.")
    aliases: list[str]
    schema_: dict[str, Any] | None = Field(
        alias="schema", description="JSON Schema of its configuration."
    )
    docs: str | None


class TargetKindsView(View):
    """The installed kinds."""

    data: list[TargetKindView]


class LinkTarget(Input):
    """How a certificate is bound to a target."""

    auto_deploy: bool = Field(default=True, description="Deploy each new version by itself.")


class LinkedTargetView(View):
    """A target that a certificate is deployed to."""

    id: str
    name: str
    kind: str
    agent_id: str
    enabled: bool
    auto_deploy: bool
    linked_at: datetime


class LinkQuery(ListQuery):
    """Paging of the targets of one certificate."""


class TestStarted(View):
    """A test was handed to the agent."""

    __test__ = False

    status: str = "test_triggered"
    job_id: str
