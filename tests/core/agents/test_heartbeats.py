"""Signs of life, who went silent, and the rule that agents speak for themselves only."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from certctl_core.fleet.agents import AgentMismatch, AgentStatus, sweep_agents
from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.errors import CertctlError
from certctl_core.testing.factories import actor_with
from tests.core.agents.fleet import Fleet


def _beat(fleet: Fleet, agent: Actor, **body: object) -> Any:
    path = {"agent_id": agent.id}
    answer = fleet.call("agents.heartbeat", actor=agent, path=path, body=body)
    fleet.agent_side.heartbeats.flush()
    return answer


def _view(fleet: Fleet, agent: Actor) -> Any:
    return fleet.call("agents.get", path={"agent_id": agent.id})


@pytest.mark.spec("07/AGT-20", "07/AGT-22")
def test_a_heartbeat_is_stored_with_the_next_flush(fleet: Fleet) -> None:
    agent = fleet.agent()
    fleet.clock.advance(timedelta(minutes=1))

    answer = _beat(
        fleet,
        agent,
        version="2.0",
        os="linux",
        ip_address="192.0.2.7",
        capabilities={"targets": ["nginx"], "sources": []},
    )

    assert (answer.status, answer.server_time) == ("heartbeat_recorded", fleet.clock.now())
    view = _view(fleet, agent)
    assert view.last_heartbeat_at == fleet.clock.now()
    assert (view.agent_version, view.ip_address) == ("2.0", "192.0.2.7")
    assert view.capabilities == {"targets": ["nginx"], "sources": []}
    assert view.version == 1


@pytest.mark.spec("07/AGT-20")
def test_an_empty_text_overwrites_nothing(fleet: Fleet) -> None:
    agent = fleet.agent()
    _beat(fleet, agent, version="2.0", capabilities={"targets": ["nginx"]})

    _beat(fleet, agent, version="", hostname="")

    view = _view(fleet, agent)
    assert (view.agent_version, view.hostname) == ("2.0", "web-1.example.test")
    assert view.capabilities["targets"] == ["nginx"]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_clock_beyond_reason_is_a_bad_field(fleet: Fleet, moment: str) -> None:
    agent = fleet.agent()

    with pytest.raises(CertctlError) as refused:
        _beat(fleet, agent, clock=moment)
    assert refused.value.kind == "invalid"


def test_many_agents_are_stored_by_one_flush(fleet: Fleet) -> None:
    actors = [fleet.agent(f"web-{n}") for n in range(3)]
    heartbeats = fleet.agent_side.heartbeats
    heartbeats.close()
    fleet.clock.advance(timedelta(minutes=1))
    for actor in actors:
        path = {"agent_id": actor.id}
        fleet.call("agents.heartbeat", actor=actor, path=path, body={})

    assert heartbeats.flush() == 3
    assert heartbeats.flush() == 0
    assert {_view(fleet, a).last_heartbeat_at for a in actors} == {fleet.clock.now()}


@pytest.mark.spec("07/AGT-24", "07/JOB-10", "01/AG-01")
def test_a_silent_agent_goes_offline_and_loses_its_running_job(fleet: Fleet) -> None:
    agent, _, _, item = fleet.deployed()
    fleet.clock.advance(timedelta(seconds=181))

    assert sweep_agents(fleet.core.units, fleet.agents) == 1

    assert _view(fleet, agent).status is AgentStatus.OFFLINE
    assert fleet.job(item.id).status == "Pending"
    assert fleet.events("job.agent_lost")[0].details["agent_id"] == agent.id
    assert len(fleet.events("agent.went_offline")) == 1
    assert sweep_agents(fleet.core.units, fleet.agents) == 0

    _beat(fleet, agent)
    assert _view(fleet, agent).status is AgentStatus.ONLINE
    assert len(fleet.events("agent.returned")) == 1


@pytest.mark.spec("07/AGT-23")
def test_a_heartbeat_prolongs_the_leases_of_running_jobs(fleet: Fleet) -> None:
    agent, _, _, item = fleet.deployed()
    fleet.clock.advance(timedelta(minutes=9))
    _beat(fleet, agent, running_jobs=[item.id])
    fleet.clock.advance(timedelta(minutes=9))

    with fleet.core.begin() as uow:
        fleet.core.rooms.jobs.reap(uow)

    assert fleet.job(item.id).status == "Running"


@pytest.mark.spec("07/AGT-23", "07/AGT-24")
@pytest.mark.parametrize("cause", ["recovery", "clock"])
def test_an_agent_in_trouble_is_degraded(fleet: Fleet, cause: str) -> None:
    agent = fleet.agent()
    off = (fleet.clock.now() - timedelta(seconds=301)).isoformat()
    body: dict[str, object] = {"recovery_pending": 1} if cause == "recovery" else {"clock": off}

    _beat(fleet, agent, **body)
    assert _view(fleet, agent).status is AgentStatus.DEGRADED

    _beat(fleet, agent, clock=fleet.clock.now().isoformat())
    assert _view(fleet, agent).status is AgentStatus.ONLINE


@pytest.mark.spec("07/AGT-12", "01/AG-04")
@pytest.mark.parametrize("who", ["other_agent", "admin"])
@pytest.mark.parametrize("route", ["heartbeat", "work", "csr", "certificate", "report"])
def test_only_the_agent_itself_uses_its_routes(fleet: Fleet, route: str, who: str) -> None:
    agent = fleet.agent("web-1")
    caller = fleet.agent("web-2") if who == "other_agent" else actor_with(fleet.core, "r-admin")
    paths = {"certificate": {"certificate_id": "mc-1"}, "report": {"job_id": "job-1"}}
    path = {"agent_id": agent.id, **paths.get(route, {})}
    bodies: dict[str, dict[str, object]] = {
        "heartbeat": {},
        "csr": {"job_id": "job-1", "certificate_id": "mc-1", "csr_pem": "x"},
        "report": {"lease_id": "1", "status": "Running"},
    }

    with pytest.raises(AgentMismatch):
        fleet.call(f"agents.{route}", actor=caller, path=path, body=bodies.get(route))

    (event,) = fleet.events("agent.identity_mismatch")
    assert (event.resource_id, event.actor) == (agent.id, caller.id)


def test_an_operator_may_not_even_try_an_agent_route(fleet: Fleet) -> None:
    agent = fleet.agent()
    operator = actor_with(fleet.core, "r-operator")

    with pytest.raises(Exception, match=r"agent\.heartbeat"):
        fleet.call("agents.heartbeat", actor=operator, path={"agent_id": agent.id}, body={})


@pytest.mark.spec("07/AGT-10")
def test_an_agent_reads_nothing_but_its_own_routes(fleet: Fleet) -> None:
    agent = fleet.agent()
    assert agent.type is ActorType.AGENT

    for name in ("agents.list", "certificates.list", "targets.list", "audit.list"):
        with pytest.raises(Exception, match="permission"):
            fleet.call(name, actor=agent)
