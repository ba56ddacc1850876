"""A database with the job tables, and the job service on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.db import Database, UnitOfWorkFactory, Uow, metadata
from certctl_core.kernel.events import Bus, Emitted
from certctl_core.kernel.jobs import Job, JobService, NewJob, RetryPolicy
from certctl_core.testing.fakes import FakeClock
from tests.machine import PATIENCE_SECONDS

OPERATOR = Actor(type=ActorType.API_KEY, id="ak-operator")
TABLES = ("jobs", "counters", "stamps", "scheduler_leases")


@pytest.fixture
def database(blank_database_url: str) -> Iterator[Database]:
    database = Database(blank_database_url, lock_timeout=timedelta(seconds=PATIENCE_SECONDS))
    metadata.create_all(database.writer, tables=[metadata.tables[name] for name in TABLES])
    yield database
    database.close()


@pytest.fixture
def emitted() -> list[Emitted]:
    return []


@pytest.fixture
def units(database: Database, clock: FakeClock, emitted: list[Emitted]) -> UnitOfWorkFactory:
    bus: Bus[Uow] = Bus()
    bus.on_emit(lambda _uow, envelope: emitted.append(envelope))
    return UnitOfWorkFactory(database, clock=clock, bus=bus)


@pytest.fixture
def service() -> JobService:
    return JobService(retry=RetryPolicy(base=timedelta(seconds=30), jitter=False))


@pytest.fixture
def add(units: UnitOfWorkFactory, service: JobService) -> Callable[..., str]:
    """Enqueue one job and return its id."""

    def enqueue(subject: str = "mc-1", **values: Any) -> str:
        with units.begin(OPERATOR, request_id="req-1") as uow:
            chosen: dict[str, Any] = {
                "type": "Digest",
                "subject_type": "report",
                "subject_id": subject,
            }
            return service.enqueue(uow, **{**chosen, **values}).id

    return enqueue


@pytest.fixture
def take(units: UnitOfWorkFactory, service: JobService) -> Callable[..., list[Job]]:
    """Claim jobs."""

    def claim(
        *types: str, limit: int = 10, holder: str = "runner-1", owner: str = "server"
    ) -> list[Job]:
        with units.begin() as uow:
            return service.claim(
                uow,
                types=types or ("Digest",),
                limit=limit,
                lease=timedelta(minutes=10),
                holder=holder,
                owner=owner,
            )

    return claim


def new_jobs(count: int) -> list[NewJob]:
    return [
        NewJob(type="Digest", subject_type="report", subject_id=f"rep-{number}")
        for number in range(count)
    ]
