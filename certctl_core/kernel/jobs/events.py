"""What happens to jobs. Claims and successes stay on the job row; these are audited."""

from __future__ import annotations

from datetime import datetime

from certctl_core.kernel.events import Category, Event
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class JobEvent(Event):
    """Base of job events: which kind of job, for which certificate and target."""

    category = Category.CERT_LIFECYCLE
    resource_type = "job"
    job_type: str
    certificate_id: str | None = None
    target_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class JobFailed(JobEvent):
    """An attempt failed; ``retry_at`` is empty when it was the last one."""

    tag = "job.failed"
    error_code: str
    attempts: int
    retry_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class JobRetried(JobEvent):
    """A failed job became due again, by its backoff or by hand."""

    tag = "job.retried"
    attempts: int


@dataclass(frozen=True, kw_only=True)
class JobCancelled(JobEvent):
    """A job was called off."""

    tag = "job.cancelled"
    old_status: str
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class JobTimedOut(JobEvent):
    """A job waited too long for a CSR or for an approval."""

    tag = "job.timed_out"
    old_status: str
    new_status: str
    timeout_reason: str
    age_hours: float


@dataclass(frozen=True, kw_only=True)
class JobAgentLost(JobEvent):
    """An agent stopped reporting on a job that it had claimed."""

    tag = "job.agent_lost"
    old_status: str
    new_status: str
    timeout_reason: str
    agent_id: str


@dataclass(frozen=True, kw_only=True)
class JobLeaseExpired(JobEvent):
    """A server process stopped renewing its claim: it crashed or lost the database."""

    tag = "job.lease_expired"
    old_status: str
    new_status: str
    timeout_reason: str
    lease_owner: str
