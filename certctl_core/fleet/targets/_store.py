"""Queries of the targets room; rows never leave the package."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.fleet.targets._tables import certificate_targets as links
from certctl_core.fleet.targets._tables import targets
from certctl_core.fleet.targets.schemas import LinkedTargetView, TargetQuery
from certctl_core.fleet.targets.types import TargetRef, TestStatus
from certctl_core.kernel.db import Uow
from certctl_core.kernel.events import JSON
from certctl_core.values import dataclass

c = targets.c
SORTS: dict[str, sa.ColumnElement[Any]] = {
    "created_at": c.created_at,
    "name": c.name,
    "kind": c.kind,
}
_REF = (c.id, c.name, c.kind, c.agent_id, c.enabled)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRow:
    """One row of ``targets``; ``secrets`` maps field paths to sealed envelopes."""

    id: str
    name: str
    kind: str
    agent_id: str
    config: dict[str, JSON]
    secrets: dict[str, str]
    secrets_set_at: dict[str, str]
    enabled: bool
    test_status: TestStatus
    last_tested_at: datetime | None
    last_result: dict[str, Any] | None
    retired_at: datetime | None
    retired_reason: str | None
    version: int
    created_at: datetime
    updated_at: datetime


def from_row(row: Row[Any]) -> TargetRow:
    """Make the value of a row, which may carry further columns."""
    values = {name: getattr(row, name) for name in TargetRow.__slots__}
    return TargetRow(**values | {"test_status": TestStatus(values["test_status"])})


def find(uow: Uow, target_id: str) -> TargetRow | None:
    """One target, a retired one too."""
    row = uow.first(sa.select(targets).where(c.id == target_id))
    return None if row is None else from_row(row)


def selection(query: TargetQuery) -> sa.Select[Any]:
    """The filtered list, unsorted."""
    statement = sa.select(targets)
    if not query.include_retired:
        statement = statement.where(c.retired_at.is_(None))
    for column, value in (
        (c.kind, query.kind),
        (c.agent_id, query.agent_id),
        (c.enabled, query.enabled),
        (c.test_status, query.test_status),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if query.q:
        statement = statement.where(
            sa.or_(c.name.icontains(query.q, autoescape=True), c.id == query.q)
        )
    return statement


def update(uow: Uow, row: TargetRow, **values: object) -> TargetRow | None:
    """Change a row if nobody changed it since it was read."""
    changed = uow.first(
        sa.update(targets)
        .where(c.id == row.id, c.version == row.version)
        .values(version=row.version + 1, updated_at=uow.now, **values)
        .returning(*c)
    )
    return None if changed is None else from_row(changed)


def name_taken(uow: Uow, row: TargetRow, name: str) -> bool:
    """Whether another active target of the same agent has the name."""
    found = sa.select(c.id).where(
        c.agent_id == row.agent_id, c.name == name, c.retired_at.is_(None), c.id != row.id
    )
    return uow.scalar(found) is not None


def link_count(uow: Uow, target_id: str) -> int:
    """How many certificates are linked to the target."""
    statement = sa.select(sa.func.count()).where(links.c.target_id == target_id)
    return int(uow.scalar(statement))


def link(uow: Uow, certificate_id: str, target_id: str, *, auto_deploy: bool) -> bool:
    """Link the pair or change the link; True when it is new."""
    row = uow.first(
        uow.insert(links)
        .values(
            certificate_id=certificate_id,
            target_id=target_id,
            auto_deploy=auto_deploy,
            created_at=uow.now,
        )
        .on_conflict_do_nothing()
        .returning(links.c.target_id)
    )
    if row is None:
        uow.execute(
            sa.update(links)
            .where(links.c.certificate_id == certificate_id, links.c.target_id == target_id)
            .values(auto_deploy=auto_deploy)
        )
    return row is not None


def unlink(uow: Uow, certificate_id: str, target_id: str) -> bool:
    """Undo a link; False when there was none."""
    return (
        uow.execute(
            sa.delete(links).where(
                links.c.certificate_id == certificate_id, links.c.target_id == target_id
            )
        ).rowcount
        == 1
    )


def linked(
    certificate_id: str,
) -> sa.Select[Any]:
    """The active targets of a certificate with their links."""
    return (
        sa.select(*_REF, links.c.auto_deploy, links.c.created_at.label("linked_at"))
        .join(links, links.c.target_id == c.id)
        .where(links.c.certificate_id == certificate_id, c.retired_at.is_(None))
    )


def links_of(target_id: str) -> sa.Select[Any]:
    """The links of a target."""
    return sa.select(*links.c).where(links.c.target_id == target_id)


def link_view(row: Row[Any]) -> LinkedTargetView:
    """Row → view."""
    return LinkedTargetView.model_validate(row, from_attributes=True)


def refs(uow: Uow, certificate_id: str, *, agent_id: str | None = None) -> list[TargetRef]:
    """The active targets of a certificate, of one agent if given, in order of their ids."""
    statement = linked(certificate_id)
    if agent_id is not None:
        statement = statement.where(c.agent_id == agent_id)
    return [ref(row) for row in uow.execute(statement.order_by(c.id))]


def ref(row: Row[Any] | TargetRow) -> TargetRef:
    """Row → reference."""
    return TargetRef(
        id=row.id, name=row.name, kind=row.kind, agent_id=row.agent_id, enabled=row.enabled
    )


def certificates_of(uow: Uow, agent_id: str) -> list[str]:
    """The certificates that are linked to an active target of the agent."""
    return list(
        uow.execute(
            sa.select(links.c.certificate_id)
            .distinct()
            .join(targets, c.id == links.c.target_id)
            .where(c.agent_id == agent_id, c.retired_at.is_(None))
            .order_by(links.c.certificate_id)
        ).scalars()
    )


def is_linked_to_agent(uow: Uow, certificate_id: str, agent_id: str) -> bool:
    """Whether the certificate is linked to an active target of the agent."""
    statement = linked(certificate_id).where(c.agent_id == agent_id).limit(1)
    return uow.first(statement) is not None


def counts(uow: Uow, agent_id: str) -> dict[str, int]:
    """Active targets of an agent, and certificates that are linked to them."""
    number = sa.select(sa.func.count()).where(c.agent_id == agent_id, c.retired_at.is_(None))
    return {
        "active_targets": int(uow.scalar(number)),
        "active_certificates": len(certificates_of(uow, agent_id)),
    }


def retire(uow: Uow, agent_id: str, reason: str) -> list[TargetRef]:
    """Retire the active targets of an agent."""
    rows = uow.execute(
        sa.update(targets)
        .where(c.agent_id == agent_id, c.retired_at.is_(None))
        .values(
            retired_at=uow.now,
            retired_reason=reason,
            enabled=False,
            version=c.version + 1,
            updated_at=uow.now,
        )
        .returning(*_REF)
    )
    return [ref(row) for row in rows]


def delete(uow: Uow, row: TargetRow) -> bool:
    """Delete a target with its links, if nobody changed it since it was read."""
    uow.execute(sa.delete(links).where(links.c.target_id == row.id))
    return (
        uow.execute(sa.delete(targets).where(c.id == row.id, c.version == row.version)).rowcount
        == 1
    )


def auto_deployed(uow: Uow, certificate_id: str, agent_id: str) -> list[TargetRef]:
    """The enabled targets of one agent that get each new version by themselves."""
    statement = linked(certificate_id).where(
        c.agent_id == agent_id, c.enabled.is_(True), links.c.auto_deploy.is_(True)
    )
    return [ref(row) for row in uow.execute(statement.order_by(c.id))]


def note_test(uow: Uow, target_id: str, **values: object) -> bool:
    """Record a test, whoever edits at the same time."""
    return uow.execute(sa.update(targets).where(c.id == target_id).values(**values)).rowcount == 1
