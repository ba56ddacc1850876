"""The queries of the job engine.

States stand as literals in the SQL, not as parameters: only then do both engines see that the
partial indexes apply.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Row

from certctl_core.kernel.db import RowView, Uow
from certctl_core.kernel.events import to_json
from certctl_core.kernel.ids import Prefix
from certctl_core.kernel.jobs._tables import jobs
from certctl_core.kernel.jobs.rules import subject_key, type_group
from certctl_core.kernel.jobs.schemas import JobQuery, JobView
from certctl_core.kernel.jobs.types import OPEN, Completion, Job, JobStatus, NewJob
from certctl_core.kernel.operations import Resource

c = jobs.c
_MANY = 20
_POSTGRES = postgresql.dialect()  # type: ignore[no-untyped-call]
SORTS = {"created_at": c.created_at}
_JOB_FIELDS = tuple(Job.__dataclass_fields__)
_JOB_COLUMNS = tuple(c[name] for name in _JOB_FIELDS)
_BY_HAND = {"payload", "type_group", "subject_key", "status_changed_at", "lease_id"}
VIEW_COLUMNS = tuple(column for column in c if column.name not in _BY_HAND)


def status_is(*statuses: JobStatus) -> sa.ColumnElement[bool]:
    """The condition that the partial indexes are made for."""
    words: list[sa.ColumnElement[str]] = [
        sa.literal_column(f"'{status.value}'") for status in statuses
    ]
    return c.status == words[0] if len(words) == 1 else c.status.in_(words)


def is_unfinished() -> sa.ColumnElement[bool]:
    """The condition of the one-open-job index: open, or failed with a retry to come."""
    waiting = sa.and_(status_is(JobStatus.FAILED), c.next_attempt_at.is_not(None))
    return sa.or_(status_is(*sorted(OPEN)), waiting)


def to_job(row: Row[Any]) -> Job:
    """A row of the job columns as a value."""
    found = row._asdict()
    values = {name: found[name] for name in _JOB_FIELDS}
    values["status"] = JobStatus(values["status"])
    return Job(**values)


to_view = RowView(JobView)
"""A row of the view columns as the API shows it."""


def insert_new(uow: Uow, rows: Sequence[Mapping[str, object]]) -> Sequence[Row[Any]]:
    """Insert jobs, leaving out those with an unfinished one; gives id and status of the others.

    Many rows go to PostgreSQL as one JSON document: thousands of parameters cost the driver more
    time than the server needs for the rows.
    """
    if uow.is_postgres and len(rows) >= _MANY:
        names = list(rows[0])
        types = ", ".join(f"{name} {c[name].type.compile(_POSTGRES)}" for name in names)
        columns = ", ".join(names)
        statement = sa.text(
            f"INSERT INTO jobs ({columns}) SELECT {columns} "  # noqa: S608 - our own names
            f"FROM jsonb_to_recordset(CAST(:document AS jsonb)) AS new ({types}) "
            "ON CONFLICT DO NOTHING RETURNING id, status"
        )
        return uow.execute(statement, {"document": json.dumps(to_json(list(rows)))}).all()
    ignoring = uow.insert(jobs).on_conflict_do_nothing().returning(c.id, c.status)
    return uow.execute(ignoring, rows).all()


def claim(
    uow: Uow,
    *,
    owner: str,
    types: Collection[str],
    limit: int,
    lease: Mapping[str, object],
) -> list[Job]:
    """Take up to ``limit`` due jobs, first by priority, then the longest due."""
    due = (
        sa.select(c.id)
        .where(
            status_is(JobStatus.PENDING),
            c.owner == owner,
            c.type.in_(sorted(types)),
            # next_attempt_at is never before scheduled_at; this one bounds the index walk.
            c.scheduled_at <= uow.now,
            c.next_attempt_at <= uow.now,
        )
        .order_by(c.priority, c.scheduled_at, c.id)
        .limit(limit)
    )
    change = (
        sa.update(jobs)
        .values(
            status=JobStatus.RUNNING,
            status_changed_at=uow.now,
            attempts=c.attempts + 1,
            started_at=uow.now,
            updated_at=uow.now,
            **lease,
        )
        .returning(*_JOB_COLUMNS)
    )
    if uow.is_postgres:
        # MATERIALIZED: the planner must not run the locking part twice.
        picked = due.with_for_update(skip_locked=True).cte("picked").prefix_with("MATERIALIZED")
        change = change.where(c.id == picked.c.id)
    else:
        change = change.where(c.id.in_(due))
    rows = uow.execute(change).all()
    ordered = sorted(rows, key=lambda row: (row.priority, row.scheduled_at, row.id))
    return [to_job(row) for row in ordered]


def lease_waiting(
    uow: Uow,
    *,
    holder: str,
    certificate_ids: Collection[str],
    types: Collection[str],
    limit: int,
    lease: Mapping[str, object],
) -> list[Job]:
    """Lease ``AwaitingCSR`` jobs that are the holder's own or of one of its certificates."""
    free = sa.or_(c.lease_owner.is_(None), c.lease_owner == holder, c.lease_expires_at < uow.now)
    waiting = (
        sa.select(c.id)
        .where(
            status_is(JobStatus.AWAITING_CSR),
            c.type.in_(sorted(types)),
            sa.or_(c.owner == holder, c.certificate_id.in_(sorted(certificate_ids))),
            c.next_attempt_at <= uow.now,
            free,
        )
        .order_by(c.status_changed_at, c.id)
        .limit(limit)
    )
    change = sa.update(jobs).values(updated_at=uow.now, **lease).returning(*_JOB_COLUMNS)
    if uow.is_postgres:
        picked = waiting.with_for_update(skip_locked=True).cte("picked").prefix_with("MATERIALIZED")
        change = change.where(c.id == picked.c.id)
    else:
        change = change.where(c.id.in_(waiting))
    rows = uow.execute(change).all()
    return [to_job(row) for row in sorted(rows, key=lambda row: (row.scheduled_at, row.id))]


