"""The main listener on Granian: its worker runs inside our process, on a socket that we bound.

Granian's own main process would bind and respawn by itself; we keep both in the supervisor, so that a
worker with a new TLS pair takes over on the same socket. Its Rust side speaks HTTP and TLS; requests
arrive on its Python threads.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from granian import _granian
from granian._futures import _new_cbscheduler
from granian.http import HTTP1Settings

from certctl_server.bodies import READERS, Bodies
from certctl_server.plain import PUBLIC_PREFIX
from certctl_server.sockets import BACKLOG

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication, WSGIEnvironment

    from certctl_server.tls import TLSPair

_NATIVE: Any = _granian  # its stubs are behind its code
_IDLE_THREAD_SECONDS = 30
_BASE: dict[str, Any] = {
    "GATEWAY_INTERFACE": "CGI/1.1",
    "SCRIPT_NAME": "",
    "SERVER_SOFTWARE": "certctl",
    "wsgi.version": (1, 0),
    "wsgi.input_terminated": True,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}

Headers = list[tuple[str, str]]


class GranianServer:
    """One web worker.

    Args:
        app: What it serves.
        sock: The bound socket; it is duplicated.
        pair: TLS pair; it was checked before.
        threads: How many requests may be inside the application at a time.
        idle_timeout: Time for the head of a request, and between two of them.
        read_timeout: Time for the body of a request.
        connections: Most open connections.
        max_body: Largest body in bytes; longer ones are cut one byte later.

    Raises:
        BaseException: From ``start``: Granian could not load the pair.
    """

    def __init__(
        self,
        app: WSGIApplication,
        sock: socket.socket,
        *,
        pair: TLSPair,
        threads: int,
        idle_timeout: timedelta,
        read_timeout: timedelta,
        connections: int,
        max_body: int,
    ) -> None:
        self._done = threading.Event()
        self._signal = _NATIVE.WorkerSignal()
        self._signal.add_cb(self._done.set)
        self._loop = asyncio.new_event_loop()
        self._bodies = Bodies(timeout=read_timeout, max_body=max_body)
        self._inside = threading.BoundedSemaphore(threads)
        self._descriptor = os.dup(sock.fileno())
        self._worker = _NATIVE.WSGIWorker(
            worker_id=1,
            # The descriptor is closed by Granian when the worker ends.
            sock=(None, _NATIVE.SocketHolder(self._descriptor, False, BACKLOG)),  # noqa: FBT003
            ipc=None,
            threads=1,
            py_threads=threads + READERS,
            py_threads_idle_timeout=_IDLE_THREAD_SECONDS,
            backpressure=connections,
            http_mode="1",
            http1_opts=HTTP1Settings(header_read_timeout=int(idle_timeout.total_seconds() * 1000)),
            ssl_enabled=True,
            ssl_cert=str(pair.certificate),
            ssl_key=str(pair.key),
            ssl_protocol_min="tls1.3",
            ssl_crl=[],
        )
        self._app = app
        self._base = {**_BASE, "wsgi.errors": sys.stderr}

    def start(self) -> None:
        """Accept connections; returns at once."""
        make: Any = _new_cbscheduler
        scheduler = make(self._loop, self._serve, impl_asyncio=True)
        self._worker.serve_mtr(scheduler, self._loop, self._signal)

    def hand_over(self) -> None:
        """Accept no more; every connection goes on, also one that has not asked for anything yet.

        Granian has no word for it: to stop it closes what is idle, at once. So its descriptor gets
        to mean a socket that nobody connects to. The other holders of the listening socket keep it.
        Only Linux makes up a name for such a socket; elsewhere nothing happens until ``stop``.
        """
        if sys.platform != "linux":
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as nobody:
            nobody.bind(b"")  # a name that the kernel makes up
            nobody.listen(1)
            nobody.settimeout(0)
            os.dup2(nobody.fileno(), self._descriptor, inheritable=False)

    def stop(self) -> None:
        """Accept no more; connections end after the answer that is under way."""
        self._signal.set()

    def join(self, seconds: float) -> bool:
        """Wait until all connections are gone; whether they are."""
        return self._done.wait(seconds)

    def _serve(self, proto: Any, scope: WSGIEnvironment) -> None:
        environ: WSGIEnvironment = {**self._base, **scope}
        if not self._bodies.read(environ, proto):
            return
        if environ["PATH_INFO"].startswith(PUBLIC_PREFIX):
            answer(self._app, environ, proto)  # nearly always from memory
            return
        with self._inside:
            answer(self._app, environ, proto)


class _Head:
    """``start_response``; PEP 3333's ``write`` is not offered."""

    __slots__ = ("headers", "status")

    def __init__(self) -> None:
        self.status = 500
        self.headers: Headers = []

    def __call__(self, status: str, headers: Headers, _exc_info: object = None, /) -> Any:
        self.status = int(status[:3])
        self.headers = headers
        return _no_write


def _no_write(_data: bytes) -> object:
    message = "write() is not supported: return the body"
    raise RuntimeError(message)


class _Chunks:
    """An answer that comes in parts, as Granian wants to read it."""

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body
        self._parts = iter(body)

    def __next__(self) -> bytes:
        return next(self._parts)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def close(self) -> None:
        """The end of PEP 3333's iterables."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()


def answer(app: WSGIApplication, environ: WSGIEnvironment, proto: Any) -> None:
    """Run the application for one request and hand its answer to Granian."""
    head = _Head()
    body = app(environ, head)
    if isinstance(body, list | tuple):
        data = body[0] if len(body) == 1 else b"".join(body)
        proto.response_bytes(head.status, head.headers, data)
    else:
        proto.response_iter(head.status, head.headers, _Chunks(body))
