"""Stand-ins for what a test must control. They keep the contracts of the real things."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
"""Where a ``FakeClock`` starts unless told otherwise: noon of an unremarkable day."""


class FakeClock:
    """A clock that stands still until the test moves it; a :class:`certctl_core.kernel.clock.Clock`.

    Both hands move together. Safe to read and move from several threads.

    Args:
        start: The first time it shows; aware. Converted to UTC.

    Raises:
        ValueError: ``start`` is naive.
    """

    def __init__(self, start: datetime = EPOCH) -> None:
        self._lock = threading.Lock()
        self._now = _utc(start)
        self._monotonic = 1000.0

    def now(self) -> datetime:
        """The time shown, aware, in UTC."""
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        """Seconds that never go back; moved by ``advance``, untouched by ``set``."""
        with self._lock:
            return self._monotonic

    def advance(self, by: timedelta) -> datetime:
        """Move both hands forward and return the new time.

        Raises:
            ValueError: ``by`` is negative; a real clock is set back with ``set``.
        """
        if by < timedelta():
            message = "advance() only goes forward; use set() for a clock that is put back"
            raise ValueError(message)
        with self._lock:
            self._now += by
            self._monotonic += by.total_seconds()
            return self._now

    def set(self, to: datetime) -> None:
        """Put the wall clock to ``to``, as an operator or NTP would; it may go back.

        Raises:
            ValueError: ``to`` is naive.
        """
        moment = _utc(to)
        with self._lock:
            self._now = moment


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        message = "a time without a zone is not a time"
        raise ValueError(message)
    return moment.astimezone(UTC)
