"""The one function that changes the state of a job, and the changes that emit an event."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.engine import Row

from certctl_core.kernel.db import Uow
from certctl_core.kernel.events import JSON, to_json
from certctl_core.kernel.jobs import _store as store
from certctl_core.kernel.jobs._tables import jobs
from certctl_core.kernel.jobs.errors import JobLeaseLost, JobNotFound, JobWrongState
from certctl_core.kernel.jobs.events import JobCancelled, JobFailed, JobRetried
from certctl_core.kernel.jobs.rules import MAX_ERROR_TEXT, RetryPolicy, may_become
from certctl_core.kernel.jobs.schemas import JobView
from certctl_core.kernel.jobs.types import TERMINAL, Job, JobStatus, Verification
from certctl_core.kernel.observability import counter

c = jobs.c
TOPIC = "jobs"
"""The change-feed topic that says "a job became due"."""
COMPLETED = counter("certctl_job_completed_total", "Jobs that completed.")
FAILED = counter("certctl_job_failed_total", "Attempts at jobs that failed.")
FinalFailure = Callable[[Uow, Job], None]
_ENDS = {str(JobStatus.COMPLETED): COMPLETED, str(JobStatus.FAILED): FAILED}
NO_LEASE: Mapping[str, object] = {"lease_owner": None, "lease_expires_at": None}


def plain(value: BaseModel | Mapping[str, JSON] | None) -> dict[str, JSON]:
    """A payload or a result as plain JSON."""
    if value is None:
        return {}
    if isinstance(value, BaseModel):
        dumped: dict[str, JSON] = value.model_dump(mode="json")
        return dumped
    return {str(key): to_json(item) for key, item in value.items()}


def verified(uow: Uow, verification: Verification | None) -> dict[str, object]:
    """The columns of a probe's result."""
    if verification is None:
        return {}
    return {
        "verification_status": verification.status,
        "verified_at": uow.now,
        "expected_fingerprint": verification.expected_fingerprint,
        "verification_fingerprint": verification.actual_fingerprint,
        "verification_error": verification.error,
    }


def count(uow: Uow, changes: Mapping[str, int]) -> None:
    """Move the counters by status, the metrics of ends and the list's version stamp."""
    for status, delta in changes.items():
        uow.count(f"jobs.status.{status}", delta)
        metric = _ENDS.get(status)
        if metric is not None and delta > 0:
            uow.after_commit(partial(metric.inc, delta))
    uow.touch("jobs")


