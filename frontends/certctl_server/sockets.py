"""Listening sockets: bound once by the parent, inherited by every child.

Binding comes first of all, before anything is written, so that a busy port costs nothing; the ports
open (``listen``) only when everything behind them is ready. Because all workers accept from the same
socket, one of them can be replaced without a connection being refused.
"""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

from certctl_core.values import dataclass
from certctl_server.exits import Exit, StartFailure

if TYPE_CHECKING:
    from certctl_core.kernel.config import HostPort, Settings

BACKLOG = 1024
"""Connections that wait for a worker, for instance while one is replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sockets:
    """Bound sockets; those of listeners that are off are None."""

    main: socket.socket
    pki: socket.socket | None = None
    mtls: socket.socket | None = None
    metrics: socket.socket | None = None

    def all(self) -> tuple[socket.socket, ...]:
        """Those that are on."""
        candidates = (self.main, self.pki, self.mtls, self.metrics)
        return tuple(item for item in candidates if item is not None)

    def listen(self) -> None:
        """Open the ports.

        Raises:
            StartFailure: Somebody else was quicker (exit 9).
        """
        try:
            for item in self.all():
                item.listen(BACKLOG)
        except OSError as error:
            raise StartFailure(
                Exit.BIND, [f"A port cannot be opened: {error.strerror}."]
            ) from error

    def close(self) -> None:
        """Close this process's copies."""
        for item in self.all():
            item.close()


def bind(settings: Settings) -> Sockets:
    """Bind every listener of the settings.

    Raises:
        StartFailure: At least one cannot be bound; names them all (exit 9). None stays bound.
    """
    server = settings.server
    wanted: list[tuple[str, str, HostPort | None]] = [
        ("pki", "CERTCTL_PKI_HTTP_LISTEN", settings.pki.http_listen),
        ("mtls", "CERTCTL_MTLS_LISTEN", server.mtls_listen),
        ("metrics", "CERTCTL_METRICS_BIND", settings.metrics.bind),
    ]
    bound: dict[str, socket.socket] = {}
    problems: list[str] = []
    addresses = [("main", "CERTCTL_SERVER_PORT", server.host, server.port)]
    addresses += [(key, name, at.host, at.port) for key, name, at in wanted if at is not None]
    for key, name, host, port in addresses:
        try:
            bound[key] = _bind(host, port, int(server.write_timeout.total_seconds() * 1000))
        except OSError as error:
            problems.append(
                f"{name}: {host}:{port} cannot be bound: {error.strerror or error}. "
                "Stop what uses it, or choose another address."
            )
    if problems:
        for item in bound.values():
            item.close()
        raise StartFailure(Exit.BIND, problems)
    return Sockets(**bound)


def _bind(host: str, port: int, write_timeout_ms: int) -> socket.socket:
    found = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
    )
    family, kind, protocol, _, address = found[0]
    made = socket.socket(family, kind, protocol)
    try:
        # After a restart old connections may linger on the port for a while.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit both: small answers go out at once, and a client that does
        # not take its answer loses the connection.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform == "linux":
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, write_timeout_ms)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made
