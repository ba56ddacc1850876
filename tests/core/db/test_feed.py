"""The change feed: who else has committed is known at once, or memory is not trusted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from time import monotonic, sleep

import pytest
import sqlalchemy as sa

from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.db import ChangeFeed, Database, UnitOfWorkFactory
from certctl_core.kernel.events import Bus
from certctl_core.testing.fakes import FakeClock
from tests.machine import PATIENCE_SECONDS, eventually


class Process:
    """A process as the feed sees it: its own pools, its own feed."""

    def __init__(self, url: str, clock: FakeClock | SystemClock) -> None:
        self.database = Database(url, max_connections=4)
        self.feed = ChangeFeed(self.database, clock=clock)
        self.units = UnitOfWorkFactory(self.database, clock=clock, bus=Bus())
        self.units.on_wake = self.feed.wake
        self.told: list[str] = []
        for topic in ("pki", "jobs"):
            self.feed.subscribe(topic, lambda topic=topic: self.told.append(topic))  # type: ignore[misc]

    def ready(self) -> Process:
        self.feed.start()
        eventually(self.feed.is_fresh)
        self.told.clear()
        return self

    def commit(self, *topics: str) -> None:
        with self.units.begin() as uow:
            uow.count("test.feed", 1)
            for topic in topics:
                uow.wake(topic)

    def close(self) -> None:
        self.feed.stop()
        self.database.close()


def hears(there: Process, topic: str) -> None:
    """A second after a commit that came before this call, a process is told or trusts nothing."""
    end = monotonic() + 1.0
    while topic not in there.told and monotonic() < end:
        there.feed.is_fresh()  # SQLite looks when it is asked
        sleep(0.005)
    is_fresh = there.feed.is_fresh()
    assert topic in there.told or not is_fresh, "a second later memory is trusted and was not told"
    eventually(lambda: there.feed.is_fresh() and topic in there.told)


@pytest.fixture
def pair(database_url: str) -> Iterator[tuple[Process, Process]]:
    clock = SystemClock()
    both = Process(database_url, clock).ready(), Process(database_url, clock).ready()
    yield both
    for process in both:
        process.close()


def test_an_own_commit_is_known_when_it_returns(pair: tuple[Process, Process]) -> None:
    here, _ = pair

    here.commit("pki")

    assert "pki" in here.told


@pytest.mark.spec("02/DATA-2")
def test_another_process_knows_within_a_second_or_is_not_trusted(
    pair: tuple[Process, Process],
) -> None:
    here, there = pair
    here.commit("pki")

    hears(there, "pki")


@pytest.mark.parametrize("database_engine", ["postgres"])
def test_only_the_topic_that_moved(pair: tuple[Process, Process]) -> None:
    here, there = pair
    here.commit("jobs")
    hears(there, "jobs")
    assert there.told == ["jobs"]


def test_a_rolled_back_transaction_tells_nobody(pair: tuple[Process, Process]) -> None:
    here, there = pair

    def fail() -> None:
        with here.units.begin() as uow:
            uow.wake("pki")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    sleep(0.05)
    there.feed.is_fresh()
    assert here.told == there.told == []


@pytest.mark.spec("02/DATA-2")
@pytest.mark.parametrize("statement", ["DELETE FROM crl_cache", "TRUNCATE crl_cache"])
@pytest.mark.parametrize("database_engine", ["postgres"])
def test_what_is_done_by_hand_is_announced(pair: tuple[Process, Process], statement: str) -> None:
    here, there = pair
    with here.database.writer.begin() as connection:
        connection.execute(sa.text(statement))
    hears(there, "pki")


@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_a_commit_by_hand_is_seen_at_the_next_look(pair: tuple[Process, Process]) -> None:
    here, there = pair
    with here.database.writer.begin() as connection:
        connection.execute(sa.text("DELETE FROM crl_cache"))
    assert there.told == []
    assert there.feed.is_fresh()
    assert sorted(there.told) == ["jobs", "pki"]
    there.told.clear()
    assert there.feed.is_fresh()
    assert there.told == []


@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_nobody_is_told_fresh_before_the_callbacks_ran(pair: tuple[Process, Process]) -> None:
    here, there = pair
    entered, leave = threading.Event(), threading.Event()
    order: list[str] = []

    def slow() -> None:
        entered.set()
        leave.wait(PATIENCE_SECONDS)
        order.append("forgotten")

    there.feed.subscribe("pki", slow)
    with here.database.writer.begin() as connection:
        connection.execute(sa.text("DELETE FROM crl_cache"))

    def look() -> None:
        there.feed.is_fresh()
        order.append("fresh")

    first, second = threading.Thread(target=look), threading.Thread(target=look)
    first.start()
    assert entered.wait(PATIENCE_SECONDS)
    second.start()
    sleep(0.05)
    leave.set()
    first.join()
    second.join()

    assert order == ["forgotten", "fresh", "fresh"]


@pytest.mark.spec("02/DATA-2")
@pytest.mark.parametrize("database_engine", ["postgres"])
def test_a_cut_connection_is_not_trusted_and_comes_back(pair: tuple[Process, Process]) -> None:
    here, there = pair
    trusted: list[bool] = []
    there.feed.subscribe("pki", lambda: trusted.append(there.feed.is_fresh()))
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'certctl-feed' AND datname = current_database()"
    )
    with here.database.writer.connect() as connection:
        connection.execute(sa.text(kill))
    eventually(lambda: {"pki", "jobs"} <= set(there.told), what="told of all that the gap may hide")
    assert trusted == [False], "nothing is trusted before everybody is told"
    eventually(there.feed.is_fresh)
    there.told.clear()
    here.commit("pki")
    hears(there, "pki")


@pytest.mark.parametrize("database_engine", ["postgres"])
def test_memory_ages_out_without_a_word(database_url: str) -> None:
    clock = FakeClock()
    process = Process(database_url, clock).ready()
    process.feed.stop()
    assert process.feed.is_fresh()
    clock.advance(timedelta(seconds=0.95))
    assert not process.feed.is_fresh()
    process.close()


def test_a_callback_that_fails_does_not_stop_the_others(pair: tuple[Process, Process]) -> None:
    here, _ = pair

    def fail() -> None:
        raise ZeroDivisionError

    seen: list[int] = []
    here.feed.subscribe("pki", fail)
    here.feed.subscribe("pki", lambda: seen.append(1))
    here.commit("pki")
    assert seen