class Changes:
    """Changes of locked rows.

    Args:
        retry: The backoff of failures that bring no wait of their own.
        rng: Where jitter comes from.
    """

    def __init__(self, *, retry: RetryPolicy, rng: random.Random) -> None:
        self.retry = retry
        self.rng = rng
        self.final: dict[str, list[FinalFailure]] = {}

    def row(self, uow: Uow, job_id: str) -> Row[Any]:
        """The job's row, locked.

        Raises:
            JobNotFound: No such job.
        """
        row = store.lock(uow, job_id)
        if row is None:
            raise JobNotFound(job_id=job_id)
        return row

    def held(self, uow: Uow, job_id: str, lease_id: str) -> Row[Any]:
        """The row of a running job under that very lease, locked.

        Raises:
            JobNotFound: No such job.
            JobLeaseLost: It does not run, or under another lease.
        """
        row = self.row(uow, job_id)
        if row.status != JobStatus.RUNNING or not secrets.compare_digest(
            str(row.lease_id), lease_id
        ):
            raise JobLeaseLost(job_id=job_id)
        return row

    def change(self, uow: Uow, row: Row[Any], to: JobStatus, **values: object) -> JobView:
        """Write a step of the state table.

        Raises:
            JobWrongState: The table has no such step, or the row changed meanwhile.
        """
        status = JobStatus(row.status)
        if not may_become(status, to):
            raise JobWrongState(job_id=row.id, job_status=status, to=to)
        if to is not JobStatus.RUNNING:
            values = {**NO_LEASE, **values}
        if to in TERMINAL:
            values = {"completed_at": uow.now, **values}
        if to is not status:
            values["status_changed_at"] = uow.now
        changed = uow.first(
            sa.update(jobs)
            .where(c.id == row.id, c.status == row.status)
            .values(status=to, updated_at=uow.now, **values)
            .returning(*store.VIEW_COLUMNS)
        )
        if changed is None:
            raise JobWrongState(job_id=row.id, job_status=status, to=to)
        count(uow, {status: -1, to: 1} if status is not to else {})
        if to is JobStatus.PENDING:
            uow.wake(TOPIC)
        return store.to_view(changed)

    def report(self, uow: Uow, row: Row[Any], result: Mapping[str, JSON]) -> None:
        """Write what a running job has reached; its state stays."""
        uow.execute(
            sa.update(jobs).where(c.id == row.id).values(result=dict(result), updated_at=uow.now)
        )
        uow.touch("jobs")

    def fail(
        self,
        uow: Uow,
        row: Row[Any],
        *,
        code: str,
        message: str,
        retry_in: timedelta | None,
        **values: object,
    ) -> JobView:
        """→ Failed; due again after ``retry_in``, or for good when it is None."""
        retry_at = None if retry_in is None else uow.now + retry_in
        view = self.change(
            uow,
            row,
            JobStatus.FAILED,
            next_attempt_at=retry_at,
            error_code=code[:64],
            last_error=message[:MAX_ERROR_TEXT],
            **values,
        )
        uow.emit(
            JobFailed(
                resource_id=row.id,
                job_type=row.type,
                certificate_id=row.certificate_id,
                target_id=row.target_id,
                error_code=code,
                attempts=view.attempts,
                retry_at=retry_at,
            )
        )
        if retry_at is None:
            self.failed_for_good(uow, row)
        return view

    def failed_for_good(self, uow: Uow, row: Row[Any]) -> None:
        """Call the final-failure hooks of the type."""
        for hook in self.final.get(row.type, ()):
            hook(uow, store.to_job(row))

    def cancel(self, uow: Uow, row: Row[Any], reason: str | None) -> JobView:
        """→ Cancelled."""
        view = self.change(uow, row, JobStatus.CANCELLED, next_attempt_at=None)
        uow.emit(
            JobCancelled(
                resource_id=row.id,
                job_type=row.type,
                certificate_id=row.certificate_id,
                target_id=row.target_id,
                old_status=row.status,
                reason=reason,
            )
        )
        return view

    def revive(self, uow: Uow, row: Row[Any], *, attempts: int) -> JobView:
        """Failed → Pending, due at once."""
        view = self.change(
            uow,
            row,
            JobStatus.PENDING,
            attempts=attempts,
            next_attempt_at=uow.now,
            started_at=None,
            completed_at=None,
            lease_id=None,
        )
        uow.emit(
            JobRetried(
                resource_id=row.id,
                job_type=row.type,
                certificate_id=row.certificate_id,
                target_id=row.target_id,
                attempts=attempts,
            )
        )
        return view

    def give_back(
        self, uow: Uow, rows: Sequence[Row[Any]], *, code: str, message: str
    ) -> list[tuple[Row[Any], JobStatus]]:
        """Running rows whose holder is gone: Pending, or Failed where no attempt is left.

        Emits nothing but the hooks' events; the caller says why. Returns row and new state.
        """
        done: list[tuple[Row[Any], JobStatus]] = []
        for row in rows:
            if row.attempts < row.max_attempts:
                wait = self.retry.wait(row.attempts, self.rng)
                self.change(
                    uow,
                    row,
                    JobStatus.PENDING,
                    next_attempt_at=uow.now + wait,
                    lease_id=None,
                    error_code=code,
                    last_error=message,
                )
                done.append((row, JobStatus.PENDING))
            else:
                self.change(
                    uow,
                    row,
                    JobStatus.FAILED,
                    next_attempt_at=None,
                    error_code=code,
                    last_error=message,
                )
                self.failed_for_good(uow, row)
                done.append((row, JobStatus.FAILED))
        return done
