"""What agents call about themselves, outside any transaction: the self rule and heartbeats."""

from __future__ import annotations

from datetime import timedelta

from certctl_core.fleet.agents.errors import AgentMismatch
from certctl_core.fleet.agents.events import AgentIdentityMismatch
from certctl_core.fleet.agents.heartbeats import Heartbeats
from certctl_core.fleet.agents.schemas import AgentKeyView, Heartbeat, HeartbeatView
from certctl_core.fleet.agents.service import AgentService
from certctl_core.kernel.actors import Actor, ActorType
from certctl_core.kernel.db import UnitOfWorkFactory
from certctl_core.kernel.jobs import JobService
from certctl_core.kernel.operations import Call
from certctl_core.people.access import AccessService


class AgentWorkflow:
    """The agent side of this room.

    Args:
        units: Opens units of work.
        service: The agents.
        access: For routes that operators may use as well.
        jobs: Prolongs leases.
        lease: How long a lease lives from a sign of life on.
        flush_interval: How often heartbeats are stored; None leaves it to ``heartbeats.flush``.
    """

    def __init__(
        self,
        *,
        units: UnitOfWorkFactory,
        service: AgentService,
        access: AccessService,
        jobs: JobService,
        lease: timedelta = timedelta(minutes=10),
        flush_interval: timedelta | None = timedelta(seconds=1),
    ) -> None:
        self._units = units
        self._service = service
        self._access = access
        self.heartbeats = Heartbeats(units=units, jobs=jobs, lease=lease, interval=flush_interval)

    def require_self(self, call: Call) -> str:
        """The id of the calling agent, which must be the one in the path (AGT-12).

        Raises:
            AgentMismatch: It is somebody else; audited as ``agent.identity_mismatch``.
        """
        agent_id = call.path["agent_id"]
        if is_self(call.actor, agent_id):
            return agent_id
        with self._units.begin(call.actor, request_id=call.request_id) as uow:
            uow.emit(
                AgentIdentityMismatch(
                    resource_id=agent_id,
                    actor_type=call.actor.type,
                    actor_id=call.actor.id,
                )
            )
        raise AgentMismatch

    def heartbeat(self, call: Call, body: Heartbeat) -> HeartbeatView:
        """Take a sign of life; answered from memory.

        Raises:
            AgentMismatch: As of ``require_self``.
        """
        agent_id = self.require_self(call)
        self.heartbeats.note(agent_id, body)
        return HeartbeatView(
            server_time=call.now,
            heartbeat_interval_seconds=self._service.heartbeat_seconds,
            poll_interval_seconds=self._service.poll_seconds,
        )

    def rotate_key(self, call: Call) -> AgentKeyView:
        """Give an agent a new credential, for itself or for an operator with ``agent.edit``.

        Raises:
            PermissionDenied: Neither.
            AgentNotFound, AgentRetired: As of ``AgentService.rotate_key``.
        """
        agent_id = call.path["agent_id"]
        with self._units.begin(call.actor, request_id=call.request_id) as uow:
            if not is_self(call.actor, agent_id):
                self._access.require(uow, call.actor, "agent.edit")
            return self._service.rotate_key(uow, agent_id)

    def close(self) -> None:
        """Store the heartbeats that are still in memory."""
        self.heartbeats.close()


def is_self(actor: Actor, agent_id: str) -> bool:
    """Whether the actor is that agent."""
    return actor.type is ActorType.AGENT and actor.id == agent_id
