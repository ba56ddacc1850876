"""What happens to targets."""

from __future__ import annotations

from certctl_core.kernel.events import Category, Event, Severity
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class TargetEvent(Event):
    """Common to all events of one target."""

    category = Category.CONFIG
    resource_type = "target"
    name: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class TargetCreated(TargetEvent):
    """A target was created."""

    tag = "target.created"
    agent_id: str


@dataclass(frozen=True, kw_only=True)
class TargetUpdated(TargetEvent):
    """A target was changed; ``fields`` names what differs, without values."""

    tag = "target.updated"
    fields: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TargetDeleted(TargetEvent):
    """A target was deleted."""

    tag = "target.deleted"
    force: bool


@dataclass(frozen=True, kw_only=True)
class TargetRetired(TargetEvent):
    """A target was retired together with its agent."""

    tag = "target.retired"
    severity = Severity.WARNING
    reason: str


@dataclass(frozen=True, kw_only=True)
class TargetTested(TargetEvent):
    """The agent has looked whether the target could be deployed to."""

    tag = "target.tested"
    ok: bool
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TargetLinked(TargetEvent):
    """A certificate is to be deployed to the target from now on."""

    tag = "target.linked"
    certificate_id: str


@dataclass(frozen=True, kw_only=True)
class TargetUnlinked(TargetEvent):
    """A certificate is not deployed to the target any more."""

    tag = "target.unlinked"
    certificate_id: str
