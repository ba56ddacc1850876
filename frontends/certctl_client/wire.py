"""Kept connections to one server, on the standard library's HTTP: an import of milliseconds.

A command line pays for its imports at each call; a full HTTP client costs more than all else it does.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from base64 import b64encode
from collections.abc import Mapping
from time import monotonic
from urllib.parse import unquote, urlsplit

from certctl_core.values import dataclass

_KEPT_SECONDS = 5.0
"""How long a connection waits for its next request; servers give up later than this."""
_HTTPS_PORT = 443


class NotConnected(Exception):
    """Nothing was sent; the cause, or the message, says why."""


class ConnectionLost(Exception):
    """The connection ended where an answer was due; the cause says how."""


class TooLong(Exception):
    """The answer is longer than the caller takes.

    Args:
        status: Of the answer.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Wire:
    """Connections to one server. Safe for threads; close it.

    Args:
        url: ``https://host[:port]``.
        context: TLS.
        use_proxy: Go through the proxy that the machine is set to use, where there is one for this host.
    """

    def __init__(self, url: str, *, context: ssl.SSLContext, use_proxy: bool) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or _HTTPS_PORT
        self._context = context
        self._proxy = _proxy_for(f"{self._host}:{self._port}") if use_proxy else ""
        self._lock = threading.Lock()
        self._idle: list[tuple[float, http.client.HTTPSConnection]] = []
        self._is_closed = False

    def exchange(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_seconds: float,
        most: int,
    ) -> Answer:
        """Send one request and read its answer.

        Args:
            method: HTTP verb.
            target: Path and query, quoted.
            headers: All but ``Host`` and ``Content-Length``.
            body: The body; None sends none.
            timeout_seconds: For connecting, and for each wait on the other side.
            most: The longest body that is taken, in bytes.

        Raises:
            NotConnected: Nothing was sent.
            ConnectionLost: A connection ended early: nobody knows whether the request arrived.
            TimeoutError: The other side took too long.
            OSError: The network failed under way.
            TooLong: The body is longer than ``most``.
        """
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            message = "a header would hold characters that HTTP does not carry"
            raise NotConnected(message)
        connection, is_kept = self._take(timeout_seconds)
        is_whole = False
        try:
            connection.request(method, target, body=body, headers=dict(headers))
            response = connection.getresponse()
            content = response.read(most + 1)
            if len(content) > most:
                raise TooLong(response.status)
            is_whole = True
        except http.client.HTTPException as error:
            raise ConnectionLost from error
        except (ConnectionResetError, BrokenPipeError) as error:
            if is_kept:
                raise ConnectionLost from error
            raise
        finally:
            if not is_whole:
                connection.close()
        self._give_back(connection)
        return Answer(
            status=response.status,
            headers={name.lower(): value for name, value in response.getheaders()},
            content=content,
        )

    def close(self) -> None:
        """Close the connections; those in use are closed when they are done."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _take(self, timeout_seconds: float) -> tuple[http.client.HTTPSConnection, bool]:
        """A connection that stands, and whether it served before."""
        oldest = monotonic() - _KEPT_SECONDS
        with self._lock:
            fresh = [item for item in self._idle if item[0] >= oldest]
            old = [item for item in self._idle if item[0] < oldest]
            kept = fresh.pop()[1] if fresh else None
            self._idle = fresh
        for _, connection in old:
            connection.close()
        if kept is not None:
            kept.sock.settimeout(timeout_seconds)
            return kept, True
        connection = self._new(timeout_seconds)
        try:
            connection.connect()
        except TimeoutError:
            connection.close()
            raise
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            connection.close()
            _let_go(error)
            raise NotConnected from error
        return connection, False

    def _give_back(self, connection: http.client.HTTPSConnection) -> None:
        with self._lock:
            # A connection without a socket was closed by what the answer said.
            if not self._is_closed and connection.sock is not None:
                self._idle.append((monotonic(), connection))
                return
        connection.close()

    def _new(self, timeout_seconds: float) -> http.client.HTTPSConnection:
        if not self._proxy:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout_seconds, context=self._context
            )
        proxy = urlsplit(self._proxy)
        connection = http.client.HTTPSConnection(
            proxy.hostname or "", proxy.port or 80, timeout=timeout_seconds, context=self._context
        )
        connection.set_tunnel(
            self._host, self._port, headers=_credentials(proxy.username, proxy.password)
        )
        return connection


def _let_go(error: Exception) -> None:
    """Let go of a proxy's refusal, which Python before 3.11.4 leaves open while the error lives."""
    from traceback import clear_frames  # slow, and most connections stand

    clear_frames(error.__traceback__)


def _proxy_for(place: str) -> str:
    """The URL of the proxy that leads to a host, or "" where the way is straight."""
    from urllib.request import getproxies, proxy_bypass  # slow, and none is asked on loopback

    proxies = getproxies()
    found = proxies.get("https") or proxies.get("all") or ""
    if not found or proxy_bypass(place):
        return ""
    return found if "://" in found else f"http://{found}"


def _credentials(user: str | None, password: str | None) -> dict[str, str]:
    if user is None:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
