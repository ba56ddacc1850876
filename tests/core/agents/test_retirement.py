"""Retiring agents: what blocks it, what goes with them, and what their key still opens (07 §7)."""

from __future__ import annotations

import pytest

from certctl_core.fleet.agents import (
    AgentHasDependencies,
    AgentNotFound,
    AgentRetired,
    AgentUnusable,
    RetireReasonMissing,
)
from certctl_core.kernel.actors import Actor
from tests.core.agents.fleet import Fleet


def _retire(fleet: Fleet, agent: Actor, **query: object) -> object:
    return fleet.call("agents.retire", path={"agent_id": agent.id}, query=query)


@pytest.mark.spec("07/RET-01", "07/RET-02", "07/RET-03", "07/RET-04", "01/AG-03")
def test_a_cascade_takes_targets_jobs_and_the_key_along(fleet: Fleet) -> None:
    agent, certificate_id, target_id, item = fleet.deployed()

    with pytest.raises(AgentHasDependencies) as blocked:
        _retire(fleet, agent)
    counts = {"active_targets": 1, "active_certificates": 1, "pending_jobs": 1}
    assert blocked.value.public == {"counts": counts}
    with pytest.raises(RetireReasonMissing):
        _retire(fleet, agent, force=True)

    view = _retire(fleet, agent, force=True, reason="host is gone")

    assert (view.cascade, view.counts.model_dump()) == (True, counts)  # type: ignore[attr-defined]
    assert fleet.job(item.id).status == "Cancelled"
    target = fleet.call("targets.get", path={"target_id": target_id})
    assert (target.retired_at, target.retired_reason) == (fleet.clock.now(), "host is gone")
    assert fleet.call("targets.list").total == 0
    assert fleet.call("targets.list", query={"include_retired": True}).total == 1
    assert fleet.call("agents.list").total == 0
    assert [row.id for row in fleet.call("agents.list_retired").data] == [agent.id]
    (cascade,) = fleet.events("agent.retirement_cascaded")
    assert cascade.details["pending_jobs"] == 1
    assert len(fleet.events("agent.retired")) == 1
    with fleet.core.units.read() as uow:
        assert fleet.targets.key_holders(uow, certificate_id) == []


@pytest.mark.spec("01/AG-03")
def test_an_agent_without_dependents_is_retired_plainly(fleet: Fleet) -> None:
    agent = fleet.agent()

    view = _retire(fleet, agent)

    assert view.cascade is False  # type: ignore[attr-defined]
    assert fleet.events("agent.retirement_cascaded") == []
    assert _retire(fleet, agent) is None
    assert len(fleet.events("agent.retired")) == 1


@pytest.mark.spec("07/AGT-11", "01/AG-03")
def test_the_key_of_a_retired_agent_is_gone(fleet: Fleet) -> None:
    key = fleet.enroll().api_key
    agent = fleet.core.keys.authenticate(key)

    _retire(fleet, agent)

    with pytest.raises(AgentRetired) as gone:
        fleet.core.keys.authenticate(key)
    assert gone.value.kind == "gone"
    with pytest.raises(AgentRetired):
        fleet.call("agents.rotate_key", path={"agent_id": agent.id})


@pytest.mark.spec("07/RET-06")
def test_a_retired_agent_gets_no_target_and_its_name_is_free(fleet: Fleet) -> None:
    agent = fleet.agent("web-1")
    _retire(fleet, agent)

    with pytest.raises(AgentUnusable):
        fleet.target(agent)
    assert fleet.agent("web-1").id != agent.id


def test_an_unknown_agent_is_not_found(fleet: Fleet) -> None:
    with pytest.raises(AgentNotFound):
        fleet.call("agents.retire", path={"agent_id": "ag-none"})
