"""Below HTTP: connections to checked addresses, and one deadline for a whole exchange.

httpcore speaks HTTP and TLS over the streams that this backend opens. The URL keeps the host name,
so Host, SNI and the verification of the certificate are about the name, while the connection goes to
the address that was checked.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import httpcore
from typing_extensions import override

from certctl_core.kernel.net.egress import EgressPolicy, Resolve

_CHUNK = 65_536
"""Bytes per write: the deadline is looked at between two of them."""


class Deadline:
    """When the exchange that runs in this thread must be over.

    Args:
        monotonic: The clock.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._at: ContextVar[float | None] = ContextVar("certctl_exchange_deadline", default=None)

    def start(self, limit: timedelta) -> None:
        """Begin an exchange that may take ``limit``."""
        self._at.set(self._monotonic() + limit.total_seconds())

    def remaining(self, at_most: float | None = None) -> float:
        """Seconds that are left, never more than ``at_most``; 0 when the time is over."""
        at = self._at.get()
        left = 3600.0 if at is None else max(0.0, at - self._monotonic())
        return left if at_most is None else min(left, at_most)


class LimitedStream(httpcore.NetworkStream):
    """A stream whose every operation ends with the exchange that it belongs to."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    @override
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._left(httpcore.ReadTimeout))

    @override
    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _CHUNK):
            left = self._left(httpcore.WriteTimeout)
            self._stream.write(buffer[start : start + _CHUNK], left)

    @override
    def close(self) -> None:
        self._stream.close()

    @override
    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = self._left(httpcore.ConnectTimeout)
        stream = self._stream.start_tls(ssl_context, server_hostname, left)
        return LimitedStream(stream, self._deadline)

    @override
    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def _left(self, error: type[Exception]) -> float:
        left = self._deadline.remaining()
        if left <= 0:
            message = "the time for the exchange is over"
            raise error(message)
        return left


class CheckedBackend(httpcore.NetworkBackend):
    """Opens connections to addresses that the policy lets pass, and to no others.

    Args:
        policy: The outbound rules; None where the only destination is the operator's proxy.
        deadline: Of the exchanges that use the connections.
        connect_timeout: For each address that is tried, look-up included.
        resolve: The resolver; the system's when None.
    """

    def __init__(
        self,
        policy: EgressPolicy | None,
        deadline: Deadline,
        *,
        connect_timeout: timedelta,
        resolve: Resolve | None,
    ) -> None:
        self._policy = policy
        self._deadline = deadline
        self._limit = connect_timeout.total_seconds()
        self._resolve = resolve
        self._plain = httpcore.SyncBackend()

    @override
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        error: Exception | None = None
        for target in self._targets(host, port):
            try:
                stream = self._plain.connect_tcp(
                    target,
                    port,
                    timeout=self._left(),
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
                continue
            return LimitedStream(stream, self._deadline)
        raise error or httpcore.ConnectError("no address")

    def _targets(self, host: str, port: int) -> tuple[str, ...]:
        if self._policy is None:
            return (host,)
        limit = timedelta(seconds=self._left())
        found = self._policy.addresses(host, port, timeout=limit, resolve=self._resolve)
        return tuple(str(address) for address in found)

    def _left(self) -> float:
        left = self._deadline.remaining(self._limit)
        if left <= 0:
            message = "the time for the exchange is over"
            raise httpcore.ConnectTimeout(message)
        return left
