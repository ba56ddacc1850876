"""The change feed: how a process learns within milliseconds that another one committed.

PostgreSQL: one listener connection a process receives ``NOTIFY certctl`` (from ``Uow.wake`` and from
statement triggers on the tables that operators may touch by hand). SQLite: ``PRAGMA data_version``
moves when any other connection commits. A process that cannot confirm its view says so
(:meth:`ChangeFeed.is_fresh`), and callers stop answering from memory (spec 02 DATA-2).
"""

from __future__ import annotations

import selectors
import socket
import sqlite3
import threading
from collections.abc import Callable

import psycopg
import structlog

from certctl_core.kernel.clock import Clock
from certctl_core.kernel.db.engine import Database

_log = structlog.get_logger("certctl.feed")
_CONFIRM_EVERY_SECONDS = 0.25
_STALE_AFTER_SECONDS = 0.9
"""Memory is never trusted longer than this without a confirmed view (spec 02 DATA-2: 1 s)."""


class ChangeFeed:
    """Subscriptions to topics, and the answer to "is my memory still the truth?"."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._callbacks: dict[str, list[Callable[[], None]]] = {}
        self._stop = threading.Event()
        self._end: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._confirmed = float("-inf")
        self._lock = threading.RLock()
        self._sqlite: sqlite3.Connection | None = None
        self._version = -1

    def subscribe(self, topic: str, callback: Callable[[], None]) -> None:
        """Call ``callback()`` when ``topic`` changed; on SQLite and after a gap, on any change."""
        self._callbacks.setdefault(topic, []).append(callback)

    def wake(self, topic: str) -> None:
        """Run this process's callbacks of ``topic`` (after an own commit)."""
        for callback in self._callbacks.get(topic, ()):
            try:
                callback()
            except Exception:  # noqa: BLE001 - a subscriber must not stop the feed
                _log.exception("feed.callback_failed", topic=topic)

    def start(self) -> None:
        """Begin to listen (PostgreSQL: a daemon thread; SQLite: nothing to start)."""
        if self._database.is_postgres and self._thread is None:
            ended, self._end = socket.socketpair()
            self._thread = threading.Thread(
                target=self._listen, args=(ended,), name="change-feed", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Stop listening and close the connection."""
        self._stop.set()
        if self._end is not None:
            self._end.close()  # the listener sees it at once
            self._end = None
        if self._thread is not None:
            self._thread.join(timeout=3)
            self._thread = None
        with self._lock:
            if self._sqlite is not None:
                self._sqlite.close()
                self._sqlite = None

    def is_fresh(self) -> bool:
        """Whether what this process keeps in memory may be served now.

        SQLite: looks at ``PRAGMA data_version`` (a few microseconds) and runs every callback when
        it moved, so the answer is always true. PostgreSQL: true while the listener confirmed its
        view within the last 0.9 s.
        """
        if self._database.is_postgres:
            return self._clock.monotonic() - self._confirmed < _STALE_AFTER_SECONDS
        with self._lock:
            if self._sqlite is None:
                self._sqlite = sqlite3.connect(
                    str(self._database.sqlite_path), check_same_thread=False, isolation_level=None
                )
            version = self._sqlite.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                # Under the lock: nobody else is told "fresh" before the callbacks have run.
                self._wake_all()
                self._version = version
        return True

    def _wake_all(self) -> None:
        for topic in list(self._callbacks):
            self.wake(topic)

    def _listen(self, ended: socket.socket) -> None:
        with ended:
            self._listen_until(ended)

    def _listen_until(self, ended: socket.socket) -> None:
        url = self._database.url
        dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        while not self._stop.is_set():
            try:
                with psycopg.connect(
                    dsn, autocommit=True, connect_timeout=5, application_name="certctl-feed"
                ) as connection:
                    connection.execute("LISTEN certctl")
                    self._wake_all()
                    self._follow(connection, ended)
            except psycopg.Error as error:
                self._confirmed = float("-inf")
                _log.warning("feed.disconnected", error=str(error))
                self._stop.wait(0.5)

    def _follow(
        self, connection: psycopg.Connection[tuple[object, ...]], ended: socket.socket
    ) -> None:
        with selectors.DefaultSelector() as either:
            either.register(connection.fileno(), selectors.EVENT_READ)
            either.register(ended, selectors.EVENT_READ)
            while not self._stop.is_set():
                # The server delivers everything committed before this statement with its answer.
                before = self._clock.monotonic()
                connection.execute("SELECT 1")
                told = self._hand_on(connection)
                self._confirmed = before
                if not told and either.select(timeout=_CONFIRM_EVERY_SECONDS):
                    self._hand_on(connection)

    def _hand_on(self, connection: psycopg.Connection[tuple[object, ...]]) -> bool:
        """Run the callbacks of what has been announced; whether there was anything."""
        notes = list(connection.notifies(timeout=0))
        for note in notes:
            self.wake(note.payload)
        return bool(notes)
