"""The unit of work: all or nothing, who may write, what runs after the commit, leases."""

# ruff: noqa: PT012 - the unit of work raises, when its block ends

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import timedelta

import pytest
import sqlalchemy as sa

from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.db import (
    Database,
    DatabaseBusy,
    DatabaseUnavailable,
    Lease,
    Leases,
    UnitOfWorkFactory,
    WriteInReadTransaction,
)
from certctl_core.kernel.db.engine import translate
from certctl_core.kernel.events import Category, Event
from certctl_core.kernel.ids import Prefix
from certctl_core.testing.fakes import FakeClock
from tests.core.db.conftest import Watched, add_shelf, shelves, swap_shelf
from tests.machine import PATIENCE_SECONDS


@dataclass(frozen=True, kw_only=True)
class ShelfMade(Event):
    """A shelf was made."""

    tag = "test.shelf_made"
    category = Category.CONFIG
    resource_type = "shelf"


def test_an_exception_leaves_nothing(watched: Watched) -> None:
    woken: list[str] = []
    watched.units.on_wake = woken.append

    with pytest.raises(ZeroDivisionError), watched.units.begin() as uow:
        add_shelf(uow, "a")
        uow.execute(sa.insert(shelves).values(id="b", label="b", state="open", version=1))
        uow.count("test.shelves", 2)
        uow.touch("shelves")
        uow.wake("shelves")
        uow.after_commit(lambda: woken.append("after"))
        uow.emit(ShelfMade(resource_id="a"))
        raise ZeroDivisionError

    assert watched.rows(shelves) == []
    assert (watched.counter("test.shelves"), watched.stamp("shelves")) == (0, 0)
    assert woken == []


def test_a_commit_handler_that_fails_rolls_back(watched: Watched) -> None:
    units = watched.units

    def refuse(_uow: object, _events: object) -> None:
        raise ZeroDivisionError

    units.bus.at_commit(refuse)
    with pytest.raises(ZeroDivisionError), units.begin() as uow:
        add_shelf(uow, "a")
        uow.emit(ShelfMade(resource_id="a"))
    assert watched.rows(shelves) == []
    with units.begin() as uow:
        add_shelf(uow, "b")  # without an event nobody is asked
    assert [row["id"] for row in watched.rows(shelves)] == ["b"]


def test_what_waits_for_the_commit_runs_after_it_and_cannot_undo_it(watched: Watched) -> None:
    seen: list[object] = []
    units = watched.units
    units.on_wake = seen.append

    def look() -> None:
        seen.append(len(watched.rows(shelves)))

    def fail() -> None:
        raise ZeroDivisionError

    with units.begin(Actor(type=ActorType.USER, id="u-1"), request_id="req") as uow:
        add_shelf(uow, "a")
        uow.wake("shelves")
        uow.after_commit(fail)
        uow.after_commit(look)
        emitted = uow.emit(ShelfMade(resource_id="a"))
        assert seen == []

    assert seen == ["shelves", 1]
    assert (emitted.actor.id, emitted.request_id) == ("u-1", "req")


def test_counters_and_stamps_add_up_over_writers(watched: Watched) -> None:
    def work() -> None:
        for _ in range(5):
            with watched.units.begin() as uow:
                uow.count("test.a", 2)
                uow.count("test.a", -1)
                uow.count("test.b", 1)
                uow.count("test.b", -1)
                uow.touch("shelves")
                uow.touch("shelves")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (watched.counter("test.a"), watched.counter("test.b")) == (20, 0)
    assert watched.stamp("shelves") == 20
    with watched.units.read() as uow:
        assert uow.counters("test.") == {"a": 20}


