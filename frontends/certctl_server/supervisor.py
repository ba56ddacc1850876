"""The parent's loop: it owns the signals, starts children, watches them, replaces and stops them.

Single-threaded on purpose: it forks while it runs.
"""

from __future__ import annotations

import heapq
import os
import selectors
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.context import ForkProcess
from time import monotonic
from typing import Any

import structlog

from certctl_server.channel import Channel, Do, Is, Message
from certctl_server.child import fork
from certctl_server.exits import Exit

_log = structlog.get_logger("certctl.server")
_MOST_DEATHS = 4
_DEATH_WINDOW_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.1
_LOOPS_SHARE = 0.6
"""Part of the shutdown time after which requests are drained even if loops still run."""

Run = Callable[[Channel], int]


@dataclass(slots=True, kw_only=True)
class Slot:
    """A place that one long-lived child fills.

    Attributes:
        name: ``web-1``, ``background``.
        is_web: Serves requests: replaced with overlap, drained last.
        make: Gives the child's code, with the settings of that moment.
    """

    name: str
    is_web: bool
    make: Callable[[], Run]
    child: Child | None = None
    deaths: deque[float] = field(default_factory=deque)


@dataclass(slots=True, eq=False, kw_only=True)
class Child:
    """A process that we started."""

    name: str
    process: ForkProcess
    channel: Channel
    slot: Slot | None = None
    done: Callable[[Message | None], None] | None = None
    result: Message | None = None
    is_ready: bool = False
    is_stopping: bool = False
    replaces: Child | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class _Reload:
    """A reload that children were told of.

    Attributes:
        waiting: Have not answered yet.
        done: Gets the names of those that took everything, and of those that did not.
    """

    waiting: set[Child]
    done: Callable[[list[str], list[str]], None]
    good: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)


