"""Plain-HTTP listeners on waitress: the PKI paths, metrics, and the main one behind a TLS proxy."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from waitress.server import create_server

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_TICK_SECONDS = 0.5
PUBLIC_PREFIX = "/.well-known/pki/"


class PlainListener:
    """A waitress server on a socket that is bound already, in a thread of its own.

    Args:
        app: What it serves.
        sock: The bound socket; it is duplicated.
        threads: Request threads.
        idle_seconds: Idle connections are closed after this.
        max_body: Largest request body that is taken in, in bytes.
        on_death: Called when the thread ends without having been asked to.
    """

    def __init__(
        self,
        app: WSGIApplication,
        sock: socket.socket,
        *,
        name: str,
        threads: int,
        idle_seconds: float,
        max_body: int,
        on_death: Callable[[str], None],
    ) -> None:
        self.name = name
        self._on_death = on_death
        self._stopping = threading.Event()
        self._map: dict[int, Any] = {}
        self._server: Any = create_server(
            app,
            map=self._map,
            sockets=[sock.dup()],
            threads=threads,
            ident="",
            channel_timeout=max(1, int(idle_seconds)),
            cleanup_interval=5,
            # One more byte than allowed: the application answers 413 in its own form.
            max_request_body_size=max_body + 1,
            # The edge decides whose forwarded addresses are believed.
            clear_untrusted_proxy_headers=False,
            _start=False,
        )
        self._thread = threading.Thread(target=self._run, name=f"listener-{name}", daemon=True)

    def start(self) -> None:
        """Accept connections."""
        self._server.accept_connections()
        self._thread.start()

    def stop(self) -> None:
        """Accept no more; what is being answered goes on."""
        self._stopping.set()
        self._server.pull_trigger()

    def join(self, seconds: float) -> bool:
        """Wait until all answers are out; whether they are."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
            self._close_socket()
            while self._is_busy():
                self._turn()
            self._server.task_dispatcher.shutdown()
        finally:
            if not self._stopping.is_set():
                self._on_death(self.name)

    def _turn(self) -> None:
        self._server.asyncore.loop(
            timeout=_TICK_SECONDS,
            use_poll=self._server.adj.asyncore_use_poll,
            map=self._map,
            count=1,
        )

    def _close_socket(self) -> None:
        self._server.accepting = False
        self._server.del_channel()
        self._server.socket.close()

    def _is_busy(self) -> bool:
        channels = list(self._server.active_channels.values())
        for channel in channels:
            if not channel.requests and not channel.total_outbufs_len:
                channel.will_close = True
        return any(channel.requests or channel.total_outbufs_len for channel in channels)


def only_pki(app: WSGIApplication) -> WSGIApplication:
    """The application of the plain-HTTP PKI listener: its paths, and 404 for all else (TLS-7)."""

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith(PUBLIC_PREFIX):
            return app(environ, start_response)
        return not_found(start_response)

    return serve


def not_found(start_response: StartResponse) -> Iterable[bytes]:
    """A 404 that says nothing."""
    body = b"Not found.\n"
    start_response(
        "404 Not Found",
        [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))],
    )
    return [body]
