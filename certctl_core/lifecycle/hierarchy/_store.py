"""The queries over the CAs of trees. Private to this room."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.kernel.db import Uow
from certctl_core.lifecycle.hierarchy._tables import intermediate_cas
from certctl_core.lifecycle.hierarchy.types import OVER, TRANSITIONS, CANode, CAState

C = intermediate_cas.c


def _node(row: Row[Any]) -> CANode:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public mapping
    values["state"] = CAState(values["state"])
    return CANode(**values)


def find(uow: Uow, intermediate_id: str) -> CANode | None:
    """One CA."""
    row = uow.first(sa.select(intermediate_cas).where(C.id == intermediate_id))
    return None if row is None else _node(row)


def of_issuer(uow: Uow, issuer_id: str) -> list[CANode]:
    """Every CA of an issuer, oldest first."""
    statement = (
        sa.select(intermediate_cas)
        .where(C.owning_issuer_id == issuer_id)
        .order_by(C.created_at, C.id)
    )
    return [_node(row) for row in uow.execute(statement)]


def count_open(uow: Uow, issuer_id: str) -> int:
    """How many CAs of an issuer are neither retired nor revoked."""
    statement = sa.select(sa.func.count()).where(
        C.owning_issuer_id == issuer_id, C.state.not_in(OVER)
    )
    return int(uow.scalar(statement) or 0)


def insert(uow: Uow, node: CANode) -> bool:
    """Store a new CA; False when its name, its key or the place of the root is taken."""
    values = {field.name: getattr(node, field.name) for field in fields(CANode)}
    statement = uow.insert(intermediate_cas).values(values).on_conflict_do_nothing()
    return uow.execute(statement.execution_options(preserve_rowcount=True)).rowcount == 1


def swap(uow: Uow, node: CANode, to: CAState, **values: object) -> bool:
    """Move a CA to another state; False when the table forbids it or somebody was first."""
    if to not in TRANSITIONS[node.state]:
        return False
    statement = (
        sa.update(intermediate_cas)
        .where(C.id == node.id, C.state == node.state)
        .values(state=to, updated_at=uow.now, **values)
    )
    return uow.execute(statement).rowcount == 1
