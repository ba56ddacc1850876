"""Request bodies on Granian: read before the application runs, within a time limit.

Granian hands a request over as soon as its head is in, and whoever reads the body waits for the
client, on the very thread that was called. So there are more threads than may be inside the
application; the spare ones wait for bodies, only so many of them, and only so many per address. A
few slow clients then hold up nobody.
"""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

READERS = 32
"""Threads beyond those of the application."""

_MOST_PER_ADDRESS = READERS // 2
_TICK_SECONDS = 0.5
_TIMED_OUT = b"The body of the request did not arrive in time.\n"
_BROKEN_OFF = b"The request ends before its body does.\n"
_BUSY = b"Too many requests wait for their bodies.\n"


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request whose body is not in yet."""

    proto: Any
    address: str
    until: float


class Bodies:
    """Reads bodies.

    Args:
        timeout: Time for a body.
        max_body: Bodies are read up to one byte more than this; the application refuses those.
    """

    def __init__(self, *, timeout: timedelta, max_body: int) -> None:
        self._timeout = timeout.total_seconds()
        self._max_body = max_body
        self._lock = threading.Lock()
        self._waiting: dict[_Waiting, bool] = {}
        """Whoever takes an entry out may answer its request; ``pop`` is atomic."""
        self._watch: threading.Thread | None = None

    def read(self, environ: WSGIEnvironment, proto: Any) -> bool:
        """Put the whole body into the environment; False when the request is over already."""
        length = self._length(environ)
        if length is None:
            return True
        entry = _Waiting(proto, environ.get("REMOTE_ADDR", ""), monotonic() + self._timeout)
        waiting = self._waiting
        waiting[entry] = True
        try:
            if len(waiting) > _MOST_PER_ADDRESS and not self._has_room(entry):
                _refuse(proto, 503, _BUSY)
                return False
            if self._watch is None:
                self._start_watch()
            body = environ["wsgi.input"].read(length)
        finally:
            is_ours = waiting.pop(entry, False)
        if not is_ours:
            return False  # answered by the watch
        if len(body) < length and "CONTENT_LENGTH" in environ:
            # The client has gone. Without an answer Granian would report a fault of ours.
            _refuse(proto, 400, _BROKEN_OFF)
            return False
        environ["wsgi.input"] = io.BytesIO(body)
        return True

    def _length(self, environ: WSGIEnvironment) -> int | None:
        """How many bytes to read; None for no body, and for one that is refused unread."""
        declared = environ.get("CONTENT_LENGTH", "")
        if not declared:
            return self._max_body + 1 if "HTTP_TRANSFER_ENCODING" in environ else None
        if not declared.isdigit():
            return None
        length = int(declared)
        return length if 0 < length <= self._max_body else None

    def _has_room(self, entry: _Waiting) -> bool:
        """Whether an entry may stay; of several that come at once all count."""
        entries = list(self._waiting)
        of_address = sum(other.address == entry.address for other in entries)
        return len(entries) <= READERS and of_address <= _MOST_PER_ADDRESS

    def _start_watch(self) -> None:
        with self._lock:
            if self._watch is None:
                self._watch = threading.Thread(target=self._keep_watch, name="bodies", daemon=True)
                self._watch.start()

    def _keep_watch(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(_TICK_SECONDS)
            now = monotonic()
            for entry in list(self._waiting):
                if entry.until <= now and self._waiting.pop(entry, False):
                    # The answer ends the connection, and with it the read that still waits.
                    _refuse(entry.proto, 408, _TIMED_OUT)


def _refuse(proto: Any, status: int, body: bytes) -> None:
    proto.response_bytes(
        status, [("content-type", "text/plain; charset=utf-8"), ("connection", "close")], body
    )
