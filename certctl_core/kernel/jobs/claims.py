"""Claiming and finishing in batches: what runners and agents' polls call all day."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from datetime import timedelta

import sqlalchemy as sa

from certctl_core.kernel.db import Uow
from certctl_core.kernel.jobs import _store as store
from certctl_core.kernel.jobs._changes import NO_LEASE, TOPIC, count
from certctl_core.kernel.jobs._tables import jobs
from certctl_core.kernel.jobs.types import SERVER, Completion, Job, JobStatus

c = jobs.c


class JobClaims:
    """The part of the service that takes no decision about a single job."""

    def claim(
        self,
        uow: Uow,
        *,
        types: Collection[str],
        limit: int,
        lease: timedelta,
        holder: str,
        owner: str = SERVER,
    ) -> list[Job]:
        """Take up to ``limit`` due jobs of ``owner``: they become Running under a fresh lease.

        Two callers never get the same job, and neither waits for the other (spec 08 JOB-1). The
        server's runner and an agent's poll use this one function.

        Args:
            uow: The open unit of work.
            types: Which types the caller can run.
            limit: At most so many.
            lease: How long the claim lives without :meth:`renew`.
            holder: Who claims: a replica's runner or an agent id.
            owner: Whose jobs: the server's, or that agent's.
        """
        if not types or limit < 1:
            return []
        taken = store.claim(
            uow, owner=owner, types=types, limit=limit, lease=self._lease(uow, holder, lease)
        )
        if taken:
            count(uow, {JobStatus.PENDING: -len(taken), JobStatus.RUNNING: len(taken)})
        return taken

    def lease_waiting(
        self,
        uow: Uow,
        *,
        holder: str,
        certificate_ids: Collection[str],
        types: Collection[str] = ("Issuance", "Renewal"),
        limit: int,
        lease: timedelta = timedelta(minutes=10),
    ) -> list[Job]:
        """Lease jobs that await a CSR to one agent; their state stays (spec 01 AGP-02).

        Taken are those owned by ``holder`` and those of ``certificate_ids``, unless another holder
        has a living lease.
        """
        taken = store.lease_waiting(
            uow,
            holder=holder,
            certificate_ids=certificate_ids,
            types=types,
            limit=limit,
            lease=self._lease(uow, holder, lease),
        )
        if taken:
            uow.touch("jobs")
        return taken

    def renew(
        self, uow: Uow, *, holder: str, job_ids: Collection[str], lease: timedelta
    ) -> set[str]:
        """Prolong the holder's leases; returns the ids that are still its own."""
        if not job_ids:
            return set()
        rows = uow.execute(
            sa.update(jobs)
            .where(
                c.id.in_(sorted(job_ids)),
                c.lease_owner == holder,
                store.status_is(JobStatus.RUNNING, JobStatus.AWAITING_CSR),
            )
            .values(lease_expires_at=uow.now + lease)
            .returning(c.id)
        )
        return {row.id for row in rows}

    def release(self, uow: Uow, *, holder: str, job_ids: Collection[str]) -> int:
        """Give claimed jobs back that were never started: the attempt does not count."""
        if not job_ids:
            return 0
        given = uow.execute(
            sa.update(jobs)
            .where(
                c.id.in_(sorted(job_ids)),
                c.lease_owner == holder,
                store.status_is(JobStatus.RUNNING),
            )
            .values(
                status=JobStatus.PENDING,
                status_changed_at=uow.now,
                attempts=c.attempts - 1,
                next_attempt_at=uow.now,
                started_at=None,
                updated_at=uow.now,
                lease_id=None,
                **NO_LEASE,
            )
        ).rowcount
        if given:
            count(uow, {JobStatus.RUNNING: -given, JobStatus.PENDING: given})
            uow.wake(TOPIC)
        return given

    def finish(self, uow: Uow, completions: Sequence[Completion]) -> set[str]:
        """Complete a batch with few statements.

        Returns:
            The ids whose lease was lost; nothing of them was stored. An id that the handler has
            completed itself under the same lease is not among them.
        """
        if not completions:
            return set()
        changed, lost = store.finish(uow, completions)
        if changed:
            count(uow, {JobStatus.RUNNING: -changed, JobStatus.COMPLETED: changed})
        return lost

    @staticmethod
    def _lease(uow: Uow, holder: str, lease: timedelta) -> dict[str, object]:
        return {
            "lease_owner": holder,
            "lease_id": secrets.token_hex(16),
            "lease_expires_at": uow.now + lease,
        }
