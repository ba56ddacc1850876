"""Pure decisions of the job engine: uniqueness keys, retry waits, what is worth a retry."""

from __future__ import annotations

import random
from datetime import timedelta

from certctl_core.kernel.errors import CertctlError, ErrorKind
from certctl_core.kernel.jobs.types import TRANSITIONS, JobStatus, NewJob
from certctl_core.values import dataclass

_GROUPS = {"Issuance": "certificate", "Renewal": "certificate"}
_RETRYABLE = {ErrorKind.UNAVAILABLE, ErrorKind.RATE_LIMITED}
MAX_ERROR_TEXT = 4096
"""Characters of an error message that a job row keeps (spec 07 JOB-06)."""


def may_become(status: JobStatus, to: JobStatus) -> bool:
    """Whether the state table has this step."""
    return to in TRANSITIONS[status]


def type_group(job_type: str) -> str:
    """Types that exclude each other share a group: Issuance and Renewal (spec 01 JOB-05)."""
    return _GROUPS.get(job_type, job_type)


def subject_key(job: NewJob) -> str:
    """The subject of which one job may be open (spec 01 JOB-05).

    Issuance and Renewal: the certificate; Deployment and Removal: certificate and target;
    Validation: the target; any other type: its subject.
    """
    if job.subject_key is not None:
        return job.subject_key
    if job.type in {"Issuance", "Renewal"} and job.certificate_id:
        return job.certificate_id
    if job.type in {"Deployment", "Removal"} and job.certificate_id and job.target_id:
        return f"{job.certificate_id}:{job.target_id}"
    if job.type == "Validation" and job.target_id:
        return job.target_id
    return f"{job.subject_type}:{job.subject_id}"


def is_retryable(error: BaseException) -> bool:
    """Whether another attempt may succeed.

    An error's own ``retryable`` attribute decides; else a typed error is worth a retry when it
    says "not now" (unavailable, rate limited), and an untyped one always is.
    """
    own = getattr(error, "retryable", None)
    if isinstance(own, bool):
        return own
    return not isinstance(error, CertctlError) or error.kind in _RETRYABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long to wait before the next attempt (spec 08 JOB-5).

    Attributes:
        base: The wait after the first attempt.
        factor: It grows by this per attempt.
        cap: And never beyond this.
        jitter: Full jitter: anything between zero and the wait, so that failures spread.
        steps: Fixed waits by attempt; they replace ``base`` and ``factor``, the last one repeats.
    """

    base: timedelta = timedelta(seconds=30)
    factor: float = 2.0
    cap: timedelta = timedelta(hours=1)
    jitter: bool = True
    steps: tuple[timedelta, ...] = ()

    def wait(self, attempts: int, rng: random.Random) -> timedelta:
        """The wait after ``attempts`` (≥ 1) attempts."""
        if self.steps:
            wait = self.steps[min(attempts, len(self.steps)) - 1]
        else:
            # 2.0 ** 1024 overflows; the cap is reached long before the 64th attempt.
            growth = self.factor ** min(attempts - 1, 64)
            seconds = min(self.base.total_seconds() * growth, self.cap.total_seconds())
            wait = timedelta(seconds=seconds)
        wait = min(wait, self.cap)
        return wait * rng.random() if self.jitter else wait