def test_ids_of_one_unit_of_work_keep_their_order(units: UnitOfWorkFactory) -> None:
    with units.begin() as uow:
        ids = [uow.new_id(Prefix.JOB) for _ in range(200)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 200


class TestReading:
    def test_it_refuses_to_write(self, units: UnitOfWorkFactory) -> None:
        with pytest.raises(WriteInReadTransaction), units.read() as uow:
            uow.emit(ShelfMade(resource_id="a"))
        with pytest.raises(sa.exc.DBAPIError), units.read() as uow:
            uow.execute(sa.insert(shelves).values(id="b", label="b", state="x", version=1))
        with pytest.raises(sa.exc.DBAPIError), units.read() as uow:
            uow.execute(sa.delete(shelves))

    def test_writes_that_wait_are_refused_at_once(self, watched: Watched) -> None:
        with watched.units.begin() as uow:
            add_shelf(uow, "a")

        with pytest.raises(WriteInReadTransaction), watched.units.read() as uow:
            add_shelf(uow, "b")
        with pytest.raises(WriteInReadTransaction), watched.units.read() as uow:
            swap_shelf(uow, "a", "open", "full")

        assert [row["state"] for row in watched.rows(shelves)] == ["open"]


class TestLeases:
    TTL = timedelta(seconds=30)

    def acquire(self, units: UnitOfWorkFactory, holder: str) -> Lease | None:
        with units.begin() as uow:
            return Leases().acquire(uow, "loop", holder=holder, ttl=self.TTL)

    @pytest.mark.spec("08/HA-2")
    def test_one_holder_at_a_time(self, units: UnitOfWorkFactory) -> None:
        first = self.acquire(units, "one")
        assert first is not None
        assert self.acquire(units, "two") is None
        again = self.acquire(units, "one")
        assert again is not None
        assert again.fence == first.fence

        with units.begin() as uow:
            Leases().release(uow, again)
        second = self.acquire(units, "two")

        assert second is not None
        assert second.fence == first.fence + 1
        with units.begin() as uow:
            assert Leases().is_held(uow, second)
            assert not Leases().is_held(uow, first)
            Leases().release(uow, first)  # too late: another one holds it
            assert Leases().is_held(uow, second)
        assert self.acquire(units, "one") is None

    @pytest.mark.spec("08/HA-2")
    @pytest.mark.parametrize("database_engine", ["sqlite"])
    def test_a_dead_holder_loses_it(self, units: UnitOfWorkFactory, clock: FakeClock) -> None:
        first = self.acquire(units, "one")
        clock.advance(self.TTL + timedelta(seconds=1))
        second = self.acquire(units, "two")
        assert first is not None
        assert second is not None
        assert second.fence == first.fence + 1

    @pytest.mark.spec("08/HA-2")
    def test_of_many_one_gets_it(self, units: UnitOfWorkFactory) -> None:
        found: list[Lease | None] = []
        threads = [
            threading.Thread(target=lambda n=number: found.append(self.acquire(units, f"h{n}")))
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len([lease for lease in found if lease is not None]) == 1


class TestTroubleHasAName:
    def test_a_database_that_is_not_there(self, database_engine: str, tmp_path: object) -> None:
        url = (
            f"sqlite:///{tmp_path}/none/db.sqlite"
            if database_engine == "sqlite"
            else "postgresql://nobody@127.0.0.1:1/none?connect_timeout=40"
        )
        database = Database(url)
        for act in (database.ping, lambda: database.write().__enter__()):
            with pytest.raises(DatabaseUnavailable) as caught:
                act()
            assert "none" not in caught.value.detail
        database.close()

    @pytest.mark.parametrize("database_engine", ["sqlite"])
    def test_a_writer_that_holds_on(self, database_url: str) -> None:
        one = Database(database_url, lock_timeout=timedelta(milliseconds=50))
        two = Database(database_url, lock_timeout=timedelta(milliseconds=50))
        with one.write(), pytest.raises(DatabaseBusy), two.write():
            pass
        with two.write() as connection:
            connection.execute(sa.text("SELECT 1"))
        one.close()
        two.close()

    @pytest.mark.parametrize("database_engine", ["postgres"])
    def test_locks_statements_and_lost_connections(self, database_url: str) -> None:
        # Only what must end early has a short limit: the other statements may be slow.
        locks = Database(database_url, lock_timeout=timedelta(milliseconds=100))
        statements = Database(database_url, statement_timeout=timedelta(milliseconds=300))

        def run(database: Database, text: str) -> None:
            with database.write() as connection:
                connection.execute(sa.text(text))

        with locks.write() as holder:
            holder.execute(sa.text("LOCK TABLE counters IN ACCESS EXCLUSIVE MODE"))
            with pytest.raises(DatabaseBusy):
                run(locks, "UPDATE counters SET value = 0")
        with pytest.raises(DatabaseBusy):
            run(statements, f"SELECT pg_sleep({PATIENCE_SECONDS})")
        with pytest.raises(DatabaseUnavailable):
            run(locks, "SELECT pg_terminate_backend(pg_backend_pid())")
        run(locks, "SELECT 1")
        locks.close()
        statements.close()

    def test_an_exhausted_pool(self, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        database = Database(database_url, max_connections=2)
        monkeypatch.setattr(database.writer.pool, "_timeout", 0.05)
        with database.write(), pytest.raises(DatabaseBusy), database.write():
            pass
        database.close()

    def test_other_errors_stay_what_they_are(self, units: UnitOfWorkFactory) -> None:
        for statement in ("SELECT * FROM nowhere", "nonsense"):
            with pytest.raises(sa.exc.DBAPIError) as caught, units.begin() as uow:
                uow.execute(sa.text(statement))
            assert translate(caught.value) is None


@pytest.mark.parametrize("database_engine", ["postgres"])
def test_a_connection_at_hand_is_used_before_another_is_opened(database_url: str) -> None:
    database = Database(database_url, application_name="counted")
    mine = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'counted'"

    database.borrow(lambda connection: connection.cursor().execute("SELECT 1"))
    with database.read() as connection:
        assert connection.scalar(sa.text(mine)) == 1

    database.close()
