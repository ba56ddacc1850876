"""``certctl serve`` and ``certctl worker``: the parent process (spec 08 §1, BOOT-0).

The order: settings, log, lock, ports; then the boot in a child, while the rest of the program is
imported here; then the children, forked from a parent that has loaded everything and opened nothing.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import ForkProcess
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, TextIO

import structlog

from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.config import Settings
from certctl_core.kernel.config.server import Engine
from certctl_core.kernel.observability import configure
from certctl_core.kernel.observability.exposition import clear
from certctl_core.kernel.release import facts
from certctl_server.channel import Channel, Is, Message
from certctl_server.child import ChildContext, fork, metrics_dir
from certctl_server.exits import Exit, StartFailure, say
from certctl_server.first_start import FreshDirectory, base_url
from certctl_server.loading import Source, check_plugin_names
from certctl_server.reload import Reloader
from certctl_server.sockets import Sockets, bind
from certctl_server.sqlite_lock import SQLiteLock
from certctl_server.supervisor import Run, Slot, Supervisor
from certctl_server.tls import HeldPair, TLSPair

if TYPE_CHECKING:
    from certctl_server.boot import Booted

_log = structlog.get_logger("certctl.server")
# Loaded once, shared by all children. The boot child starts in between.
_FOR_BOOT = ("certctl_core.app", "certctl_server.boot")
_FOR_CHILDREN = ("certctl_server.background", "certctl_server.pair_task")
_FOR_WEB = ("certctl_server.web",)
_CHATTY = ("_granian", "alembic", "waitress")
_PRIVATE = 0o077


def serve(
    overrides: Mapping[str, str],
    *,
    config_file: Path | None,
    environ: MutableMapping[str, str],
    stderr: TextIO | None = None,
) -> int:
    """Run the control plane until it is told to stop.

    Args:
        overrides: What the command line gave, by setting name without ``CERTCTL_``, and ``LISTEN``.
        config_file: The TOML file, if there is one.
        environ: The process environment; variables with secrets are removed from it (CFG-10).
        stderr: Where problems and the first key are shown; the process's when None.

    Returns:
        The exit code; see :class:`Exit`.
    """
    return _Server(overrides, config_file, environ, stderr, is_web=True).run()


def work(
    overrides: Mapping[str, str],
    *,
    config_file: Path | None,
    environ: MutableMapping[str, str],
    stderr: TextIO | None = None,
) -> int:
    """Run loops and jobs alone, without a listener; arguments and result as of :func:`serve`."""
    return _Server(overrides, config_file, environ, stderr, is_web=False).run()


class _Server:
    def __init__(
        self,
        overrides: Mapping[str, str],
        config_file: Path | None,
        environ: MutableMapping[str, str],
        stderr: TextIO | None,
        *,
        is_web: bool,
    ) -> None:
        self._started = monotonic()
        self._source = Source(overrides, config_file, environ)
        self._stderr = stderr or sys.stderr
        self._is_web = is_web

    def run(self) -> int:
        """Start, serve, stop."""
        parts = _Parts()
        os.umask(_PRIVATE)
        # Imports make objects that stay: looking for garbage among them is a fifth of the start.
        # Children switch it on again; the parent itself does next to nothing.
        gc.disable()
        try:
            with _interruptible():
                context = self._prepare()
                parts.sockets = bind(context.settings) if self._is_web else None
                fresh = FreshDirectory.look(context.settings)
                parts.lock = SQLiteLock.take(context.settings)
                parts.fresh = fresh  # from here on what appears there is ours
                booted, leaving = self._boot(context)
                if parts.sockets is not None:
                    parts.sockets.listen()
                parts.fresh = None
            return self._supervise(context, parts.sockets, booted, leaving)
        except StartFailure as failure:
            say(failure, self._stderr)
            return failure.exit_code
        except _Interrupted as interrupted:
            return interrupted.exit_code
        finally:
            parts.close()

    # -- up to the ports ----------------------------------------------------------------------

    def _prepare(self) -> ChildContext:
        settings = self._source.load_for_start()
        clock = SystemClock()
        logs = configure(
            level=settings.logging.level,
            form=settings.logging.format,
            clock=clock,
            stream=self._stderr,
        )
        for chatty in _CHATTY:
            logging.getLogger(chatty).setLevel(logging.WARNING)
        _log.info(
            "server.starting",
            **facts(),
            config=settings.fingerprint(),
            role="serve" if self._is_web else "worker",
        )
        for warning in (*settings.warnings, *check_plugin_names(settings)):
            _log.warning("server.configuration", detail=warning)
        return ChildContext(settings=settings, clock=clock, logs=logs)

    def _boot(self, context: ChildContext) -> tuple[Booted, ForkProcess]:
        for name in _FOR_BOOT:
            importlib.import_module(name)
        from certctl_core.contracts.host.discover import import_own

        import_own(disabled=context.settings.plugins.disabled)
        pair = self._pair(context.settings)
        process, channel = fork("boot", partial(_boot_child, context, pair=pair), close=_nothing)
        try:
            for name in _FOR_CHILDREN + (_FOR_WEB if self._is_web else ()):
                importlib.import_module(name)
            if self._is_web:
                _import_servers(context.settings)
            result = next(channel.receive(), None)
            return _booted(result), process
        except BaseException:
            process.kill()
            process.join()
            raise
        finally:
            channel.close()

    def _pair(self, settings: Settings) -> TLSPair | None:
        """The pair to prepare, if anything is served over TLS by ourselves."""
        server = settings.server
        speaks_tls = server.engine is not Engine.WAITRESS or server.mtls_listen is not None
        return TLSPair.of(settings) if self._is_web and speaks_tls else None

    # -- from there on ------------------------------------------------------------------------

    def _supervise(
        self,
        context: ChildContext,
        sockets: Sockets | None,
        booted: Booted,
        leaving: ForkProcess,
    ) -> int:
        pair = self._pair(context.settings)
        reloader = Reloader(
            context,
            load=self._source.load,
            held=None if pair is None else HeldPair.read(pair),
            renew_at=booted.renew_at,
        )
        supervisor = Supervisor(
            self._slots(context, sockets, reloader),
            on_drain=_nothing if sockets is None else sockets.close,
            shutdown_timeout=context.settings.server.shutdown_timeout,
            on_ready=partial(self._announce, context.settings, booted),
            on_hangup=reloader.hang_up,
            on_ca_change=reloader.ca_changed,
            leaving=leaving,
        )
        reloader.attach(supervisor)
        code = supervisor.run()
        _log.info("server.stopped", code=code)
        return code

    def _slots(
        self, context: ChildContext, sockets: Sockets | None, reloader: Reloader
    ) -> list[Slot]:
        slots = []
        if sockets is not None:
            slots = [
                Slot(
                    name=f"web-{number}",
                    is_web=True,
                    make=partial(_web, context, sockets, reloader),
                )
                for number in range(1, context.settings.server.workers + 1)
            ]
        if context.settings.scheduler.enabled or not self._is_web:
            make = partial(_background, context, sockets)
            slots.append(Slot(name="background", is_web=False, make=make))
        return slots

    def _announce(self, settings: Settings, booted: Booted) -> None:
        """Say where the server is, and show the first key (05 BOOT-10): here and never again."""
        seconds = round(monotonic() - self._started, 2)
        if not self._is_web:
            _log.info("server.ready", seconds=seconds)
            return
        url = base_url(settings)
        _log.info("server.ready", url=url, ca=booted.ca_file, seconds=seconds)
        if not booted.first_admin_key:
            return
        ca_line = f"  CA       {booted.ca_file}\n" if booted.ca_file else ""
        self._stderr.write(
            f"\ncertctl is ready.\n  URL      {url}\n{ca_line}"
            f"  API key  {booted.first_admin_key}\n"
            "           It is an administrator's and is not shown again;"
            f" {booted.client_file} keeps it.\n\n"
        )
        self._stderr.flush()


@dataclass(slots=True)
class _Parts:
    """What has to be given back when the process ends, however it does."""

    sockets: Sockets | None = None
    lock: SQLiteLock | None = None
    fresh: FreshDirectory | None = None

    def close(self) -> None:
        if self.sockets is not None:
            self.sockets.close()
        if self.fresh is not None:
            self.fresh.undo()
        if self.lock is not None:
            self.lock.release()


class _Interrupted(Exception):
    """A signal came before the children were there."""

    def __init__(self, exit_code: Exit) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


@contextmanager
def _interruptible() -> Iterator[None]:
    """While the supervisor does not own the signals yet, they end the start."""

    def interrupt(number: int, _frame: object) -> None:
        raise _Interrupted(Exit.INTERRUPTED if number == signal.SIGINT else Exit.OK)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, interrupt)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    # Not after a failure: nobody must be interrupted while cleaning up.
    for number in before:
        signal.signal(number, signal.SIG_DFL)


def _booted(result: Message | None) -> Booted:
    from certctl_server.boot import Booted

    if result is None:
        raise StartFailure(Exit.INTERNAL, ["The start ended unexpectedly; the log says why."])
    if result["is"] == Is.FAILED:
        raise StartFailure(Exit(result["exit"]), result["problems"])
    return Booted.from_message(result)


def _boot_child(context: ChildContext, channel: Channel, *, pair: TLSPair | None) -> int:
    from certctl_server.boot import boot

    def done(booted: Booted) -> None:
        clear(metrics_dir(context.settings))  # not before: a start that fails leaves nothing
        channel.send(**{"is": Is.RESULT, **booted.to_message()})

    try:
        boot(context.settings, clock=context.clock, pair=pair, done=done)
    except StartFailure as failure:
        channel.send(**{"is": Is.FAILED, "exit": failure.exit_code, "problems": failure.problems})
    return 0


def _web(context: ChildContext, sockets: Sockets, reloader: Reloader) -> Run:
    from certctl_server.web import run_web

    pair = None if reloader.held is None else reloader.held.pair
    return partial(run_web, context, sockets=sockets, pair=pair)


def _background(context: ChildContext, sockets: Sockets | None) -> Run:
    from certctl_server.background import run_background

    def run(channel: Channel) -> int:
        if sockets is not None:
            sockets.close()
        return run_background(context, channel)

    return run


def _import_servers(settings: Settings) -> None:
    """Load what listens; each only where it is on."""
    server = settings.server
    if server.engine is not Engine.WAITRESS:
        importlib.import_module("certctl_server.granian_server")
    if server.mtls_listen is not None:
        importlib.import_module("certctl_server.mutual")


def _nothing() -> None:
    return
