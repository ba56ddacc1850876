"""Running plugins: built once per revision, guarded, replaced without disturbing calls in flight.

Another process's edit arrives by a topic, and is noticed within 5 seconds without it (06 REG-3).
Building reads the row, resolves secret references and constructs the plugin's class; it happens
outside any unit of work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import field
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

from typing_extensions import override

from certctl_core.contracts.host.contexts import HostContext, plugin_logger, product
from certctl_core.contracts.host.guard import CallRecord, Guard
from certctl_core.contracts.host.registry import Kinds
from certctl_core.contracts.http import HttpFactory
from certctl_core.contracts.options import (
    PluginConfig,
    Reference,
    resolve_references,
    secret_values,
)
from certctl_core.contracts.plugin import Plugin
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.db import UnitOfWorkFactory
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.secrets import Keyring, Secret
from certctl_core.lifecycle.configured.state import LeasedLocks, Owner, SealedState
from certctl_core.lifecycle.configured.types import RevisedRow
from certctl_core.values import dataclass

RECHECK = timedelta(seconds=5)
"""How long an instance is used without looking at its row, should no wake-up come (06 REG-3)."""

Result = TypeVar("Result")
PluginT = TypeVar("PluginT", bound=Plugin)
RowT = TypeVar("RowT", bound=RevisedRow)


class ClosableHttp(HttpFactory, Protocol):
    """The HTTP clients of one instance."""

    def close(self) -> None:
        """Close all connections."""
        ...


class Parts(Protocol[PluginT]):
    """What instances are made of; a room has a dataclass of this form."""

    @property
    def kinds(self) -> Kinds[type[PluginT]]:
        """The room's kinds in the plugin registry."""

    @property
    def units(self) -> UnitOfWorkFactory:
        """For the row, the state store and the leases of an instance."""

    @property
    def clock(self) -> Clock:
        """The time."""

    @property
    def keyring(self) -> Keyring:
        """Opens secrets and seals state."""

    @property
    def http(self) -> Callable[[], ClosableHttp]:
        """Makes the HTTP clients of one instance."""

    @property
    def lookup(self) -> Callable[[Reference], str]:
        """Gives the text that a secret reference names."""

    @property
    def public_url(self) -> str:
        """Where this installation is reached, or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted(Generic[PluginT]):
    """One instance that is to be built.

    Attributes:
        owner_id: Whose.
        kind: Canonical.
        config: Validated; references in it are resolved when it is built.
        construct: Calls the class with the configuration and the context.
        base: What the class has to make.
        inline: The kind does not leave the process: no thread, no time budget.
        on_call: Told about its calls.
    """

    owner_id: str
    kind: str
    config: PluginConfig
    construct: Callable[[type[PluginT], PluginConfig, HostContext], PluginT]
    base: type
    inline: bool = False
    on_call: Callable[[CallRecord], None] | None = None


def build(parts: Parts[PluginT], owner: Owner, wanted: Wanted[PluginT]) -> Built[PluginT]:
    """Construct an instance; nothing is opened or called yet.

    Raises:
        KindUnknown, KindUnavailable: There is no usable class.
        CertctlError: A reference cannot be resolved, or the class refuses the configuration.
    """
    owner_id = wanted.owner_id
    cls = parts.kinds.require(wanted.kind)
    resolved = resolve_references(wanted.config, parts.lookup)
    http = parts.http()
    context = HostContext(
        instance_id=owner_id,
        http=http,
        clock=parts.clock,
        log=plugin_logger(wanted.kind, owner_id),
        state=SealedState(owner, owner_id, units=parts.units, keyring=parts.keyring),
        lock=LeasedLocks(owner, owner_id, units=parts.units),
        product=product(),
        public_url=parts.public_url,
    )
    guard = DrainingGuard(
        wanted.kind,
        clock=parts.clock,
        instance_id=owner_id,
        known=secret_values(resolved),
        inline=wanted.inline,
        on_call=wanted.on_call,
    )
    plugin = guard.call(
        lambda: wanted.construct(cls, resolved, context),
        budget=RECHECK,
        what="init",
        expect=wanted.base,
    )
    return Built(plugin=plugin, guard=guard, http=http)


class DrainingGuard(Guard):
    """A guard that knows when the last call is over, so that nobody closes under a call."""

    def __init__(
        self,
        plugin: str,
        *,
        clock: Clock,
        instance_id: str,
        known: Iterable[Secret],
        inline: bool,
        on_call: Callable[[CallRecord], None] | None,
    ) -> None:
        super().__init__(
            plugin,
            clock=clock,
            instance_id=instance_id,
            known=known,
            inline=inline,
            on_call=on_call,
        )
        self._count_lock = threading.Lock()
        self._active = 0
        self._when_idle: Callable[[], None] | None = None

    @override
    def call(
        self,
        fn: Callable[[], Result],
        *,
        budget: timedelta,
        what: str,
        expect: type | tuple[type, ...] | None = None,
    ) -> Result:
        with self._count_lock:
            self._active += 1
        try:
            return super().call(fn, budget=budget, what=what, expect=expect)
        finally:
            with self._count_lock:
                self._active -= 1
                action = self._take_action()
            if action is not None:
                action()

    def when_idle(self, action: Callable[[], None]) -> None:
        """Run ``action`` once: now if no call runs, else after the last one."""
        with self._count_lock:
            self._when_idle = action
            now = self._take_action()
        if now is not None:
            now()

    def _take_action(self) -> Callable[[], None] | None:
        if self._active or self._when_idle is None:
            return None
        action, self._when_idle = self._when_idle, None
        return action


@dataclass(frozen=True, slots=True, kw_only=True)
class Built(Generic[PluginT]):
    """A plugin's object with what closes together with it."""

    plugin: PluginT
    guard: DrainingGuard
    http: ClosableHttp

    def retire(
        self, close: Callable[[], None] | None, *, on_error: Callable[[CertctlError], None]
    ) -> None:
        """Close it when its last call is over; each call ends within its own time budget.

        Args:
            close: Closes the plugin's object; None when it has nothing of its own to close.
            on_error: Told when that fails; the HTTP clients are closed all the same.
        """

        def end() -> None:
            try:
                if close is not None:
                    close()
            except CertctlError as error:
                on_error(error)
            finally:
                self.http.close()

        self.guard.when_idle(end)


