"""The job engine's use cases (spec 01 §7, 07 §6, 08 §5.2)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certctl_core.kernel.jobs import (
    Completion,
    JobAlreadyOpen,
    JobLeaseLost,
    JobNotFound,
    JobQuery,
    JobStatus,
    JobWrongState,
    LostReason,
    NewJob,
    Verification,
    VerificationStatus,
)
from certctl_core.kernel.jobs.errors import JobNotVerified
from certctl_core.kernel.jobs.loops import reap, retry_due
from certctl_core.kernel.jobs.types import TRANSITIONS
from certctl_core.kernel.operations import Resource

MINUTE = timedelta(minutes=1)


def get(units, service, job_id):
    with units.read() as uow:
        return service.get(uow, job_id)


def tags(emitted):
    return [envelope.event.tag for envelope in emitted]


def fail(units, service, job, *, retryable=True, retry_in=None, code="connect_failed"):
    with units.begin() as uow:
        return service.fail(
            uow,
            job.id,
            job.lease_id,
            code=code,
            message="no answer",
            retryable=retryable,
            retry_in=retry_in,
        )


class TestEnqueue:
    def test_a_new_job_is_pending_and_due_at_once(self, units, service, add, clock):
        view = get(units, service, add("rep-1"))
        assert (view.status, view.attempts, view.owner) == ("Pending", 0, "server")
        assert view.next_attempt_at == clock.now()
        assert (view.requested_by, view.request_id) == ("ak-operator", "req-1")

    @pytest.mark.spec("01/JOB-05", "08/JOB-3")
    def test_a_second_open_job_for_the_subject_is_refused(self, add):
        first = add("rep-1")
        with pytest.raises(JobAlreadyOpen) as refusal:
            add("rep-1")
        assert refusal.value.public == {"job_id": first}

    @pytest.mark.spec("01/JOB-05")
    def test_issuance_and_renewal_of_one_certificate_exclude_each_other(self, add):
        add(type="Issuance", certificate_id="mc-1")
        with pytest.raises(JobAlreadyOpen):
            add(type="Renewal", certificate_id="mc-1")
        add(type="Renewal", certificate_id="mc-2")

    @pytest.mark.spec("01/JOB-05")
    def test_deployments_of_one_certificate_to_two_targets_are_apart(self, add):
        add(type="Deployment", certificate_id="mc-1", target_id="tgt-1")
        add(type="Deployment", certificate_id="mc-1", target_id="tgt-2")
        with pytest.raises(JobAlreadyOpen):
            add(type="Deployment", certificate_id="mc-1", target_id="tgt-1")

    def test_the_subject_is_free_again_when_the_job_has_ended(self, add, take, units, service):
        add("rep-1")
        (job,) = take()
        with units.begin() as uow:
            service.complete(uow, job.id, job.lease_id)
        add("rep-1")

    def test_a_failed_job_that_waits_for_its_retry_holds_the_subject(
        self, add, take, units, service
    ):
        add("rep-1")
        (job,) = take()
        fail(units, service, job)
        with pytest.raises(JobAlreadyOpen):
            add("rep-1")

    def test_enqueue_unless_open_finds_the_open_one(self, add, units, service):
        first = add("rep-1")
        job = NewJob(type="Digest", subject_type="report", subject_id="rep-1")
        with units.begin() as uow:
            view, is_new = service.enqueue_unless_open(uow, job)
        assert (view.id, is_new) == (first, False)

    def test_a_batch_leaves_out_subjects_with_an_open_job(self, add, units, service):
        add("rep-3")
        batch = [
            NewJob(type="Digest", subject_type="report", subject_id=f"rep-{n}") for n in range(10)
        ]
        with units.begin() as uow:
            assert len(service.enqueue_many(uow, batch)) == 9
        with units.read() as uow:
            assert service.stats(uow) == {"Pending": 10}

    def test_a_delayed_job_is_claimed_when_its_time_comes(self, add, take, clock):
        add("rep-1", delay=MINUTE)
        assert take() == []
        clock.advance(MINUTE)
        assert len(take()) == 1


class TestClaim:
    @pytest.mark.spec("08/JOB-1", "01/JOB-01")
    def test_a_claim_sets_lease_attempt_and_start(self, add, take, clock):
        add("rep-1", payload={"days": 30})
        (job,) = take()
        assert (job.status, job.attempts, job.lease_owner) == ("Running", 1, "runner-1")
        assert job.lease_expires_at == clock.now() + timedelta(minutes=10)
        assert job.started_at == clock.now()
        assert job.payload == {"days": 30}
        assert take() == []

    @pytest.mark.spec("01/JOB-01")
    def test_the_longest_due_comes_first_after_priority(self, add, take, clock):
        late = add("rep-1")
        clock.advance(MINUTE)
        later = add("rep-2")
        first = add("rep-3", priority=1)
        assert [job.id for job in take()] == [first, late, later]

    @pytest.mark.spec("07/JOB-03")
    def test_only_the_owning_agent_claims_its_jobs(self, add, take):
        mine = add(type="Deployment", certificate_id="mc-1", target_id="tgt-1", owner="ag-1")
        assert take("Deployment") == []
        assert take("Deployment", owner="ag-2", holder="ag-2") == []
        (job,) = take("Deployment", owner="ag-1", holder="ag-1")
        assert (job.id, job.lease_owner) == (mine, "ag-1")

    def test_only_types_that_the_caller_can_run(self, add, take):
        add("rep-1")
        assert take("Renewal") == []

    @pytest.mark.spec("01/AGP-02")
    def test_a_job_that_awaits_a_csr_is_leased_to_one_agent(self, add, units, service, clock):
        add(type="Renewal", certificate_id="mc-1", status="AwaitingCSR")

        def poll(agent):
            with units.begin() as uow:
                return service.lease_waiting(uow, holder=agent, certificate_ids=["mc-1"], limit=10)

        assert [job.status for job in poll("ag-1")] == ["AwaitingCSR"]
        assert poll("ag-2") == []
        assert len(poll("ag-1")) == 1
        clock.advance(timedelta(minutes=11))
        assert len(poll("ag-2")) == 1


class TestReports:
    def test_complete_stores_result_and_probe(self, add, take, units, service, clock):
        add(type="Deployment", certificate_id="mc-1", target_id="tgt-1")
        (job,) = take("Deployment")
        probe = Verification(
            status=VerificationStatus.SUCCESS, expected_fingerprint="aa", actual_fingerprint="aa"
        )
        with units.begin() as uow:
            view = service.complete(
                uow, job.id, job.lease_id, {"outcome": "deployed"}, verification=probe
            )
        assert (view.status, view.result) == ("Completed", {"outcome": "deployed"})
        assert view.completed_at == clock.now()
        with units.read() as uow:
            found = service.verification(uow, job.id)
        assert (found.verified, found.target_id, found.actual_fingerprint) == (True, "tgt-1", "aa")

    @pytest.mark.spec("08/JOB-2", "07/JOB-06")
    def test_a_report_with_another_lease_is_refused(self, add, take, units, service):
        add("rep-1")
        (job,) = take()
        with units.begin() as uow, pytest.raises(JobLeaseLost):
            service.complete(uow, job.id, "0" * 32)

    @pytest.mark.spec("08/JOB-2")
    def test_a_late_report_after_the_job_passed_on_is_refused(
        self, add, take, units, service, clock
    ):
        add("rep-1")
        (old,) = take(holder="runner-1")
        clock.advance(timedelta(minutes=11))
        reap(service, units)
        clock.advance(MINUTE)
        (new,) = take(holder="runner-2")
        assert new.attempts == 2
        with pytest.raises(JobLeaseLost):
            fail(units, service, old)
        with units.begin() as uow:
            assert service.finish(uow, [Completion(job_id=old.id, lease_id=old.lease_id)]) == {
                old.id
            }
        assert get(units, service, old.id).lease_owner == "runner-2"

    @pytest.mark.spec("08/JOB-1")
    def test_a_batch_is_finished_together(self, add, take, units, service):
        for number in range(6):
            add(f"rep-{number}")
        claimed = take()
        ends = [
            Completion(job_id=job.id, lease_id=job.lease_id, result={"rows": n} if n % 2 else None)
            for n, job in enumerate(claimed)
        ]
        with units.begin() as uow:
            assert service.finish(uow, ends) == set()
        with units.read() as uow:
            assert service.stats(uow) == {"Completed": 6}
        assert get(units, service, claimed[1].id).result == {"rows": 1}

    @pytest.mark.spec("01/JOB-03", "07/JOB-05", "08/JOB-5")
    def test_a_retryable_failure_comes_back_after_its_wait_until_attempts_end(  # noqa: PLR0917
        self, add, take, units, service, clock, emitted
    ):
        ended = []
        service.on_final_failure("Digest", lambda _uow, job: ended.append(job.id))
        job_id = add("rep-1")
        for attempt in (1, 2):
            (job,) = take()
            view = fail(units, service, job)
            assert (view.status, view.attempts) == ("Failed", attempt)
            assert view.next_attempt_at == clock.now() + timedelta(seconds=30) * 2 ** (attempt - 1)
            assert retry_due(service, units) == 0
            clock.advance(MINUTE)
            assert retry_due(service, units) == 1
        (job,) = take()
        view = fail(units, service, job)
        assert (view.status, view.next_attempt_at, ended) == ("Failed", None, [job_id])
        clock.advance(timedelta(days=1))
        assert retry_due(service, units) == 0
        assert tags(emitted).count("job.failed") == 3
        assert tags(emitted).count("job.retried") == 2

    @pytest.mark.spec("08/JOB-5")
    def test_a_permanent_failure_is_not_retried(self, add, take, units, service):
        add("rep-1")
        (job,) = take()
        view = fail(units, service, job, retryable=False, code="config_invalid")
        assert (view.next_attempt_at, view.error_code) == (None, "config_invalid")
        assert view.last_error == "no answer"

    @pytest.mark.spec("01/JOB-10")
    def test_a_refused_csr_leaves_the_job_waiting_until_attempts_end(self, add, units, service):
        job_id = add(type="Renewal", certificate_id="mc-1", status="AwaitingCSR", max_attempts=2)
        for expected in ("AwaitingCSR", "Failed"):
            with units.begin() as uow:
                view = service.refuse_csr(uow, job_id, code="csr_rejected", message="weak key")
            assert view.status == expected


class TestLeases:
    def test_a_renewed_lease_lives_on(self, add, take, units, service, clock):
        add("rep-1")
        (job,) = take()
        clock.advance(timedelta(minutes=9))
        with units.begin() as uow:
            kept = service.renew(
                uow, holder="runner-1", job_ids=[job.id, "job-x"], lease=timedelta(minutes=10)
            )
        assert kept == {job.id}
        clock.advance(timedelta(minutes=9))
        assert reap(service, units) == 0

    @pytest.mark.spec("08/JOB-2", "01/JOB-04")
    def test_an_expired_lease_returns_the_job(self, add, take, units, service, clock, emitted):  # noqa: PLR0917
        job_id = add("rep-1")
        take()
        clock.advance(timedelta(minutes=11))
        assert reap(service, units) == 1
        view = get(units, service, job_id)
        assert (view.status, view.lease_owner, view.attempts) == ("Pending", None, 1)
        assert "job.lease_expired" in tags(emitted)

    @pytest.mark.spec("08/JOB-2")
    def test_the_last_attempt_that_is_lost_fails_the_job(self, add, take, units, service, clock):
        ended = []
        service.on_final_failure("Digest", lambda _uow, job: ended.append(job.id))
        job_id = add("rep-1", max_attempts=1)
        take()
        clock.advance(timedelta(minutes=11))
        reap(service, units)
        view = get(units, service, job_id)
        assert (view.status, view.error_code, ended) == ("Failed", "lease_expired", [job_id])

    @pytest.mark.spec("07/JOB-10", "01/JOB-04")
    def test_jobs_of_an_offline_agent_come_back(self, add, take, units, service, emitted):
        add(type="Deployment", certificate_id="mc-1", target_id="tgt-1", owner="ag-1")
        take("Deployment", owner="ag-1", holder="ag-1")
        with units.begin() as uow:
            assert service.expire_holder(uow, holder="ag-1", reason=LostReason.AGENT_OFFLINE) == 1
        (lost,) = [envelope.event for envelope in emitted]
        assert (lost.tag, lost.agent_id, lost.new_status) == ("job.agent_lost", "ag-1", "Pending")
        assert lost.timeout_reason == "agent_offline"

    def test_a_released_job_keeps_its_attempts(self, add, take, units, service):
        job_id = add("rep-1")
        take()
        with units.begin() as uow:
            assert service.release(uow, holder="runner-1", job_ids=[job_id]) == 1
        view = get(units, service, job_id)
        assert (view.status, view.attempts, view.started_at) == ("Pending", 0, None)


class TestReaper:
    @pytest.mark.spec("01/JOB-04")
    def test_a_csr_that_never_came_fails_the_job(self, add, units, service, clock, emitted):
        job_id = add(type="Renewal", certificate_id="mc-1", status="AwaitingCSR")
        clock.advance(timedelta(hours=25))
        assert reap(service, units) == 1
        assert get(units, service, job_id).error_code == "csr_timeout"
        event = emitted[-1].event
        assert (event.tag, event.timeout_reason, event.age_hours) == (
            "job.timed_out",
            "csr_timeout",
            25.0,
        )
        assert emitted[-1].actor.id == "system-reaper"

    @pytest.mark.spec("01/JOB-04", "05/APR-8")
    def test_an_approval_that_never_came_cancels_the_job(self, add, units, service, clock):
        job_id = add(type="Issuance", certificate_id="mc-1", status="AwaitingApproval")
        clock.advance(timedelta(hours=167))
        assert reap(service, units) == 0
        clock.advance(timedelta(hours=2))
        assert reap(service, units) == 1
        view = get(units, service, job_id)
        assert (view.status, view.last_error) == ("Cancelled", "approval expired")


class TestByHand:
    @pytest.mark.parametrize("status", ["Pending", "AwaitingCSR", "AwaitingApproval"])
    def test_an_unfinished_job_can_be_cancelled(self, add, units, service, emitted, status):
        job_id = add("rep-1", status=status)
        with units.begin() as uow:
            assert service.cancel(uow, job_id).status == "Cancelled"
        assert (emitted[-1].event.tag, emitted[-1].event.old_status) == ("job.cancelled", status)

    def test_a_cancelled_job_refuses_the_report_of_its_holder(self, add, take, units, service):
        add("rep-1")
        (job,) = take()
        with units.begin() as uow:
            service.cancel(uow, job.id)
        with units.begin() as uow, pytest.raises(JobLeaseLost):
            service.complete(uow, job.id, job.lease_id)

    def test_a_finished_job_cannot_be_cancelled(self, add, take, units, service):
        add("rep-1")
        (job,) = take()
        fail(units, service, job, retryable=False)
        with units.begin() as uow, pytest.raises(JobWrongState):
            service.cancel(uow, job.id)

    def test_all_jobs_of_a_certificate_are_cancelled(self, add, units, service):
        add(type="Renewal", certificate_id="mc-1")
        add(type="Deployment", certificate_id="mc-1", target_id="tgt-1")
        other = add(type="Renewal", certificate_id="mc-2")
        with units.begin() as uow:
            assert service.cancel_open(uow, certificate_id="mc-1", reason="revoked") == 2
            assert service.cancel_open(uow) == 0
        assert get(units, service, other).status == "Pending"

    def test_a_failed_job_is_retried_with_all_its_attempts(self, add, take, units, service):
        add("rep-1", max_attempts=1)
        (job,) = take()
        fail(units, service, job)
        with units.begin() as uow:
            view = service.retry(uow, job.id)
        assert (view.status, view.attempts, view.completed_at) == ("Pending", 0, None)
        assert len(take()) == 1

    def test_a_retry_is_refused_while_a_newer_job_is_open(self, add, take, units, service):
        add("rep-1")
        (job,) = take()
        fail(units, service, job, retryable=False)
        newer = add("rep-1")
        with pytest.raises(JobAlreadyOpen) as refusal, units.begin() as uow:
            service.retry(uow, job.id)
        assert refusal.value.public == {"job_id": newer}

    def test_only_a_failed_job_is_retried(self, add, units, service):
        job_id = add("rep-1")
        with units.begin() as uow, pytest.raises(JobWrongState):
            service.retry(uow, job_id)

    def test_unknown_ids_are_not_found(self, units, service):
        for act in (service.get, service.cancel, service.retry, service.verification):
            with units.begin() as uow, pytest.raises(JobNotFound):
                act(uow, "job-none")

    def test_a_job_without_a_probe_says_so(self, add, units, service):
        job_id = add("rep-1")
        with units.read() as uow, pytest.raises(JobNotVerified):
            service.verification(uow, job_id)


class TestStates:
    @pytest.mark.spec("01/JOB-10")
    @pytest.mark.parametrize("database_engine", ["sqlite"])
    @pytest.mark.parametrize("start", [JobStatus.PENDING, JobStatus.AWAITING_APPROVAL])
    def test_every_step_outside_the_table_is_refused(self, add, units, service, start):
        for to in JobStatus:
            job_id = add(f"rep-{to}", status=start)
            with units.begin() as uow:
                if to in TRANSITIONS[start]:
                    assert service.transition(uow, job_id, to).status == to
                else:
                    with pytest.raises(JobWrongState):
                        service.transition(uow, job_id, to)

    def test_the_way_through_csr_and_issuer(self, add, take, units, service):
        job_id = add(type="Issuance", certificate_id="mc-1", status="AwaitingApproval")
        for to in ("Pending", "Running", "AwaitingCSR", "Running", "AwaitingIssuer", "Completed"):
            with units.begin() as uow:
                service.transition(uow, job_id, to)
        view = get(units, service, job_id)
        assert view.status == "Completed"
        assert view.completed_at is not None

    def test_a_step_can_demand_its_origin(self, add, units, service):
        job_id = add("rep-1")
        with units.begin() as uow, pytest.raises(JobWrongState):
            service.transition(uow, job_id, "Cancelled", from_=["Running"])


class TestLists:
    def test_filters_and_totals(self, add, take, units, service):
        for number in range(5):
            add(f"rep-{number}")
        take(limit=2)
        with units.read() as uow:
            page = service.list(uow, JobQuery(status=JobStatus.RUNNING))
            everything = service.list(uow, JobQuery(page_size=2))
            none = service.list(uow, JobQuery(certificate_id="mc-none"))
        assert (page.total, len(page.data)) == (2, 2)
        assert (everything.total, len(everything.data)) == (5, 2)
        assert everything.next_cursor is not None
        assert none.data == []

    @pytest.mark.spec("05/RBAC-14")
    def test_a_scoped_reader_sees_its_own_jobs_only(self, add, units, service):
        mine = add("rep-1", scope=Resource(profile_id="prof-a"))
        add("rep-2", scope=Resource(profile_id="prof-b"))
        with units.read() as uow:
            page = service.list(uow, JobQuery(), scopes=[Resource(profile_id="prof-a")])
            assert service.resource(uow, mine).profile_id == "prof-a"
        assert ([row.id for row in page.data], page.total) == ([mine], 1)

    def test_old_ended_jobs_are_pruned(self, add, take, units, service, clock):
        add("rep-1")
        (job,) = take()
        with units.begin() as uow:
            service.complete(uow, job.id, job.lease_id)
        open_id = add("rep-2")
        clock.advance(timedelta(days=90))
        with units.begin() as uow:
            assert service.prune(uow, before=clock.now() - timedelta(days=30)) == 1
        with units.read() as uow:
            assert service.stats(uow) == {"Pending": 1}
        assert get(units, service, open_id).status == "Pending"
