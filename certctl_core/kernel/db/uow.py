"""The unit of work: audit row, outbox row, jobs and state change commit together or not at all.

Opened at the edge only (operation dispatcher, job runner, loop tick, admin command, one protocol
request). Services take it first and never commit, open, sleep or call out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import Connection, CursorResult, Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql.base import Executable

from certctl_core.kernel.actors import SYSTEM, Actor
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.db import _tables as t
from certctl_core.kernel.db import writes_postgres, writes_sqlite
from certctl_core.kernel.db.engine import Database, translate
from certctl_core.kernel.db.errors import WriteInReadTransaction
from certctl_core.kernel.db.listing import Listing, Statement, stamp_alone
from certctl_core.kernel.db.writes import Lost, Tail, Values, Writes
from certctl_core.kernel.events import Bus, Emitted, Event
from certctl_core.kernel.ids import Prefix, new_id, next_tail

_log = structlog.get_logger("certctl.uow")
_SHARDS = 8
Borrow = Callable[[Callable[[PoolProxiedConnection], list[tuple[Any, ...]]]], list[tuple[Any, ...]]]


class Uow:
    """One open transaction.

    Attributes:
        conn: The SQLAlchemy Core connection; a unit of work that only reads takes it from the pool
            with its first statement, for much is answered from memory.
        actor: On whose behalf.
        request_id: Correlates log, audit and answer.
        now: The time at which it was opened; one unit of work has one time.
        is_postgres: Which engine, for the few statements that differ.
        listing: Set where a list is answered as JSON; ``paginate`` then takes the short way.
    """

    __slots__ = (
        "_after",
        "_borrow",
        "_bus",
        "_conn",
        "_connect",
        "_counts",
        "_emitted",
        "_is_soft",
        "_tail",
        "_topics",
        "_touched",
        "_writes",
        "actor",
        "is_postgres",
        "listing",
        "now",
        "request_id",
        "writable",
    )

    def __init__(
        self,
        conn: Connection | None,
        *,
        actor: Actor,
        request_id: str,
        now: datetime,
        bus: Bus[Uow],
        is_postgres: bool,
        writable: bool,
    ) -> None:
        self._conn = conn
        self._connect: Callable[[], Connection] | None = None
        self._borrow: Borrow | None = None
        self.actor = actor
        self.request_id = request_id
        self.now = now
        self.is_postgres = is_postgres
        self.writable = writable
        self.listing: Listing | None = None
        self._bus = bus
        self._emitted: list[Emitted] = []
        self._tail = 0
        self._after: list[Callable[[], None]] = []
        self._counts: dict[str, int] = {}
        self._touched: set[str] = set()
        self._topics: set[str] = set()
        self._writes = Writes()
        self._is_soft = False

    @property
    def conn(self) -> Connection:
        """The connection; taken from the pool now if it was not needed before."""
        if self._conn is None:
            assert self._connect is not None  # noqa: S101 - its maker gave one of the two
            self._conn = self._connect()
        return self._conn

    def plain_rows(self, statement: Statement, parameters: list[Any]) -> list[tuple[Any, ...]]:
        """The rows of a compiled list, as the driver gives them."""
        if not self.is_postgres:
            return statement.on_sqlite(self.conn, parameters)
        if self._conn is None and self._borrow is not None:
            return self._borrow(lambda conn: statement.on_postgres(conn, parameters))
        return statement.on_postgres(self.conn.connection, parameters)

    def execute(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> CursorResult[Any]:
        """Run one statement, after the writes that wait."""
        self.flush()
        return self.conn.execute(statement, parameters)

    def first(self, statement: Executable) -> Row[Any] | None:
        """The first row, or None."""
        self.flush()
        return self.conn.execute(statement).first()

    def scalar(self, statement: Executable) -> Any:
        """The first column of the first row, or None."""
        self.flush()
        return self.conn.execute(statement).scalar()

    def add(self, table: sa.Table, values: Values, *, taken: Lost | None = None) -> None:
        """Insert a row with the next flush, in one statement with everything that waits.

        Args:
            table: Where.
            values: Every column that is not NULL, in the same order at each call.
            taken: Makes the error for a row that breaks a unique constraint; without it the
                driver's own error comes through.
        """
        self._require_writable(table)
        self._writes.insert(table, values, taken)

    def swap(
        self,
        table: sa.Table,
        *,
        expected: Values,
        values: Values,
        counted: str | None = None,
        lost: Lost,
    ) -> None:
        """Update one row with the next flush, if it still is as ``expected`` says.

        Args:
            table: Where.
            expected: The primary key, and whatever must still hold (none of it NULL).
            values: Columns to set.
            counted: A column to count up, such as ``version``.
            lost: Makes the error for the case that no row is as expected.
        """
        self._require_writable(table)
        if self._writes.holds(table, expected):
            self.flush()
        self._writes.swap(table, expected, values, counted, lost)

    def _require_writable(self, table: sa.Table) -> None:
        if not self.writable:
            raise WriteInReadTransaction(log={"table": table.name})

    def flush(self) -> None:
        """Write what waits; every other statement does so by itself."""
        if self._writes:
            self._write(Tail(), is_last=False)

    def _write(self, tail: Tail, *, is_last: bool) -> None:
        if self.is_postgres:
            writes_postgres.flush(self.conn, self._writes.take(), tail, is_last=is_last)
        else:
            writes_sqlite.flush(self.conn, self._writes.take(), tail)

    def act_for(self, actor: Actor, request_id: str) -> None:
        """From here on, what happens is on behalf of ``actor`` (several requests, one commit)."""
        self.actor = actor
        self.request_id = request_id

    def insert(self, table: sa.Table) -> Any:
        """The dialect's ``INSERT``, which knows ``ON CONFLICT`` and ``RETURNING``."""
        return postgres_insert(table) if self.is_postgres else sqlite_insert(table)

    def new_id(self, prefix: Prefix) -> str:
        """A fresh id of that kind; ids of one unit of work sort in the order of their making."""
        self._tail = self._tail + 1 if self._tail else next_tail()
        return new_id(prefix, at=self.now, tail=self._tail)

    def emit(self, event: Event) -> Emitted:
        """Record that something happened; handlers add audit, outbox rows and jobs.

        Raises:
            WriteInReadTransaction: The unit of work was opened for reading.
        """
        if not self.writable:
            raise WriteInReadTransaction(log={"event": event.tag})
        emitted = Emitted(
            id=self.new_id(Prefix.AUDIT_EVENT),
            at=self.now,
            actor=self.actor,
            request_id=self.request_id,
            event=event,
        )
        self._emitted.append(emitted)
        self._bus.emitted(self, emitted)
        return emitted

    def count(self, name: str, delta: int) -> None:
        """Change a counter row (e.g. ``certificates.status.Active``) with this transaction."""
        self._counts[name] = self._counts.get(name, 0) + delta

    def touch(self, collection: str) -> None:
        """Move the version stamp of a collection: list ETags and caches follow it."""
        self._touched.add(collection)

    def wake(self, topic: str) -> None:
        """After the commit, tell every process that ``topic`` (``jobs``, ``pki`` …) changed."""
        self._topics.add(topic)

    def commit_softly(self) -> None:
        """Do not wait for the disk: a later commit that matters makes this one durable, too.

        For what only leads to that later commit. A crash of this process loses nothing; one of
        the database server may lose this transaction, whole.
        """
        self._is_soft = True

    def be_quiet(self) -> None:
        """Let the statement triggers of the tables that people may touch stay silent.

        For writes that make nothing untrue that any process keeps in memory.
        """
        if self.is_postgres:
            self.execute(sa.text("SELECT set_config('certctl.quiet', 'on', true)"))

    def lock_table(self, table: sa.Table) -> None:
        """Let no other transaction write to a table until this one ends; readers go on.

        For rare writes that must see what another one decided. SQLite has one writer anyway.
        """
        if self.is_postgres:
            self.execute(sa.text(f"LOCK TABLE {table.name} IN SHARE ROW EXCLUSIVE MODE"))

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """A part that may fail without ending the transaction: what it wrote is undone.

        Raises:
            DatabaseBusy: Typed as everywhere, after the part was undone; ``DatabaseUnavailable``
                has ended the transaction, too.
        """
        self.flush()
        try:
            with self.conn.begin_nested():
                yield
        except (DBAPIError, PoolTimeout) as error:
            typed = translate(error)
            if typed is None:
                raise
            raise typed from error

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run ``action`` in this process once the transaction is durable."""
        self._after.append(action)

    def before_commit(self) -> None:
        """Run the commit handlers and flush counters, stamps and wake-ups (edge only)."""
        if self._emitted:
            self._bus.committing(self, tuple(self._emitted))
        tail = Tail(
            counts={name: delta for name, delta in self._counts.items() if delta},
            touched=tuple(self._touched),
            topics=tuple(self._topics),
            shard=os.getpid() % _SHARDS if self.is_postgres else 0,
            is_soft=self._is_soft,
        )
        if tail or self._writes:
            self._write(tail, is_last=True)

    def committed(self, feed_wake: Callable[[str], None] | None) -> None:
        """Run what waits for the commit; failures are logged, the work is done (edge only)."""
        if feed_wake is not None:
            for topic in self._topics:
                feed_wake(topic)
        for action in self._after:
            _guarded(action)
        for emitted in self._emitted:
            for handler in self._bus.committed(emitted):
                _guarded(partial(handler, emitted))

    def counter(self, name: str) -> int:
        """The current value of a counter."""
        return int(
            self.scalar(
                sa.select(sa.func.coalesce(sa.func.sum(t.counters.c.value), 0)).where(
                    t.counters.c.name == name
                )
            )
        )

    def counters(self, prefix: str) -> dict[str, int]:
        """All counters below ``prefix`` (``certificates.status.``), by the rest of their name."""
        c = t.counters.c
        total = sa.func.sum(c.value).label("total")
        rows = self.execute(
            sa.select(c.name, total).where(c.name.startswith(prefix)).group_by(c.name)
        )
        return {row.name[len(prefix) :]: int(row.total) for row in rows if row.total}

    def stamp(self, collection: str) -> int:
        """The version stamp of a collection; it moves with every change of the collection."""
        if not self.writable:
            alone = stamp_alone(collection, is_postgres=self.is_postgres)
            return int(self.plain_rows(alone, [])[0][0])
        return int(
            self.scalar(
                sa.select(sa.func.coalesce(sa.func.sum(t.stamps.c.value), 0)).where(
                    t.stamps.c.name == collection
                )
            )
        )


def _guarded(action: Callable[[], None]) -> None:
    try:
        action()
    except Exception:  # noqa: BLE001 - the work is committed
        _log.exception("after_commit.failed")


class UnitOfWorkFactory:
    """Opens units of work; the edges hold it, services never see it."""

    def __init__(self, database: Database, *, clock: Clock, bus: Bus[Uow]) -> None:
        self.database = database
        self.clock = clock
        self.bus = bus
        self.on_wake: Callable[[str], None] | None = None

    @contextmanager
    def begin(self, actor: Actor = SYSTEM, *, request_id: str = "") -> Iterator[Uow]:
        """A write transaction: commits on a clean exit, rolls back on an exception.

        Raises:
            DatabaseUnavailable, DatabaseBusy: As of ``Database.write``.
        """
        with self.database.write() as connection:
            uow = self._uow(connection, actor, request_id, writable=True)
            yield uow
            uow.before_commit()
        uow.committed(self.on_wake)

    @contextmanager
    def read(self, actor: Actor = SYSTEM, *, request_id: str = "") -> Iterator[Uow]:
        """A transaction that cannot write."""
        with ExitStack() as opened:
            uow = self._uow(None, actor, request_id, writable=False)
            uow._connect = lambda: opened.enter_context(self.database.read())  # noqa: SLF001 - its maker
            uow._borrow = self.database.borrow  # noqa: SLF001 - its maker
            yield uow

    def _uow(
        self, conn: Connection | None, actor: Actor, request_id: str, *, writable: bool
    ) -> Uow:
        return Uow(
            conn,
            actor=actor,
            request_id=request_id,
            now=self.clock.now(),
            bus=self.bus,
            is_postgres=self.database.is_postgres,
            writable=writable,
        )