def finish(uow: Uow, completions: Sequence[Completion]) -> tuple[int, set[str]]:
    """Complete a batch; returns how many changed, and the ids that were not ours any more."""
    plain: dict[str, list[str]] = {}
    with_result = []
    for done in sorted(completions, key=lambda done: done.job_id):
        if done.result is None:
            plain.setdefault(done.lease_id, []).append(done.job_id)
        else:
            with_result.append(
                {
                    "b_id": done.job_id,
                    "b_lease": done.lease_id,
                    "b_result": dict(done.result),
                }
            )
    values = {
        "status": JobStatus.COMPLETED,
        "status_changed_at": uow.now,
        "completed_at": uow.now,
        "updated_at": uow.now,
        "lease_owner": None,
        "lease_expires_at": None,
        "next_attempt_at": None,
        "last_error": None,
        "error_code": None,
    }
    base = sa.update(jobs).where(status_is(JobStatus.RUNNING)).values(values)
    changed = 0
    for lease_id, ids in plain.items():
        changed += uow.execute(base.where(c.id.in_(ids), c.lease_id == lease_id)).rowcount
    if with_result:
        one = base.where(c.id == sa.bindparam("b_id"), c.lease_id == sa.bindparam("b_lease"))
        statement = one.values(result=sa.bindparam("b_result", type_=c.result.type))
        changed += uow.execute(statement, with_result).rowcount
    if changed == len(completions):
        return changed, set()
    leases = {done.job_id: done.lease_id for done in completions}
    rows = uow.execute(sa.select(c.id, c.status, c.lease_id).where(c.id.in_(list(leases))))
    ours = {
        row.id
        for row in rows
        if row.status == JobStatus.COMPLETED and row.lease_id == leases[row.id]
    }
    return changed, set(leases) - ours


