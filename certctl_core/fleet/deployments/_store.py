"""Queries of the deployments room; rows never leave the package."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from certctl_core.fleet.deployments._tables import deployments
from certctl_core.fleet.deployments.schemas import DeploymentQuery, DeploymentView
from certctl_core.kernel.db import RowView, Uow

c = deployments.c
SORTS: dict[str, sa.ColumnElement[Any]] = {
    "finished_at": c.finished_at,
    "created_at": c.finished_at,
}


view = RowView(DeploymentView)
"""Row → view."""


def selection(
    query: DeploymentQuery, *, certificate_id: str | None = None, target_id: str | None = None
) -> sa.Select[Any]:
    """The filtered list, unsorted."""
    statement = sa.select(deployments)
    for column, value in (
        (c.certificate_id, certificate_id),
        (c.target_id, target_id),
        (c.outcome, query.outcome),
        (c.agent_id, query.agent_id),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if query.q:
        statement = statement.where(
            sa.or_(c.target_id == query.q, c.version_id == query.q, c.error_code == query.q)
        )
    return statement


def insert(uow: Uow, *, job_id: str, **values: object) -> None:
    """Add an attempt to the history, numbered within its job; the job's row is locked."""
    # Not the job's own counter: a retry by hand starts that one anew.
    number = sa.select(sa.func.coalesce(sa.func.max(c.attempt), 0) + 1).where(c.job_id == job_id)
    statement = sa.insert(deployments).values(
        job_id=job_id, attempt=number.scalar_subquery(), **values
    )
    uow.execute(statement)
