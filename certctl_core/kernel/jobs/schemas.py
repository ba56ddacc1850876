"""What the API shows of a job and how lists are filtered."""

from datetime import datetime
from typing import Any

from pydantic import Field

from certctl_core.kernel.jobs.types import JobStatus, VerificationStatus
from certctl_core.kernel.operations import ListQuery, View


class JobView(View):
    """A job as callers see it; payload and lease id stay inside."""

    id: str
    type: str
    status: JobStatus
    subject_type: str
    subject_id: str
    owner: str = Field(description="`server`, or the agent that alone may run it.")
    priority: int
    certificate_id: str | None
    target_id: str | None
    agent_id: str | None
    version_id: str | None
    order_id: str | None
    parent_job_id: str | None
    attempts: int = Field(description="Claims so far.")
    max_attempts: int
    last_error: str | None
    error_code: str | None
    scheduled_at: datetime
    next_attempt_at: datetime | None = Field(
        description="When it is due; on a failed job the time of its retry, null when there is none."
    )
    started_at: datetime | None
    completed_at: datetime | None
    lease_owner: str | None
    lease_expires_at: datetime | None
    requested_by: str
    verification_status: VerificationStatus | None
    verified_at: datetime | None
    verification_fingerprint: str | None
    verification_error: str | None
    result: dict[str, Any] | None = Field(description="What the handler or the agent reported.")
    request_id: str
    created_at: datetime
    updated_at: datetime


class JobQuery(ListQuery):
    """Filters of the job list."""

    status: JobStatus | None = None
    type: str | None = Field(None, max_length=64)
    certificate_id: str | None = Field(None, max_length=128)
    target_id: str | None = Field(None, max_length=128)
    agent_id: str | None = Field(None, max_length=128)


class JobStatusAnswer(View):
    """The answer of an action on a job."""

    status: str
    job_id: str


class VerificationView(View):
    """The stored result of the probe after a deployment."""

    job_id: str
    target_id: str | None
    expected_fingerprint: str | None
    actual_fingerprint: str | None
    verified: bool
    verified_at: datetime | None
    error: str | None
