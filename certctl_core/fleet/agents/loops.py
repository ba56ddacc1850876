"""The loop over silent agents (AG-01, JOB-10)."""

from __future__ import annotations

from certctl_core.fleet.agents.service import AgentService
from certctl_core.kernel.actors import system_actor
from certctl_core.kernel.db import UnitOfWorkFactory

_ACTOR = system_actor("scheduler:agent_health")


def sweep_agents(units: UnitOfWorkFactory, service: AgentService) -> int:
    """One tick: mark silent agents Offline, take back their jobs, set the gauges.

    Returns:
        How many agents went offline.
    """
    total = 0
    while True:
        with units.begin(_ACTOR) as uow:
            changed = service.sweep(uow)
        total += changed
        if not changed:
            break
    with units.read(_ACTOR) as uow:
        service.measure(uow)
    return total
