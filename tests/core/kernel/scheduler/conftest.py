"""A database with the scheduler's tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from certctl_core.kernel.db import Database, UnitOfWorkFactory, Uow, metadata
from certctl_core.kernel.events import Bus
from certctl_core.kernel.jobs import JobService
from certctl_core.kernel.scheduler import SchedulerService
from certctl_core.testing.fakes import FakeClock
from tests.machine import PATIENCE_SECONDS

TABLES = (
    "loop_states",
    "loop_runs",
    "server_replicas",
    "scheduler_leases",
    "jobs",
    "counters",
    "stamps",
)


@pytest.fixture
def database(blank_database_url: str) -> Iterator[Database]:
    database = Database(blank_database_url, lock_timeout=timedelta(seconds=PATIENCE_SECONDS))
    metadata.create_all(database.writer, tables=[metadata.tables[name] for name in TABLES])
    yield database
    database.close()


@pytest.fixture
def units(database: Database, clock: FakeClock) -> UnitOfWorkFactory:
    bus: Bus[Uow] = Bus()
    return UnitOfWorkFactory(database, clock=clock, bus=bus)


@pytest.fixture
def service() -> SchedulerService:
    return SchedulerService()


@pytest.fixture
def jobs() -> JobService:
    return JobService()
