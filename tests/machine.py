"""What tests need of the machine: a port of their own, and patience."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path

PATIENCE_SECONDS = 40.0
"""A machine that does many things at once may take long; nothing is concluded from it."""

_LOWEST_PORT = 10_000
_draw = random.Random()
"""A source of its own: tests run with a fixed seed, and two runs beside each other must not draw alike."""


_given: set[int] = set()


@cache
def _promises() -> int:
    """A file that every process with tests has open: who locks byte N has promised port N."""
    path = Path(tempfile.gettempdir()) / f"certctl-test-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_ours(port: int) -> bool:
    """Promise the port to nobody else, here or in another process, until this process ends."""
    if port in _given:
        return False
    try:
        fcntl.lockf(_promises(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _given.add(port)
    return True


def free_port() -> int:
    """A port of the loopback address that nobody uses now, and that is given out only once.

    It lies below the ports that the kernel gives to outgoing connections: one of those could take
    it between this look and the start of the server that is to listen there. Another test that
    looks at the same moment gets another one, also while the server of this one starts again.
    """
    own = Path("/proc/sys/net/ipv4/ip_local_port_range")
    highest = int(own.read_text().split()[0]) if own.exists() else 32_768
    while True:
        port = _draw.randrange(_LOWEST_PORT, highest)
        if not _is_ours(port):
            continue
        with closing(socket.socket()) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def eventually(
    look: Callable[[], object], *, seconds: float = PATIENCE_SECONDS, what: str = ""
) -> None:
    """Wait until something holds that another thread or process brings about."""
    until = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < until, f"did not happen: {what or look}"
        time.sleep(0.02)
