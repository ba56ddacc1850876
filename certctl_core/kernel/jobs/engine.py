"""The job runner: claims in batches, runs handlers on threads, finishes in batches.

One dispatcher thread owns all traffic with the database. In each of its rounds one transaction
stores what has ended, prolongs leases and claims the next batch, so that a burst of short jobs costs
few commits (PERFORMANCE §4). Claimed jobs wait in memory for at most about half a second of work;
long jobs therefore spread over the replicas.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import structlog
from pydantic import BaseModel, ValidationError

from certctl_core.kernel.actors import system_actor
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.events import JSON
from certctl_core.kernel.jobs._changes import plain
from certctl_core.kernel.jobs.errors import JobKindTaken, JobLeaseLost, JobNotFound, RetryLater
from certctl_core.kernel.jobs.rules import is_retryable
from certctl_core.kernel.jobs.service import JobService
from certctl_core.kernel.jobs.types import Completion, Job
from certctl_core.kernel.jobs.workflow import JobContext, JobKind
from certctl_core.kernel.observability import counter
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.jobs")
JOB_RUNS = counter(
    "certctl_job_runs_total", "Runs of jobs by the server, by how they ended.", ("type", "outcome")
)
_ACTOR = system_actor("job-runner")
_AHEAD_SECONDS = 0.5
_FAST_JOB_SECONDS = 0.001
_PULSE_SECONDS = 0.25
_DRAIN_SECONDS = 0.02
_RETRY_AFTER_ERROR_SECONDS = 1.0
_TIMED_OUT = "attempt_timed_out"


@dataclass(slots=True, kw_only=True)
class _Run:
    """A claimed job on its way through a worker."""

    job: Job
    kind: JobKind
    context: JobContext[Any] | None = None
    deadline: float = float("inf")
    abandoned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """How a run ended. ``settled``: the handler has stored the end itself."""

    run: _Run
    result: dict[str, JSON] | None = None
    settled: bool = False
    code: str = ""
    message: str = ""
    retryable: bool = False
    retry_in: timedelta | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is a success that the runner has to store."""
        return not (self.code or self.settled)


