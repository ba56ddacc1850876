"""A sliding window per key that all processes of a server share (02 OCSP-12).

It lies on the hottest path and must hold for the server, not for each of its workers: the counters are
a file of fixed size that every process maps into its memory.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import threading
from pathlib import Path

import structlog

from certctl_core.kernel.clock import Clock

_log = structlog.get_logger("certctl.pki")
_MAX_KEYS = 50_000
_PROBES = 8
_SECRET_BYTES = 32
_CELL = struct.Struct("<QIII")  # tag of the key, window, uses in it, uses in the one before
_SIZE = _SECRET_BYTES + _MAX_KEYS * _CELL.size
_WINDOWS = 0xFFFF_FFFF


class SlidingWindow:
    """At most ``limit`` uses per ``seconds`` and key; two counters a key approximate the window.

    Two processes that count the same key in the same microsecond may count it once: a client gains
    nothing by it. A key that finds no place among 50,000 others is not limited.

    Args:
        limit: 0 or less switches it off.
        seconds: Length of the window.
        clock: The time; its monotonic seconds are those of the machine.
        shared: The file; None counts for this process alone.
    """

    def __init__(
        self, *, limit: int, seconds: float, clock: Clock, shared: Path | None = None
    ) -> None:
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._places: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._cells = _open(shared) if limit > 0 and shared is not None else mmap.mmap(-1, _SIZE)
        self._secret = bytes(self._cells[:_SECRET_BYTES])

    @property
    def is_on(self) -> bool:
        """Whether there is a limit."""
        return self._limit > 0

    def allow(self, key: str) -> bool:
        """Count one use; False when it is too many. An empty key is always allowed."""
        if not self.is_on or not key:
            return True
        at = self._clock.monotonic() / self._seconds
        window = int(at) & _WINDOWS
        with self._lock:
            offset, tag = self._places.get(key) or self._place(key)
            found, when, used, before = _CELL.unpack_from(self._cells, offset)
            if found != tag:
                # Its place was given to somebody else, who came while it was away.
                offset = self._claim(tag, window)
                if not offset:
                    return True
                self._remember(key, offset, tag)
                _, when, used, before = _CELL.unpack_from(self._cells, offset)
            if when != window:
                before = used if when + 1 == window else 0
                used = 0
            if before * (1 - at % 1) + used >= self._limit:
                return False
            _CELL.pack_into(self._cells, offset, tag, window, used + 1, before)
            return True

    def close(self) -> None:
        """Give the mapping back."""
        self._cells.close()

    def _place(self, key: str) -> tuple[int, int]:
        digest = hashlib.blake2b(key.encode(), digest_size=8, key=self._secret).digest()
        tag = int.from_bytes(digest, "little") or 1
        return _offset(tag % _MAX_KEYS), tag

    def _claim(self, tag: int, window: int) -> int:
        """The cell of a tag: its own, else one that nobody has used lately; 0 for none."""
        free = 0
        for step in range(_PROBES):
            offset = _offset((tag + step) % _MAX_KEYS)
            found, when, _, _ = _CELL.unpack_from(self._cells, offset)
            if found == tag:
                return offset
            if not free and (not found or window - when > 1 or when > window):
                free = offset
        if free:
            _CELL.pack_into(self._cells, free, tag, window, 0, 0)
        return free

    def _remember(self, key: str, offset: int, tag: int) -> None:
        if len(self._places) >= _MAX_KEYS:
            self._places = {}
        self._places[key] = offset, tag


def _offset(number: int) -> int:
    return _SECRET_BYTES + number * _CELL.size


def _open(path: Path) -> mmap.mmap:
    """Map the file, made with a secret of its own where it is missing or of another size.

    Where there can be none, this process counts for itself.
    """
    try:
        if not path.exists() or path.stat().st_size != _SIZE:
            staged = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
            descriptor = os.open(staged, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(os.urandom(_SECRET_BYTES))
                handle.truncate(_SIZE)
            staged.replace(path)
        with path.open("r+b") as handle:
            return mmap.mmap(handle.fileno(), _SIZE)
    except (OSError, ValueError) as error:
        _log.warning("pki.limits_not_shared", path=str(path), error=str(error))
        return mmap.mmap(-1, _SIZE)
