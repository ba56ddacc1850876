"""A web worker: one core, the Flask application, and every listener that is on."""

from __future__ import annotations

import resource
import ssl
from dataclasses import dataclass
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import structlog
from certctl_flask.app import create_app

from certctl_core.kernel.config.server import Engine, TLSVersion
from certctl_core.kernel.observability import MetricsExport
from certctl_server.ca_watch import CAWatch, Look
from certctl_server.channel import Channel, Do, Is
from certctl_server.child import ChildContext, open_core, reload_core
from certctl_server.own_certificate import OwnCertificate, ca_mark
from certctl_server.plain import PlainListener, only_pki

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from wsgiref.types import WSGIApplication

    from cryptography import x509

    from certctl_core.app import Core
    from certctl_server.mutual import MutualTLSListener
    from certctl_server.sockets import Sockets
    from certctl_server.tls import TLSPair

_log = structlog.get_logger("certctl.server")
_SPARE_FILES = 256
_MOST_CONNECTIONS = 16_384
HAND_OVER_SECONDS = 3.0
"""For connections that are being greeted, or have not asked for anything yet."""

_PKI_THREADS = 2
_PKI_MAX_BODY = 10 * 1024


class Listener(Protocol):
    """What every server offers here."""

    def start(self) -> None:
        """Accept connections."""
        ...

    def stop(self) -> None:
        """Accept no more."""
        ...

    def join(self, seconds: float) -> bool:
        """Wait for the end; whether it came."""
        ...


@runtime_checkable
class HandsOver(Protocol):
    """A server that can accept no more while it goes on with every connection that it has."""

    def hand_over(self) -> None:
        """Accept no more."""
        ...


@dataclass(slots=True)
class _Worker:
    context: ChildContext
    channel: Channel
    sockets: Sockets
    pair: TLSPair | None
    is_broken: bool = False

    def on_death(self, name: str) -> None:
        """A listener's thread ended: end the worker, the parent starts another one."""
        _log.error("server.listener_died", listener=name)
        self.is_broken = True
        self.channel.interrupt()

    def ca_changed(self) -> None:
        """The server's own pair and ``ca.crt`` have to follow; the parent sees to that."""
        self.channel.send(**{"is": Is.CA_CHANGED})


def run_web(
    context: ChildContext, channel: Channel, *, sockets: Sockets, pair: TLSPair | None
) -> int:
    """Serve until the parent says stop, or is gone.

    Args:
        context: Settings, clock, metrics.
        channel: To the parent.
        sockets: Bound and listening.
        pair: TLS pair of the main and the mutual-TLS listener; None where neither needs one.

    Returns:
        The exit code of the worker.
    """
    worker = _Worker(context, channel, sockets, pair)
    with context.metrics() as export:
        core = open_core(context.settings, clock=context.clock, role="web")
        try:
            app = create_app(core, metrics=export)
            listeners, mutual = _listeners(worker, core, app, export)
            watch = _watch(worker, core, mutual)
            for listener in listeners:
                listener.start()
            watch.start()
            channel.send(**{"is": Is.READY})
            if pair is not None and pair.is_own and not OwnCertificate(core).is_current(pair):
                worker.ca_changed()  # between the boot and now
            if _obey(worker, core, mutual) is Do.HAND_OVER:
                _hand_over(listeners)
            watch.stop()
            _drain(core, listeners, context.settings.server.shutdown_timeout.total_seconds())
        finally:
            core.close()
    return 1 if worker.is_broken else 0


def _obey(worker: _Worker, core: Core, mutual: MutualTLSListener | None) -> Do:
    """Do what the parent says until the end; how that is to come."""
    for message in worker.channel.receive():
        match message.get("do"):
            case Do.RELOAD:
                is_good = reload_core(worker.context, core, level=message["level"])
                if mutual is not None:
                    _renew_mutual(worker, core, mutual)
                worker.channel.send(**{"is": Is.RELOADED, "good": is_good})
            case Do.DRAIN:
                core.draining = True
            case Do.STOP | Do.HAND_OVER as end:
                return Do(end)
            case _:
                continue
    return Do.STOP  # the parent is gone


def _hand_over(listeners: list[Listener]) -> None:
    """Leave what comes from now on to the successor; finish the greetings that have begun."""
    for listener in listeners:
        if isinstance(listener, HandsOver):
            listener.hand_over()
    sleep(HAND_OVER_SECONDS)


