"""Group commit: whoever is answered has committed, and a bad neighbour harms nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.db import Group, UnitOfWorkFactory, Uow
from certctl_core.kernel.db.errors import DatabaseBusy
from certctl_core.kernel.errors import Unavailable
from tests.core.db.conftest import Taken, Watched, add_book, add_shelf, books, shelves

_ACTOR = Actor(type=ActorType.USER, id="u-1", label="one")
_THREADS = 16


class Bad(Exception):
    """The item is not for this world."""


@dataclass(slots=True)
class Gathered:
    """A group whose first transaction waits until everybody else stands in line."""

    group: Group[str, str]
    waiting: int

    def run(self, items: list[str]) -> dict[str, object]:
        """Run all items at the same time; the result or the error of each."""

        def one(item: str) -> object:
            try:
                return self.group.run(item, actor=_ACTOR, request_id=item)
            except Exception as error:
                return error

        with ThreadPoolExecutor(len(items)) as pool:
            return dict(zip(items, pool.map(one, items), strict=True))


def gathered(
    units: UnitOfWorkFactory, work: Callable[[Uow, str], str], *, waiting: int
) -> Gathered:
    begun = threading.Event()

    def slow(uow: Uow, item: str) -> str:
        if not begun.is_set():
            while len(group._waiting) < waiting:  # the others gather behind the first
                threading.Event().wait(0.001)
            begun.set()
        return work(uow, item)

    group: Group[str, str] = Group(units, slow)
    return Gathered(group, waiting)


def shelve(uow: Uow, item: str) -> str:
    add_shelf(uow, item)
    add_book(uow, f"b-{item}", item)
    uow.count("shelves", 1)
    return f"{item} for {uow.request_id}"


def keys(count: int) -> list[str]:
    return [f"{number:03}" for number in range(count)]


def test_items_that_wait_share_one_commit(watched: Watched) -> None:
    opened: list[str] = []
    begin = watched.units.begin

    def counting(actor: Actor, *, request_id: str = "") -> object:
        opened.append(request_id)
        return begin(actor, request_id=request_id)

    watched.units.begin = counting  # type: ignore[method-assign,assignment]
    found = gathered(watched.units, shelve, waiting=_THREADS - 1).run(keys(_THREADS))

    assert found == {key: f"{key} for {key}" for key in keys(_THREADS)}
    assert len(watched.rows(shelves)) == len(watched.rows(books)) == _THREADS
    assert watched.counter("shelves") == _THREADS
    assert len(opened) == 2  # the first alone, then all that came meanwhile


def test_one_bad_item_fails_alone(watched: Watched) -> None:
    def work(uow: Uow, item: str) -> str:
        result = shelve(uow, item)
        if item == "005":
            raise Bad
        return result

    found = gathered(watched.units, work, waiting=_THREADS - 1).run(keys(_THREADS))

    assert {key for key, result in found.items() if isinstance(result, Exception)} == {"005"}
    assert isinstance(found["005"], Bad)
    assert [row["id"] for row in watched.rows(shelves)] == sorted(found.keys() - {"005"})
    assert watched.counter("shelves") == _THREADS - 1


def test_a_taken_row_is_the_error_of_its_own_item(watched: Watched) -> None:
    with watched.units.begin() as uow:
        add_shelf(uow, "other", "taken")

    def work(uow: Uow, item: str) -> str:
        add_shelf(uow, item, "taken" if item == "003" else item)
        add_book(uow, f"b-{item}", item)
        uow.count("shelves", 1)
        return item

    found = gathered(watched.units, work, waiting=_THREADS - 1).run(keys(_THREADS))

    assert isinstance(found.pop("003"), Taken)
    assert found == {key: key for key in found}
    assert watched.counter("shelves") == len(watched.rows(books)) == _THREADS - 1


@pytest.mark.parametrize("same", ["id", "label"])
def test_of_items_that_want_the_same_row_one_gets_it(watched: Watched, same: str) -> None:
    first: list[str] = []

    def work(uow: Uow, item: str) -> str:
        if not first:
            first.append(item)  # it is alone in its commit; the others meet in the next one
            return item
        add_shelf(uow, *(("one", item) if same == "id" else (item, "one")))
        uow.count("shelves", 1)
        return item

    found = gathered(watched.units, work, waiting=_THREADS - 1).run(keys(_THREADS))
    assert found.pop(first[0]) == first[0]

    winners = [key for key, result in found.items() if result == key]
    assert len(winners) == 1
    assert {type(found[key]) for key in found.keys() - set(winners)} == {Taken}
    [row] = watched.rows(shelves)
    assert row["label" if same == "id" else "id"] == winners[0]
    assert watched.counter("shelves") == 1


def test_a_neighbour_whose_issuer_is_down_is_no_reason_to_fail(watched: Watched) -> None:
    def work(uow: Uow, item: str) -> str:
        if item == "002":
            raise Unavailable
        return shelve(uow, item)

    found = gathered(watched.units, work, waiting=_THREADS - 1).run(keys(_THREADS))

    assert {key for key, result in found.items() if isinstance(result, Exception)} == {"002"}
    assert watched.counter("shelves") == _THREADS - 1


def test_a_database_that_is_busy_is_not_asked_once_for_each(watched: Watched) -> None:
    asked: list[str] = []

    def work(uow: Uow, item: str) -> str:
        asked.append(item)
        if len(asked) > 1:
            raise DatabaseBusy
        return item

    found = gathered(watched.units, work, waiting=_THREADS - 1).run(keys(_THREADS))

    assert len(asked) == 2
    assert len([result for result in found.values() if isinstance(result, DatabaseBusy)]) == 15


def test_leadership_goes_from_hand_to_hand_and_loses_nobody(watched: Watched) -> None:
    group: Group[str, str] = Group(watched.units, shelve)
    rounds = 12

    def many(thread: int) -> list[str]:
        items = [f"{thread:02}-{number:02}" for number in range(rounds)]
        return [group.run(item, actor=_ACTOR, request_id=item) for item in items]

    with ThreadPoolExecutor(_THREADS) as pool:
        answers = [answer for found in pool.map(many, range(_THREADS)) for answer in found]

    assert len(set(answers)) == len(answers) == _THREADS * rounds
    assert all(answer == f"{answer[:5]} for {answer[:5]}" for answer in answers)
    assert len(watched.rows(shelves)) == watched.counter("shelves") == _THREADS * rounds
    assert group._waiting == []
    assert group.run("last", actor=_ACTOR, request_id="r") == "last for r"


def test_what_waits_for_a_commit_runs_once_for_what_was_committed(watched: Watched) -> None:
    ran: list[str] = []

    def work(uow: Uow, item: str) -> str:
        uow.after_commit(lambda: ran.append(item))
        result = shelve(uow, item)
        if item in {"001", "007"}:
            raise Bad
        return result

    found = gathered(watched.units, work, waiting=_THREADS - 1).run(keys(_THREADS))

    assert sorted(ran) == [key for key in keys(_THREADS) if not isinstance(found[key], Bad)]
    assert len(ran) == _THREADS - 2
