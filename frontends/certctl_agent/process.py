"""The running agent: threads for heartbeats, polls and jobs (spec 07 §4.4)."""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from certctl_agent import host
from certctl_agent.jobs import Worker
from certctl_agent.keys import KeyStore
from certctl_agent.outbox import Outbox
from certctl_agent.pacing import Pace
from certctl_agent.server import Server, WorkItem, is_gone
from certctl_core.deploy import DeployEngine, Policy
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.events import JSON

_log = structlog.get_logger("certctl.agent")
FINISH_WITHIN = timedelta(seconds=45)
"""After a signal: how long running jobs may finish by themselves …"""
ROLL_BACK_WITHIN = timedelta(seconds=15)
"""… and then how long they may take to roll back (AGT-35)."""
MAX_TAKEN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a running agent is made of.

    Attributes:
        server: The server.
        server_url: Its address.
        worker: Does the jobs.
        outbox: Undelivered reports.
        keys: The private keys.
        engine: The deploy transaction.
        policy: What the host allows.
        target_kinds: The usable kinds of targets.
        clock: The time.
    """

    server: Server
    server_url: str
    worker: Worker
    outbox: Outbox
    keys: KeyStore
    engine: DeployEngine
    policy: Policy
    target_kinds: tuple[str, ...]
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """How often the agent speaks; None follows the server's wishes."""

    heartbeat_seconds: float | None = None
    poll_seconds: float | None = None
    max_jobs: int = 4
    rng: random.Random = field(default_factory=random.SystemRandom)