def next_due(uow: Uow, *, owner: str, types: Collection[str]) -> datetime | None:
    """When the next job that ``claim`` would take becomes due; None when none is pending."""
    found: datetime | None = uow.scalar(
        sa.select(sa.func.min(c.next_attempt_at)).where(
            status_is(JobStatus.PENDING), c.owner == owner, c.type.in_(sorted(types))
        )
    )
    return found


def filtered(query: JobQuery, scopes: Sequence[Resource] | None) -> sa.Select[Any]:
    """The list select: every filter applied, neither order nor limit."""
    statement = sa.select(*VIEW_COLUMNS)
    if query.status is not None:
        statement = statement.where(c.status == sa.literal_column(f"'{query.status.value}'"))
    for name in ("type", "certificate_id", "target_id", "agent_id"):
        value = getattr(query, name)
        if value is not None:
            statement = statement.where(c[name] == value)
    if query.q:
        statement = statement.where(
            sa.or_(c.id == query.q, c.subject_id == query.q, c.error_code == query.q)
        )
    if scopes is not None:
        profiles = [scope.profile_id for scope in scopes if scope.profile_id]
        issuers = [scope.issuer_id for scope in scopes if scope.issuer_id]
        statement = statement.where(sa.or_(c.profile_id.in_(profiles), c.issuer_id.in_(issuers)))
    return statement


def view(uow: Uow, job_id: str) -> Row[Any] | None:
    """One row for the API."""
    return uow.first(sa.select(*VIEW_COLUMNS).where(c.id == job_id))


def lock(uow: Uow, job_id: str) -> Row[Any] | None:
    """One whole row, locked until the end of the transaction."""
    return uow.first(sa.select(jobs).where(c.id == job_id).with_for_update())


def lock_many(
    uow: Uow, *conditions: sa.ColumnElement[bool], limit: int, wait: bool = False
) -> Sequence[Row[Any]]:
    """Whole rows, locked, in the order of their ids; rows locked elsewhere are left out.

    Args:
        uow: The open unit of work.
        conditions: Which rows.
        limit: At most so many.
        wait: Wait for rows that somebody else has locked.
    """
    statement = sa.select(jobs).where(*conditions).order_by(c.id).limit(limit)
    return uow.execute(statement.with_for_update(skip_locked=not wait)).all()


def open_with_key(uow: Uow, group: str, key: str) -> str | None:
    """The unfinished job of a type group and subject key, if any."""
    found: str | None = uow.scalar(
        sa.select(c.id).where(c.type_group == group, c.subject_key == key, is_unfinished())
    )
    return found


def open_id(uow: Uow, job: NewJob) -> str | None:
    """The unfinished job that stands in the way of this new one, if any."""
    return open_with_key(uow, type_group(job.type), subject_key(job))


def new_row(uow: Uow, job: NewJob) -> dict[str, object]:
    """The column values of a new job."""
    due = uow.now + max(job.delay, timedelta(0))
    return {
        "id": uow.new_id(Prefix.JOB),
        "type": job.type,
        "type_group": type_group(job.type),
        "subject_type": job.subject_type,
        "subject_id": job.subject_id,
        "subject_key": subject_key(job),
        "payload": dict(job.payload),
        "status": JobStatus(job.status),
        "status_changed_at": uow.now,
        "owner": job.owner,
        "priority": job.priority,
        "attempts": 0,
        "max_attempts": job.max_attempts,
        "scheduled_at": due,
        "next_attempt_at": due,
        "requested_by": uow.actor.id,
        "parent_job_id": job.parent_job_id,
        "certificate_id": job.certificate_id,
        "target_id": job.target_id,
        "agent_id": job.agent_id,
        "version_id": job.version_id,
        "order_id": job.order_id,
        "profile_id": job.scope.profile_id,
        "issuer_id": job.scope.issuer_id,
        "request_id": uow.request_id,
        "created_at": uow.now,
        "updated_at": uow.now,
    }
