"""The job engine: leased claims, real attempts, backoff, one open job per subject and type."""

from certctl_core.kernel.jobs.engine import JobRunner
from certctl_core.kernel.jobs.errors import (
    JobAlreadyOpen,
    JobLeaseLost,
    JobNotFound,
    JobWrongState,
    RetryLater,
)
from certctl_core.kernel.jobs.events import (
    JobAgentLost,
    JobCancelled,
    JobFailed,
    JobLeaseExpired,
    JobRetried,
    JobTimedOut,
)
from certctl_core.kernel.jobs.rules import RetryPolicy
from certctl_core.kernel.jobs.schemas import JobQuery, JobView
from certctl_core.kernel.jobs.service import JobService
from certctl_core.kernel.jobs.types import (
    OPEN,
    SERVER,
    TERMINAL,
    Completion,
    Job,
    JobStatus,
    LostReason,
    NewJob,
    Verification,
    VerificationStatus,
)
from certctl_core.kernel.jobs.workflow import JobContext, JobKind

__all__ = [
    "OPEN",
    "SERVER",
    "TERMINAL",
    "Completion",
    "Job",
    "JobAgentLost",
    "JobAlreadyOpen",
    "JobCancelled",
    "JobContext",
    "JobFailed",
    "JobKind",
    "JobLeaseExpired",
    "JobLeaseLost",
    "JobNotFound",
    "JobQuery",
    "JobRetried",
    "JobRunner",
    "JobService",
    "JobStatus",
    "JobTimedOut",
    "JobView",
    "JobWrongState",
    "LostReason",
    "NewJob",
    "RetryLater",
    "RetryPolicy",
    "Verification",
    "VerificationStatus",
]