class Agent:
    """One running agent.

    Args:
        parts: What it is made of.
        rhythm: How often it speaks.
        abort: Set when running deployments are to be rolled back; the worker looks at it.
    """

    def __init__(self, parts: Parts, rhythm: Rhythm, *, abort: threading.Event) -> None:
        self._parts = parts
        self._rhythm = rhythm
        self._abort = abort
        self._stop = threading.Event()
        self._retired = threading.Event()
        self._poll_now = threading.Event()
        self._beat_now = threading.Event()
        self._queue: queue.SimpleQueue[WorkItem | None] = queue.SimpleQueue()
        self._running: dict[str, WorkItem] = {}
        self._lock = threading.Lock()
        self._started_at: datetime = parts.clock.now()
        self._heartbeats = Pace(rhythm.heartbeat_seconds or 60, rhythm.rng)
        self._polls = Pace(rhythm.poll_seconds or 30, rhythm.rng)

    def stop(self) -> None:
        """Claim nothing more and end; safe to call from a signal handler."""
        self._stop.set()
        self._poll_now.set()
        self._beat_now.set()

    @property
    def is_retired(self) -> bool:
        """Whether the server has said that this agent is no more."""
        return self._retired.is_set()

    def run(self) -> None:
        """Recover, then work until ``stop`` is called or the server retires the agent."""
        self._parts.worker.recover()
        self._parts.keys.sweep()
        workers = [
            threading.Thread(target=self._work, name=f"work-{number}", daemon=True)
            for number in range(self._rhythm.max_jobs)
        ]
        loops = [
            threading.Thread(
                target=self._loop,
                args=(name, pace, body, wake),
                name=name,
                daemon=True,
            )
            for name, pace, body, wake in (
                ("heartbeat", self._heartbeats, self._heartbeat, self._beat_now),
                ("poll", self._polls, self._poll, self._poll_now),
            )
        ]
        for thread in (*workers, *loops):
            thread.start()
        self._stop.wait()
        self._finish(workers, loops)

    # -- loops --------------------------------------------------------------------------------

    def _loop(self, name: str, pace: Pace, body: Callable[[], None], wake: threading.Event) -> None:
        delay = pace.first()
        while True:
            wake.wait(delay)
            wake.clear()
            if self._stop.is_set():
                return
            try:
                body()
            except CertctlError as error:
                delay = self._failed(name, pace, error)
            except Exception as error:  # noqa: BLE001 - a loop outlives its own defects
                _log.exception("agent.loop_failed", loop=name)
                delay = pace.failed(error)
            else:
                delay = pace.succeeded()

    def _failed(self, name: str, pace: Pace, error: CertctlError) -> float:
        if is_gone(error):
            _log.warning("agent.retired")
            self._retired.set()
            self.stop()
            return 0.0
        delay = pace.failed(error)
        _log.warning(
            "agent.call_failed",
            loop=name,
            code=error.code,
            detail=error.detail,
            failures=pace.failures,
            delay_seconds=round(delay, 1),
        )
        if pace.is_refused:
            _log.error("agent.credential_refused", hint="rotate the key or enroll again")
        return delay

    def _heartbeat(self) -> None:
        parts = self._parts
        body: dict[str, JSON] = {
            **host.facts(parts.server_url),
            "started_at": self._started_at.isoformat(),
            "boot_id": host.boot_id(),
            "capabilities": {"targets": list(parts.target_kinds), "sources": []},
            "policy_digest": parts.policy.digest,
            "running_jobs": list(self._held()),
            "recovery_pending": self._recovery_pending(),
            "clock": parts.clock.now().isoformat(),
        }
        hints = parts.server.heartbeat(body)
        if self._rhythm.heartbeat_seconds is None:
            self._heartbeats.interval = hints.heartbeat_interval_seconds
        if self._rhythm.poll_seconds is None:
            self._polls.interval = hints.poll_interval_seconds

    def _poll(self) -> None:
        # First what is owed: a job whose report is not delivered is not finished for the server.
        self._parts.outbox.deliver()
        with self._lock:
            free = self._rhythm.max_jobs - len(self._running)
        if free <= 0:
            return
        work = self._parts.server.work(min(free, MAX_TAKEN))
        for item in work.jobs:
            self._take(item)
        if len(work.jobs) >= free:
            return
        if work.jobs and work.next_poll_seconds <= 1:
            self._poll_now.set()

    def _take(self, item: WorkItem) -> None:
        with self._lock:
            # A job that awaits a request is offered at each poll, also while we are at it.
            if item.id in self._running:
                return
            self._running[item.id] = item
        self._queue.put(item)

    def _work(self) -> None:
        while True:
            item = self._queue.get()
            if item is None:
                return
            is_done = False
            try:
                if not self._stop.is_set():
                    self._parts.worker.do(item)
                    self._parts.outbox.deliver()
                    is_done = True
            except CertctlError as error:
                if is_gone(error):
                    self._retired.set()
                    self.stop()
                _log.warning("job.not_done", job_id=item.id, code=error.code, detail=error.detail)
            except Exception:  # noqa: BLE001 - one job must not end the thread
                _log.exception("job.crashed", job_id=item.id)
            with self._lock:
                self._running.pop(item.id, None)
            if is_done:
                # What follows from it, e.g. the deployment after a request, waits already.
                self._poll_now.set()

    def _finish(self, workers: list[threading.Thread], loops: list[threading.Thread]) -> None:
        for _ in workers:
            self._queue.put(None)
        end = self._parts.clock.monotonic() + FINISH_WITHIN.total_seconds()
        self._join(workers, end)
        if any(thread.is_alive() for thread in workers):
            _log.warning("agent.rolling_back", jobs=sorted(self._running))
            self._abort.set()
            self._join(workers, self._parts.clock.monotonic() + ROLL_BACK_WITHIN.total_seconds())
        self._join(loops, self._parts.clock.monotonic() + 1)
        if not self.is_retired:
            try:
                self._parts.outbox.deliver()
            except CertctlError as error:
                _log.warning("report.not_sent", code=error.code, jobs=self._parts.outbox.job_ids())
        self._parts.server.close()
        _log.info("agent.stopped", retired=self.is_retired)

    def _join(self, threads: list[threading.Thread], end: float) -> None:
        for thread in threads:
            thread.join(max(0.0, end - self._parts.clock.monotonic()))

    def _held(self) -> set[str]:
        with self._lock:
            return {*self._running, *self._parts.outbox.job_ids()}

    def _recovery_pending(self) -> int:
        with self._lock:
            deploying = sum(item.type == "Deployment" for item in self._running.values())
        return max(0, self._parts.engine.recovery_pending - deploying)