class Running(Protocol):
    """A guarded plugin that can be retired while calls are in flight."""

    def open(self) -> None:
        """Make it ready for calls."""

    def retire(self) -> None:
        """Close it when its last call is over."""


RunningT = TypeVar("RunningT", bound=Running)


@dataclass(slots=True, kw_only=True)
class _Live(Generic[RowT, RunningT]):
    """One entry of the map: the instance, its row, and when that was last looked at."""

    revision: int
    running: RunningT
    row: RowT
    generation: int
    checked: float
    failed_revision: int | None = None


@dataclass(slots=True)
class _Slot(Generic[RowT, RunningT]):
    """What is kept of one instance."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    live: _Live[RowT, RunningT] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(Generic[RowT, RunningT]):
    """Where instances come from, and who is told.

    Attributes:
        find: Id → row, in a unit of work of its own; None when there is none (any more).
        build: Row → instance, not opened yet; raises a typed error when it cannot.
        missing: Makes the room's error for an id without a row.
        on_failure: Told when a stored row cannot be built, and why.
        on_success: Told when it can.
    """

    find: Callable[[str], RowT | None]
    build: Callable[[RowT], RunningT]
    missing: Callable[[str], CertctlError]
    on_failure: Callable[[RowT, str], None]
    on_success: Callable[[RowT], None]


class Instances(Generic[RowT, RunningT]):
    """Id → running instance, built when first needed. Safe for threads.

    Args:
        source: Where they come from.
        clock: The time.
    """

    def __init__(self, source: Source[RowT, RunningT], *, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._slots: dict[str, _Slot[RowT, RunningT]] = {}
        self._slots_lock = threading.Lock()
        self._generation = 0

    def look_again(self) -> None:
        """Compare revisions with the database before the next use."""
        self._generation += 1

    def get(self, owner_id: str, *, admit: Callable[[RowT], None] | None = None) -> RunningT:
        """The running instance; call it outside any unit of work.

        Args:
            owner_id: Whose.
            admit: Raises for a row that may not be used now; asked before anything is built.

        Raises:
            CertctlError: There is no such row (any more), ``admit`` refuses it, or it cannot be
                built; the row says so from then on.
        """
        slot = self._slots.get(owner_id) or self._slot(owner_id)
        live = slot.live
        if live is None or not self._is_confirmed(live):
            with slot.lock:
                live = slot.live
                if live is None or not self._is_confirmed(live):
                    live = self._refresh(owner_id, slot, admit)
        if admit is not None:
            admit(live.row)
        return live.running

    def row(self, owner_id: str) -> RowT | None:
        """The row as it was last seen, while an instance of it runs; asks no database."""
        slot = self._slots.get(owner_id)
        live = None if slot is None else slot.live
        return None if live is None else live.row

    def drop(self, owner_id: str) -> None:
        """Retire the instance of a row that is gone or disabled."""
        slot = self._slots.get(owner_id)
        if slot is None:
            return
        with slot.lock:
            live, slot.live = slot.live, None
        if live is not None:
            live.running.retire()

    def close(self) -> None:
        """Retire all instances (shutdown)."""
        for owner_id in list(self._slots):
            self.drop(owner_id)

    def _slot(self, owner_id: str) -> _Slot[RowT, RunningT]:
        with self._slots_lock:
            return self._slots.setdefault(owner_id, _Slot())

    def _is_confirmed(self, live: _Live[RowT, RunningT]) -> bool:
        if live.generation != self._generation:
            return False
        return self._clock.monotonic() - live.checked < RECHECK.total_seconds()

    def _refresh(
        self, owner_id: str, slot: _Slot[RowT, RunningT], admit: Callable[[RowT], None] | None
    ) -> _Live[RowT, RunningT]:
        generation, checked = self._generation, self._clock.monotonic()
        row = self._source.find(owner_id)
        live = slot.live
        if row is None:
            self._forget(owner_id, slot)
            raise self._source.missing(owner_id)
        if live is None:
            if admit is not None:
                admit(row)
        else:
            live.row = row
            if row.revision in {live.revision, live.failed_revision}:
                live.generation, live.checked = generation, checked
                return live
        try:
            running = self._source.build(row)
            running.open()
        except CertctlError as error:
            self._source.on_failure(row, error.detail)
            if live is None:
                raise
            # The former configuration goes on; the row says why the new one does not (REG-2).
            live.generation, live.checked, live.failed_revision = generation, checked, row.revision
            return live
        slot.live = fresh = _Live(
            revision=row.revision, running=running, row=row, generation=generation, checked=checked
        )
        if live is not None:
            live.running.retire()
        self._source.on_success(row)
        return fresh

    def _forget(self, owner_id: str, slot: _Slot[RowT, RunningT]) -> None:
        live, slot.live = slot.live, None
        if live is not None:
            live.running.retire()
        with self._slots_lock:
            self._slots.pop(owner_id, None)