class Supervisor:
    """Runs slots and tasks until a signal or a loss ends it.

    Args:
        slots: What has to run.
        on_drain: Called when no request is to be accepted any more: closes the ports.
        shutdown_timeout: Time for a clean stop.
        on_ready: Called once, when every slot is ready for the first time.
        on_hangup: Called for SIGHUP.
        on_ca_change: Called when a child saw that the CA changed.
        leaving: A child from before that is about to end; it only has to be seen off.
    """

    def __init__(
        self,
        slots: list[Slot],
        *,
        on_drain: Callable[[], None],
        shutdown_timeout: timedelta,
        on_ready: Callable[[], None],
        on_hangup: Callable[[], None],
        on_ca_change: Callable[[], None],
        leaving: ForkProcess | None = None,
    ) -> None:
        self.slots = slots
        self._first = [slot for slot in slots if slot.is_web] or slots
        self._others = [slot for slot in slots if slot not in self._first]
        self._on_drain = on_drain
        self._timeout = shutdown_timeout.total_seconds()
        self._on_ready = on_ready
        self._on_hangup = on_hangup
        self._on_ca_change = on_ca_change
        self._leaving = leaving
        self._children: list[Child] = []
        self._rolling: deque[Slot] = deque()
        self._rolled: list[Callable[[], None]] = []
        self._reloads: list[_Reload] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_count = 0
        self._pending: set[int] = set()
        self._is_up = False
        self._exit: int | None = None
        self._is_draining = False
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()

    # -- for whoever composes the server ------------------------------------------------------

    def run(self) -> int:
        """Start everything, watch it, stop it; returns the exit code."""
        self._take_signals()
        self._reap()
        for slot in self._first:
            self._fill(slot)
        while self._exit is None or self._children:
            self._turn()
        return self._exit

    def task(
        self, name: str, run: Run, *, done: Callable[[Message | None], None] | None = None
    ) -> None:
        """Run something in a child; ``done`` gets its result, or None when it gave none."""
        self._children.append(self._start(name, run, done=done))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action`` later."""
        self._timer_count += 1
        heapq.heappush(self._timers, (monotonic() + seconds, self._timer_count, action))

    def reload(self, *, level: str, done: Callable[[list[str], list[str]], None]) -> None:
        """Tell every long-lived child to reload.

        Args:
            level: Of the log.
            done: Called when each has answered or ended: the names of those that took everything,
                and of those that keep something old.
        """
        told = {child for child in self._children if child.slot is not None}
        self._reloads.append(_Reload(waiting=told, done=done))
        self.broadcast(do=Do.RELOAD, level=level)

    def broadcast(self, **message: Any) -> None:
        """Tell every long-lived child something."""
        for child in self._children:
            if child.slot is not None:
                child.channel.send(**message)

    def replace(self, *, web_only: bool, done: Callable[[], None] | None = None) -> None:
        """Replace children one by one, so that they run with what is new; no request is lost.

        Args:
            web_only: Leave those alone that serve no requests.
            done: Called when every web worker has a successor that is ready.
        """
        if done is not None:
            self._rolled.append(done)
        for slot in self.slots:
            if slot.is_web and slot not in self._rolling:
                self._rolling.append(slot)
            elif not slot.is_web and not web_only and slot.child is not None:
                # Never two at a time: a starting background worker settles what its predecessor
                # left. The end of the old one starts the new one.
                self._stop(slot.child)
        self._roll()

    def end(self, exit_code: int) -> None:
        """Stop everything in order and leave with this code (BOOT-4)."""
        if self._exit is not None:
            return
        self._exit = exit_code
        self._rolling.clear()
        for child in self._children:
            if child.slot is not None and child.slot.is_web:
                child.channel.send(do=Do.DRAIN)
            elif child.slot is not None:
                self._stop(child)
        self.after(self._timeout * _LOOPS_SHARE, self._drain)
        self.after(self._timeout, self._kill)
        self._maybe_drain()

    # -- the loop -----------------------------------------------------------------------------

    def _turn(self) -> None:
        pause = max(0.0, self._timers[0][0] - monotonic()) if self._timers else None
        if not self._pending:
            for key, _ in self._selector.select(pause):
                key.data()
        self._signals()
        while self._timers and self._timers[0][0] <= monotonic():
            heapq.heappop(self._timers)[2]()

    def _take_signals(self) -> None:
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._drain_wake)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: object) -> None:
        self._pending.add(number)

    def _drain_wake(self) -> None:
        try:
            while os.read(self._wake_read, 512):
                pass
        except BlockingIOError:
            return

    def _signals(self) -> None:
        pending, self._pending = self._pending, set()
        if signal.SIGCHLD in pending:
            self._reap()
        if pending & {signal.SIGINT, signal.SIGTERM}:
            if self._exit is not None:
                self._exit = Exit.INTERRUPTED
                self._kill()
            else:
                _log.info("server.stopping")
                self.end(Exit.OK)
        elif signal.SIGHUP in pending and self._exit is None:
            self._on_hangup()

    # -- children -----------------------------------------------------------------------------

    def _start(
        self,
        name: str,
        run: Run,
        *,
        slot: Slot | None = None,
        done: Callable[[Message | None], None] | None = None,
    ) -> Child:
        process, channel = fork(name, run, close=self._close_in_child)
        child = Child(name=name, process=process, channel=channel, slot=slot, done=done)
        self._selector.register(channel, selectors.EVENT_READ, lambda: self._hear(child))
        return child

    def _close_in_child(self) -> None:
        """What a child must not hold: the ends of its siblings' lines would hide our death."""
        for child in self._children:
            child.channel.close()
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _fill_others(self) -> None:
        """Fill, once, the slots that nobody waits for: not before all others serve."""
        others, self._others = self._others, []
        for slot in others:
            self._fill(slot)

    def _fill(self, slot: Slot) -> None:
        if self._exit is None and slot.child is None:
            slot.child = self._start(slot.name, slot.make(), slot=slot)
            self._children.append(slot.child)

    def _hear(self, child: Child) -> None:
        messages = child.channel.read()
        if messages is None:
            self._selector.unregister(child.channel)
            return  # its end comes as SIGCHLD
        for message in messages:
            if message["is"] == Is.READY:
                self._ready(child)
            elif message["is"] == Is.CA_CHANGED:
                if self._exit is None:
                    self._on_ca_change()
            elif message["is"] == Is.RELOADED:
                self._answered(child, is_good=bool(message["good"]))
            else:
                child.result = message

    def _answered(self, child: Child, *, is_good: bool) -> None:
        """A child has done what the first reload asked that it has not answered yet."""
        for reload in self._reloads:
            if child in reload.waiting:
                reload.waiting.remove(child)
                (reload.good if is_good else reload.bad).append(child.name)
                break
        self._end_reloads()

    def _end_reloads(self) -> None:
        ended = [reload for reload in self._reloads if not reload.waiting]
        self._reloads = [reload for reload in self._reloads if reload.waiting]
        for reload in ended:
            reload.done(sorted(reload.good), sorted(reload.bad))

    def _ready(self, child: Child) -> None:
        child.is_ready = True
        slot = child.slot
        if slot is None:
            return
        _log.info("server.child_ready", child=child.name, process=child.process.pid)
        if child.replaces is not None:
            # Not the one that it was started for: that may have died, and another come instead.
            there, slot.child, child.replaces = slot.child, child, None
            if there is not None:
                self._stop(there, Do.HAND_OVER)
            self._roll()
        if self._is_up:
            child.channel.send(do=Do.GO)
            return
        if all(item.child is not None and item.child.is_ready for item in self._first):
            self._fill_others()
        if all(item.child is not None and item.child.is_ready for item in self.slots):
            self._is_up = True
            self.broadcast(do=Do.GO)
            self._on_ready()

    def _roll(self) -> None:
        """Start the replacement of the next web worker, unless one is under way."""
        if self._exit is not None or any(child.replaces is not None for child in self._children):
            return
        while self._rolling:
            slot = self._rolling.popleft()
            if slot.child is None:
                continue  # it starts with what is new anyway
            child = self._start(slot.name, slot.make(), slot=slot)
            child.replaces = slot.child
            self._children.append(child)
            return
        rolled, self._rolled = self._rolled, []
        for done in rolled:
            done()

    @staticmethod
    def _stop(child: Child, how: Do = Do.STOP) -> None:
        child.is_stopping = True
        child.channel.send(do=how)

    def _reap(self) -> None:
        if self._leaving is not None and self._leaving.exitcode is not None:
            self._leaving.join()
            self._leaving = None
        for child in [item for item in self._children if item.process.exitcode is not None]:
            self._children.remove(child)
            self._last_words(child)
            child.process.join()
            for reload in self._reloads:
                reload.waiting.discard(child)
            if child.slot is None:
                if child.done is not None:
                    child.done(child.result)
            else:
                self._lost(child, child.slot)
        self._end_reloads()
        if self._exit is not None:
            self._maybe_drain()

    def _last_words(self, child: Child) -> None:
        if child.channel in {key.fileobj for key in self._selector.get_map().values()}:
            while (messages := child.channel.read()) is not None:
                child.result = messages[-1] if messages else child.result
            self._selector.unregister(child.channel)
        child.channel.close()

    def _lost(self, child: Child, slot: Slot) -> None:
        if child.replaces is not None:
            _log.error("server.replacement_failed", child=child.name, code=child.process.exitcode)
            self._rolling.clear()  # the old ones go on
            self._rolled.clear()
            return
        if slot.child is not child:
            return  # an old worker that has been replaced
        slot.child = None
        if self._exit is not None:
            return
        if child.is_stopping:
            self._fill(slot)
            return
        self._restart(child, slot)

    def _restart(self, child: Child, slot: Slot) -> None:
        now = monotonic()
        slot.deaths.append(now)
        while now - slot.deaths[0] > _DEATH_WINDOW_SECONDS:
            slot.deaths.popleft()
        _log.error(
            "server.child_died",
            child=child.name,
            process=child.process.pid,
            code=child.process.exitcode,
            deaths=len(slot.deaths),
        )
        if len(slot.deaths) > _MOST_DEATHS:
            _log.critical("server.part_lost", child=child.name)
            self.end(Exit.PART_LOST)
            return
        pause = _FIRST_PAUSE_SECONDS * 2 ** (len(slot.deaths) - 1)
        self.after(pause, lambda: self._fill(slot))

    # -- the end ------------------------------------------------------------------------------

    def _maybe_drain(self) -> None:
        """Loops have stopped: now let the requests run out."""
        is_looping = any(
            child.slot is not None and not child.slot.is_web for child in self._children
        )
        if not is_looping:
            self._drain()

    def _drain(self) -> None:
        if not self._is_draining:
            self._is_draining = True
            self._on_drain()
            for child in self._children:
                if child.slot is not None and child.slot.is_web:
                    self._stop(child)

    def _kill(self) -> None:
        for child in self._children:
            _log.warning("server.child_killed", child=child.name)
            child.process.kill()
