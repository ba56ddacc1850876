"""Jobs: enqueue, claim, report, give up, and what the sweeps do.

Every change of state goes through the table in ``types.py``. Claims and successes stay on the row;
failures, retries, time-outs, cancellations and lost leases emit their event in the same transaction.
"""

from __future__ import annotations

import random
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError

from certctl_core.kernel.db import Uow
from certctl_core.kernel.events import JSON
from certctl_core.kernel.jobs import _store as store
from certctl_core.kernel.jobs._changes import (
    TOPIC,
    Changes,
    FinalFailure,
    count,
    plain,
    verified,
)
from certctl_core.kernel.jobs._tables import jobs
from certctl_core.kernel.jobs.claims import JobClaims
from certctl_core.kernel.jobs.errors import (
    JobAlreadyOpen,
    JobLeaseLost,
    JobWrongState,
)
from certctl_core.kernel.jobs.reads import JobReads
from certctl_core.kernel.jobs.rules import MAX_ERROR_TEXT, RetryPolicy
from certctl_core.kernel.jobs.schemas import JobView
from certctl_core.kernel.jobs.sweeps import Sweeps
from certctl_core.kernel.jobs.types import (
    SERVER,
    TERMINAL,
    JobStatus,
    LostReason,
    NewJob,
    Verification,
)
from certctl_core.kernel.operations import NO_SCOPE, Resource

c = jobs.c


