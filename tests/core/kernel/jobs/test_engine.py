"""The job runner: batches, wake-ups, retries, time-outs, shutdown, and many at once."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta

import pytest
from pydantic import BaseModel, model_validator

from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.errors import RateLimited, Unprocessable
from certctl_core.kernel.jobs import JobContext, JobKind, JobRunner, JobStatus, RetryLater
from certctl_core.kernel.jobs.errors import JobKindTaken
from certctl_core.kernel.jobs.loops import retry_due
from tests.core.kernel.jobs.conftest import new_jobs
from tests.machine import PATIENCE_SECONDS as PATIENCE
from tests.machine import eventually


class Report(BaseModel):
    days: int


class VendorBusy(RateLimited):
    code = "vendor_busy"


class BadInput(Unprocessable):
    code = "bad_input"


@pytest.fixture
def runner(service, units, clock):
    return JobRunner(service, units, clock=clock, holder="runner-1")


@pytest.fixture
def threaded(service, units):
    """Make runners with real time; stop them all afterwards."""
    made = []

    def make(*kinds, holder="runner-1", **options):
        runner = JobRunner(service, units, clock=SystemClock(), holder=holder, **options)
        for kind in kinds:
            runner.register(kind)
        made.append(runner)
        return runner

    yield make
    for runner in made:
        runner.stop(timedelta(seconds=5))


def status(units, service, job_id):
    with units.read() as uow:
        return service.get(uow, job_id)


class TestRunOnce:
    def test_the_handler_gets_the_validated_payload_and_its_result_is_stored(
        self, runner, add, units, service
    ):
        job_id = add("rep-1", payload={"days": 30})

        def handle(ctx: JobContext[Report]):
            return {"rows": ctx.payload.days * 2, "by": ctx.actor.id}

        runner.register(JobKind(type="Digest", handler=handle, payload=Report))
        assert runner.run_once() == 1
        view = status(units, service, job_id)
        assert (view.status, view.result) == ("Completed", {"rows": 60, "by": "job-runner"})
        assert runner.run_once() == 0

    def test_a_typed_refusal_is_final_and_keeps_its_code(self, runner, add, units, service):
        job_id = add("rep-1")

        def handle(_ctx):
            raise BadInput

        runner.register(JobKind(type="Digest", handler=handle))
        runner.run_once()
        view = status(units, service, job_id)
        assert (view.status, view.error_code, view.next_attempt_at) == ("Failed", "bad_input", None)

    @pytest.mark.spec("08/JOB-5")
    @pytest.mark.parametrize("failure", [VendorBusy(), ZeroDivisionError("secret-value")])
    def test_what_may_pass_is_tried_again(self, runner, add, units, service, clock, failure):  # noqa: PLR0917
        job_id = add("rep-1")
        failures = [failure]

        def handle(_ctx):
            if failures:
                raise failures.pop()

        runner.register(JobKind(type="Digest", handler=handle))
        runner.run_once()
        view = status(units, service, job_id)
        assert view.status == "Failed"
        assert view.next_attempt_at is not None
        assert "secret-value" not in view.last_error
        clock.advance(timedelta(hours=1))
        retry_due(service, units)
        runner.run_once()
        assert status(units, service, job_id).status == "Completed"

    def test_a_handler_chooses_its_wait(self, runner, add, units, service, clock):
        job_id = add("rep-1")

        def handle(_ctx):
            raise RetryLater(retry_in=timedelta(minutes=7)) from VendorBusy()

        runner.register(JobKind(type="Digest", handler=handle))
        runner.run_once()
        view = status(units, service, job_id)
        assert view.next_attempt_at == clock.now() + timedelta(minutes=7)
        assert view.error_code == "vendor_busy"

    def test_a_stored_payload_that_does_not_fit_fails_for_good(self, runner, add, units, service):
        job_id = add("rep-1", payload={"days": "many"})
        runner.register(JobKind(type="Digest", handler=lambda _ctx: None, payload=Report))
        runner.run_once()
        view = status(units, service, job_id)
        assert (view.error_code, view.next_attempt_at) == ("payload_invalid", None)

    def test_the_final_failure_hook_runs_in_the_same_transaction(self, runner, add, units, service):
        job_id = add("rep-1")

        def handle(_ctx):
            raise BadInput

        def hook(uow, job):
            service.enqueue(uow, type="Alert", subject_type="job", subject_id=job.id)

        runner.register(JobKind(type="Digest", handler=handle, on_final_failure=hook))
        runner.run_once()
        with units.read() as uow:
            assert service.stats(uow) == {"Failed": 1, "Pending": 1}
        assert status(units, service, job_id).status == "Failed"

    def test_a_handler_completes_together_with_its_own_rows(self, runner, add, units, service):
        job_id = add("rep-1")

        def handle(ctx):
            with ctx.units.begin(ctx.actor) as uow:
                service.enqueue(uow, type="Follow", subject_type="job", subject_id=ctx.job.id)
                ctx.complete(uow, {"stored": True})
            return {"ignored": True}

        runner.register(JobKind(type="Digest", handler=handle))
        runner.run_once()
        assert status(units, service, job_id).result == {"stored": True}

    def test_a_handler_parks_its_job_with_the_issuer(self, runner, add, units, service):
        job_id = add(type="Issuance", certificate_id="mc-1")

        def handle(ctx):
            with ctx.units.begin(ctx.actor) as uow:
                ctx.park(uow, JobStatus.AWAITING_ISSUER, order_id="ord-1")

        runner.register(JobKind(type="Issuance", handler=handle))
        runner.run_once()
        view = status(units, service, job_id)
        assert (view.status, view.order_id) == ("AwaitingIssuer", "ord-1")

    def test_a_type_has_one_handler(self, runner):
        runner.register(JobKind(type="Digest", handler=lambda _ctx: None))
        with pytest.raises(JobKindTaken):
            runner.register(JobKind(type="Digest", handler=lambda _ctx: None))


class TestThreads:
    @pytest.fixture
    def clock(self):
        return SystemClock()

    def test_a_wake_up_runs_a_new_job_long_before_the_next_poll(self, threaded, add, units):
        done = threading.Event()
        runner = threaded(JobKind(type="Digest", handler=lambda _ctx: done.set()))
        units.on_wake = lambda topic: runner.wake() if topic == "jobs" else None
        runner.start()
        add("rep-1")
        assert done.wait(PATIENCE)

    def test_a_delayed_job_runs_without_a_wake_up(self, threaded, add):
        done = threading.Event()
        runner = threaded(JobKind(type="Digest", handler=lambda _ctx: done.set()))
        add("rep-1", delay=timedelta(milliseconds=150))
        runner.start()
        assert done.wait(PATIENCE)

    def test_jobs_run_side_by_side_up_to_the_limit(self, threaded, add):
        together = threading.Barrier(5)  # four handlers and this test

        def handle(_ctx):
            together.wait(PATIENCE)

        runner = threaded(JobKind(type="Digest", handler=handle), concurrency=4)
        for number in range(4):
            add(f"rep-{number}")
        runner.start()
        together.wait(PATIENCE)
        assert runner.stop(timedelta(seconds=PATIENCE))

    @pytest.mark.spec("08/BOOT-4")
    def test_stop_waits_for_what_runs_and_gives_the_rest_back(self, threaded, add, units, service):
        began = threading.Event()

        def handle(_ctx):
            began.set()
            assert one._stopping.wait(PATIENCE)

        for number in range(5):
            add(f"rep-{number}")
        one = threaded(JobKind(type="Digest", handler=handle), concurrency=1)
        one.start()
        assert began.wait(PATIENCE)
        assert one.stop(timedelta(seconds=PATIENCE))
        with units.read() as uow:
            assert service.stats(uow) == {"Completed": 1, "Pending": 4}

    def test_a_handler_that_takes_too_long_loses_its_job(self, threaded, add, units, service):
        lost, later = threading.Event(), threading.Event()

        def handle(ctx):
            if ctx.job.subject_id == "rep-slow":
                while not ctx.is_lost:
                    later.wait(0.01)
                lost.set()

        kind = JobKind(type="Digest", handler=handle, timeout=timedelta(milliseconds=100))
        runner = threaded(kind, concurrency=1)
        slow = add("rep-slow", max_attempts=1)
        runner.start()
        assert lost.wait(PATIENCE)
        add("rep-2")
        runner.wake()
        assert runner.stop(timedelta(seconds=PATIENCE))
        view = status(units, service, slow)
        assert (view.status, view.error_code) == ("Failed", "attempt_timed_out")

    def test_a_handler_that_begins_too_late_knows_it(self, threaded, add, units, service):
        slow = add("rep-slow", max_attempts=1)
        lost, begun = [], threading.Event()

        class Slow(BaseModel):
            @model_validator(mode="before")
            @classmethod
            def _wait(cls, given):
                eventually(lambda: status(units, service, slow).status == "Failed")
                return given

        def handle(ctx):
            lost.append(ctx.is_lost)
            begun.set()

        kind = JobKind(
            type="Digest", handler=handle, payload=Slow, timeout=timedelta(milliseconds=100)
        )
        threaded(kind, concurrency=1).start()
        assert begun.wait(PATIENCE)
        assert lost == [True]

    @pytest.mark.spec("08/JOB-1", "01/JOB-01")
    def test_eight_claimers_get_each_of_500_jobs_once(self, units, service):
        with units.begin() as uow:
            service.enqueue_many(uow, new_jobs(500))
        seen: Counter[str] = Counter()
        lock = threading.Lock()

        def work(holder):
            while True:
                with units.begin() as uow:
                    jobs = service.claim(
                        uow,
                        types=["Digest"],
                        limit=7,
                        lease=timedelta(minutes=1),
                        holder=holder,
                    )
                if not jobs:
                    return
                with lock:
                    seen.update(job.id for job in jobs)

        threads = [threading.Thread(target=work, args=(f"runner-{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(seen) == 500
        assert set(seen.values()) == {1}

    @pytest.mark.spec("08/HA-5")
    def test_two_runners_run_each_of_300_jobs_once(self, threaded, units, service):
        with units.begin() as uow:
            service.enqueue_many(uow, new_jobs(300))
        seen: Counter[str] = Counter()
        lock, done = threading.Lock(), threading.Event()

        def handle(ctx):
            with lock:
                seen[ctx.job.id] += 1
                if len(seen) == 300:
                    done.set()

        runners = [
            threaded(JobKind(type="Digest", handler=handle), holder=name, concurrency=4)
            for name in ("runner-1", "runner-2")
        ]
        for runner in runners:
            runner.start()
        assert done.wait(PATIENCE)
        assert all(runner.stop(timedelta(seconds=PATIENCE)) for runner in runners)
        assert set(seen.values()) == {1}
        with units.read() as uow:
            assert service.stats(uow) == {"Completed": 300}

    def test_eight_writers_open_one_job(self, units, service):
        opened: list[str] = []
        refused: list[str] = []

        def write():
            job = new_jobs(1)[0]
            with units.begin() as uow:
                view, is_new = service.enqueue_unless_open(uow, job)
            (opened if is_new else refused).append(view.id)

        threads = [threading.Thread(target=write) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert (len(opened), set(refused)) == (1, set(opened))
