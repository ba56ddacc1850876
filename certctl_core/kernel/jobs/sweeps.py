"""What time does to jobs: lost leases, waits that took too long, retries that are due.

Each sweep works in batches of one unit of work; the loop bodies repeat them until nothing is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.kernel.db import Uow
from certctl_core.kernel.jobs import _store as store
from certctl_core.kernel.jobs._changes import Changes
from certctl_core.kernel.jobs._tables import jobs
from certctl_core.kernel.jobs.events import JobAgentLost, JobLeaseExpired, JobTimedOut
from certctl_core.kernel.jobs.types import SERVER, JobStatus, LostReason

c = jobs.c
BATCH = 500
AGENT_LOST = "agent_lost"
LEASE_EXPIRED = "lease_expired"
CSR_TIMEOUT = "csr_timeout"
APPROVAL_TIMEOUT = "approval_timeout"


class Sweeps:
    """The sweeps over all jobs.

    Args:
        changes: The service's changes.
        csr_timeout: How long a job may await a CSR.
        approval_timeout: How long it may await an approval.
    """

    def __init__(
        self, changes: Changes, *, csr_timeout: timedelta, approval_timeout: timedelta
    ) -> None:
        self._changes = changes
        self._csr_timeout = csr_timeout
        self._approval_timeout = approval_timeout

    def reap(self, uow: Uow) -> int:
        """Return lost leases, end overdue waits; returns the number of jobs changed (≤ a batch).

        Several replicas may sweep at once: rows that another one holds are left out.
        """
        return (
            self._lost(uow, [c.lease_expires_at < uow.now], reason=LostReason.LEASE_EXPIRED)
            + self._overdue_csr(uow)
            + self._overdue_approval(uow)
        )

    def expire_holder(self, uow: Uow, *, holder: str, reason: LostReason) -> int:
        """Take every running job from a holder that is known to be gone (spec 08 JOB-2).

        Args:
            uow: The open unit of work.
            holder: Runner or agent id, as given to ``claim``.
            reason: Why; audited.
        """
        total = 0
        while changed := self._lost(uow, [c.lease_owner == holder], reason=reason):
            total += changed
        return total

    def holders(self, uow: Uow) -> list[str]:
        """Every holder of a running server job, for comparison with the living replicas."""
        rows = uow.execute(
            sa.select(c.lease_owner)
            .where(store.status_is(JobStatus.RUNNING), c.owner == SERVER)
            .distinct()
        )
        return sorted(row.lease_owner for row in rows if row.lease_owner)

    def retry_due(self, uow: Uow) -> int:
        """Failed → Pending for retries whose time has come; returns how many (≤ a batch)."""
        rows = store.lock_many(
            uow, store.status_is(JobStatus.FAILED), c.next_attempt_at <= uow.now, limit=BATCH
        )
        for row in rows:
            self._changes.revive(uow, row, attempts=row.attempts)
        return len(rows)

    def _lost(
        self, uow: Uow, conditions: Sequence[sa.ColumnElement[bool]], *, reason: LostReason
    ) -> int:
        rows = store.lock_many(uow, store.status_is(JobStatus.RUNNING), *conditions, limit=BATCH)
        servers = [row for row in rows if row.owner == SERVER]
        agents = [row for row in rows if row.owner != SERVER]
        for row, status in self._changes.give_back(
            uow, servers, code=LEASE_EXPIRED, message="the process that ran the job is gone"
        ):
            uow.emit(
                JobLeaseExpired(
                    **_about(row),
                    new_status=status,
                    timeout_reason=reason,
                    lease_owner=row.lease_owner,
                )
            )
        for row, status in self._changes.give_back(
            uow, agents, code=AGENT_LOST, message="the agent stopped reporting on the job"
        ):
            uow.emit(
                JobAgentLost(
                    **_about(row), new_status=status, timeout_reason=reason, agent_id=row.owner
                )
            )
        return len(rows)

    def _overdue_csr(self, uow: Uow) -> int:
        rows = self._overdue(uow, JobStatus.AWAITING_CSR, self._csr_timeout)
        for row in rows:
            self._changes.change(
                uow,
                row,
                JobStatus.FAILED,
                next_attempt_at=None,
                error_code=CSR_TIMEOUT,
                last_error="no certificate request came in time",
            )
            self._timed_out(uow, row, JobStatus.FAILED, CSR_TIMEOUT)
            self._changes.failed_for_good(uow, row)
        return len(rows)

    def _overdue_approval(self, uow: Uow) -> int:
        rows = self._overdue(uow, JobStatus.AWAITING_APPROVAL, self._approval_timeout)
        for row in rows:
            self._changes.change(
                uow,
                row,
                JobStatus.CANCELLED,
                next_attempt_at=None,
                error_code=APPROVAL_TIMEOUT,
                last_error="approval expired",
            )
            self._timed_out(uow, row, JobStatus.CANCELLED, APPROVAL_TIMEOUT)
        return len(rows)

    def _overdue(self, uow: Uow, status: JobStatus, after: timedelta) -> Sequence[Row[Any]]:
        return store.lock_many(
            uow, store.status_is(status), c.status_changed_at < uow.now - after, limit=BATCH
        )

    @staticmethod
    def _timed_out(uow: Uow, row: Row[Any], to: JobStatus, reason: str) -> None:
        age: timedelta = uow.now - row.status_changed_at
        hours = round(age.total_seconds() / 3600, 1)
        uow.emit(JobTimedOut(**_about(row), new_status=to, timeout_reason=reason, age_hours=hours))


def _about(row: Row[Any]) -> dict[str, Any]:
    return {
        "resource_id": row.id,
        "job_type": row.type,
        "certificate_id": row.certificate_id,
        "target_id": row.target_id,
        "old_status": row.status,
    }
