"""Renewals (01 §10 REN, §2.1): who makes the CSR, what is due, what a failure leads to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from certctl_core.app import Core
from certctl_core.kernel.actors import SYSTEM
from certctl_core.kernel.config import Settings
from certctl_core.kernel.db import Uow
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.jobs import JobStatus
from certctl_core.lifecycle.certificates import CertificateView, Status
from certctl_core.lifecycle.issuance import JobRef
from certctl_core.lifecycle.renewal import run_renewals
from certctl_core.testing.factories import issue, make_csr
from certctl_core.testing.fakes import FakeClock
from tests.core.certificates.support import active, assert_counters_hold, create, get, put


def tick(core: Core) -> int:
    return run_renewals(core.units, core.rooms.renewal, core.rooms.certificates)


def held_by(core: Core, *agents: str, only: set[str] | None = None) -> None:
    """Say which agents hold the keys (of some certificates)."""

    def holders(_uow: Uow, certificate_id: str) -> Sequence[str]:
        return agents if only is None or certificate_id in only else ()

    core.rooms.renewal.set_key_holders(holders)


def renew(core: Core, certificate_id: str, **body: object) -> list[str]:
    path = {"certificate_id": certificate_id}
    jobs: list[str] = core.call("certificates.renew", path=path, body=body).job_ids
    return jobs


def open_jobs(core: Core, certificate_id: str) -> list[tuple[str, str, str]]:
    page = core.call("jobs.list", query={"certificate_id": certificate_id}).data
    return sorted((job.type, job.agent_id, job.status) for job in page)


class TestByHand:
    def test_one_job_for_each_holder_awaits_its_csr(self, core: Core) -> None:
        view = active(core, "web.example.test")
        held_by(core, "ag-one", "ag-two")

        jobs = renew(core, view.id)

        assert len(jobs) == 2
        assert open_jobs(core, view.id) == [
            ("Renewal", "ag-one", JobStatus.AWAITING_CSR),
            ("Renewal", "ag-two", JobStatus.AWAITING_CSR),
        ]
        after = get(core, view.id)
        assert (after.status, after.next_renewal_at) == (Status.RENEWING, None)
        audited = [item.action for item in core.call("audit.list").data]
        assert audited.count("renewal.job_created") == 2
        assert "renewal.requested" in audited
        with pytest.raises(CertctlError) as caught:
            renew(core, view.id)
        assert caught.value.code == "renewal_in_progress"

    def test_a_single_key_has_one_job(self, core: Core) -> None:
        view = active(core, "web.example.test", key_scope="single_holder")
        held_by(core, "ag-one", "ag-two")

        assert len(renew(core, view.id)) == 1
        assert open_jobs(core, view.id) == [("Renewal", "ag-one", JobStatus.AWAITING_CSR)]

    @pytest.mark.spec("01/JOB-06")
    def test_the_first_one_is_an_issuance(self, core: Core) -> None:
        view = create(core, "new.example.test")
        held_by(core, "ag-one")

        renew(core, view.id)

        assert open_jobs(core, view.id)[0][0] == "Issuance"

    @pytest.mark.spec("01/CERT-10")
    def test_force_starts_over(self, core: Core) -> None:
        view = active(core, "web.example.test")
        held_by(core, "ag-one")
        first = renew(core, view.id)

        second = renew(core, view.id, force=True)

        assert first != second
        assert [status for _, _, status in open_jobs(core, view.id)] == [
            JobStatus.AWAITING_CSR,
            JobStatus.CANCELLED,
        ]
        assert get(core, view.id).status is Status.RENEWING
        assert_counters_hold(core)

    def test_without_a_holder_nothing_starts(self, core: Core) -> None:
        view = active(core, "web.example.test")

        with pytest.raises(CertctlError) as caught:
            renew(core, view.id)

        assert caught.value.code == "no_key_holder"
        assert get(core, view.id) == view

    @pytest.mark.parametrize("status", [Status.REVOKED, Status.ARCHIVED])
    def test_the_end_counts_before_the_holder(self, core: Core, status: Status) -> None:
        view = active(core, "web.example.test")
        put(core, view.id, status)

        with pytest.raises(CertctlError) as caught:
            renew(core, view.id)

        assert (caught.value.code, status.value in caught.value.detail) == ("wrong_state", True)

    @pytest.mark.spec("01/CERT-01")
    def test_expired_ones_renew_archived_and_revoked_do_not(self, core: Core) -> None:
        held_by(core, "ag-one")
        views = {status: active(core, f"{status}.example.test") for status in Status}
        for status, view in views.items():
            put(core, view.id, status)

        for status, view in views.items():
            if status in {Status.REVOKED, Status.ARCHIVED, Status.RENEWING}:
                with pytest.raises(CertctlError):
                    renew(core, view.id)
                assert get(core, view.id).status is status
            else:
                assert len(renew(core, view.id)) == 1

    @pytest.mark.spec("01/CERT-03")
    def test_an_archive_cancels_the_jobs(self, core: Core) -> None:
        view = active(core, "web.example.test")
        held_by(core, "ag-one", "ag-two")
        renew(core, view.id)

        core.call("certificates.archive", path={"certificate_id": view.id})

        assert {status for _, _, status in open_jobs(core, view.id)} == {JobStatus.CANCELLED}
        assert get(core, view.id).status is Status.ARCHIVED
        assert_counters_hold(core)


class TestByTheCalendar:
    """01 REN-01 … REN-03."""

    def due(self, core: Core, clock: FakeClock, *views: CertificateView) -> None:
        moments = [get(core, view.id).next_renewal_at for view in views]
        clock.set(max(moment for moment in moments if moment is not None))

    @pytest.mark.spec("01/REN-01", "01/RP-03")
    def test_nothing_before_its_time_then_once(self, core: Core, clock: FakeClock) -> None:
        view = active(core, "web.example.test")
        held_by(core, "ag-one")
        self.due(core, clock, view)
        clock.set(clock.now() - timedelta(seconds=1))
        assert tick(core) == 0
        clock.advance(timedelta(seconds=1))

        assert tick(core) == 1
        assert tick(core) == 0

        assert get(core, view.id).status is Status.RENEWING
        assert len(open_jobs(core, view.id)) == 1

    @pytest.mark.spec("01/REN-03")
    def test_what_does_not_renew_by_itself(self, core: Core, clock: FakeClock) -> None:
        off = core.call("renewal_policies.create", body={"name": "Off", "auto_renew": False})
        views = [
            active(core, "a.example.test", renewal_policy_id=off.id),
            active(core, "b.example.test", managed_renewal=False),
            create(core, "c.example.test"),
        ]
        held_by(core, "ag-one")
        clock.advance(timedelta(days=80))

        assert tick(core) == 0
        assert [open_jobs(core, view.id) for view in views] == [[], [], []]

    def test_keyless_ones_wait_and_hide_nobody(
        self, core: Core, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("certctl_core.lifecycle.renewal.loops._BATCH", 3)
        keyless = [active(core, f"k{number}.example.test", days=60) for number in range(7)]
        held = [active(core, f"h{number}.example.test", days=90) for number in range(5)]
        held_by(core, "ag-one", only={view.id for view in held})
        self.due(core, clock, *held)

        assert tick(core) == len(held)

        for view in keyless:
            after = get(core, view.id)
            assert after.status is not Status.RENEWING
            assert after.next_renewal_at == clock.now() + timedelta(hours=1)
        assert tick(core) == 0

    def test_one_that_cannot_start_does_not_stop_the_rest(
        self, core: Core, clock: FakeClock
    ) -> None:
        views = [active(core, f"w{number}.example.test") for number in range(4)]

        def holders(uow: Uow, certificate_id: str) -> Sequence[str]:
            if certificate_id == views[0].id:
                core.rooms.certificates.get(uow, "mc-none")  # raises
            return ["ag-one"]

        core.rooms.renewal.set_key_holders(holders)
        self.due(core, clock, *views)

        assert tick(core) == 3

        assert get(core, views[0].id).next_renewal_at == clock.now() + timedelta(hours=1)
        assert {get(core, view.id).status for view in views[1:]} == {Status.RENEWING}
        assert_counters_hold(core)


class TestWhatCannotWait:
    """A certificate may end before the renewal loop (every hour) comes round again."""

    HOURS = 1 / 24

    def look(self, core: Core) -> int:
        return core.background.scheduler.run_once("short_lived").items

    def test_a_short_life_is_renewed_at_its_time(self, core: Core, clock: FakeClock) -> None:
        view = active(core, "short.example.test", days=self.HOURS)
        held_by(core, "ag-one")
        planned = get(core, view.id).next_renewal_at
        assert planned is not None
        clock.set(planned - timedelta(seconds=1))
        assert self.look(core) == 0
        clock.advance(timedelta(seconds=1))

        assert self.look(core) == 1

        assert get(core, view.id).status is Status.RENEWING
        assert self.look(core) == 0

    def test_a_long_life_waits_for_the_round(self, core: Core, clock: FakeClock) -> None:
        view = active(core, "long.example.test", days=90)
        held_by(core, "ag-one")
        planned = get(core, view.id).next_renewal_at
        assert planned is not None
        clock.set(planned)

        assert self.look(core) == 0

        assert open_jobs(core, view.id) == []
        assert tick(core) == 1

    def test_what_has_ended_is_called_expired(self, core: Core, clock: FakeClock) -> None:
        view = active(core, "short.example.test", days=self.HOURS, managed_renewal=False)
        clock.advance(timedelta(hours=1, seconds=1))

        assert self.look(core) == 1

        assert get(core, view.id).status is Status.EXPIRED
        assert "certificate.expired" in [item.action for item in core.call("audit.list").data]
        assert_counters_hold(core)

    def test_one_that_cannot_start_does_not_stop_the_rest(
        self, core: Core, clock: FakeClock
    ) -> None:
        views = [active(core, f"s{number}.example.test", days=self.HOURS) for number in range(3)]

        def holders(uow: Uow, certificate_id: str) -> Sequence[str]:
            if certificate_id == views[0].id:
                core.rooms.certificates.get(uow, "mc-none")  # raises
            return ["ag-one"]

        core.rooms.renewal.set_key_holders(holders)
        clock.advance(timedelta(minutes=50))

        assert self.look(core) == 2

        assert {get(core, view.id).status for view in views[1:]} == {Status.RENEWING}

    def test_its_interval_is_a_setting(self, tmp_path: Path) -> None:
        settings = Settings.for_directory(tmp_path, short_lived_expiry_check_interval="5s")
        with Core.open(settings) as core:
            core.background.start()
            loop = core.call("loops.get", path={"name": "short_lived"})
            assert loop.interval_seconds == 5


class TestTheJob:
    def start(self, core: Core) -> tuple[str, str]:
        """An issued certificate whose renewal awaits the CSR of ``ag-one``."""
        issued = issue(core, "web.example.test")
        held_by(core, "ag-one")
        return issued.certificate.id, renew(core, issued.certificate.id)[0]

    def send(self, core: Core, certificate_id: str, job_id: str, csr: str) -> str:
        issued = core.rooms.issuance.issue(
            certificate_id=certificate_id,
            csr_pem=csr,
            actor=SYSTEM,
            request_id="r",
            job=JobRef(job_id=job_id, agent_id="ag-one"),
        )
        return issued.version.id

    def test_its_csr_makes_a_version_once(self, core: Core, clock: FakeClock) -> None:
        certificate_id, job_id = self.start(core)
        clock.advance(timedelta(seconds=1))
        csr = make_csr("web.example.test")

        first = self.send(core, certificate_id, job_id, csr)
        again = self.send(core, certificate_id, job_id, csr)

        assert first == again
        page = core.call("certificates.versions", path={"certificate_id": certificate_id})
        assert page.total == 2
        assert (page.data[0].job_id, page.data[0].agent_id) == (job_id, "ag-one")
        view = get(core, certificate_id)
        assert (view.status, view.current_version_id) == (Status.ACTIVE, first)
        assert view.last_renewal_at is not None

    def test_the_same_csr_for_another_job_is_a_new_version(self, core: Core) -> None:
        certificate_id, job_id = self.start(core)
        csr = make_csr("web.example.test")
        first = self.send(core, certificate_id, job_id, csr)
        with core.begin() as uow:
            core.rooms.jobs.cancel_open(uow, certificate_id=certificate_id)
        other = renew(core, certificate_id)[0]

        assert self.send(core, certificate_id, other, csr) != first

    def test_a_refused_csr_leaves_the_renewal_open(self, core: Core) -> None:
        certificate_id, job_id = self.start(core)

        with pytest.raises(CertctlError) as caught:
            self.send(core, certificate_id, job_id, make_csr("evil.example.org"))

        assert caught.value.code == "csr_rejected"
        assert get(core, certificate_id).status is Status.RENEWING
        assert self.send(core, certificate_id, job_id, make_csr("web.example.test"))

    @pytest.mark.parametrize(
        ("age", "status"), [(1, Status.ACTIVE), (70, Status.EXPIRING), (100, Status.EXPIRED)]
    )
    @pytest.mark.parametrize("database_engine", ["sqlite"])
    def test_when_nobody_answers_it_returns_to_its_dates(
        self, core: Core, clock: FakeClock, age: int, status: Status
    ) -> None:
        certificate_id, job_id = self.start(core)
        clock.advance(timedelta(days=age))

        for _ in range(20):
            core.background.scheduler.run_once("job_timeout")
            core.background.scheduler.run_once("job_retry")
            clock.advance(timedelta(hours=7))
            if get(core, certificate_id).status is not Status.RENEWING:
                break

        job = core.call("jobs.get", path={"job_id": job_id})
        assert job.status in {JobStatus.FAILED, JobStatus.CANCELLED}
        view = get(core, certificate_id)
        assert view.status is status
        assert view.last_error
        assert view.next_renewal_at is not None
        assert_counters_hold(core)


def test_the_holder_without_a_version_may_bring_its_key(core: Core) -> None:
    """A profile that keeps keys keeps each holder's own; a new holder begins with its own."""
    profile = core.call("profiles.create", body={"name": "Keep", "reuse_key": True})
    issued = issue(core, "web.example.test", certificate_profile_id=profile.id)
    held_by(core, "ag-new")
    job_id = renew(core, issued.certificate.id)[0]

    again = core.rooms.issuance.issue(
        certificate_id=issued.certificate.id,
        csr_pem=make_csr("web.example.test"),
        actor=SYSTEM,
        request_id="",
        job=JobRef(job_id=job_id, agent_id="ag-new"),
    )

    assert again.version.agent_id == "ag-new"
