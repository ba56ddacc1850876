"""Writes that wait: they reach the database together, in time, and each with its own error."""

# ruff: noqa: PT012 - the unit of work raises, when its block ends

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest
import sqlalchemy as sa

from certctl_core.kernel.db import UnitOfWorkFactory
from tests.core.db.conftest import (
    Moved,
    Taken,
    Watched,
    add_book,
    add_shelf,
    books,
    shelves,
    swap_shelf,
)
from tests.machine import PATIENCE_SECONDS


class TestOrder:
    def test_every_statement_sees_what_was_written_before_it(
        self, units: UnitOfWorkFactory
    ) -> None:
        with units.begin() as uow:
            add_shelf(uow, "a")
            assert uow.scalar(sa.select(shelves.c.state)) == "open"
            swap_shelf(uow, "a", "open", "full")
            found = uow.first(sa.select(shelves))
            assert found is not None
            assert (found.state, found.version) == ("full", 2)
            add_book(uow, "b", "a")
            uow.execute(sa.update(books).values(cover=b"red"))
            assert uow.scalar(sa.select(books.c.cover)) == b"red"

    def test_rows_and_their_dependents_travel_together(self, watched: Watched) -> None:
        cover = bytes(range(256))
        with watched.units.begin() as uow:
            for key in "abc":
                add_shelf(uow, key)
                add_book(uow, f"b-{key}", key, cover)

        assert [row["id"] for row in watched.rows(shelves)] == ["a", "b", "c"]
        assert {row["cover"] for row in watched.rows(books)} == {cover}

    def test_nothing_is_written_before_it_must(self, units: UnitOfWorkFactory) -> None:
        with units.begin() as uow:
            add_shelf(uow, "a")
            with units.read() as other:
                assert other.first(sa.select(shelves)) is None

    def test_an_exception_leaves_nothing(self, watched: Watched) -> None:
        with pytest.raises(ZeroDivisionError), watched.units.begin() as uow:
            add_shelf(uow, "a")
            uow.flush()
            add_shelf(uow, "b")
            uow.count("shelves", 2)
            raise ZeroDivisionError

        assert watched.rows(shelves) == []
        assert watched.counter("shelves") == 0

    def test_times_and_odd_text_come_back_as_they_were(self, watched: Watched) -> None:
        at = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
        label = "\N{SNOWMAN} 'quoted' \"twice\" \\ {x} %s $1 :name"
        with watched.units.begin() as uow:
            row = {"id": "a", "label": label, "state": "", "version": 1, "seen_at": at}
            uow.add(shelves, row)

        assert watched.rows(shelves) == [row]

    def test_a_row_may_be_changed_right_after_it_was_added(self, watched: Watched) -> None:
        with watched.units.begin() as uow:
            add_shelf(uow, "a")
            swap_shelf(uow, "a", "open", "full")

        assert [(row["state"], row["version"]) for row in watched.rows(shelves)] == [("full", 2)]

    def test_a_row_may_be_changed_twice(self, watched: Watched) -> None:
        with watched.units.begin() as uow:
            add_shelf(uow, "a")
        with watched.units.begin() as uow:
            swap_shelf(uow, "a", "open", "full")
            swap_shelf(uow, "a", "full", "gone")

        assert [(row["state"], row["version"]) for row in watched.rows(shelves)] == [("gone", 3)]


class TestTail:
    def test_counters_and_stamps_commit_with_the_rows(self, watched: Watched) -> None:
        for key in "ab":
            with watched.units.begin() as uow:
                add_shelf(uow, key)
                uow.count("shelves", 1)
                uow.touch("shelves")
                uow.touch("shelves")
        with pytest.raises(Taken), watched.units.begin() as uow:
            add_shelf(uow, "a")
            uow.count("shelves", 1)
            uow.touch("shelves")

        assert watched.counter("shelves") == 2
        assert watched.stamp("shelves") == 2

    def test_counts_that_cancel_out_are_nothing(self, watched: Watched) -> None:
        with watched.units.begin() as uow:
            uow.count("up", 3)
            uow.count("up", -3)
            uow.count("down", -2)

        assert watched.counter("up") == 0
        assert watched.counter("down") == -2
        with watched.units.read() as uow:
            assert uow.counters("") == {"down": -2}

    def test_this_process_is_woken_after_the_commit_only(self, units: UnitOfWorkFactory) -> None:
        woken: list[str] = []
        units.on_wake = woken.append
        with units.begin() as uow:
            add_shelf(uow, "a")
            uow.wake("shelves")
            uow.flush()
            assert woken == []
        assert woken == ["shelves"]
        with pytest.raises(Taken), units.begin() as uow:
            add_shelf(uow, "a")
            uow.wake("shelves")
        assert woken == ["shelves"]

    @pytest.mark.parametrize("database_engine", ["postgres"])
    @pytest.mark.parametrize("asked_before", [False, True])
    def test_other_processes_are_told_with_the_commit(
        self, units: UnitOfWorkFactory, database_url: str, asked_before: bool
    ) -> None:
        url = database_url.replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(url, autocommit=True) as listener:
            listener.execute("LISTEN certctl")
            with pytest.raises(Moved), units.begin() as uow:
                swap_shelf(uow, "unknown", "open", "full")
                uow.wake("never")
            with units.begin() as uow:
                if asked_before:
                    uow.scalar(sa.select(shelves.c.id))
                add_shelf(uow, "a")
                uow.wake("shelves")
            notes = listener.notifies(timeout=PATIENCE_SECONDS, stop_after=1)
            told = [note.payload for note in notes]
        assert told == ["shelves"]

    @pytest.mark.parametrize("database_engine", ["postgres"])
    def test_everything_that_waits_is_one_statement(self, units: UnitOfWorkFactory) -> None:
        """A row carries the number of the transaction that wrote it."""
        with units.begin() as uow:
            for key in "abc":
                add_shelf(uow, key)
                add_book(uow, key, key)
            uow.count("shelves", 3)
            uow.touch("shelves")
            driver = uow.conn.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            assert driver.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        with units.begin() as uow:
            found = uow.execute(sa.text(_WRITERS)).all()
        assert len(found) == 1


