"""Loops and replicas as stored: states, runs, requests, heartbeats."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.engine import Row

from certctl_core.kernel.db import Uow
from certctl_core.kernel.scheduler import _store as store
from certctl_core.kernel.scheduler.errors import LoopNotFound, LoopRunning
from certctl_core.kernel.scheduler.events import LoopRequested
from certctl_core.kernel.scheduler.schemas import (
    LoopListView,
    LoopRunView,
    LoopView,
    ReplicaListView,
    ReplicaView,
)

TOPIC = "loops"
"""The change-feed topic that says "somebody wants a loop to run"."""
_SHOWN_RUNS = 20


class SchedulerService:
    """What surfaces and other rooms ask about loops and replicas."""

    def loops(self, uow: Uow) -> LoopListView:
        """Every loop, by name."""
        return LoopListView(data=[_loop(row, []) for row in store.states(uow)])

    def loop(self, uow: Uow, name: str) -> LoopView:
        """One loop with its newest runs.

        Raises:
            LoopNotFound: No such loop.
        """
        row = store.state(uow, name)
        if row is None:
            raise LoopNotFound(name=name)
        runs = [
            LoopRunView.model_validate(run, from_attributes=True)
            for run in store.runs(uow, name, limit=_SHOWN_RUNS)
        ]
        return _loop(row, runs)

    def request(self, uow: Uow, name: str) -> None:
        """Ask for a run outside the schedule; whichever replica runs the loop does it soon.

        Raises:
            LoopNotFound: No such loop.
            LoopRunning: It runs, or a request is waiting already.
        """
        row = store.state(uow, name)
        if row is None:
            raise LoopNotFound(name=name)
        if row.requested_at is not None or _is_running(row, store.shared_now(uow)):
            raise LoopRunning(name=name)
        store.request(uow, name)
        uow.emit(LoopRequested(resource_id=name))
        uow.wake(TOPIC)

    def replicas(self, uow: Uow) -> ReplicaListView:
        """Every server process that is alive or died lately."""
        rows, edge = store.replicas(uow)
        return ReplicaListView(
            data=[
                ReplicaView(
                    id=row.id,
                    hostname=row.hostname,
                    version=row.version,
                    role=row.role,
                    started_at=row.started_at,
                    heartbeat_at=row.heartbeat_at,
                    alive=row.heartbeat_at >= edge,
                )
                for row in rows
            ]
        )

    def dead_replicas(self, uow: Uow) -> list[str]:
        """Ids of replicas that stopped without a word (spec 08 HA-1)."""
        rows, edge = store.replicas(uow)
        return [row.id for row in rows if row.heartbeat_at < edge]

    def forget_dead(self, uow: Uow, *, after: timedelta) -> int:
        """Delete the rows of replicas that have been dead for that long; returns how many."""
        return store.forget_dead(uow, after=after)


def _is_running(row: Row[Any], now: datetime) -> bool:
    if row.last_started_at is None:
        return False
    if row.last_ended_at is not None and row.last_ended_at >= row.last_started_at:
        return False
    # A run that never ended died with its process.
    return bool(now - row.last_started_at < timedelta(seconds=row.timeout_seconds))


def _loop(row: Row[Any], runs: list[LoopRunView]) -> LoopView:
    return LoopView(
        name=row.name,
        interval_seconds=row.interval_seconds,
        single_holder=row.single_holder,
        replica_id=row.last_replica_id,
        last_started_at=row.last_started_at,
        last_ended_at=row.last_ended_at,
        last_success_at=row.last_success_at,
        last_result=row.last_result,
        last_items=row.last_items,
        last_error=row.last_error,
        runs=runs,
    )
