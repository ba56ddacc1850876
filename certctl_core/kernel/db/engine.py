"""Engines: two pools a database, one that writes and one that only reads.

SQLite: the driver's implicit transactions are off and we send our own ``BEGIN IMMEDIATE`` (writer)
so that a unit of work holds the write lock from its start and can never fail half-way with "database
is locked". PostgreSQL: readers are in autocommit with ``default_transaction_read_only``, which saves
the BEGIN and COMMIT round trips of every read.
"""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import PoolProxiedConnection

from certctl_core.kernel.db.errors import DatabaseBusy, DatabaseUnavailable

if TYPE_CHECKING:
    from certctl_core.kernel.errors import CertctlError

T = TypeVar("T")
_BUSY_STATES = {"55P03", "57014", "40001", "40P01"}
_STALE_AFTER_SECONDS = 30
_MOST_HOT = 4
"""So many connections stay out of the readers' pool between two calls of ``borrow``."""


class Database:
    """One database, seen by one process. Build it after a fork, never before.

    Args:
        url: SQLAlchemy URL: ``sqlite:////abs/path`` or ``postgresql[+psycopg]://…``
            (``postgres://`` is accepted).
        max_connections: Upper bound of all connections of this process.
        statement_timeout / lock_timeout / connect_timeout: PostgreSQL limits; the lock limit is
            SQLite's busy time-out.
        application_name: Shown in ``pg_stat_activity``.
        transaction_pooler: A transaction pooler stands in front: no prepared statements.
    """

    def __init__(
        self,
        url: str,
        *,
        max_connections: int = 20,
        connect_timeout: timedelta = timedelta(seconds=10),
        statement_timeout: timedelta = timedelta(seconds=60),
        lock_timeout: timedelta = timedelta(seconds=5),
        application_name: str = "certctl",
        transaction_pooler: bool = False,
    ) -> None:
        self.url = _normalise(url)
        self.is_postgres = self.url.get_backend_name() == "postgresql"
        # Taking one out of the pool and putting it back costs as much as a small statement.
        self._hot: deque[tuple[PoolProxiedConnection, float, float]] = deque()
        self._most_hot = min(_MOST_HOT, max_connections // 4)
        if self.is_postgres:
            options = {
                "statement_timeout": int(statement_timeout.total_seconds() * 1000),
                "lock_timeout": int(lock_timeout.total_seconds() * 1000),
                "timezone": "UTC",
            }
            connect = {
                "connect_timeout": max(1, int(connect_timeout.total_seconds())),
                "application_name": application_name,
                "prepare_threshold": None if transaction_pooler else 2,
            }
            self._writer = _postgres(self.url, connect, options, size=max(1, max_connections // 2))
            self._reader = _postgres(
                self.url,
                connect,
                {**options, "default_transaction_read_only": "on"},
                size=max(1, max_connections - max_connections // 2),
                isolation_level="AUTOCOMMIT",
            )
        else:
            self._writer = _sqlite(self.url, lock_timeout, begin="BEGIN IMMEDIATE", size=1)
            self._reader = _sqlite(
                self.url, lock_timeout, begin="BEGIN", size=max(1, max_connections - 1), reader=True
            )

    @property
    def sqlite_path(self) -> Path | None:
        """The database file, or None for PostgreSQL."""
        return None if self.is_postgres else Path(self.url.database or "")

    @property
    def writer(self) -> Engine:
        """The engine that writes; for the unit of work, migrations and the change feed only."""
        return self._writer

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection inside one write transaction: commits on a clean exit, else rolls back.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
            DatabaseBusy: A lock or statement time-out; nothing was written.
        """
        with _translated(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that cannot write. On SQLite it is one snapshot; on PostgreSQL each
        statement sees what is committed when it starts.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
            DatabaseBusy: A statement time-out.
        """  # noqa: D205 - the summary needs both engines
        if self._hot and not self._reader.pool.checkedin():  # type: ignore[attr-defined] # both are queues
            self._cool_down()  # rather than open another one
        with _translated(), self._reader.connect() as connection:
            yield connection

    def borrow(self, use: Callable[[PoolProxiedConnection], T]) -> T:
        """Call ``use`` with a connection of the readers' pool: for one statement and no more.

        Raises:
            DatabaseUnavailable, DatabaseBusy: As of ``read``.
        """
        try:
            connection, since = self._at_hand()
            try:
                result = use(connection)
            except BaseException:
                connection.close()
                raise
            if len(self._hot) < self._most_hot:
                self._hot.append((connection, since, monotonic()))
            else:
                connection.close()
        except (DBAPIError, PoolTimeout) as error:
            if isinstance(error, DBAPIError) and error.connection_invalidated:
                # Mostly the server has gone, and with it every other one: tell it once.
                self._cool_down()
                self._reader.dispose()
            typed = translate(error)
            if typed is None:
                raise
            raise typed from error
        return result

    def _at_hand(self) -> tuple[PoolProxiedConnection, float]:
        """A connection, and since when it is out of the pool."""
        now = monotonic()
        while self._hot:
            try:
                connection, since, used = self._hot.pop()
            except IndexError:  # another thread was faster
                break
            if now - used > _STALE_AFTER_SECONDS:
                connection.invalidate()  # the pool would take it for one that was just used
            elif now - since < _STALE_AFTER_SECONDS:
                return connection, since
            connection.close()
        return self._reader.raw_connection(), now

    def _cool_down(self) -> None:
        """Put back what is kept out of the pool."""
        with suppress(IndexError):
            while True:
                self._hot.pop()[0].close()

    def ping(self) -> None:
        """Raise ``DatabaseUnavailable`` unless a trivial statement works."""
        with self.read() as connection:
            connection.execute(sa.text("SELECT 1"))

    def close(self) -> None:
        """Close every pooled connection."""
        self._cool_down()
        self._writer.dispose()
        self._reader.dispose()


def translate(error: Exception) -> CertctlError | None:
    """The typed form of a driver error about reachability or time, or None for any other."""
    if isinstance(error, PoolTimeout):
        return DatabaseBusy(log={"cause": "connection pool exhausted"})
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        if state in _BUSY_STATES or (
            isinstance(error.orig, sqlite3.OperationalError) and "locked" in str(error.orig)
        ):
            return DatabaseBusy(log={"sqlstate": state})
        if error.connection_invalidated or (
            isinstance(error, OperationalError)
            and (state is None or state[:2] in {"08", "57"})
            and not isinstance(error.orig, sqlite3.OperationalError)
        ):
            return DatabaseUnavailable(log={"sqlstate": state, "cause": str(error.orig)})
        if isinstance(error.orig, sqlite3.OperationalError) and "unable to open" in str(error.orig):
            return DatabaseUnavailable(log={"cause": str(error.orig)})
    return None


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        typed = translate(error)
        if typed is None:
            raise
        raise typed from error


def _normalise(url: str) -> URL:
    parsed = make_url(url)
    if parsed.drivername in {"postgres", "postgresql"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def _postgres(
    url: URL,
    connect: dict[str, Any],
    options: dict[str, object],
    *,
    size: int,
    isolation_level: str | None = None,
) -> Engine:
    text = " ".join(f"-c {name}={value}" for name, value in options.items())
    extra: dict[str, Any] = {"isolation_level": isolation_level} if isolation_level else {}
    engine = sa.create_engine(
        url,
        connect_args={**connect, "options": text},
        pool_size=size,
        max_overflow=0,
        # The connection that was used last is the one whose statements are prepared and warm.
        pool_use_lifo=True,
        pool_recycle=1800,
        pool_timeout=30,
        pool_reset_on_return=None if isolation_level else "rollback",
        **extra,
    )
    _ping_when_stale(engine)
    return engine


def _ping_when_stale(engine: Engine) -> None:
    """Check a pooled connection only after it lay idle: a ping per checkout is a round trip."""

    @event.listens_for(engine, "checkout")
    def checkout(dbapi: Any, record: Any, _proxy: Any) -> None:
        last = record.info.get("used")
        if last is not None and monotonic() - last > _STALE_AFTER_SECONDS:
            try:
                dbapi.execute("SELECT 1")
                if not dbapi.autocommit:
                    dbapi.rollback()
            except Exception as error:
                raise sa.exc.DisconnectionError from error

    @event.listens_for(engine, "checkin")
    def checkin(_dbapi: Any, record: Any) -> None:
        record.info["used"] = monotonic()


def _sqlite(
    url: URL, lock_timeout: timedelta, *, begin: str, size: int, reader: bool = False
) -> Engine:
    engine = sa.create_engine(
        url,
        connect_args={"check_same_thread": False, "timeout": lock_timeout.total_seconds()},
        poolclass=sa.pool.QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=30,
    )

    @event.listens_for(engine, "do_connect")
    def private(*_given: object) -> None:
        # SQLite makes a new file as the umask says, and its journals with the file's mode.
        if url.database:
            with suppress(OSError):
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
                os.close(os.open(url.database, flags, 0o600))

    @event.listens_for(engine, "connect")
    def connect(dbapi: sqlite3.Connection, _record: Any) -> None:
        dbapi.isolation_level = None
        cursor = dbapi.cursor()
        if not reader:
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA cache_size=-16000")
        if reader:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
