"""The line between parent and child: JSON lines over a socket pair.

Its end is a message, too: a child whose parent is gone stops, a parent whose child is gone looks.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

_BULK = 65536

Message = dict[str, Any]


class Do(StrEnum):
    """What the parent tells a child (key ``do``)."""

    GO = "go"
    RELOAD = "reload"
    DRAIN = "drain"
    HAND_OVER = "hand_over"
    STOP = "stop"


class Is(StrEnum):
    """What a child tells the parent (key ``is``)."""

    READY = "ready"
    RESULT = "result"
    FAILED = "failed"
    CA_CHANGED = "ca_changed"
    RELOADED = "reloaded"


class Channel:
    """One end."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._pending = b""

    @staticmethod
    def pair() -> tuple[Channel, Channel]:
        """Two connected ends: the parent's, the child's."""
        one, other = socket.socketpair()
        return Channel(one), Channel(other)

    def fileno(self) -> int:
        """For selectors."""
        return self._end.fileno()

    def send(self, **message: Any) -> bool:
        """Send one message; False when nobody is there any more."""
        try:
            self._end.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return False
        return True

    def receive(self) -> Iterator[Message]:
        """Wait for messages; ends when the other side is gone or this one was closed."""
        while True:
            found = self.read()
            if found is None:
                return
            yield from found

    def read(self) -> list[Message] | None:
        """The messages of one read (blocking unless there is something); None at the end."""
        try:
            data = self._end.recv(_BULK)
        except OSError:
            return None
        if not data:
            return None
        *lines, self._pending = (self._pending + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def interrupt(self) -> None:
        """End a ``receive`` that waits in another thread."""
        try:
            self._end.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Close this end."""
        self._end.close()
