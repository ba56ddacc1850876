"""The hooks that are called rather than listed: event observers, login decisions, the resolver."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import cast

import structlog

from certctl_core.contracts.context import Resolver
from certctl_core.contracts.errors import PluginError
from certctl_core.contracts.events import OBSERVE_BUDGET, ObservedEvent, observed
from certctl_core.contracts.host.guard import Guard
from certctl_core.contracts.host.registry import Observer
from certctl_core.contracts.identity import (
    Allow,
    Deny,
    ExternalIdentity,
    LoginDecision,
    RequestView,
    StepUp,
)
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.events import Emitted
from certctl_core.values import dataclass

MAX_WAITING = 1000
"""Events that wait for slow observers; beyond that they are dropped and counted in the log."""

LOGIN_BUDGET = timedelta(seconds=10)

_log = structlog.get_logger("certctl.plugins")


@dataclass(frozen=True, slots=True)
class _Watcher:
    observer: Observer
    guard: Guard


class EventObservers:
    """Hands events to the ``certctl_event`` implementations; an ``after_commit`` handler.

    Observers run one after the other in a thread of their own, so that a slow one holds up nobody.
    Without observers a call costs nothing and no thread is started.

    Args:
        observers: From the registry.
        clock: The time.
    """

    def __init__(self, observers: Sequence[Observer], *, clock: Clock) -> None:
        self._watchers = [
            _Watcher(observer, Guard(observer.source.name, clock=clock)) for observer in observers
        ]
        self._waiting: queue.Queue[ObservedEvent | None] = queue.Queue(MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False

    def __call__(self, emitted: Emitted) -> None:
        """Take an event; returns at once and never raises."""
        if not self._watchers:
            return
        self._start()
        try:
            self._waiting.put_nowait(observed(emitted))
        except queue.Full:
            _log.warning("event_not_observed", event_id=emitted.id, tag=emitted.event.tag)

    def close(self, timeout: timedelta = OBSERVE_BUDGET) -> None:
        """Deliver what waits, at most for ``timeout``, and end the thread."""
        with self._lock:
            thread, self._thread, self._closed = self._thread, None, True
        if thread is not None:
            try:
                self._waiting.put(None, timeout=timeout.total_seconds())
            except queue.Full:
                return
            thread.join(timeout.total_seconds())

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._closed:
                # A daemon: what a stuck observer does must not keep the process alive.
                self._thread = threading.Thread(
                    target=self._work, name="event-observers", daemon=True
                )
                self._thread.start()

    def _work(self) -> None:
        while (event := self._waiting.get()) is not None:
            for watcher in self._watchers:
                _tell(watcher, event)


def _tell(watcher: _Watcher, event: ObservedEvent) -> None:
    try:
        watcher.guard.call(
            lambda: watcher.observer.call(event=event),
            budget=OBSERVE_BUDGET,
            what="certctl_event",
        )
    except CertctlError as error:
        _log.warning(
            "observer_failed",
            plugin=watcher.observer.source.name,
            event_id=event.id,
            error=error.code,
        )


def authorize_login(
    authorizers: Sequence[Observer],
    identity: ExternalIdentity,
    request: RequestView,
    *,
    clock: Clock,
) -> LoginDecision:
    """Ask the ``certctl_authorize_login`` implementations; the first that does not allow wins.

    An exception, a time-out or an answer of another type denies.
    """
    for authorizer in authorizers:
        guard = Guard(authorizer.source.name, clock=clock)
        try:
            decision = guard.call(
                lambda ask=authorizer.call: ask(identity=identity, request=request),  # type: ignore[misc]
                budget=LOGIN_BUDGET,
                what="certctl_authorize_login",
                expect=(Allow, Deny, StepUp, type(None)),
            )
        except PluginError as error:
            return Deny(reason=f"{authorizer.source.name} failed: {error.code}")
        if isinstance(decision, Deny | StepUp):
            return decision
    return Allow()


def choose_resolver(makers: Sequence[Observer], *, clock: Clock) -> Resolver | None:
    """The resolver of the first ``certctl_dns_resolver`` implementation that offers one."""
    for maker in makers:
        guard = Guard(maker.source.name, clock=clock)
        try:
            resolver = guard.call(maker.call, budget=LOGIN_BUDGET, what="certctl_dns_resolver")
        except PluginError:
            _log.warning("resolver_not_offered", plugin=maker.source.name)
            continue
        if resolver is not None:
            return cast("Resolver", resolver)
    return None
