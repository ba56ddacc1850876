"""A database with the protected audit tables, and a log that records what is emitted on it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.audit import (
    AuditEventView,
    AuditLog,
    NoteSigner,
    create_triggers,
    drop_triggers,
)
from certctl_core.kernel.db import Database, UnitOfWorkFactory, Uow, metadata
from certctl_core.kernel.events import Bus, Category, Event
from certctl_core.kernel.scheduler import _tables as _scheduler_tables  # noqa: F401 - registers them
from certctl_core.testing.fakes import FakeClock
from tests.machine import PATIENCE_SECONDS

OPERATOR = Actor(type=ActorType.API_KEY, id="ak-operator")
ORIGIN = "certctl/test"
TABLES = ("counters", "stamps", "scheduler_leases", "loop_states", "loop_runs")


@dataclass(frozen=True, kw_only=True)
class LanternLit(Event):
    """Something to be audited."""

    tag = "test_lantern.lit"
    category = Category.CERT_LIFECYCLE
    resource_type = "lantern"
    details_of_it: dict[str, object] | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class LanternRuled(Event):
    """Something of another category."""

    tag = "test_lantern.ruled"
    category = Category.CONFIG
    resource_type = "lantern"


@pytest.fixture
def database(blank_database_url: str) -> Iterator[Database]:
    database = Database(blank_database_url, lock_timeout=timedelta(seconds=PATIENCE_SECONDS))
    names = [name for name in metadata.tables if name.startswith("audit_") or name in TABLES]
    metadata.create_all(database.writer, tables=[metadata.tables[name] for name in names])
    with database.write() as connection:
        create_triggers(connection)
    yield database
    database.close()


@pytest.fixture
def signer() -> NoteSigner:
    return NoteSigner(ORIGIN, Ed25519PrivateKey.generate())


@pytest.fixture
def audit(signer: NoteSigner) -> AuditLog:
    return AuditLog(signer=signer)


@pytest.fixture
def units(database: Database, clock: FakeClock, audit: AuditLog) -> UnitOfWorkFactory:
    bus: Bus[Uow] = Bus()
    bus.at_commit(audit.record)
    return UnitOfWorkFactory(database, clock=clock, bus=bus)


@pytest.fixture
def write(units: UnitOfWorkFactory) -> Callable[..., list[str]]:
    """Emit events in one unit of work; returns their ids."""

    def emit(*resource_ids: str, **values: object) -> list[str]:
        with units.begin(OPERATOR, request_id="req-1") as uow:
            return [
                uow.emit(LanternLit(resource_id=resource_id, **values)).id  # type: ignore[arg-type]
                for resource_id in resource_ids
            ]

    return emit


@pytest.fixture
def attacker(database: Database) -> Callable[[], AbstractContextManager[sa.Connection]]:
    """Somebody with the rights of a database administrator."""

    @contextmanager
    def bypass() -> Iterator[sa.Connection]:
        with database.write() as connection:
            drop_triggers(connection)
            yield connection
            create_triggers(connection)

    return bypass


def b64(text: str) -> bytes:
    return base64.b64decode(text)


def event(units: UnitOfWorkFactory, audit: AuditLog, event_id: str) -> AuditEventView:
    """A stored event."""
    with units.read() as uow:
        return audit.get(uow, event_id)
