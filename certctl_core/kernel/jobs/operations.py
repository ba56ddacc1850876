"""The use cases of jobs, as data."""

from __future__ import annotations

from typing import cast

from certctl_core.kernel.db import Uow
from certctl_core.kernel.jobs.errors import (
    JobAlreadyOpen,
    JobNotFound,
    JobNotVerified,
    JobWrongState,
)
from certctl_core.kernel.jobs.reads import SORTS
from certctl_core.kernel.jobs.schemas import JobQuery, JobStatusAnswer, JobView, VerificationView
from certctl_core.kernel.jobs.service import JobService
from certctl_core.kernel.operations import Call, Operation, Resource, Transaction


def operations(service: JobService) -> tuple[Operation, ...]:
    """Declare list, get, cancel, retry and the verification result."""

    def uow(call: Call) -> Uow:
        return cast("Uow", call.uow)

    def scope(call: Call) -> Resource:
        return service.resource(uow(call), call.path["job_id"])

    def cancel(call: Call) -> JobStatusAnswer:
        view = service.cancel(uow(call), call.path["job_id"])
        return JobStatusAnswer(status="job_cancelled", job_id=view.id)

    return (
        Operation(
            name="jobs.list",
            method="GET",
            path="/jobs",
            summary="List jobs",
            permission="job.read",
            query=JobQuery,
            output=JobView,
            is_list=True,
            is_scoped=True,
            collection="jobs",
            sorts=SORTS,
            transaction=Transaction.READ,
            run=lambda call: service.list(
                uow(call), cast("JobQuery", call.query), scopes=call.scopes
            ),
        ),
        Operation(
            name="jobs.get",
            method="GET",
            path="/jobs/{job_id}",
            summary="Show a job",
            permission="job.read",
            resource=scope,
            output=JobView,
            errors=(JobNotFound,),
            transaction=Transaction.READ,
            run=lambda call: service.get(uow(call), call.path["job_id"]),
        ),
        Operation(
            name="jobs.cancel",
            method="POST",
            path="/jobs/{job_id}/cancel",
            summary="Cancel an unfinished job",
            permission="job.cancel",
            resource=scope,
            output=JobStatusAnswer,
            errors=(JobNotFound, JobWrongState),
            is_destructive=True,
            run=cancel,
        ),
        Operation(
            name="jobs.retry",
            method="POST",
            path="/jobs/{job_id}/retry",
            summary="Retry a failed job at once",
            permission="job.cancel",
            resource=scope,
            output=JobView,
            errors=(JobNotFound, JobWrongState, JobAlreadyOpen),
            run=lambda call: service.retry(uow(call), call.path["job_id"]),
        ),
        Operation(
            name="jobs.verification",
            method="GET",
            path="/jobs/{job_id}/verification",
            summary="Show what the probe after a deployment found",
            permission="verification.read",
            resource=scope,
            output=VerificationView,
            errors=(JobNotFound, JobNotVerified),
            transaction=Transaction.READ,
            run=lambda call: service.verification(uow(call), call.path["job_id"]),
        ),
    )
