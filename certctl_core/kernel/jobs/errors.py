"""Failures of the job engine."""

from __future__ import annotations

from certctl_core.kernel.errors import Conflict, Internal, NotFound, Unavailable


class JobNotFound(NotFound):
    """No job has this id."""

    code = "job_not_found"
    text = "There is no job {job_id}."
    hint = "'certctl jobs list' shows the jobs."


class JobAlreadyOpen(Conflict):
    """The subject has an unfinished job of this sort: one at a time (spec 01 JOB-05)."""

    code = "job_already_open"
    text = "The job {job_id} for the same subject is not finished yet."
    hint = "Wait for it, retry it at once, or cancel it."
    members = ("job_id",)


class JobWrongState(Conflict):
    """The state table has no such step from the job's present state."""

    code = "job_wrong_state"
    text = "The job {job_id} is {job_status}; it cannot become {to}."
    members = ("job_status",)


class JobLeaseLost(Conflict):
    """The lease ended or passed on: a late result is refused (spec 08 JOB-2)."""

    code = "job_lease_lost"
    text = "The lease on the job {job_id} is no longer yours; the report was not stored."


class JobNotVerified(NotFound):
    """The job's outcome was never probed."""

    code = "job_not_verified"
    text = "The job {job_id} has no verification result."


class JobKindTaken(Internal):
    """Two handlers claim one job type: a defect in the composition."""

    code = "job_kind_taken"
    text = "The job type {type} has a handler already."


class RetryLater(Unavailable):
    """Raised by a handler that wants another attempt, after ``retry_in`` (a ``timedelta``).

    Raise it ``from`` the cause: a typed cause gives the job its error code and message.
    """

    code = "retry_later"
    text = "The job will be tried again."
