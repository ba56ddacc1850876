"""Subscribes sessions to what changes the rights of their actors."""

from __future__ import annotations

from certctl_core.kernel.actors import ActorType
from certctl_core.kernel.db import Uow
from certctl_core.kernel.events import Bus, Emitted
from certctl_core.people.access import RoleGranted, RoleRevoked
from certctl_core.people.identity.sessions import SessionService


def register(bus: Bus[Uow], sessions: SessionService) -> None:
    """From now on a role that is given or taken renews the CSRF tokens of its actor (RBAC-28)."""

    def renew(uow: Uow, emitted: Emitted) -> None:
        event = emitted.event
        # An agent has no sessions.
        if isinstance(event, RoleGranted | RoleRevoked) and event.actor_type != ActorType.AGENT:
            sessions.rotate_csrf(uow, actor_type=event.actor_type, actor_id=event.actor_id)

    bus.on_emit(renew, RoleGranted, RoleRevoked)