class JobRunner:
    """Runs the server's jobs of the registered kinds.

    Args:
        service: The jobs.
        units: Opens units of work.
        clock: The time; only its monotonic hand steers the threads.
        holder: Who claims: unique among all running processes.
        concurrency: Handlers at once (spec 01 JOB-02).
        claim_limit: At most so many jobs a claim.
        lease: How long a claim lives; it is renewed after a third of it.
        poll: Look for due jobs at least this often, should a wake-up be lost.
        pulse: Called several times a second while idle, e.g. ``feed.is_fresh`` on SQLite, where
            another process's commit is noticed only by looking.
    """

    def __init__(
        self,
        service: JobService,
        units: UnitOfWorkFactory,
        *,
        clock: Clock,
        holder: str,
        concurrency: int = 25,
        claim_limit: int = 1000,
        lease: timedelta = timedelta(minutes=10),
        poll: timedelta = timedelta(seconds=30),
        pulse: Callable[[], object] | None = None,
    ) -> None:
        self.holder = holder
        self._service = service
        self._units = units
        self._clock = clock
        self._concurrency = max(1, concurrency)
        self._claim_limit = max(1, claim_limit)
        self._lease = lease
        self._poll_seconds = poll.total_seconds()
        self._pulse = pulse
        self._kinds: dict[str, JobKind] = {}
        self._queue: deque[_Run] = deque()
        self._outcomes: deque[_Outcome] = deque()
        self._open: dict[str, _Run] = {}  # claimed and not yet settled; the dispatcher's alone
        self._work = threading.Condition()
        self._signal = threading.Event()
        self._woken = True
        self._stopping = threading.Event()
        self._dispatcher: threading.Thread | None = None
        self._workers: list[threading.Thread] = []
        self._next_poll = 0.0
        self._next_renewal = 0.0
        self._mean_seconds = _AHEAD_SECONDS

    def register(self, kind: JobKind) -> None:
        """Take a job type; before ``start``.

        Raises:
            JobKindTaken: The type has a handler already.
        """
        if kind.type in self._kinds:
            raise JobKindTaken(type=kind.type)
        self._kinds[kind.type] = kind
        if kind.on_final_failure is not None:
            self._service.on_final_failure(kind.type, kind.on_final_failure)

    @property
    def types(self) -> tuple[str, ...]:
        """The registered job types."""
        return tuple(sorted(self._kinds))

    def run_once(self, *, limit: int | None = None) -> int:
        """Claim one batch and run it in the calling thread; returns the number of jobs run."""
        with self._units.begin(_ACTOR) as uow:
            claimed = self._claim(uow, limit or self._claim_limit)
        runs = [self._new_run(job) for job in claimed]
        self._settle([self._execute(run) for run in runs])
        return len(runs)

    def wake(self) -> None:
        """Look for due jobs now; subscribe this to the change-feed topic ``jobs``."""
        self._woken = True
        self._signal.set()

    def start(self) -> None:
        """Start the dispatcher and the worker threads."""
        if self._dispatcher is not None:
            return
        self._stopping.clear()
        self._woken = True
        self._next_renewal = self._clock.monotonic() + self._lease.total_seconds() / 3
        for _ in range(self._concurrency):
            self._add_worker()
        self._dispatcher = threading.Thread(target=self._dispatch, name="jobs", daemon=True)
        self._dispatcher.start()

    def stop(self, timeout: timedelta = timedelta(seconds=30)) -> bool:
        """Claim nothing more, give back what has not begun, wait for what runs.

        Returns:
            Whether everything ended in time. What did not keeps its lease until that ends.
        """
        dispatcher = self._dispatcher
        if dispatcher is None:
            return True
        self._stopping.set()
        self._signal.set()
        with self._work:
            self._work.notify_all()
        dispatcher.join(timeout.total_seconds())
        if dispatcher.is_alive():
            _log.warning("jobs.not_drained", jobs=sorted(self._open))
        self._dispatcher = None
        self._workers = []
        return not dispatcher.is_alive()

    # The dispatcher thread.

    def _dispatch(self) -> None:
        while True:
            self._signal.wait(self._idle_seconds())
            self._signal.clear()
            if self._pulse is not None:
                self._beat(self._pulse)
            try:
                self._round()
            except Exception:  # noqa: BLE001 - the dispatcher outlives a bad database
                _log.exception("jobs.round_failed")
                self._woken = True
                self._stopping.wait(_RETRY_AFTER_ERROR_SECONDS)
            if self._stopping.is_set() and not self._open:
                return

    def _round(self) -> None:
        now = self._clock.monotonic()
        outcomes = self._ended(now)
        if self._stopping.is_set():
            self._give_back()
        room = self._wanted(now, looks_first=not outcomes)
        renews = now >= self._next_renewal and bool(self._open)
        if not (outcomes or room or renews):
            return
        batch = [outcome for outcome in outcomes if outcome.is_plain]
        claimed: list[Job] = []
        try:
            with self._units.begin(_ACTOR) as uow:
                lost = self._service.finish(uow, [_completion(outcome) for outcome in batch])
                if renews:
                    self._renew(uow)
                if room:
                    claimed = self._claim_batch(uow, room, now)
        except Exception:
            # Nothing was stored: the ends are kept for the next round.
            self._outcomes.extendleft(reversed(outcomes))
            raise
        self._report(batch, lost)
        self._store_failures(outcomes)
        for outcome in outcomes:
            self._open.pop(outcome.run.job.id, None)
        if renews:
            self._next_renewal = now + self._lease.total_seconds() / 3
        self._hand_out(claimed)

    def _wanted(self, now: float, *, looks_first: bool) -> int:
        """How many jobs to claim in this round."""
        room = 0 if self._stopping.is_set() else self._room()
        if not room or not (self._woken or now >= self._next_poll):
            return 0
        # Before looking: a wake-up that comes later is not lost.
        self._woken = False
        return room if not looks_first or self._is_due(now) else 0

    def _claim_batch(self, uow: Uow, room: int, now: float) -> list[Job]:
        claimed = self._claim(uow, room)
        wait = self._poll_seconds
        if len(claimed) == room:
            self._woken = True
        else:
            due = self._seconds_to_due(uow)
            wait = wait if due is None else min(wait, due)
        self._next_poll = now + wait
        return claimed

    def _ended(self, now: float) -> list[_Outcome]:
        outcomes = []
        while self._outcomes:
            outcome = self._outcomes.popleft()
            if not outcome.run.abandoned or outcome.code == _TIMED_OUT:
                outcomes.append(outcome)
        ended = {outcome.run.job.id for outcome in outcomes}
        for run in self._open.values():
            if now < run.deadline or run.abandoned or run.job.id in ended:
                continue
            run.abandoned = True
            if run.context is not None:
                run.context.mark_lost()
            self._add_worker()  # its thread is stuck in the handler and ends with it
            _log.error("jobs.timed_out", job_id=run.job.id, job_type=run.job.type)
            message = f"the attempt took longer than {run.kind.timeout.total_seconds():g} s"
            outcomes.append(_Outcome(run=run, code=_TIMED_OUT, message=message, retryable=True))
        return outcomes

    def _room(self) -> int:
        """How many jobs to claim now: about half a second of work, nothing for a full queue."""
        mean = max(self._mean_seconds, _FAST_JOB_SECONDS)
        ahead = min(int(self._concurrency * _AHEAD_SECONDS / mean), self._claim_limit)
        ahead = max(0, ahead - self._concurrency)
        if len(self._queue) > ahead // 2:
            return 0
        return max(0, min(self._concurrency + ahead - len(self._open), self._claim_limit))

    def _is_due(self, now: float) -> bool:
        """Look before writing: an idle process takes no write lock."""
        with self._units.read(_ACTOR) as uow:
            wait = self._seconds_to_due(uow)
        if wait is not None and wait <= 0:
            return True
        self._next_poll = now + min(
            self._poll_seconds, self._poll_seconds if wait is None else wait
        )
        return False

    def _seconds_to_due(self, uow: Uow) -> float | None:
        due = self._service.next_due(uow, types=self._kinds)
        return None if due is None else (due - uow.now).total_seconds()

    def _claim(self, uow: Uow, limit: int) -> list[Job]:
        return self._service.claim(
            uow, types=self._kinds, limit=limit, lease=self._lease, holder=self.holder
        )

    def _renew(self, uow: Uow) -> None:
        kept = self._service.renew(
            uow, holder=self.holder, job_ids=self._open.keys(), lease=self._lease
        )
        for job_id in self._open.keys() - kept:
            context = self._open[job_id].context
            if context is not None:
                context.mark_lost()

    def _hand_out(self, claimed: list[Job]) -> None:
        if not claimed:
            return
        runs = [self._new_run(job) for job in claimed]
        self._open |= {run.job.id: run for run in runs}
        self._queue.extend(runs)
        with self._work:
            self._work.notify(len(runs))

    def _give_back(self) -> None:
        runs = []
        while self._queue:
            with contextlib.suppress(IndexError):  # a worker was quicker
                runs.append(self._queue.popleft())
        if runs:
            job_ids = [run.job.id for run in runs]
            with self._units.begin(_ACTOR) as uow:
                self._service.release(uow, holder=self.holder, job_ids=job_ids)
            for job_id in job_ids:
                self._open.pop(job_id, None)

    def _idle_seconds(self) -> float:
        if self._stopping.is_set():
            return _DRAIN_SECONDS
        if self._woken and self._room() > 0:
            return 0.0
        now = self._clock.monotonic()
        moments = [self._next_poll]
        if self._open:
            moments.append(self._next_renewal)
            # A run that begins only now cannot end before its whole time is over.
            moments.extend(
                min(run.deadline, now + run.kind.timeout.total_seconds())
                for run in self._open.values()
            )
        wait = max(0.0, min(moments) - now)
        return min(wait, _PULSE_SECONDS) if self._pulse is not None else wait

    @staticmethod
    def _beat(pulse: Callable[[], object]) -> None:
        try:
            pulse()
        except Exception:  # noqa: BLE001 - the look is an accelerator only
            _log.exception("jobs.pulse_failed")

    # The worker threads.

    def _add_worker(self) -> None:
        worker = threading.Thread(target=self._serve, name="job-worker", daemon=True)
        self._workers.append(worker)
        worker.start()

    def _serve(self) -> None:
        while True:
            try:
                run = self._queue.popleft()
            except IndexError:
                with self._work:
                    if self._stopping.is_set():
                        return
                    if not self._queue:
                        self._work.wait()
                continue
            outcome = self._execute(run)
            if run.abandoned:
                return
            self._outcomes.append(outcome)
            if not self._signal.is_set():
                self._signal.set()

    def _new_run(self, job: Job) -> _Run:
        return _Run(job=job, kind=self._kinds[job.type])

    def _execute(self, run: _Run) -> _Outcome:
        began = self._clock.monotonic()
        run.deadline = began + run.kind.timeout.total_seconds()
        outcome = self._guarded(run)
        took = self._clock.monotonic() - began
        self._mean_seconds += (took - self._mean_seconds) / 16
        JOB_RUNS.labels(run.job.type, _word(outcome)).inc()
        return outcome

    def _guarded(self, run: _Run) -> _Outcome:
        try:
            payload: BaseModel = run.kind.payload.model_validate(run.job.payload)
        except ValidationError as error:
            _log.error("jobs.payload_invalid", job_id=run.job.id, job_type=run.job.type)
            message = f"the stored payload is not valid: {error.error_count()} error(s)"
            return _Outcome(run=run, code="payload_invalid", message=message)
        context: JobContext[Any] = JobContext(
            job=run.job,
            payload=payload,
            units=self._units,
            clock=self._clock,
            jobs=self._service,
        )
        run.context = context
        if run.abandoned:  # its time was over before the dispatcher could tell the context
            context.mark_lost()
        try:
            result = run.kind.handler(context)
            return _Outcome(run=run, result=_plain(result), settled=context.is_settled)
        except Exception as error:  # noqa: BLE001 - the border of the engine
            if context.is_settled:
                _log.exception("jobs.failed_after_settling", job_id=run.job.id)
                return _Outcome(run=run, settled=True)
            return self._failure(run, error)

    def _failure(self, run: _Run, error: Exception) -> _Outcome:
        retryable = is_retryable(error)
        retry_in = error.data.get("retry_in") if isinstance(error, RetryLater) else None
        cause = error.__cause__ if isinstance(error, RetryLater) else error
        if isinstance(cause, CertctlError):
            code, message = cause.code, cause.detail
            _log.warning(
                "jobs.attempt_failed",
                job_id=run.job.id,
                job_type=run.job.type,
                code=code,
                **cause.log,
            )
        else:
            code, message = "internal", "an unexpected error ended the attempt; the log has it"
            _log.error(
                "jobs.attempt_crashed", job_id=run.job.id, job_type=run.job.type, exc_info=error
            )
        if retry_in is None and run.kind.retry is not None:
            retry_in = run.kind.retry.wait(run.job.attempts, self._service.rng)
        return _Outcome(
            run=run,
            code=code,
            message=message,
            retryable=retryable,
            retry_in=retry_in if isinstance(retry_in, timedelta) else None,
        )

    # Storing how runs ended.

    def _settle(self, outcomes: list[_Outcome]) -> None:
        batch = [outcome for outcome in outcomes if outcome.is_plain]
        if batch:
            with self._units.begin(_ACTOR) as uow:
                lost = self._service.finish(uow, [_completion(outcome) for outcome in batch])
            self._report(batch, lost)
        self._store_failures(outcomes)

    def _store_failures(self, outcomes: list[_Outcome]) -> None:
        for outcome in outcomes:
            if outcome.code:
                self._fail(outcome)

    def _fail(self, outcome: _Outcome) -> None:
        """Each failure in a transaction of its own: a hook that raises hurts no other job."""
        job = outcome.run.job
        try:
            with self._units.begin(_ACTOR, request_id=job.request_id) as uow:
                self._service.fail(
                    uow,
                    job.id,
                    job.lease_id or "",
                    code=outcome.code,
                    message=outcome.message,
                    retryable=outcome.retryable,
                    retry_in=outcome.retry_in,
                )
        except (JobLeaseLost, JobNotFound):
            self._report([outcome], {job.id})
        except Exception:  # noqa: BLE001 - the lease ends and the job comes back
            _log.exception("jobs.report_failed", job_id=job.id)

    @staticmethod
    def _report(outcomes: list[_Outcome], lost: set[str]) -> None:
        for outcome in outcomes:
            if outcome.run.job.id in lost:
                _log.warning(
                    "jobs.lease_lost", job_id=outcome.run.job.id, job_type=outcome.run.job.type
                )


def _completion(outcome: _Outcome) -> Completion:
    job = outcome.run.job
    return Completion(job_id=job.id, lease_id=job.lease_id or "", result=outcome.result)


def _plain(result: Mapping[str, JSON] | None) -> dict[str, JSON] | None:
    return None if result is None else plain(result)


def _word(outcome: _Outcome) -> str:
    if not outcome.code:
        return "completed"
    job = outcome.run.job
    return "retried" if outcome.retryable and job.attempts < job.max_attempts else "failed"
