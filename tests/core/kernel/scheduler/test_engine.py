"""The scheduler (spec 01 §8, 08 §5.1, §5.3)."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.db import DatabaseBusy, DatabaseUnavailable, Leases, metadata
from certctl_core.kernel.errors import Unavailable
from certctl_core.kernel.jobs import NewJob
from certctl_core.kernel.scheduler import (
    Loop,
    LoopContext,
    LoopNotFound,
    LoopRun,
    LoopRunning,
    Replica,
    RunResult,
    Scheduler,
)
from certctl_core.kernel.scheduler.errors import LoopNameTaken
from certctl_core.kernel.scheduler.loops import return_jobs_of_dead_replicas
from certctl_core.testing.fakes import FakeClock
from tests.machine import PATIENCE_SECONDS as PATIENCE
from tests.machine import eventually

HOUR = timedelta(hours=1)
TICK = timedelta(milliseconds=20)


class Down(Unavailable):
    code = "vendor_down"


def announce(event, _ctx):
    event.set()
    return 4


def replica(name="replica-1"):
    return Replica(id=name, hostname="cp1.example.com", version="0.1.0", role="serve")


@pytest.fixture
def scheduler(units, clock):
    return Scheduler(units, clock=clock, replica=replica())


@pytest.fixture
def threaded(units, clock):
    made = []

    def make(*loops, name="replica-1", **options):
        scheduler = Scheduler(units, clock=clock, replica=replica(name), **options)
        for loop in loops:
            scheduler.add(loop)
        made.append(scheduler)
        return scheduler

    yield make
    for scheduler in made:
        scheduler.stop(timedelta(seconds=5))


class TestRunOnce:
    @pytest.mark.spec("01/SCH-03", "01/TST-01")
    def test_a_run_is_recorded(self, scheduler, units, service, clock):
        scheduler.add(Loop(name="crl", interval=HOUR, run=lambda _ctx: 7))
        run = scheduler.run_once("crl")
        assert (run.result, run.items, run.fence) == (RunResult.OK, 7, 1)
        with units.read() as uow:
            view = service.loop(uow, "crl")
        assert (view.last_result, view.last_items, view.replica_id) == ("ok", 7, "replica-1")
        assert view.last_success_at == view.last_ended_at == clock.now()
        assert [shown.items for shown in view.runs] == [7]

    def test_a_failure_is_recorded_by_its_code(self, scheduler, units, service):
        def fail(_ctx):
            raise Down

        scheduler.add(Loop(name="crl", interval=HOUR, run=fail))
        assert scheduler.run_once("crl").result is RunResult.FAILED
        with units.read() as uow:
            view = service.loop(uow, "crl")
        assert (view.last_result, view.last_error, view.last_success_at) == (
            "failed",
            "vendor_down",
            None,
        )

    @pytest.mark.parametrize(
        ("failure", "level", "has_trace"),
        [
            (DatabaseBusy, "warning", False),
            (DatabaseUnavailable, "warning", False),
            (Down, "error", True),
        ],
    )
    def test_a_database_that_was_busy_is_no_fault_of_the_loop(
        self, scheduler, failure, level, has_trace
    ):
        def fail(_ctx):
            raise failure

        scheduler.add(Loop(name="crl", interval=HOUR, run=fail))
        with capture_logs() as logs:
            scheduler.run_once("crl")
        (entry,) = [line for line in logs if line["event"] == "loop.failed"]
        assert (entry["log_level"], "exc_info" in entry) == (level, has_trace)

    def test_the_body_knows_its_actor_and_fence(self, scheduler):
        seen = []

        def body(ctx):
            assert ctx.lease is not None
            seen.append((ctx.actor.id, ctx.lease.fence))
            return 0

        scheduler.add(Loop(name="audit_seal", interval=HOUR, run=body))
        scheduler.run_once("audit_seal")
        assert seen == [("scheduler:audit_seal", 1)]

    @pytest.mark.spec("01/SCH-02", "08/HA-2")
    def test_two_replicas_do_not_run_one_loop_at_once(self, units, clock):
        inside = []

        def body(_ctx):
            other = Scheduler(units, clock=clock, replica=replica("replica-2"))
            other.add(Loop(name="crl", interval=HOUR, run=lambda _ctx: 1))
            with pytest.raises(LoopRunning):
                other.run_once("crl")
            inside.append(other)
            return 0

        first = Scheduler(units, clock=clock, replica=replica("replica-1"))
        first.add(Loop(name="crl", interval=HOUR, run=body))
        first.run_once("crl")
        assert inside[0].run_once("crl").fence == 2

    def test_a_loop_without_a_holder_runs_everywhere(self, units, clock):
        for name in ("replica-1", "replica-2"):
            scheduler = Scheduler(units, clock=clock, replica=replica(name))
            scheduler.add(Loop(name="jobs", interval=HOUR, run=lambda _ctx: 1, single_holder=False))
            assert scheduler.run_once("jobs").fence is None

    @pytest.mark.spec("01/SCH-01")
    def test_a_loop_does_not_overlap_itself(self, scheduler):
        def again(_ctx):
            with pytest.raises(LoopRunning):
                scheduler.run_once("crl")
            return 0

        scheduler.add(Loop(name="crl", interval=HOUR, run=again))
        scheduler.run_once("crl")

    def test_names_are_unique_and_known(self, scheduler):
        scheduler.add(Loop(name="crl", interval=HOUR, run=lambda _ctx: 0))
        with pytest.raises(LoopNameTaken):
            scheduler.add(Loop(name="crl", interval=HOUR, run=lambda _ctx: 0))
        with pytest.raises(LoopNotFound):
            scheduler.run_once("none")


class TestThreads:
    @pytest.fixture
    def clock(self):
        return SystemClock()

    def test_a_loop_runs_again_and_again(self, threaded):
        runs, often = [], threading.Event()

        def body(_ctx):
            runs.append(1)
            if len(runs) == 3:
                often.set()
            return 0

        threaded(Loop(name="quick", interval=TICK, run=body)).start()
        assert often.wait(PATIENCE)

    def test_a_loop_that_is_not_for_the_start_waits(self, threaded):
        started = threading.Event()
        later = Loop(name="later", interval=HOUR, run=lambda _ctx: 1, at_start=False)
        now = Loop(name="now", interval=TICK, run=partial(announce, started))
        seen = []
        scheduler = threaded(later, now, observe=lambda run: seen.append(run.loop))
        scheduler.start()
        assert started.wait(PATIENCE)
        scheduler.stop()
        assert "later" not in seen

    def test_a_wake_up_runs_it_at_once(self, threaded):
        ran = threading.Event()
        loop = Loop(name="notify", interval=HOUR, run=partial(announce, ran), at_start=False)
        scheduler = threaded(loop)
        scheduler.start()
        scheduler.wake("notify")
        assert ran.wait(PATIENCE)

    @pytest.mark.spec("08/HA-2", "08/HA-5")
    def test_of_two_replicas_one_runs_the_loop_and_the_other_takes_over(self, threaded):
        ran: list[str] = []
        busy, taken = threading.Event(), threading.Event()

        def body(name, ctx):
            ran.append(name)
            (busy if name == "replica-1" else taken).set()
            return 0

        first = threaded(
            Loop(name="seal", interval=TICK, run=partial(body, "replica-1")), name="replica-1"
        )
        first.start()
        assert busy.wait(PATIENCE)
        second = threaded(
            Loop(name="seal", interval=TICK, run=partial(body, "replica-2")), name="replica-2"
        )
        second.start()
        second.wake("seal")
        while len(ran) < 5:
            busy.wait(0.01)
        assert set(ran) == {"replica-1"}
        first.stop()
        second.wake("seal")
        assert taken.wait(PATIENCE)
        assert ran.index("replica-2") == ran.count("replica-1")

    @pytest.mark.spec("08/HA-2")
    def test_a_loop_with_a_long_interval_runs_once_for_all_replicas(self, threaded):
        ran: list[str] = []
        started = threading.Event()

        def body(name, _ctx):
            ran.append(name)
            started.set()
            return 1

        make = partial(Loop, name="digest", interval=HOUR)
        first = threaded(make(run=partial(body, "replica-1")), name="replica-1")
        first.start()
        assert started.wait(PATIENCE)
        first.stop()
        probe = threading.Event()
        beat = Loop(name="beat", interval=TICK, run=partial(announce, probe), at_start=False)
        second = threaded(make(run=partial(body, "replica-2")), beat, name="replica-2")
        second.start()
        second.wake("digest")
        second.wake("beat")
        assert probe.wait(PATIENCE)
        second.stop()
        assert ran == ["replica-1"]

    @pytest.mark.spec("01/SCH-01")
    def test_a_run_beyond_its_budget_is_told_to_stop_and_recorded(self, threaded, monkeypatch):
        told, recorded = threading.Event(), threading.Event()
        seen, bodies = [], []
        end = LoopContext.end

        def body(ctx):
            bodies.append(threading.current_thread())
            while not ctx.is_over:
                told.wait(0.01)
            told.set()
            return 0

        def end_at_once(ctx):
            end(ctx)
            bodies[0].join(PATIENCE)  # the body may be quicker than who told it

        def observe(run):
            seen.append(run.result)
            recorded.set()

        monkeypatch.setattr(LoopContext, "end", end_at_once)
        loop = Loop(name="slow", interval=HOUR, run=body, timeout=timedelta(milliseconds=50))
        scheduler = threaded(loop, observe=observe)
        scheduler.start()
        assert told.wait(PATIENCE)
        assert recorded.wait(PATIENCE)
        assert seen == [RunResult.TIMED_OUT]

    @pytest.mark.spec("08/BOOT-4")
    def test_stop_ends_running_bodies(self, threaded):
        began, wait = threading.Event(), threading.Event()

        def body(ctx):
            began.set()
            while not ctx.is_over:
                wait.wait(0.01)
            return 3

        seen: list[LoopRun] = []
        scheduler = threaded(Loop(name="long", interval=HOUR, run=body), observe=seen.append)
        scheduler.start()
        assert began.wait(PATIENCE)
        assert scheduler.stop(timedelta(seconds=PATIENCE))
        assert [(run.result, run.items) for run in seen] == [(RunResult.STOPPED, 3)]

    def test_a_requested_run_is_done_soon(self, threaded, units, service):
        asked_twice, ran = threading.Event(), threading.Event()

        def body(ctx):
            assert asked_twice.wait(PATIENCE)
            return announce(ran, ctx)

        scheduler = threaded(Loop(name="crl", interval=HOUR, run=body, at_start=False))
        scheduler.start()
        units.on_wake = lambda topic: scheduler.look() if topic == "loops" else None
        with units.begin() as uow:
            service.request(uow, "crl")
        with units.begin() as uow, pytest.raises(LoopRunning):
            service.request(uow, "crl")
        asked_twice.set()
        assert ran.wait(PATIENCE)
        scheduler.stop()
        with units.read() as uow:
            assert service.loop(uow, "crl").last_items == 4
        with units.begin() as uow:
            service.request(uow, "crl")


class TestLongRuns:
    """The scheduler's thread is real and its time is the test's."""

    @pytest.fixture
    def clock(self):
        return FakeClock(SystemClock().now())  # PostgreSQL looks at the real one

    @pytest.mark.spec("08/HA-2")
    def test_a_long_run_keeps_its_lease(self, threaded, units, clock):
        began, may_end = threading.Event(), threading.Event()
        ttl = timedelta(minutes=30)

        def body(_ctx):
            began.set()
            assert may_end.wait(PATIENCE)
            return 0

        def lives_until():
            with units.read() as uow:
                return uow.scalar(sa.select(metadata.tables["scheduler_leases"].c.expires_at))

        def is_renewed_after(before):
            return lambda: lives_until() > before

        scheduler = threaded(
            Loop(name="long", interval=HOUR, run=body, timeout=HOUR * 9, at_start=False),
            lease_ttl=ttl,
        )
        scheduler.start()
        scheduler.wake("long")
        assert began.wait(PATIENCE)
        for _ in range(4):
            renewed = is_renewed_after(lives_until())
            clock.advance(ttl / 2)
            scheduler.look()
            eventually(renewed, what="the lease is renewed")
            with units.begin() as uow:
                assert Leases().acquire(uow, "loop:long", holder="thief", ttl=ttl) is None
        may_end.set()
        assert scheduler.stop(timedelta(seconds=PATIENCE))


class TestReplicas:
    @pytest.fixture
    def clock(self):
        return SystemClock()

    @pytest.mark.spec("08/HA-1")
    def test_a_process_registers_and_leaves(self, threaded, units, service):
        scheduler = threaded()
        scheduler.start()
        with units.read() as uow:
            (row,) = service.replicas(uow).data
        assert (row.id, row.role, row.alive) == ("replica-1", "serve", True)
        scheduler.stop()
        with units.read() as uow:
            assert service.replicas(uow).data == []

    @pytest.mark.spec("08/JOB-2", "08/HA-1")
    def test_jobs_of_a_dead_replica_are_returned(self, threaded, units, service, jobs):
        scheduler = threaded(
            Loop(
                name="job_timeout",
                interval=HOUR,
                run=partial(return_jobs_of_dead_replicas, scheduler=service, jobs=jobs),
                at_start=False,
            )
        )
        scheduler.start()
        with units.begin() as uow:
            jobs.enqueue_many(
                uow, [NewJob(type="Digest", subject_type="report", subject_id="rep-1")]
            )
            claimed = jobs.claim(
                uow, types=["Digest"], limit=1, lease=timedelta(minutes=10), holder="replica-9"
            )
            table = metadata.tables["server_replicas"]
            long_ago = uow.now - timedelta(minutes=5)
            uow.execute(
                sa.insert(table).values(
                    id="replica-9",
                    hostname="cp9.example.com",
                    version="0.1.0",
                    role="worker",
                    started_at=long_ago,
                    heartbeat_at=long_ago,
                )
            )
        assert scheduler.run_once("job_timeout").items == 1
        with units.read() as uow:
            assert jobs.get(uow, claimed[0].id).status == "Pending"
            assert service.dead_replicas(uow) == ["replica-9"]
