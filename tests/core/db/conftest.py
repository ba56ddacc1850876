"""A unit-of-work factory on a database of its own, with two small tables that hang together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
import sqlalchemy as sa

from certctl_core.kernel.db import Database, UnitOfWorkFactory, Uow
from certctl_core.kernel.db.columns import UTCDateTime
from certctl_core.kernel.events import Bus
from certctl_core.testing.fakes import FakeClock
from tests.machine import PATIENCE_SECONDS

_METADATA = sa.MetaData(naming_convention={"fk": "fk_%(table_name)s_%(column_0_name)s"})

shelves = sa.Table(
    "test_shelves",
    _METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("label", sa.String(64), nullable=False, unique=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("seen_at", UTCDateTime, nullable=True),
)
books = sa.Table(
    "test_books",
    _METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("shelf_id", sa.ForeignKey("test_shelves.id"), nullable=False),
    sa.Column("cover", sa.LargeBinary, nullable=True),
)


class Taken(Exception):
    """A shelf of that name is there."""


class Moved(Exception):
    """A shelf is not as it was."""


@dataclass(slots=True)
class Watched:
    """A factory, and the statements that its writer was sent."""

    units: UnitOfWorkFactory
    statements: list[str] = field(default_factory=list)

    def rows(self, table: sa.Table) -> list[dict[str, object]]:
        """What is committed, by id."""
        with self.units.read() as uow:
            return [dict(row._mapping) for row in uow.execute(sa.select(table).order_by("id"))]

    def counter(self, name: str) -> int:
        """A counter as another transaction sees it."""
        with self.units.read() as uow:
            return uow.counter(name)

    def stamp(self, name: str) -> int:
        """A version stamp as another transaction sees it."""
        with self.units.read() as uow:
            return uow.stamp(name)


@pytest.fixture
def watched(database_url: str, clock: FakeClock) -> Iterator[Watched]:
    patience = timedelta(seconds=PATIENCE_SECONDS)
    database = Database(database_url, max_connections=24, lock_timeout=patience)
    found = Watched(UnitOfWorkFactory(database, clock=clock, bus=Bus()))
    with database.write() as connection:
        _METADATA.create_all(connection)
    yield found
    database.close()


@pytest.fixture
def units(watched: Watched) -> UnitOfWorkFactory:
    return watched.units


def add_shelf(uow: Uow, key: str, label: str = "", *, error: Exception | None = None) -> None:
    """Queue a shelf; the error for one that is there may be chosen."""
    row = {"id": key, "label": label or key, "state": "open", "version": 1}
    uow.add(shelves, row, taken=lambda: error or Taken(key))


def add_book(uow: Uow, key: str, shelf: str, cover: bytes = b"") -> None:
    """Queue a book."""
    uow.add(books, {"id": key, "shelf_id": shelf, "cover": cover})


def swap_shelf(uow: Uow, key: str, old: str, new: str) -> None:
    """Queue a change of state."""
    uow.swap(
        shelves,
        expected={"id": key, "state": old},
        values={"state": new},
        counted="version",
        lost=lambda: Moved(key),
    )
