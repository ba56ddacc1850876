"""The closed sets of this room, the states of a delivery, and the values that move inside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum

from certctl_core.contracts.notifiers import AlertState, CertificateFacts, IssuerFacts, Severity
from certctl_core.kernel.events import JSON
from certctl_core.values import dataclass

ALL_NOTIFIERS = "*"
"""In a route: every notifier that is enabled when the event happens."""

DEFAULT_ROUTE_ID = "nr-default"


class NotifierSource(StrEnum):
    """Who owns the row; ``env`` and ``file`` rows are read-only in the API."""

    DATABASE = "database"
    ENV = "env"
    FILE = "file"


class NotifierState(StrEnum):
    """Whether the notifier can be used, and if not, whose choice that is."""

    READY = "ready"
    UNAVAILABLE = "unavailable"
    DISABLED = "disabled"


class NotifierHealth(StrEnum):
    """What the last calls to it say."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    FAILING = "failing"


class NotifierTestStatus(StrEnum):
    """The outcome of the last test of the present settings."""

    __test__ = False  # no test class, whatever its name says

    UNTESTED = "untested"
    SUCCESS = "success"
    FAILED = "failed"


class DeliveryState(StrEnum):
    """How one delivery stands (06 §9)."""

    QUEUED = "queued"
    SENDING = "sending"
    RETRYING = "retrying"
    SENT = "sent"
    DEAD = "dead"
    CANCELLED = "cancelled"
    SUPPRESSED = "suppressed"


_S = DeliveryState

TRANSITIONS: Mapping[DeliveryState, frozenset[DeliveryState]] = {
    _S.QUEUED: frozenset({_S.SENDING, _S.CANCELLED}),
    # Back to queued or retrying without a try: the rest of a batch that is given back. Sending to
    # sending: the holder died and another one took over.
    _S.SENDING: frozenset(_S),
    _S.RETRYING: frozenset({_S.SENDING, _S.CANCELLED}),
    _S.DEAD: frozenset({_S.QUEUED}),
    _S.SENT: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.SUPPRESSED: frozenset(),
}
"""From → to; every conditional update takes its ``WHERE state IN`` from here."""

OPEN = frozenset({_S.QUEUED, _S.SENDING, _S.RETRYING})
"""Not at an end yet."""


def sources_of(target: DeliveryState) -> tuple[DeliveryState, ...]:
    """The states from which ``target`` can be reached, in the order of the enumeration."""
    return tuple(state for state in DeliveryState if target in TRANSITIONS[state])


class NotificationStatus(StrEnum):
    """How the deliveries of a notification stand, taken together."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    DEAD = "dead"
    SUPPRESSED = "suppressed"


class Reason(StrEnum):
    """Why something was not sent; a closed set."""

    NO_ROUTE = "no_route"
    NOTIFIER_DISABLED = "notifier_disabled"
    NOTIFIER_DELETED = "notifier_deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRule:
    """An enabled route as the outbox evaluates it. An empty set matches everything.

    Attributes:
        events: Tags, or ``certificate.*`` for all of one noun.
        notifiers: Ids in order; ``*`` stands for every enabled one.
        continues: Whether later routes are looked at after this one matched.
    """

    id: str
    name: str
    priority: int
    events: frozenset[str] = frozenset()
    severities: frozenset[Severity] = frozenset()
    environments: frozenset[str] = frozenset()
    issuer_ids: frozenset[str] = frozenset()
    profile_ids: frozenset[str] = frozenset()
    notifiers: tuple[str, ...] = ()
    continues: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an event is about, as far as routes and texts want to know.

    Attributes:
        name: How a person calls it.
        certificate / issuer: Facts, where it concerns one.
        profile_id / issuer_id / environment: What routes match.
        version_id: The certificate's version, where the event names one.
    """

    name: str
    certificate: CertificateFacts | None = None
    issuer: IssuerFacts | None = None
    issuer_id: str | None = None
    profile_id: str | None = None
    environment: str | None = None
    version_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A notification before it is stored: everything that its messages will say.

    Attributes:
        dedup_key: The same for all messages of one incident.
        payload: ``data``, ``certificate``, ``issuer`` and ``facts`` as JSON.
    """

    event: str
    severity: Severity
    alert: AlertState
    title: str
    text: str
    dedup_key: str
    subject: Subject
    payload: dict[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A delivery that this process is to send now, with its notification.

    Attributes:
        attempts: The number of this attempt, from 1; also the fence of the outcome.
        lease_until: When another process may take it over.
        occurred_at: When the event happened.
    """

    id: str
    notification_id: str
    notifier_id: str
    attempts: int
    lease_until: datetime
    event: str
    severity: Severity
    alert: AlertState
    title: str
    text: str
    dedup_key: str
    certificate_id: str | None
    occurred_at: datetime
    payload: dict[str, JSON]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        state: Where the delivery goes.
        counts: Whether the attempt counts; not when nothing was even tried.
        delay: When it is due again, for ``queued`` and ``retrying``.
        is_gone: The receiver asked never to be called again (410).
    """

    state: DeliveryState
    reason: Reason | None = None
    counts: bool = True
    delay: timedelta = timedelta()
    error: str = ""
    error_class: str = ""
    provider_id: str = ""
    detail: str = ""
    is_gone: bool = False
