"""Reading jobs: lists, single ones, sums."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import sqlalchemy as sa

from certctl_core.kernel.db import Uow, counted, paginate, recipe
from certctl_core.kernel.jobs import _store as store
from certctl_core.kernel.jobs._tables import jobs
from certctl_core.kernel.jobs.errors import JobNotFound, JobNotVerified
from certctl_core.kernel.jobs.schemas import JobQuery, JobView, VerificationView
from certctl_core.kernel.jobs.types import SERVER, VerificationStatus
from certctl_core.kernel.operations import NO_SCOPE, Page, Resource

c = jobs.c
SORTS = tuple(store.SORTS)
"""Sort fields of the job list."""


class JobReads:
    """The part of the service that only reads."""

    def get(self, uow: Uow, job_id: str) -> JobView:
        """One job.

        Raises:
            JobNotFound: No such job.
        """
        row = store.view(uow, job_id)
        if row is None:
            raise JobNotFound(job_id=job_id)
        return store.to_view(row)

    def resource(self, uow: Uow, job_id: str) -> Resource:
        """The scopes that the job carries for the access decision."""
        row = uow.first(sa.select(c.profile_id, c.issuer_id).where(c.id == job_id))
        return (
            NO_SCOPE
            if row is None
            else Resource(profile_id=row.profile_id, issuer_id=row.issuer_id)
        )

    def verification(self, uow: Uow, job_id: str) -> VerificationView:
        """The stored result of the probe after the deployment.

        Raises:
            JobNotFound: No such job.
            JobNotVerified: There is none.
        """
        row = uow.first(sa.select(jobs).where(c.id == job_id))
        if row is None:
            raise JobNotFound(job_id=job_id)
        if row.verification_status is None:
            raise JobNotVerified(job_id=job_id)
        return VerificationView(
            job_id=row.id,
            target_id=row.target_id,
            expected_fingerprint=row.expected_fingerprint,
            actual_fingerprint=row.verification_fingerprint,
            verified=row.verification_status == VerificationStatus.SUCCESS,
            verified_at=row.verified_at,
            error=row.verification_error,
        )

    def stats(self, uow: Uow) -> dict[str, int]:
        """Jobs by status, from the counters."""
        return uow.counters("jobs.status.")

    def next_due(self, uow: Uow, *, types: Collection[str], owner: str = SERVER) -> datetime | None:
        """When the next job of these types becomes due, or None when none is pending."""
        return store.next_due(uow, owner=owner, types=types)

    def list(
        self, uow: Uow, query: JobQuery, *, scopes: Sequence[Resource] | None = None
    ) -> Page[JobView]:
        """A page of jobs; ``scopes`` limits it to those profiles and issuers."""
        chosen = query.model_fields_set - {"page", "per_page", "page_size", "cursor", "sort"}
        total = None
        if scopes is None and chosen <= {"status", "fields"}:
            total = counted(f"jobs.status.{query.status or ''}")
        return paginate(
            uow,
            recipe(store.filtered, query, scopes),
            query=query,
            sorts=store.SORTS,
            id_column=c.id,
            view=store.to_view,
            total=total,
        )