def _drain(core: Core, listeners: list[Listener], seconds: float) -> None:
    core.draining = True
    until = monotonic() + seconds
    for listener in listeners:
        listener.stop()
    for listener in listeners:
        listener.join(max(0.0, until - monotonic()))


def _listeners(
    worker: _Worker, core: Core, app: WSGIApplication, export: MetricsExport
) -> tuple[list[Listener], MutualTLSListener | None]:
    sockets = worker.sockets
    listeners = [_main(worker, app)]
    if sockets.pki is not None:
        listeners.append(
            _plain(worker, "pki", only_pki(core.pki.wsgi), threads=_PKI_THREADS, body=_PKI_MAX_BODY)
        )
    if sockets.metrics is not None:
        from certctl_flask.metrics import metrics_wsgi

        token = worker.context.settings.metrics.token
        listeners.append(_plain(worker, "metrics", metrics_wsgi(export, token), threads=1, body=0))
    mutual = _mutual(worker, core, app)
    return (listeners if mutual is None else [*listeners, mutual]), mutual


def _main(worker: _Worker, app: WSGIApplication) -> Listener:
    server = worker.context.settings.server
    if server.engine is Engine.WAITRESS:
        return _plain(worker, "main", app, threads=server.http_threads, body=server.max_body_size)
    from certctl_server.granian_server import GranianServer

    return GranianServer(
        app,
        worker.sockets.main,
        pair=_pair(worker),
        threads=server.http_threads,
        # One timer for both: Granian's starts when the connection is idle.
        idle_timeout=max(server.idle_timeout, server.header_timeout),
        read_timeout=server.read_timeout,
        connections=_connections(),
        max_body=server.max_body_size,
    )


def _plain(
    worker: _Worker, name: str, app: WSGIApplication, *, threads: int, body: int
) -> PlainListener:
    sock = getattr(worker.sockets, name)
    return PlainListener(
        app,
        sock,
        name=name,
        threads=threads,
        idle_seconds=worker.context.settings.server.idle_timeout.total_seconds(),
        max_body=body,
        on_death=worker.on_death,
    )


def _mutual(worker: _Worker, core: Core, app: WSGIApplication) -> MutualTLSListener | None:
    if worker.sockets.mtls is None:
        return None
    from certctl_server.mutual import MutualTLSListener, client_cas, only_machines

    server = worker.context.settings.server
    clients = client_cas(core)
    return MutualTLSListener(
        only_machines(app),
        worker.sockets.mtls,
        context=_mutual_context(worker, clients),
        clients=clients,
        threads=max(8, 2 * server.http_threads),
        header_timeout=server.header_timeout,
        read_timeout=server.read_timeout,
        idle_timeout=server.idle_timeout,
        max_body=server.max_body_size,
        on_death=worker.on_death,
    )


def _mutual_context(worker: _Worker, clients: Sequence[x509.Certificate]) -> ssl.SSLContext:
    from certctl_server.mutual import server_context

    allow = worker.context.settings.server.mtls_min_tls is TLSVersion.TLS_1_2
    return server_context(_pair(worker), clients=clients, allow_tls_1_2=allow)


def _renew_mutual(worker: _Worker, core: Core, mutual: MutualTLSListener) -> None:
    """New connections meet the CAs of now (02 TRUST-4)."""
    from certctl_server.mutual import client_cas

    clients = client_cas(core)
    mutual.use(_mutual_context(worker, clients), clients)


def _watch(worker: _Worker, core: Core, mutual: MutualTLSListener | None) -> CAWatch:
    watched: list[tuple[Look, Callable[[], None]]] = [(partial(ca_mark, core), worker.ca_changed)]
    if mutual is not None:
        from certctl_server.mutual import client_cas

        watched.append((partial(client_cas, core), partial(_renew_mutual, worker, core, mutual)))
    return CAWatch(core, watched)


def _pair(worker: _Worker) -> TLSPair:
    assert worker.pair is not None  # noqa: S101 - the parent checked a pair for every TLS listener
    return worker.pair


def _connections() -> int:
    """How many connections a worker may hold: what the limit on open files leaves room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(64, min(_MOST_CONNECTIONS, soft - _SPARE_FILES))
