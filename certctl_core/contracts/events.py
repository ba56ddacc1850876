"""The observer hook: plugins that want to know what happened (DESIGN §7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta

from certctl_core.contracts.plugin import hookspec
from certctl_core.kernel.events import JSON, Emitted, Severity
from certctl_core.values import dataclass

__all__ = ["ObservedEvent", "Severity", "certctl_event", "observed"]

OBSERVE_BUDGET = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedEvent:
    """An event as plugins see it; the same facts as its audit row, free of secrets.

    Attributes:
        id: Unique; delivered at most once.
        tag: Wire tag: ``certificate.issued``.
        at: When, UTC.
        severity: How loud.
        actor_type / actor_id: Who.
        request_id: In which request.
        resource_type / resource_id: About what.
        details: The event's fields, JSON.
    """

    id: str
    tag: str
    at: datetime
    severity: Severity
    actor_type: str
    actor_id: str
    request_id: str
    resource_type: str
    resource_id: str
    details: Mapping[str, JSON] = field(default_factory=dict)


def observed(emitted: Emitted) -> ObservedEvent:
    """Turn an event of the core into what plugins see."""
    event = emitted.event
    return ObservedEvent(
        id=emitted.id,
        tag=event.tag,
        at=emitted.at,
        severity=event.severity,
        actor_type=emitted.actor.type.value,
        actor_id=emitted.actor.id,
        request_id=emitted.request_id,
        resource_type=event.resource_type,
        resource_id=event.resource_id,
        details=event.details(),
    )


@hookspec
def certctl_event(event: ObservedEvent) -> None:
    """Observe an event.

    Called after the commit, best effort, in the process that committed, one implementation after
    the other, at most 5 seconds each; failures are logged and go no further. There is no delivery
    after a crash: who needs that uses a notifier route.

    Args:
        event: What happened.
    """
