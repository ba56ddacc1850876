"""Pure decisions: who is told, how loud, when a failed delivery is tried again."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from certctl_core.contracts.errors import ErrorClass
from certctl_core.contracts.notifiers import AlertState, Severity
from certctl_core.insight.notifications.types import (
    ALL_NOTIFIERS,
    OPEN,
    DeliveryState,
    NotificationStatus,
    NotifierHealth,
    RouteRule,
    Subject,
)
from certctl_core.kernel.events import JSON
from certctl_core.values import dataclass

BACKOFF_MINUTES = (1, 2, 4, 8, 16, 32, 60, 60)
"""The wait after each failed attempt (06 NTF-2)."""
JITTER = 0.2
UNAVAILABLE_RETRY = timedelta(minutes=5)
"""When a notifier that cannot be started here is looked at again (06 NTF-3)."""
_CRITICAL_DAYS = 7

_RESOLVES: Mapping[str, str] = {
    "renewal.succeeded": "renewal.failed",
    "deployment.succeeded": "deployment.failed",
    "verification.succeeded": "verification.failed",
    "issuer.recovered": "issuer.failing",
    "agent.returned": "agent.went_offline",
}
"""What ends an incident, and what began it (06 §8.1): both have the same key."""


def severity_of(
    tag: str, usual: Severity, details: Mapping[str, JSON], *, days_left: int | None
) -> Severity:
    """How loud this event is; some are louder than usual (06 §8.1)."""
    if tag == "certificate.revoked" and details.get("reason") == "keyCompromise":
        return Severity.CRITICAL
    if tag == "renewal.failed" and days_left is not None and days_left < _CRITICAL_DAYS:
        return Severity.CRITICAL
    return usual


def alert_of(tag: str) -> AlertState:
    """Whether an event opens a matter or ends one."""
    return AlertState.RESOLVED if tag in _RESOLVES else AlertState.FIRING


def dedup_key(origin: str, resource_id: str, tag: str) -> str:
    """The key of an incident: the same for what opens and what ends it.

    Args:
        origin: Names this installation: ``certctl/4f0c…``.
        resource_id: What it is about.
        tag: The event.
    """
    return f"{origin}/{resource_id}/{_RESOLVES.get(tag, tag)}"


def days_left(until: datetime | None, now: datetime) -> int | None:
    """Remaining days, rounded up; negative when over."""
    return None if until is None else -((now - until) // timedelta(days=1))


def backoff(attempts: int, rng: random.Random) -> timedelta:
    """The wait after the ``attempts``-th failed attempt, ±20 %."""
    minutes = BACKOFF_MINUTES[min(attempts, len(BACKOFF_MINUTES)) - 1]
    return timedelta(minutes=minutes * (1 + JITTER * (2 * rng.random() - 1)))


def status_of(deliveries: Iterable[tuple[DeliveryState, bool]]) -> NotificationStatus:
    """How a notification stands.

    Args:
        deliveries: State, and whether there was an error, of each.
    """
    found = list(deliveries)
    states = {state for state, _ in found}
    if DeliveryState.DEAD in states:
        return NotificationStatus.DEAD
    if any(state in OPEN and has_failed for state, has_failed in found):
        return NotificationStatus.FAILED
    if states & OPEN:
        return NotificationStatus.PENDING
    return (
        NotificationStatus.SENT if DeliveryState.SENT in states else NotificationStatus.SUPPRESSED
    )


_FAILING = frozenset({ErrorClass.AUTH, ErrorClass.TRUST, ErrorClass.CONFIG})
_DEGRADED = frozenset(
    {ErrorClass.TIMEOUT, ErrorClass.NETWORK, ErrorClass.UPSTREAM_5XX, ErrorClass.PROTOCOL}
)


def health_after(what: str, error_class: ErrorClass | None) -> NotifierHealth | None:
    """What one finished call says about a notifier; None for nothing.

    A refused message is not the notifier's illness, nor is a rate limit.
    """
    if what not in {"send", "resolve"}:
        return None
    if error_class is None:
        return NotifierHealth.HEALTHY
    if error_class in _FAILING:
        return NotifierHealth.FAILING
    if error_class in _DEGRADED:
        return NotifierHealth.DEGRADED
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A notifier that is to be told, and the route that says so."""

    notifier_id: str
    route: RouteRule


class RoutingTable:
    """The enabled routes and the notifiers at one moment. Does not change; safe for threads.

    Args:
        routes: Enabled ones, in any order.
        notifiers: Id → whether it is enabled, in the order they are told.
    """

    def __init__(self, routes: Iterable[RouteRule], notifiers: Mapping[str, bool]) -> None:
        self._routes = tuple(sorted(routes, key=lambda route: (route.priority, route.id)))
        self.notifiers = dict(notifiers)
        self._candidates: dict[str, tuple[RouteRule, ...]] = {}

    def wants(self, tag: str, severity: Severity) -> bool:
        """Whether an event may leave a notification: all from warning on do, others by a route.

        Answers from memory; issuing a certificate asks this.
        """
        if severity is not Severity.INFO:
            return True
        return any(not route.severities or severity in route.severities for route in self._of(tag))

    def targets(
        self, tag: str, severity: Severity, subject: Subject, *, but: str | None = None
    ) -> list[Target]:
        """Whom to tell: by priority, until a route that ends the search (06 RTE-1).

        Args:
            tag: The event.
            severity: How loud it is.
            subject: What it is about.
            but: A notifier that is left out: a dead letter is not sent where it came from.
        """
        found: dict[str, RouteRule] = {}
        for route in self._of(tag):
            if not matches(route, severity, subject):
                continue
            for notifier_id in self._named(route.notifiers):
                if notifier_id != but:
                    found.setdefault(notifier_id, route)
            if not route.continues:
                break
        return [Target(notifier_id=item, route=route) for item, route in found.items()]

    def _named(self, names: Sequence[str]) -> list[str]:
        named: list[str] = []
        for name in names:
            if name == ALL_NOTIFIERS:
                named += [item for item, is_enabled in self.notifiers.items() if is_enabled]
            elif name in self.notifiers:
                named.append(name)
        return named

    def _of(self, tag: str) -> tuple[RouteRule, ...]:
        found = self._candidates.get(tag)
        if found is None:
            found = tuple(route for route in self._routes if takes(route.events, tag))
            self._candidates[tag] = found
        return found


def takes(events: frozenset[str], tag: str) -> bool:
    """Whether an event is named: by itself, by its noun (``certificate.*``) or by an empty set."""
    return not events or tag in events or f"{tag.rpartition('.')[0]}.*" in events


def matches(route: RouteRule, severity: Severity, subject: Subject) -> bool:
    """Whether a route takes an event of its kind about that subject."""
    conditions: tuple[tuple[frozenset[str] | frozenset[Severity], str | None], ...] = (
        (route.severities, severity),
        (route.environments, subject.environment),
        (route.issuer_ids, subject.issuer_id),
        (route.profile_ids, subject.profile_id),
    )
    return all(not wanted or found in wanted for wanted, found in conditions)