_WRITERS = (
    "SELECT xmin::text FROM test_shelves UNION SELECT xmin::text FROM test_books "
    "UNION SELECT xmin::text FROM counters WHERE name = 'shelves' "
    "UNION SELECT xmin::text FROM stamps WHERE name = 'shelves'"
)


class TestLosers:
    def test_a_taken_name_raises_its_own_error(self, watched: Watched) -> None:
        with watched.units.begin() as uow:
            add_shelf(uow, "a", "red")

        with pytest.raises(Taken, match=r"^c$"), watched.units.begin() as uow:
            add_shelf(uow, "b", "blue")
            add_shelf(uow, "c", "red")
            add_shelf(uow, "d", "green")
        assert [row["id"] for row in watched.rows(shelves)] == ["a"]

    @pytest.mark.parametrize("same", ["id", "label"])
    def test_twins_of_one_flush_do_not_both_win(self, watched: Watched, same: str) -> None:
        with pytest.raises(Taken, match="twin"), watched.units.begin() as uow:
            add_shelf(uow, "a", "red")
            if same == "id":
                add_shelf(uow, "a", "blue", error=Taken("twin"))
            else:
                add_shelf(uow, "b", "red", error=Taken("twin"))

        assert watched.rows(shelves) == []

    def test_a_parent_that_is_taken_is_the_cause_though_its_child_breaks_first(
        self, watched: Watched
    ) -> None:
        with watched.units.begin() as uow:
            add_shelf(uow, "a", "red")

        with pytest.raises(Taken, match=r"^b$"), watched.units.begin() as uow:
            add_shelf(uow, "b", "red")
            add_book(uow, "x", "b")
            uow.count("shelves", 1)
        assert watched.rows(books) == []
        assert watched.counter("shelves") == 0

    def test_a_child_of_nobody_is_the_drivers_own_error(self, watched: Watched) -> None:
        with pytest.raises(sa.exc.IntegrityError), watched.units.begin() as uow:
            add_book(uow, "x", "nobody")
        assert watched.rows(books) == []

    def test_a_row_without_an_error_of_its_own_is_the_drivers(self, watched: Watched) -> None:
        row = {"id": "a", "label": "red", "state": "open", "version": 1}
        with watched.units.begin() as uow:
            uow.add(shelves, row)
        with pytest.raises(sa.exc.IntegrityError), watched.units.begin() as uow:
            uow.add(shelves, row)
        assert watched.rows(shelves) == [row | {"seen_at": None}]

    def test_a_state_that_moved_raises_its_own_error(self, watched: Watched) -> None:
        with watched.units.begin() as uow:
            for key in "abc":
                add_shelf(uow, key)
        with watched.units.begin() as uow:
            swap_shelf(uow, "b", "open", "gone")

        with pytest.raises(Moved, match=r"^b$"), watched.units.begin() as uow:
            for key in "abc":
                swap_shelf(uow, key, "open", "full")
            add_shelf(uow, "d")
            uow.touch("shelves")
        assert [row["state"] for row in watched.rows(shelves)] == ["open", "gone", "open"]
        assert watched.stamp("shelves") == 0

    def test_the_same_swap_twice_is_won_once(self, watched: Watched) -> None:
        with watched.units.begin() as uow:
            add_shelf(uow, "a")
        with pytest.raises(Moved), watched.units.begin() as uow:
            swap_shelf(uow, "a", "open", "full")
            swap_shelf(uow, "a", "open", "full")
        assert [row["state"] for row in watched.rows(shelves)] == ["open"]

    def test_the_error_may_ask_the_database_what_is_there(self, watched: Watched) -> None:
        with watched.units.begin() as uow:
            add_shelf(uow, "a", "red")

        with pytest.raises(Taken, match="held by a"), watched.units.begin() as uow:

            def taken() -> Exception:
                holder = uow.scalar(sa.select(shelves.c.id).where(shelves.c.label == "red"))
                return Taken(f"held by {holder}")

            row = {"id": "b", "label": "red", "state": "open", "version": 1}
            uow.add(shelves, row, taken=taken)

    def test_a_failed_unit_of_work_leaves_the_connection_usable(self, watched: Watched) -> None:
        for _ in range(30):
            with pytest.raises(sa.exc.IntegrityError), watched.units.begin() as uow:
                add_book(uow, "x", "nobody")
        with watched.units.begin() as uow:
            add_shelf(uow, "a")
        assert len(watched.rows(shelves)) == 1
