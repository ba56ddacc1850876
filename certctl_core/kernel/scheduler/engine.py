"""The scheduler: one thread that knows what is due, one thread for each run.

A loop never overlaps itself, on no replica: in this process because a running loop is skipped, and
among replicas by a lease that is renewed while it runs. Loops with short intervals keep their lease
between runs, so that a tick costs no write; others start only if no replica started them lately.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from certctl_core.kernel.clock import Clock
from certctl_core.kernel.db import (
    DatabaseBusy,
    DatabaseUnavailable,
    Lease,
    Leases,
    UnitOfWorkFactory,
)
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.observability import Merge, counter, gauge
from certctl_core.kernel.scheduler import _store as store
from certctl_core.kernel.scheduler.errors import LoopNameTaken, LoopNotFound, LoopRunning
from certctl_core.kernel.scheduler.types import (
    HEARTBEAT,
    LEASE_TTL,
    LoopRun,
    Replica,
    RunResult,
)
from certctl_core.kernel.scheduler.workflow import Loop, LoopContext

_log = structlog.get_logger("certctl.scheduler")
LOOP_RUNS = counter("certctl_loop_runs_total", "Runs of loops by result.", ("loop", "result"))
LAST_SUCCESS = gauge(
    "certctl_loop_last_success_timestamp_seconds",
    "When a loop last ended well.",
    ("loop",),
    merge=Merge.MAX,
)
LEASE_HELD = gauge(
    "certctl_lease_held",
    "Whether this process holds the lease of a loop.",
    ("loop",),
    merge=Merge.SUM,
)
_JITTER = 0.1
_FIRST_SECONDS = 2.0
_AFTER_REFUSAL = timedelta(seconds=10)
_START_GAP = timedelta(seconds=60)
_QUIET_RECORD_SECONDS = 60.0
_KEPT_RUNS = 200
_PRUNE_EVERY = 50
_MAX_WAIT_SECONDS = 10.0
_MIN_WAIT_SECONDS = 0.01


@dataclass(slots=True, kw_only=True, eq=False)
class _Running:
    """A run that has not ended."""

    loop: Loop
    context: LoopContext
    started_at: datetime
    deadline: float
    thread: threading.Thread | None = None
    closed: bool = False


@dataclass(slots=True, kw_only=True)
class _Entry:
    """What the scheduler remembers of a loop."""

    loop: Loop
    due: float = float("inf")
    woken: bool = False
    requested: bool = False
    is_first: bool = True
    running: _Running | None = None
    lease: Lease | None = None
    renewed: float = float("-inf")
    recorded: float = float("-inf")
    records: int = 0


class Scheduler:
    """Runs loops on time.

    Args:
        units: Opens units of work.
        clock: The time; only its monotonic hand steers the thread.
        replica: This process.
        lease_ttl: How long a loop's lease lives without renewal.
        rng: Where jitter comes from.
        observe: Called with each ended run.
    """

    def __init__(
        self,
        units: UnitOfWorkFactory,
        *,
        clock: Clock,
        replica: Replica,
        lease_ttl: timedelta = LEASE_TTL,
        rng: random.Random | None = None,
        observe: Callable[[LoopRun], None] | None = None,
    ) -> None:
        self.replica = replica
        self._units = units
        self._clock = clock
        self._ttl = lease_ttl
        self._rng = rng or random.SystemRandom()
        self._observe = observe
        self._leases = Leases()
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.RLock()
        self._signal = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._next_beat = float("-inf")
        self._asked = False

    def add(self, loop: Loop) -> None:
        """Take a loop; before ``start``.

        Raises:
            LoopNameTaken: There is one of that name.
        """
        if loop.name in self._entries:
            raise LoopNameTaken(name=loop.name)
        self._entries[loop.name] = _Entry(loop=loop)

    @property
    def names(self) -> tuple[str, ...]:
        """The loops, by name."""
        return tuple(sorted(self._entries))

    def run_once(self, name: str) -> LoopRun:
        """Run a loop now, in the calling thread, whether or not it is due.

        Raises:
            LoopNotFound: No such loop.
            LoopRunning: It is running, here or on another replica.
        """
        entry = self._entry(name)
        running = self._begin(entry, gap=None, by_hand=True)
        if running is None:
            raise LoopRunning(name=name)
        return self._body(entry, running)

    def wake(self, name: str) -> None:
        """Make a loop due at once (e.g. when a commit left work for it)."""
        self._entry(name).woken = True
        self._signal.set()

    def look(self) -> None:
        """Look for requested runs; subscribe this to the change-feed topic ``loops``."""
        self._asked = True
        self._signal.set()

    def start(self) -> None:
        """Register this process and start the thread."""
        if self._thread is not None:
            return
        self._stopping.clear()
        now = self._clock.monotonic()
        with self._units.begin() as uow:
            store.beat(uow, self.replica)
            last = {row.name: row.last_started_at for row in store.states(uow)}
            for entry in self._entries.values():
                loop = entry.loop
                store.declare(
                    uow,
                    loop.name,
                    interval=loop.interval,
                    timeout=loop.timeout,
                    single_holder=loop.single_holder,
                )
                entry.due = now + self._first_wait(loop, last.get(loop.name), uow.now)
        self._next_beat = now + HEARTBEAT.total_seconds()
        self._thread = threading.Thread(target=self._turn, name="scheduler", daemon=True)
        self._thread.start()

    def stop(self, timeout: timedelta = timedelta(seconds=30)) -> bool:
        """Start nothing more, tell running bodies to stop and wait for them.

        Returns:
            Whether all ended in time.
        """
        scheduler = self._thread
        if scheduler is None:
            return True
        self._stopping.set()
        self._signal.set()
        with self._lock:
            runs = [entry.running for entry in self._entries.values() if entry.running]
        for running in runs:
            running.context.end()
        edge = self._clock.monotonic() + timeout.total_seconds()
        # First the thread that starts runs: afterwards each of them has a thread to wait for.
        scheduler.join(max(0.0, edge - self._clock.monotonic()))
        for running in runs:
            if running.thread is not None:
                running.thread.join(max(0.0, edge - self._clock.monotonic()))
        self._thread = None
        left = [entry for entry in self._entries.values() if entry.running is not None]
        if left:
            _log.warning("scheduler.not_drained", loops=[entry.loop.name for entry in left])
        with self._units.begin() as uow:
            for entry in self._entries.values():
                if entry.lease is not None and entry.running is None:
                    self._leases.release(uow, entry.lease)
                    entry.lease = None
            store.leave(uow, self.replica.id)
        return not left

    # The scheduler's thread.

    def _turn(self) -> None:
        while not self._stopping.is_set():
            try:
                self._tick()
            except Exception:  # noqa: BLE001 - the scheduler outlives a bad database
                _log.exception("scheduler.tick_failed")
                self._stopping.wait(1.0)
            self._signal.wait(self._wait_seconds())
            self._signal.clear()

    def _tick(self) -> None:
        now = self._clock.monotonic()
        if now >= self._next_beat or self._asked:
            self._beat(now)
        for entry in self._entries.values():
            try:
                self._watch(entry, now)
                self._start_if_due(entry, now)
            except Exception:  # noqa: BLE001 - one loop must not stop the others
                _log.exception("loop.start_failed", loop=entry.loop.name)
                entry.due = now + _AFTER_REFUSAL.total_seconds()

    def _start_if_due(self, entry: _Entry, now: float) -> None:
        loop = entry.loop
        if now < entry.due and not entry.woken:
            return
        if entry.running is not None:
            if now >= entry.due:
                entry.due = now + self._jittered(loop.interval)
                _log.info("loop.skipped", loop=loop.name)
            return  # a wake-up stays noted until the run has ended
        entry.due = now + self._jittered(loop.interval)
        entry.woken = False
        running = self._begin(entry, gap=self._gap(entry))
        entry.is_first = False
        if running is None:
            entry.due = now + max(loop.interval, _AFTER_REFUSAL).total_seconds()
            return
        running.thread = threading.Thread(
            target=self._body, args=(entry, running), name=f"loop-{loop.name}", daemon=True
        )
        running.thread.start()

    def _beat(self, now: float) -> None:
        self._asked = False
        with self._units.begin() as uow:
            store.beat(uow, self.replica)
            wanted = store.requested(uow)
        self._next_beat = now + HEARTBEAT.total_seconds()
        for name in wanted:
            entry = self._entries.get(name)
            if entry is not None and entry.running is None:
                entry.requested = entry.woken = True

    def _watch(self, entry: _Entry, now: float) -> None:
        """Renew the lease of a run, and end it when its budget is spent."""
        running = entry.running
        if running is None:
            return
        if now >= running.deadline:
            if not running.closed:
                _log.error("loop.timed_out", loop=entry.loop.name)
                self._close(entry, running, RunResult.TIMED_OUT, items=0, error="timed_out")
        elif entry.lease is not None and now - entry.renewed > self._ttl.total_seconds() / 3:
            entry.lease = self._renewed(entry.lease)
            entry.renewed = now
            if entry.lease is None:
                _log.error("loop.lease_lost", loop=entry.loop.name)
                running.context.end()

    def _wait_seconds(self) -> float:
        now = self._clock.monotonic()
        moments = [self._next_beat]
        for entry in self._entries.values():
            moments.append(now if entry.woken and entry.running is None else entry.due)
            if entry.running is not None and not entry.running.closed:
                moments.append(entry.running.deadline)
                moments.append(entry.renewed + self._ttl.total_seconds() / 3)
        return min(max(min(moments) - now, _MIN_WAIT_SECONDS), _MAX_WAIT_SECONDS)

    # One run.

    def _begin(
        self, entry: _Entry, *, gap: timedelta | None, by_hand: bool = False
    ) -> _Running | None:
        """Take the lease and mark the start; None where another replica was faster."""
        loop = entry.loop
        with self._lock:
            if entry.running is not None or (self._stopping.is_set() and not by_hand):
                return None
            now = self._clock.monotonic()
            if not self._may_begin(entry, gap, now):
                return None
            context = LoopContext(
                name=loop.name, units=self._units, clock=self._clock, lease=entry.lease
            )
            running = _Running(
                loop=loop,
                context=context,
                started_at=self._clock.now(),
                deadline=now + loop.timeout.total_seconds(),
            )
            entry.running = running
            return running

    def _may_begin(self, entry: _Entry, gap: timedelta | None, now: float) -> bool:
        loop = entry.loop
        if not loop.single_holder:
            return True
        fresh = now - entry.renewed < self._ttl.total_seconds() / 2
        if entry.lease is not None and fresh and not gap:
            return True
        with self._units.begin() as uow:
            store.declare(
                uow,
                loop.name,
                interval=loop.interval,
                timeout=loop.timeout,
                single_holder=loop.single_holder,
            )
            lease = self._leases.acquire(
                uow, f"loop:{loop.name}", holder=self.replica.id, ttl=self._ttl
            )
            if lease is not None and gap and not store.may_start(uow, loop.name, gap=gap):
                self._leases.release(uow, lease)
                lease = None
        entry.lease = lease
        entry.renewed = now
        return lease is not None

    def _body(self, entry: _Entry, running: _Running) -> LoopRun:
        loop, context = running.loop, running.context
        items, error, result = 0, "", RunResult.OK
        try:
            items = loop.run(context)
            if context.is_over and self._stopping.is_set():
                result = RunResult.STOPPED
        except Exception as failure:  # noqa: BLE001 - the border of the scheduler
            result = RunResult.FAILED
            error = failure.code if isinstance(failure, CertctlError) else type(failure).__name__
            # A database that was busy or away is no fault of the loop: the next run makes up for it.
            is_passing = isinstance(failure, DatabaseBusy | DatabaseUnavailable)
            note = _log.warning if is_passing else _log.exception
            note("loop.failed", loop=loop.name, error=error)
        return self._close(entry, running, result, items=items, error=error)

    def _close(
        self, entry: _Entry, running: _Running, result: RunResult, *, items: int, error: str
    ) -> LoopRun:
        """Record the end of a run once, and let the next one begin when its thread is done."""
        run = LoopRun(
            loop=entry.loop.name,
            replica_id=self.replica.id,
            started_at=running.started_at,
            ended_at=self._clock.now(),
            result=result,
            items=items,
            error=error,
            fence=None if running.context.lease is None else running.context.lease.fence,
        )
        with self._lock:
            is_first, running.closed = not running.closed, True
        if result is RunResult.TIMED_OUT:
            # Only now: a body that ends as it is told must not be recorded as one that ended well.
            running.context.end()
        try:
            if is_first:
                self._record(entry, run)
        except Exception:  # noqa: BLE001 - the work is done; the record is a courtesy
            _log.exception("loop.record_failed", loop=run.loop)
        finally:
            if result is not RunResult.TIMED_OUT:
                entry.running = None
                if entry.woken:
                    self._signal.set()
        return run

    def _record(self, entry: _Entry, run: LoopRun) -> None:
        now = self._clock.monotonic()
        loop = entry.loop
        is_short = loop.interval < self._ttl
        is_quiet = run.result is RunResult.OK and run.items == 0
        gives_up = entry.lease is not None and (self._thread is None or not is_short)
        worth = (
            not (is_short and is_quiet)
            or entry.requested
            or now - entry.recorded > _QUIET_RECORD_SECONDS
        )
        entry.requested = False
        if worth or gives_up:
            with self._units.begin() as uow:
                if worth:
                    store.record(uow, run)
                    entry.recorded = now
                    entry.records += 1
                    if entry.records % _PRUNE_EVERY == 1:
                        store.prune_runs(uow, loop.name, keep=_KEPT_RUNS)
                if gives_up and entry.lease is not None:
                    self._leases.release(uow, entry.lease)
                    entry.lease = None
        LEASE_HELD.labels(loop.name).set(entry.lease is not None)
        LOOP_RUNS.labels(loop.name, run.result).inc()
        if run.result is RunResult.OK:
            LAST_SUCCESS.labels(loop.name).set(run.ended_at.timestamp())
        if self._observe is not None:
            self._observe(run)

    def _renewed(self, lease: Lease) -> Lease | None:
        with self._units.begin() as uow:
            newest = self._leases.acquire(uow, lease.name, holder=self.replica.id, ttl=self._ttl)
        # A new fence means that somebody else had it in between.
        return newest if newest is not None and newest.fence == lease.fence else None

    # Times.

    def _gap(self, entry: _Entry) -> timedelta | None:
        """How long after another replica's start this loop must not start again."""
        loop = entry.loop
        if loop.interval < self._ttl:
            return None
        gap = loop.interval * (1 - 2 * _JITTER)
        return min(gap, _START_GAP) if entry.is_first and loop.at_start else gap

    def _first_wait(self, loop: Loop, last: datetime | None, now: datetime) -> float:
        if not loop.interval:
            return float("inf")
        if loop.at_start:
            return self._rng.random() * min(_FIRST_SECONDS, loop.interval.total_seconds())
        if last is None or last > now:
            return self._jittered(loop.interval)
        left = (last + loop.interval - now).total_seconds()
        return max(left, self._rng.random() * _FIRST_SECONDS)

    def _jittered(self, interval: timedelta) -> float:
        if not interval:
            return float("inf")
        return interval.total_seconds() * (1 + _JITTER * (2 * self._rng.random() - 1))

    def _entry(self, name: str) -> _Entry:
        entry = self._entries.get(name)
        if entry is None:
            raise LoopNotFound(name=name)
        return entry
