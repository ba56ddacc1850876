"""The queries of the scheduler. Times that replicas compare are the database's on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.kernel.db import Uow
from certctl_core.kernel.scheduler._tables import loop_runs, loop_states, server_replicas
from certctl_core.kernel.scheduler.types import DEAD_AFTER, LoopRun, Replica, RunResult

s = loop_states.c
r = server_replicas.c


def shared_now(uow: Uow) -> datetime:
    """The time that all replicas agree on."""
    if uow.is_postgres:
        found: datetime = uow.scalar(sa.select(sa.func.clock_timestamp(type_=r.heartbeat_at.type)))
        return found
    return uow.now


def declare(
    uow: Uow, name: str, *, interval: timedelta, timeout: timedelta, single_holder: bool
) -> None:
    """Make or refresh the row of a loop."""
    values = {
        "interval_seconds": interval.total_seconds(),
        "timeout_seconds": timeout.total_seconds(),
        "single_holder": single_holder,
    }
    statement = uow.insert(loop_states).values(name=name, **values)
    uow.execute(statement.on_conflict_do_update(index_elements=[s.name], set_=values))


def may_start(uow: Uow, name: str, *, gap: timedelta) -> bool:
    """Mark the loop as started now, unless any replica started it less than ``gap`` ago."""
    now = shared_now(uow)
    started = uow.execute(
        sa.update(loop_states)
        .where(
            s.name == name,
            sa.or_(
                s.last_started_at.is_(None),
                s.last_started_at <= now - gap,
                s.last_started_at > now + gap,  # the clock was put back
                s.requested_at.is_not(None),
            ),
        )
        .values(last_started_at=now)
    )
    return started.rowcount == 1


def record(uow: Uow, run: LoopRun) -> None:
    """Store how a run ended."""
    uow.execute(
        sa.insert(loop_runs).values(
            loop=run.loop,
            replica_id=run.replica_id,
            started_at=run.started_at,
            ended_at=run.ended_at,
            result=run.result,
            items=run.items,
            error=run.error,
            fence=run.fence,
        )
    )
    values: dict[str, object] = {
        "last_started_at": run.started_at,
        "last_ended_at": run.ended_at,
        "last_result": run.result,
        "last_items": run.items,
        "last_error": run.error,
        "last_replica_id": run.replica_id,
        "requested_at": None,
    }
    if run.result is RunResult.OK:
        values["last_success_at"] = run.ended_at
    uow.execute(sa.update(loop_states).where(s.name == run.loop).values(values))


def prune_runs(uow: Uow, name: str, *, keep: int) -> None:
    """Keep the newest ``keep`` runs of a loop."""
    c = loop_runs.c
    edge = (
        sa.select(c.id)
        .where(c.loop == name)
        .order_by(c.id.desc())
        .limit(1)
        .offset(keep)
        .scalar_subquery()
    )
    uow.execute(sa.delete(loop_runs).where(c.loop == name, c.id <= edge))


def states(uow: Uow) -> Sequence[Row[Any]]:
    """Every loop's row, by name."""
    return uow.execute(sa.select(loop_states).order_by(s.name)).all()


def state(uow: Uow, name: str) -> Row[Any] | None:
    """One loop's row."""
    return uow.first(sa.select(loop_states).where(s.name == name))


def runs(uow: Uow, name: str, *, limit: int) -> Sequence[Row[Any]]:
    """The newest runs of a loop."""
    c = loop_runs.c
    return uow.execute(
        sa.select(loop_runs).where(c.loop == name).order_by(c.id.desc()).limit(limit)
    ).all()


def request(uow: Uow, name: str) -> bool:
    """Note that somebody wants a run; False when there is no such loop."""
    changed = uow.execute(sa.update(loop_states).where(s.name == name).values(requested_at=uow.now))
    return changed.rowcount == 1


def requested(uow: Uow) -> list[str]:
    """The loops that somebody wants to run."""
    return [row.name for row in uow.execute(sa.select(s.name).where(s.requested_at.is_not(None)))]


def beat(uow: Uow, replica: Replica) -> None:
    """Say that the replica lives."""
    now = shared_now(uow)
    statement = uow.insert(server_replicas).values(
        id=replica.id,
        hostname=replica.hostname,
        version=replica.version,
        role=replica.role,
        started_at=now,
        heartbeat_at=now,
    )
    uow.execute(statement.on_conflict_do_update(index_elements=[r.id], set_={"heartbeat_at": now}))


def leave(uow: Uow, replica_id: str) -> None:
    """Forget a replica that stopped in order."""
    uow.execute(sa.delete(server_replicas).where(r.id == replica_id))


def replicas(uow: Uow) -> tuple[Sequence[Row[Any]], datetime]:
    """Every known replica, oldest first, and the time before which a heartbeat means death."""
    rows = uow.execute(sa.select(server_replicas).order_by(r.started_at, r.id)).all()
    return rows, shared_now(uow) - DEAD_AFTER


def forget_dead(uow: Uow, *, after: timedelta) -> int:
    """Delete replicas that have been dead for that long."""
    edge = shared_now(uow) - after
    return uow.execute(sa.delete(server_replicas).where(r.heartbeat_at < edge)).rowcount
