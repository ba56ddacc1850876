"""What the API shows of loops and replicas."""

from datetime import datetime

from pydantic import Field

from certctl_core.kernel.operations import View
from certctl_core.kernel.scheduler.types import RunResult


class LoopRunView(View):
    """One run of a loop."""

    replica_id: str
    started_at: datetime
    ended_at: datetime
    result: RunResult
    items: int
    error: str


class LoopView(View):
    """A loop and how it fared last."""

    name: str
    interval_seconds: float
    single_holder: bool = Field(description="Whether one replica at a time runs it.")
    replica_id: str | None = Field(description="The replica that ran it last.")
    last_started_at: datetime | None
    last_ended_at: datetime | None
    last_success_at: datetime | None
    last_result: RunResult | None
    last_items: int | None
    last_error: str | None
    runs: list[LoopRunView] = Field(default_factory=list, description="The newest recorded runs.")


class LoopListView(View):
    """Every loop that has ever been started."""

    data: list[LoopView]


class LoopRequestedView(View):
    """The answer to a request for a run."""

    status: str
    name: str


class ReplicaView(View):
    """One server process."""

    id: str
    hostname: str
    version: str
    role: str
    started_at: datetime
    heartbeat_at: datetime
    alive: bool = Field(description="Heard of within the last 30 s.")


class ReplicaListView(View):
    """Every server process that is alive or died within the last day."""

    data: list[ReplicaView]
