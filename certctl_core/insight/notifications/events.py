"""What happens to notifiers, routes and deliveries. Field names only, never values of secrets."""

from __future__ import annotations

from typing import ClassVar

from certctl_core.kernel.events import Category, Event, Severity
from certctl_core.values import dataclass

OWN_TAGS = "notification."
"""Events about notifications themselves: never notified about, or they would breed."""


@dataclass(frozen=True, kw_only=True)
class NotifierEvent(Event):
    """Base: ``resource_id`` is the notifier's id."""

    category: ClassVar[Category] = Category.CONFIG
    resource_type: ClassVar[str] = "notifier"

    name: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class NotifierCreated(NotifierEvent):
    """A notifier was configured."""

    tag: ClassVar[str] = "notifier.created"

    fields: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NotifierUpdated(NotifierEvent):
    """A notifier was reconfigured; ``fields`` are the names of what changed."""

    tag: ClassVar[str] = "notifier.updated"

    fields: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class NotifierDeleted(NotifierEvent):
    """A notifier was removed; ``cancelled`` deliveries that waited for it."""

    tag: ClassVar[str] = "notifier.deleted"

    cancelled: int = 0


@dataclass(frozen=True, kw_only=True)
class NotifierEnabled(NotifierEvent):
    """A notifier is told things again."""

    tag: ClassVar[str] = "notifier.enabled"


@dataclass(frozen=True, kw_only=True)
class NotifierDisabledEvent(NotifierEvent):
    """A notifier is told nothing more."""

    tag: ClassVar[str] = "notifier.disabled"


@dataclass(frozen=True, kw_only=True)
class NotifierGone(NotifierEvent):
    """The receiver asked never to be called again, so the notifier was disabled."""

    tag: ClassVar[str] = "notifier.gone"
    severity: ClassVar[Severity] = Severity.WARNING


@dataclass(frozen=True, kw_only=True)
class NotifierTested(NotifierEvent):
    """A notifier was tested; ``failed`` are the names of the checks that did not pass."""

    tag: ClassVar[str] = "notifier.tested"

    ok: bool
    sent: bool
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NotifierDeadLetter(NotifierEvent):
    """A message was given up; told once per notifier and hour, never to that notifier."""

    tag: ClassVar[str] = "notifier.dead_letter"
    severity: ClassVar[Severity] = Severity.WARNING

    notification_id: str
    event: str
    error: str


@dataclass(frozen=True, kw_only=True)
class RouteEvent(Event):
    """Base: ``resource_id`` is the route's id."""

    category: ClassVar[Category] = Category.CONFIG
    resource_type: ClassVar[str] = "notification_route"

    route_name: str


@dataclass(frozen=True, kw_only=True)
class RouteCreated(RouteEvent):
    """A route was made."""

    tag: ClassVar[str] = "notification_route.created"


@dataclass(frozen=True, kw_only=True)
class RouteUpdated(RouteEvent):
    """A route was changed; ``fields`` are the names of what changed."""

    tag: ClassVar[str] = "notification_route.updated"

    fields: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RouteDeleted(RouteEvent):
    """A route was removed."""

    tag: ClassVar[str] = "notification_route.deleted"


@dataclass(frozen=True, kw_only=True)
class DeliveryEvent(Event):
    """Base: ``resource_id`` is the notification's id; written from the outcome (06 NTF-9)."""

    category: ClassVar[Category] = Category.CONFIG
    resource_type: ClassVar[str] = "notification"

    delivery_id: str
    notifier_id: str
    event: str
    attempts: int


@dataclass(frozen=True, kw_only=True)
class NotificationSent(DeliveryEvent):
    """A notifier took a message."""

    tag: ClassVar[str] = "notification.sent"


@dataclass(frozen=True, kw_only=True)
class NotificationDead(DeliveryEvent):
    """A message was given up."""

    tag: ClassVar[str] = "notification.dead"

    error_class: str


@dataclass(frozen=True, kw_only=True)
class NotificationSuppressed(DeliveryEvent):
    """A message was not sent, for the reason given."""

    tag: ClassVar[str] = "notification.suppressed"

    reason: str


@dataclass(frozen=True, kw_only=True)
class NotificationRequeued(Event):
    """A person had dead deliveries sent again."""

    tag: ClassVar[str] = "notification.requeued"
    category: ClassVar[Category] = Category.CONFIG
    resource_type: ClassVar[str] = "notification"

    deliveries: tuple[str, ...]
