"""The state machine of managed certificates, cell by cell, and its counters (01 §2.1)."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from certctl_core.app import Core
from certctl_core.kernel.errors import CertctlError
from certctl_core.lifecycle.certificates import (
    CertificateNotFound,
    NoVersionYet,
    Status,
    WrongState,
)
from certctl_core.lifecycle.certificates.types import TRANSITIONS, sources_of
from certctl_core.testing.fakes import FakeClock
from tests.core.certificates.support import (
    active,
    add_version,
    assert_counters_hold,
    create,
    get,
    put,
)


def _refusal(core: Core, certificate_id: str, target: Status) -> WrongState | None:
    try:
        with core.begin() as uow:
            core.rooms.certificates.swap_status(uow, certificate_id, target)
    except WrongState as error:
        return error
    return None


def test_every_cell_of_the_table(core: Core) -> None:
    """Allowed steps are taken, all others are refused and change nothing."""
    view = create(core, "cell.example.test")
    for source in Status:
        for target in Status:
            put(core, view.id, source)
            before = get(core, view.id)
            allowed = target in TRANSITIONS[source]
            refused = _refusal(core, view.id, target)
            after = get(core, view.id)
            assert (refused is None) is allowed, f"{source} → {target}"
            if refused is None:
                assert (after.status, after.version) == (target, before.version + 1)
            else:
                assert refused.data["certificate_status"] == source
                assert after == before
    assert_counters_hold(core)


def test_the_table_is_whole() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert TRANSITIONS[Status.ARCHIVED] == frozenset()
    for status in Status:
        if status is not Status.ARCHIVED:
            assert status in sources_of(Status.ARCHIVED)
    assert Status.PENDING not in {target for row in TRANSITIONS.values() for target in row}


def test_an_unknown_certificate(core: Core) -> None:
    service = core.rooms.certificates
    for act in (
        lambda uow: service.swap_status(uow, "mc-none", Status.ACTIVE),
        lambda uow: service.get(uow, "mc-none"),
        lambda uow: service.archive(uow, "mc-none"),
        lambda uow: service.begin_renewal(uow, "mc-none"),
    ):
        with pytest.raises(CertificateNotFound), core.begin() as uow:
            act(uow)
    with pytest.raises(NoVersionYet), core.units.read() as reading:
        service.current_version(reading, create(core, "new.example.test").id)


@pytest.mark.parametrize("writers", [2, 5])
def test_of_racing_writers_exactly_one_wins(core: Core, writers: int) -> None:
    view = active(core, "race.example.test")
    outcomes: list[bool] = []

    def attempt() -> None:
        try:
            with core.begin() as uow:
                core.rooms.certificates.begin_renewal(uow, view.id)
            outcomes.append(True)
        except WrongState:
            outcomes.append(False)

    threads = [threading.Thread(target=attempt) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == [False] * (writers - 1) + [True]
    assert get(core, view.id).status is Status.RENEWING
    assert_counters_hold(core)


def test_an_archive_and_a_new_version_race(core: Core) -> None:
    """Whoever is second loses, and nothing of the loser stays."""
    for number in range(5):
        view = create(core, f"race{number}.example.test")
        errors: list[str] = []

        def guarded(act: Callable[[], object], errors: list[str] = errors) -> None:
            try:
                act()
            except WrongState as error:
                errors.append(error.code)

        def store(certificate_id: str = view.id) -> None:
            add_version(core, certificate_id)

        def archive(certificate_id: str = view.id) -> None:
            core.call("certificates.archive", path={"certificate_id": certificate_id})

        threads = [threading.Thread(target=guarded, args=(act,)) for act in (store, archive)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        page = core.call("certificates.versions", path={"certificate_id": view.id})
        after = get(core, view.id)
        assert after.status is Status.ARCHIVED
        assert page.total == (0 if errors else 1)
        assert (after.current_version_id is None) is bool(errors)
    assert_counters_hold(core)


def test_counters_equal_the_rows_after_any_mix(core: Core, clock: FakeClock) -> None:
    dice = random.Random(7)
    service = core.rooms.certificates
    ids = [create(core, f"m{number}.example.test").id for number in range(12)]

    def tick(_certificate_id: str) -> None:
        clock.advance(timedelta(days=dice.randint(1, 20)))
        with core.begin() as uow:
            service.sweep_dates(uow)

    def failed(certificate_id: str) -> None:
        with core.begin() as uow:
            service.end_failed(uow, certificate_id, code="x", message="y")

    def renewal(certificate_id: str) -> None:
        with core.begin() as uow:
            service.begin_renewal(uow, certificate_id)

    path = "certificate_id"
    acts: list[Callable[[str], object]] = [
        lambda item: add_version(core, item, days=dice.randint(1, 60)),
        lambda item: core.call("certificates.archive", path={path: item}),
        lambda item: core.call(
            "certificates.revoke", path={path: item}, body={"reason": "certificateHold"}
        ),
        lambda item: core.call("certificates.unhold", path={path: item}),
        renewal,
        failed,
        tick,
    ]
    done = 0
    for _ in range(120):
        try:
            dice.choices(acts, weights=[6, 1, 2, 3, 4, 3, 1])[0](dice.choice(ids))
            done += 1
        except CertctlError:
            pass
    assert done > 40
    assert_counters_hold(core)


class TestEndFailed:
    @pytest.mark.parametrize(
        ("age", "status"),
        [(10, Status.ACTIVE), (65, Status.EXPIRING), (91, Status.EXPIRED)],
    )
    @pytest.mark.parametrize("database_engine", ["sqlite"])
    def test_returns_to_what_the_dates_say(
        self, core: Core, clock: FakeClock, age: int, status: Status
    ) -> None:
        view = active(core, "web.example.test")
        with core.begin() as uow:
            core.rooms.certificates.begin_renewal(uow, view.id)
        clock.advance(timedelta(days=age))

        with core.begin() as uow:
            core.rooms.certificates.end_failed(uow, view.id, code="no_agent", message="it was off")

        after = get(core, view.id)
        assert (after.status, after.last_error) == (status, "it was off")
        assert after.next_renewal_at == clock.now() + timedelta(hours=1)
        assert "renewal.failed" in [item.action for item in core.call("audit.list").data]

    @pytest.mark.parametrize("database_engine", ["sqlite"])
    def test_one_without_a_version_is_failed(self, core: Core) -> None:
        view = create(core, "new.example.test")
        with core.begin() as uow:
            core.rooms.certificates.begin_renewal(uow, view.id)
        with core.begin() as uow:
            core.rooms.certificates.end_failed(uow, view.id, code="x", message="m" * 5000)

        after = get(core, view.id)
        assert (after.status, after.next_renewal_at) == (Status.FAILED, None)
        assert after.last_error == "m" * 2000
        assert add_version(core, view.id).status is Status.ACTIVE
        assert get(core, view.id).last_error is None

    @pytest.mark.parametrize("database_engine", ["sqlite"])
    def test_one_that_was_revoked_meanwhile_stays_so(self, core: Core) -> None:
        view = active(core, "web.example.test")
        put(core, view.id, Status.RENEWING)
        core.call("certificates.revoke", path={"certificate_id": view.id}, body={})

        with core.begin() as uow:
            core.rooms.certificates.end_failed(uow, view.id, code="x", message="late")

        assert get(core, view.id).status is Status.REVOKED
        assert_counters_hold(core)


class TestSweep:
    def test_expiring_then_expired(self, core: Core, clock: FakeClock) -> None:
        long = active(core, "long.example.test", days=90)
        short = active(core, "short.example.test", days=0.25)

        def sweep() -> int:
            with core.begin() as uow:
                return core.rooms.certificates.sweep_dates(uow)

        def states() -> tuple[Status, Status]:
            return get(core, long.id).status, get(core, short.id).status

        assert (sweep(), states()) == (0, (Status.ACTIVE, Status.ACTIVE))
        clock.advance(timedelta(hours=4))  # the last third of six hours
        assert (sweep(), states()) == (1, (Status.ACTIVE, Status.EXPIRING))
        clock.advance(timedelta(hours=2))
        assert (sweep(), states()) == (1, (Status.ACTIVE, Status.EXPIRED))
        clock.advance(timedelta(days=60))
        assert (sweep(), states()) == (1, (Status.EXPIRING, Status.EXPIRED))
        clock.advance(timedelta(days=30))
        assert (sweep(), states()) == (1, (Status.EXPIRED, Status.EXPIRED))
        assert sweep() == 0
        audited = [item.action for item in core.call("audit.list").data]
        assert audited.count("certificate.expired") == 2
        assert_counters_hold(core)

    def test_what_is_busy_or_over_is_left_alone(self, core: Core, clock: FakeClock) -> None:
        kept = (Status.RENEWING, Status.REVOKED, Status.ARCHIVED, Status.FAILED)
        views = {status: active(core, f"{status}.example.test", days=1) for status in kept}
        for status, view in views.items():
            put(core, view.id, status)
        clock.advance(timedelta(days=2))

        with core.begin() as uow:
            assert core.rooms.certificates.sweep_dates(uow) == 0

        for status, view in views.items():
            assert get(core, view.id).status is status

    def test_many_short_lived_ones_do_not_hide_the_others(
        self, core: Core, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("certctl_core.lifecycle.certificates.states._SWEEP_PAGE", 3)
        for number in range(8):
            active(core, f"s{number}.example.test", days=20)
        long = active(core, "long.example.test", days=80)
        clock.advance(timedelta(days=0.5))
        with core.begin() as uow:
            assert core.rooms.certificates.sweep_dates(uow) == 0
        long = active(core, "window.example.test", days=29 * 3)
        clock.advance(timedelta(days=10))
        policy = core.call(
            "renewal_policies.create", body={"name": "Wide", "renewal_window_days": 365}
        )
        core.call(
            "certificates.update",
            path={"certificate_id": long.id},
            body={"renewal_policy_id": policy.id},
        )
        clock.advance(timedelta(days=2.7))
        with core.begin() as uow:
            moved = core.rooms.certificates.sweep_dates(uow)
        assert moved == 0, "nothing is in its last third yet"
        clock.advance(timedelta(days=0.3))
        with core.begin() as uow:
            assert core.rooms.certificates.sweep_dates(uow, limit=5) == 5
        with core.begin() as uow:
            assert core.rooms.certificates.sweep_dates(uow) == 3
        assert get(core, long.id).status is Status.ACTIVE


def test_versions_of_agents_are_current_side_by_side(core: Core, clock: FakeClock) -> None:
    view = create(core, "web.example.test")
    for agent_id in ("ag-one", "ag-two", "ag-one"):
        clock.advance(timedelta(seconds=1))
        add_version(core, view.id, agent_id=agent_id)

    page = core.call("certificates.versions", path={"certificate_id": view.id}).data

    assert [(item.agent_id, item.is_current) for item in page] == [
        ("ag-one", True),
        ("ag-two", True),
        ("ag-one", False),
    ]
    with core.units.read() as uow:
        service = core.rooms.certificates
        assert service.current_version(uow, view.id).id == page[0].id
        assert service.current_version(uow, view.id, agent_id="ag-two").id == page[1].id