class JobService(JobClaims, JobReads):
    """The use cases of jobs, each inside one unit of work.

    Args:
        csr_timeout: How long a job may await a CSR.
        approval_timeout: How long it may await an approval.
        retry: The backoff of failures that bring no wait of their own.
        rng: Where jitter comes from.
    """

    def __init__(
        self,
        *,
        csr_timeout: timedelta = timedelta(hours=24),
        approval_timeout: timedelta = timedelta(hours=168),
        retry: RetryPolicy | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._changes = Changes(retry=retry or RetryPolicy(), rng=rng or random.SystemRandom())
        self._sweeps = Sweeps(
            self._changes, csr_timeout=csr_timeout, approval_timeout=approval_timeout
        )

    @property
    def rng(self) -> random.Random:
        """Where jitter comes from."""
        return self._changes.rng

    def on_final_failure(self, job_type: str, hook: FinalFailure) -> None:
        """Call ``hook(uow, job)`` when a job of that type failed for good, in that transaction."""
        self._changes.final.setdefault(job_type, []).append(hook)

    def enqueue(
        self,
        uow: Uow,
        *,
        type: str,  # noqa: A002 - the column and the wire call it type
        subject_type: str,
        subject_id: str,
        payload: BaseModel | Mapping[str, JSON] | None = None,
        owner: str = SERVER,
        status: JobStatus | str = JobStatus.PENDING,
        delay: timedelta = timedelta(0),
        priority: int = 100,
        max_attempts: int = 3,
        subject_key: str | None = None,
        certificate_id: str | None = None,
        target_id: str | None = None,
        agent_id: str | None = None,
        version_id: str | None = None,
        order_id: str | None = None,
        parent_job_id: str | None = None,
        scope: Resource = NO_SCOPE,
    ) -> JobView:
        """Add a job (the arguments are those of :class:`NewJob`) and wake the runners.

        Raises:
            JobAlreadyOpen: The subject has an unfinished job of the same type group.
        """
        job = NewJob(
            type=type,
            subject_type=subject_type,
            subject_id=subject_id,
            payload=plain(payload),
            owner=owner,
            status=JobStatus(status),
            delay=delay,
            priority=priority,
            max_attempts=max_attempts,
            subject_key=subject_key,
            certificate_id=certificate_id,
            target_id=target_id,
            agent_id=agent_id,
            version_id=version_id,
            order_id=order_id,
            parent_job_id=parent_job_id,
            scope=scope,
        )
        created = self.enqueue_many(uow, [job])
        if not created:
            raise JobAlreadyOpen(job_id=store.open_id(uow, job) or "unknown")
        return self.get(uow, created[0])

    def enqueue_unless_open(self, uow: Uow, job: NewJob) -> tuple[JobView, bool]:
        """Add the job, or find the unfinished one of the same subject: ``(view, is_new)``."""
        for _ in range(3):
            created = self.enqueue_many(uow, [job])
            if created:
                return self.get(uow, created[0]), True
            found = store.open_id(uow, job)
            if found is not None:
                return self.get(uow, found), False
            # It ended between the two statements: the place is free again.
        raise JobAlreadyOpen(job_id="unknown")

    def enqueue_many(self, uow: Uow, new: Sequence[NewJob]) -> list[str]:
        """Add many jobs with one statement; those with an unfinished job are left out.

        Returns:
            The ids of the jobs that were added.
        """
        if not new:
            return []
        added = store.insert_new(uow, [store.new_row(uow, job) for job in new])
        count(uow, Counter(row.status for row in added))
        if any(row.status == JobStatus.PENDING for row in added):
            uow.wake(TOPIC)
        return [row.id for row in added]

    def complete(
        self,
        uow: Uow,
        job_id: str,
        lease_id: str,
        result: BaseModel | Mapping[str, JSON] | None = None,
        *,
        verification: Verification | None = None,
    ) -> JobView:
        """Running → Completed, by the holder of the lease.

        Raises:
            JobNotFound: No such job.
            JobLeaseLost: The lease is not the newest, or the job is not running any more.
        """
        row = self._changes.held(uow, job_id, lease_id)
        values: dict[str, object] = {} if result is None else {"result": plain(result)}
        return self._changes.change(
            uow,
            row,
            JobStatus.COMPLETED,
            next_attempt_at=None,
            last_error=None,
            error_code=None,
            **values,
            **verified(uow, verification),
        )

    def report(
        self, uow: Uow, job_id: str, lease_id: str, result: BaseModel | Mapping[str, JSON]
    ) -> None:
        """Store what a running job has reached so far, by the holder of the lease.

        A later attempt finds it as the job's result.

        Raises:
            JobNotFound: No such job.
            JobLeaseLost: The lease is not the newest, or the job is not running any more.
        """
        self._changes.report(uow, self._changes.held(uow, job_id, lease_id), plain(result))

    def fail(
        self,
        uow: Uow,
        job_id: str,
        lease_id: str,
        *,
        code: str,
        message: str,
        retryable: bool,
        retry_in: timedelta | None = None,
        result: BaseModel | Mapping[str, JSON] | None = None,
        verification: Verification | None = None,
    ) -> JobView:
        """Running → Failed, by the holder of the lease; emits ``job.failed``.

        A retryable failure with attempts left keeps the subject and becomes due again after
        ``retry_in`` (default: the service's backoff); any other is final and calls the
        final-failure hooks.

        Raises:
            JobNotFound, JobLeaseLost: As of :meth:`complete`.
        """
        row = self._changes.held(uow, job_id, lease_id)
        values: dict[str, object] = {} if result is None else {"result": plain(result)}
        return self._changes.fail(
            uow,
            row,
            code=code,
            message=message,
            retry_in=self._wait(row.attempts, row.max_attempts, retry_in) if retryable else None,
            **values,
            **verified(uow, verification),
        )

    def refuse_csr(self, uow: Uow, job_id: str, *, code: str, message: str) -> JobView:
        """A CSR was refused: the job awaits another one, or fails at ``max_attempts``.

        Raises:
            JobNotFound: No such job.
            JobWrongState: It does not await a CSR.
        """
        row = self._changes.row(uow, job_id)
        if row.status != JobStatus.AWAITING_CSR:
            raise JobWrongState(job_id=job_id, job_status=row.status, to=JobStatus.AWAITING_CSR)
        attempts = row.attempts + 1
        if attempts >= row.max_attempts:
            return self._changes.fail(
                uow, row, code=code, message=message, retry_in=None, attempts=attempts
            )
        return self._changes.change(
            uow,
            row,
            JobStatus.AWAITING_CSR,
            attempts=attempts,
            next_attempt_at=uow.now + self._changes.retry.wait(attempts, self._changes.rng),
            error_code=code,
            last_error=message[:MAX_ERROR_TEXT],
        )

    def transition(
        self,
        uow: Uow,
        job_id: str,
        to: JobStatus | str,
        *,
        from_: Iterable[JobStatus | str] | None = None,
        lease_id: str | None = None,
        version_id: str | None = None,
        order_id: str | None = None,
        owner: str | None = None,
        result: Mapping[str, JSON] | None = None,
    ) -> JobView:
        """One step of the state table that is neither a claim nor a report of failure.

        Args:
            uow: The open unit of work.
            job_id: Which job.
            to: The new state; ``Failed`` and ``Cancelled`` have methods of their own.
            from_: Only from one of these states.
            lease_id: Only under this lease.
            version_id: Set along with it.
            order_id: Set along with it.
            owner: Set along with it.
            result: Set along with it.

        Raises:
            JobNotFound: No such job.
            JobWrongState: The table, or ``from_``, does not allow the step.
            JobLeaseLost: The lease is not the newest.
        """
        row = self._changes.row(uow, job_id)
        target = JobStatus(to)
        if from_ is not None and row.status not in {str(status) for status in from_}:
            raise JobWrongState(job_id=job_id, job_status=row.status, to=target)
        if lease_id is not None and row.lease_id != lease_id:
            raise JobLeaseLost(job_id=job_id)
        values: dict[str, object] = {
            name: value
            for name, value in (
                ("version_id", version_id),
                ("order_id", order_id),
                ("owner", owner),
                ("result", None if result is None else dict(result)),
            )
            if value is not None
        }
        if target in {JobStatus.PENDING, JobStatus.AWAITING_CSR}:
            values["next_attempt_at"] = uow.now
        if target is JobStatus.COMPLETED:
            values["next_attempt_at"] = None
        if target is JobStatus.RUNNING:
            values |= {"started_at": uow.now, "lease_id": row.lease_id or secrets.token_hex(16)}
        return self._changes.change(uow, row, target, **values)

    def cancel(self, uow: Uow, job_id: str, *, reason: str | None = None) -> JobView:
        """Call a job off; emits ``job.cancelled``. Its holder's next report is refused.

        Raises:
            JobNotFound: No such job.
            JobWrongState: It is finished, and no retry is waiting.
        """
        row = self._changes.row(uow, job_id)
        if row.status == JobStatus.FAILED and row.next_attempt_at is None:
            raise JobWrongState(job_id=job_id, job_status=row.status, to=JobStatus.CANCELLED)
        return self._changes.cancel(uow, row, reason)

    def cancel_open(
        self,
        uow: Uow,
        *,
        certificate_id: str | None = None,
        target_id: str | None = None,
        owner: str | None = None,
        reason: str | None = None,
    ) -> int:
        """Call off every unfinished job of a certificate, a target or an owner; returns how many.

        For certificates that are archived or revoked and agents that are retired (spec 01 §7).
        At least one of the three must be given; more than one narrow it down.
        """
        wanted = {"certificate_id": certificate_id, "target_id": target_id, "owner": owner}
        conditions = [c[name] == value for name, value in wanted.items() if value is not None]
        if not conditions:
            return 0
        rows = store.lock_many(uow, *conditions, store.is_unfinished(), limit=10_000, wait=True)
        for row in rows:
            self._changes.cancel(uow, row, reason)
        return len(rows)

    def retry(self, uow: Uow, job_id: str) -> JobView:
        """Failed → Pending by hand: due at once, with all attempts again; emits ``job.retried``.

        Raises:
            JobNotFound: No such job.
            JobWrongState: It did not fail.
            JobAlreadyOpen: The subject has another unfinished job by now.
        """
        row = self._changes.row(uow, job_id)
        if row.status != JobStatus.FAILED:
            raise JobWrongState(job_id=job_id, job_status=row.status, to=JobStatus.PENDING)
        newer = store.open_with_key(uow, row.type_group, row.subject_key)
        if newer is not None and newer != job_id:
            raise JobAlreadyOpen(job_id=newer)
        try:
            return self._changes.revive(uow, row, attempts=0)
        except IntegrityError as error:  # one was opened since we looked
            raise JobAlreadyOpen(job_id="unknown") from error

    def record_verification(self, uow: Uow, job_id: str, verification: Verification) -> JobView:
        """Store what a probe found about this job's deployment.

        Raises:
            JobNotFound: No such job.
        """
        self._changes.row(uow, job_id)
        values = verified(uow, verification)
        uow.execute(sa.update(jobs).where(c.id == job_id).values(updated_at=uow.now, **values))
        uow.touch("jobs")
        return self.get(uow, job_id)

    def prune(self, uow: Uow, *, before: datetime, limit: int = 1000) -> int:
        """Delete up to ``limit`` jobs that ended before that time; returns how many."""
        rows = store.lock_many(
            uow, store.status_is(*sorted(TERMINAL)), c.completed_at < before, limit=limit
        )
        for row in rows:
            uow.count(f"jobs.status.{row.status}", -1)
        if rows:
            uow.execute(sa.delete(jobs).where(c.id.in_([row.id for row in rows])))
            uow.touch("jobs")
        return len(rows)

    def reap(self, uow: Uow) -> int:
        """Return lost leases and end overdue waits (spec 01 JOB-04); the number of jobs changed.

        One batch a call: call again until it is 0. See :class:`Sweeps`.
        """
        return self._sweeps.reap(uow)

    def retry_due(self, uow: Uow) -> int:
        """Failed → Pending where the wait is over; one batch a call, the number of jobs changed."""
        return self._sweeps.retry_due(uow)

    def expire_holder(self, uow: Uow, *, holder: str, reason: LostReason) -> int:
        """Treat every running job of a dead replica or an offline agent as a lost lease."""
        return self._sweeps.expire_holder(uow, holder=holder, reason=reason)

    def holders(self, uow: Uow) -> list[str]:
        """Every holder of a running server job."""
        return self._sweeps.holders(uow)

    def _wait(
        self, attempts: int, max_attempts: int, retry_in: timedelta | None
    ) -> timedelta | None:
        if attempts >= max_attempts:
            return None
        if retry_in is not None:
            return retry_in
        return self._changes.retry.wait(attempts, self._changes.rng)
