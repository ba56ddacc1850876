"""Polls: work when there is some, an answer from memory when there is none (DESIGN §7, §8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from certctl_core.fleet.deployments import IdleAgents
from certctl_core.kernel.db import ChangeFeed
from certctl_core.testing.fakes import FakeClock
from tests.core.agents.fleet import Fleet, deploy_result
from tests.machine import eventually


@contextmanager
def _statements() -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if " jobs" in statement:
            seen.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(sa.Engine, "before_cursor_execute", note)


@pytest.fixture
def settled(fleet: Fleet) -> Callable[[], None]:
    """Wait until the change feed has told of every commit (PostgreSQL listens on a thread)."""
    told: list[str] = []
    fleet.core.feed.subscribe("test.settled", lambda: told.append("all"))

    def wait() -> None:
        eventually(fleet.core.feed.is_fresh)
        if fleet.core.database.is_postgres:
            told.clear()
            with fleet.core.database.write() as connection:
                connection.execute(sa.text("SELECT pg_notify('certctl', 'test.settled')"))
            eventually(lambda: bool(told), what="what was committed before is told before")

    return wait


def test_an_idle_poll_asks_the_database_nothing_about_jobs(
    fleet: Fleet, settled: Callable[[], None]
) -> None:
    agent = fleet.agent()
    settled()
    assert fleet.work(agent) == []
    settled()
    assert fleet.work(agent) == []

    with _statements() as seen:
        assert fleet.work(agent) == []

    assert seen == []


def test_new_work_is_found_after_an_idle_poll(fleet: Fleet, settled: Callable[[], None]) -> None:
    agent = fleet.agent()
    settled()
    fleet.work(agent)
    assert fleet.work(agent) == []

    fleet.link(fleet.certificate().id, fleet.target(agent))

    assert [item.type for item in fleet.work(agent)] == ["Issuance"]


def test_a_retry_is_found_when_its_time_has_come(fleet: Fleet, settled: Callable[[], None]) -> None:
    agent, _, _, item = fleet.deployed()
    fleet.report(
        agent,
        item,
        "Failed",
        result=deploy_result(item, "failed_precheck"),
        error={"code": "busy"},
    )
    settled()
    assert fleet.work(agent) == []
    fleet.clock.advance(timedelta(minutes=1))
    with fleet.core.begin() as uow:
        fleet.core.rooms.jobs.retry_due(uow)

    assert [work.id for work in fleet.work(agent)] == [item.id]


def test_a_poll_takes_no_more_than_it_asks_for(fleet: Fleet) -> None:
    agent = fleet.agent()
    certificate_id = fleet.certificate().id
    for name in "abc":
        fleet.link(certificate_id, fleet.target(agent, name))
    fleet.answer_csr(agent, fleet.work(agent)[0])

    first = fleet.call("agents.work", actor=agent, path={"agent_id": agent.id}, query={"max": 2})
    second = fleet.call("agents.work", actor=agent, path={"agent_id": agent.id}, query={})

    assert (first.count, first.next_poll_seconds) == (2, 1)
    assert (second.count, second.next_poll_seconds) == (1, 30)
    assert not {item.id for item in first.jobs} & {item.id for item in second.jobs}


def test_a_job_that_awaits_a_request_is_offered_again(fleet: Fleet) -> None:
    agent = fleet.agent()
    fleet.link(fleet.certificate().id, fleet.target(agent))

    assert [item.id for item in fleet.work(agent)] == [item.id for item in fleet.work(agent)]


class _Feed:
    """A change feed that the test wakes."""

    def __init__(self) -> None:
        self.fresh = True
        self.callbacks: list[Callable[[], None]] = []

    def subscribe(self, _topic: str, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def is_fresh(self) -> bool:
        return self.fresh


def test_memory_is_trusted_only_while_it_is_surely_true(clock: FakeClock) -> None:
    feed = _Feed()
    known: ChangeFeed = feed  # type: ignore[assignment]
    idle = IdleAgents(clock=clock, feed=known)
    idle.remember("ag-1", idle.generation, clock.now() + timedelta(minutes=5))
    assert idle.knows("ag-1")
    assert not idle.knows("ag-2")

    feed.fresh = False
    assert not idle.knows("ag-1")
    feed.fresh = True
    clock.advance(timedelta(minutes=5))
    assert not idle.knows("ag-1")

    generation = idle.generation
    feed.callbacks[0]()
    idle.remember("ag-1", generation, None)
    assert not idle.knows("ag-1")
    assert not IdleAgents(clock=clock, feed=None).knows("ag-1")
