"""Queries of the agents room; rows never leave the package."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.fleet.agents._tables import agents
from certctl_core.fleet.agents.schemas import AgentQuery, AgentView
from certctl_core.fleet.agents.types import FAILED_DEPLOYMENTS, AgentStatus
from certctl_core.kernel.db import RowView, Uow

c = agents.c
SORTS: dict[str, sa.ColumnElement[Any]] = {
    "registered_at": c.registered_at,
    "created_at": c.registered_at,
    "name": c.name,
    "hostname": c.hostname,
    "status": c.status,
}
SHOWN = [c[name] for name in AgentView.model_fields]
_TEXTS = ("agent_version", "hostname", "os", "architecture", "ip_address", "boot_id")
_CHUNK = 500


def hash_key(value: str) -> str:
    """SHA-256 in hex: enough for 256 bits of randomness."""
    return hashlib.sha256(value.encode()).hexdigest()


view = RowView(AgentView)
"""Row → view."""


def one(uow: Uow, agent_id: str) -> Row[Any] | None:
    """One agent, retired ones too."""
    return uow.first(sa.select(*SHOWN).where(c.id == agent_id))


def lock(uow: Uow, agent_id: str) -> Row[Any] | None:
    """One agent, locked until the end of the transaction."""
    return uow.first(sa.select(*SHOWN).where(c.id == agent_id).with_for_update())


def selection(query: AgentQuery, *, retired: bool) -> sa.Select[Any]:
    """The filtered list, unsorted."""
    is_retired = c.retired_at.is_not(None) if retired else c.retired_at.is_(None)
    statement = sa.select(*SHOWN).where(is_retired)
    if query.status is not None:
        statement = statement.where(c.status == query.status)
    if query.os is not None:
        statement = statement.where(c.os == query.os)
    if query.label is not None:
        key, _, value = query.label.partition("=")
        statement = statement.where(c.labels[key].as_string() == value)
    if query.q:
        found = [
            column.icontains(query.q, autoescape=True) for column in (c.name, c.hostname, c.id)
        ]
        statement = statement.where(sa.or_(*found, c.ip_address == query.q))
    return statement


def name_taken(uow: Uow, name: str, *, but: str) -> bool:
    """Whether another active agent has the name."""
    found = sa.select(c.id).where(c.name == name, c.retired_at.is_(None), c.id != but)
    return uow.scalar(found) is not None


def by_credential(uow: Uow, digest: str) -> Row[Any] | None:
    """The agent that this hash is a credential of, the previous one included."""
    return uow.first(
        sa.select(c.id, c.name, c.retired_at, c.credential_hash, c.previous_expires_at).where(
            sa.or_(c.credential_hash == digest, c.previous_hash == digest)
        )
    )


def offline_among(uow: Uow, agent_ids: Collection[str]) -> list[Row[Any]]:
    """Those of the agents that count as offline right now."""
    found: list[Row[Any]] = []
    ids = sorted(agent_ids)
    for start in range(0, len(ids), _CHUNK):
        found += uow.execute(
            sa.select(c.id, c.name, c.last_heartbeat_at).where(
                c.id.in_(ids[start : start + _CHUNK]),
                c.status == AgentStatus.OFFLINE,
                c.retired_at.is_(None),
            )
        ).all()
    return found


def record_heartbeats(uow: Uow, rows: Iterable[dict[str, object]]) -> None:
    """Store many signs of life with one statement.

    Args:
        uow: The open unit of work.
        rows: Bind values as ``heartbeat_values`` makes them; one per agent, in order of their ids.
    """
    parameters = list(rows)
    if parameters:
        uow.execute(_HEARTBEAT, parameters)


def _heartbeat_statement() -> sa.Update:
    degraded = sa.or_(
        sa.bindparam("b_degraded", type_=sa.Boolean), c.failed_deployments >= FAILED_DEPLOYMENTS
    )
    kept: dict[str, Any] = {
        name: sa.func.coalesce(
            sa.func.nullif(sa.bindparam(f"b_{name}", type_=c[name].type), ""), c[name]
        )
        for name in (*_TEXTS, "policy_digest")
    }
    return (
        sa.update(agents)
        .where(c.id == sa.bindparam("b_id"), c.retired_at.is_(None))
        .values(
            status=sa.case((degraded, AgentStatus.DEGRADED.value), else_=AgentStatus.ONLINE.value),
            last_heartbeat_at=sa.bindparam("b_at", type_=c.last_heartbeat_at.type),
            started_at=sa.func.coalesce(
                sa.bindparam("b_started_at", type_=c.started_at.type), c.started_at
            ),
            capabilities=sa.case(
                (
                    sa.bindparam("b_has_capabilities", type_=sa.Boolean),
                    sa.bindparam("b_capabilities", type_=c.capabilities.type),
                ),
                else_=c.capabilities,
            ),
            recovery_pending=sa.bindparam("b_recovery_pending"),
            clock_skew_seconds=sa.func.coalesce(
                sa.bindparam("b_clock_skew_seconds", type_=sa.Float), c.clock_skew_seconds
            ),
            **kept,
        )
    )


_HEARTBEAT = _heartbeat_statement()


def silent(uow: Uow, *, offline_after: timedelta, limit: int) -> list[Row[Any]]:
    """Agents that become Offline now: the statement marks and returns them."""
    due = (
        sa.select(c.id)
        .where(
            c.retired_at.is_(None),
            c.status != AgentStatus.OFFLINE,
            sa.func.coalesce(c.last_heartbeat_at, c.registered_at) < uow.now - offline_after,
        )
        .order_by(c.id)
        .limit(limit)
    )
    return list(
        uow.execute(
            sa.update(agents)
            .where(c.id.in_(due), c.status != AgentStatus.OFFLINE)
            .values(status=AgentStatus.OFFLINE)
            .returning(c.id, c.name)
        ).all()
    )


def stats(uow: Uow) -> tuple[dict[str, int], float]:
    """Active agents by status, and the largest clock difference in seconds."""
    rows = uow.execute(
        sa.select(
            c.status,
            sa.func.count().label("number"),
            sa.func.max(sa.func.abs(c.clock_skew_seconds)).label("skew"),
        )
        .where(c.retired_at.is_(None))
        .group_by(c.status)
    ).all()
    return {row.status: row.number for row in rows}, max(
        (row.skew or 0.0 for row in rows), default=0.0
    )


def rotate(uow: Uow, agent_id: str, *, digest: str, old_until: datetime) -> Row[Any] | None:
    """Give an active agent a new credential; the old one works until ``old_until``."""
    return uow.first(
        sa.update(agents)
        .where(c.id == agent_id, c.retired_at.is_(None))
        .values(
            previous_hash=c.credential_hash,
            previous_expires_at=old_until,
            credential_hash=digest,
            credential_rotated_at=uow.now,
            updated_at=uow.now,
        )
        .returning(*SHOWN)
    )
