"""What every child of the server has in common: its core, its signals, its line to the parent."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from certctl_core.kernel.clock import Clock
from certctl_core.kernel.config import Settings
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.observability import LogHandle, MetricsExport
from certctl_server.channel import Channel

if TYPE_CHECKING:
    from certctl_core.app import Core

METRICS_DIR = "metrics"
_log = structlog.get_logger("certctl.server")
_FORK = get_context("fork")
_OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True, kw_only=True)
class ChildContext:
    """What a child inherits.

    Attributes:
        settings: The settings at the time of the fork.
        clock: The time.
        logs: Handle of the log pipeline that the parent configured.
    """

    settings: Settings
    clock: Clock
    logs: LogHandle

    @contextmanager
    def metrics(self) -> Iterator[MetricsExport]:
        """Write this process's metrics to the shared directory while inside."""
        export = MetricsExport(clock=self.clock, directory=metrics_dir(self.settings))
        export.start()
        try:
            yield export
        finally:
            export.close()


def metrics_dir(settings: Settings) -> Path:
    """Where the processes of one server put their numbers."""
    return settings.data_dir / METRICS_DIR


def open_core(settings: Settings, *, clock: Clock, role: str) -> Core:
    """A core on a database that the boot has prepared."""
    from certctl_core.app import Core
    from certctl_core.app.core import open_database

    database = open_database(settings, role=role)
    try:
        return Core(settings, clock=clock, database=database, role=role)
    except BaseException:
        database.close()
        raise


def reload_core(context: ChildContext, core: Core, *, level: str) -> bool:
    """Take over what a reload brings to a running child; what is bad keeps its old value.

    Returns:
        Whether everything was good; the parent is told so with ``Is.RELOADED``.
    """
    context.logs.set_level(level)
    try:
        core.reload()
    except CertctlError as error:
        _log.error("server.reload_failed", part="core", code=error.code, **error.data)
        return False
    return True


def fork(
    name: str, run: Callable[[Channel], int], *, close: Callable[[], None]
) -> tuple[ForkProcess, Channel]:
    """Start a child.

    Args:
        name: How it is called in process lists of Python and in logs.
        run: What it does; gets the channel to the parent, returns the exit code.
        close: Closes what belongs to the parent alone; called first in the child.

    Returns:
        The process and the parent's end of the channel.
    """
    ours, theirs = Channel.pair()
    # What is alive now is never looked at by a collection again: its pages stay shared.
    gc.freeze()
    process = _FORK.Process(
        target=_child_main, args=(run, ours, theirs, close), name=f"certctl-{name}", daemon=False
    )
    process.start()
    theirs.close()
    return process, ours


def _child_main(
    run: Callable[[Channel], int], ours: Channel, theirs: Channel, close: Callable[[], None]
) -> None:
    """First code of a child. The parent owns the signals; children only hear their channel.

    A signal that went to the whole process group must not stop a child before the parent says so.
    A handler, not SIG_IGN: commands that we start inherit what is ignored, but no handlers.
    """
    signal.set_wakeup_fd(-1)
    for number in _OURS:
        signal.signal(number, _hear_nothing)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ours.close()
    close()
    gc.enable()
    try:
        code = run(theirs)
    except Exception:  # noqa: BLE001 - the last place where it can be logged
        _log.exception("server.child_crashed")
        code = 1
    sys.stderr.flush()
    # A thread that still waits for a client must not keep the process.
    if code:
        os._exit(code)


def _hear_nothing(_number: int, _frame: object) -> None:
    return
