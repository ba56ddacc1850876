"""Notices, in a web worker, that the CA has changed, whoever changed it (spec 02 DR-29, TRUST-4).

The change feed says when to look; what is compared is what the listeners stand on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import structlog

from certctl_core.kernel.errors import CertctlError

if TYPE_CHECKING:
    from certctl_core.app import Core

_log = structlog.get_logger("certctl.server")
_LISTEN_SECONDS = 1.0
"""SQLite tells nobody of a commit by another process: it has to be asked."""

_PAUSE_SECONDS = 0.5
"""Between two looks; a revocation wakes, too, and there may be many."""

_LOOK_ANYWAY_SECONDS = 10.0
"""A key that comes to hand and a root that expires wake nobody."""

Look: TypeAlias = Callable[[], tuple[object, ...]]


class CAWatch:
    """Looks whenever the feed's topic ``pki`` moved, in a thread of its own.

    Args:
        core: Its feed.
        watched: What is compared: a function that gives it, and may read the database; what is
            called, from the thread, when it is something else than before.
    """

    def __init__(self, core: Core, watched: Sequence[tuple[Look, Callable[[], None]]]) -> None:
        self._core = core
        self._watched = watched
        self._woken = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ca-watch", daemon=True)
        core.feed.subscribe("pki", self._woken.set)
        self._marks = [look() for look, _ in watched]

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; the core may be closed afterwards."""
        self._stop.set()
        self._woken.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        waited = 0.0
        while not self._stop.is_set():
            if not self._woken.wait(_LISTEN_SECONDS):
                waited += _LISTEN_SECONDS
                self._core.feed.is_fresh()
                if not self._woken.is_set() and waited < _LOOK_ANYWAY_SECONDS:
                    continue
            waited = 0.0
            self._woken.clear()
            self._compare()
            self._stop.wait(_PAUSE_SECONDS)

    def _compare(self) -> None:
        if self._stop.is_set():
            return
        for number, (look, changed) in enumerate(self._watched):
            try:
                mark = look()
                if mark != self._marks[number]:
                    changed()
                    self._marks[number] = mark
            except CertctlError as error:
                _log.warning("server.ca_watch_failed", code=error.code, **error.data)
            except Exception:  # noqa: BLE001 - it looks again; a worker must not lose this thread
                _log.exception("server.ca_watch_failed")
