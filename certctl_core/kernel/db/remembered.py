"""What is read once and kept until its collection changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from certctl_core.kernel.db.uow import Uow

Value = TypeVar("Value")


class _Reading(NamedTuple, Generic[Value]):
    stamp: int
    value: Value


class Remembered(Generic[Value]):
    """A value in memory that follows a collection's stamp. Safe for threads.

    On SQLite every commit of another process is told as a change of everything: then one look at
    the stamp says whether this value is meant.

    Args:
        collection: Whose stamp moves with every change of the value.
        read: Reads it.
    """

    def __init__(self, collection: str, read: Callable[[Uow], Value]) -> None:
        self._collection = collection
        self._read = read
        self._reading: _Reading[Value] | None = None
        self._may_be_behind = True
        self._lock = threading.Lock()

    def doubt(self) -> None:
        """Look at the stamp before the next use: something may have changed."""
        self._may_be_behind = True

    def get(self, uow: Uow) -> Value:
        """The value that is in force."""
        reading = self._reading
        if reading is None or self._may_be_behind:
            reading = self._look(uow)
        return reading.value

    def _look(self, uow: Uow) -> _Reading[Value]:
        with self._lock:  # an older reading must not replace a newer one
            self._may_be_behind = False  # before the look: what changes from here is told again
            try:
                stamp, reading = uow.stamp(self._collection), self._reading
                if reading is None or reading.stamp != stamp:
                    reading = self._reading = _Reading(stamp, self._read(uow))
            except BaseException:
                self._may_be_behind = True
                raise
            return reading
