"""Bodies and answers of the notifications room."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from certctl_core.contracts.notifiers import AlertState, Severity
from certctl_core.insight.notifications.types import (
    ALL_NOTIFIERS,
    DeliveryState,
    NotificationStatus,
    NotifierHealth,
    NotifierSource,
    NotifierState,
    NotifierTestStatus,
    Reason,
)
from certctl_core.kernel.operations import Input, ListQuery, View

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")
]
Kind = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Config = dict[str, Any]
"""Plain JSON; the kind's schema says what belongs in it."""
Tag = Annotated[
    str, StringConstraints(max_length=64, pattern=r"^[a-z][a-z_]*(\.[a-z][a-z_]*)*(\.\*)?$")
]
Id = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._-]+$")]
NotifierId = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^([A-Za-z0-9._-]+|\*)$")
]
_MANY = 100

# -- notifiers ---------------------------------------------------------------------------------


class NotifierBody(Input):
    """The mutable part of a notifier."""

    name: Name = Field(description="Unique name.")
    config: Config = Field(
        default_factory=dict, description="By the kind's schema (see notifier types)."
    )
    enabled: bool = Field(default=True, description="Whether it is told things.")


class CreateNotifier(NotifierBody):
    """A new notifier."""

    id: str | None = Field(None, max_length=128, description="Chosen id; made when absent.")
    kind: Kind = Field(description="Kind or alias; cannot be changed later.")
    test: bool = Field(default=False, description="Connect first; save nothing if that fails.")


class PatchNotifier(Input):
    """A merge patch: what is absent stays, null clears; a secret that is absent is kept."""

    name: Name | None = None
    config: Config | None = None
    enabled: bool | None = None


class TestNotifier(Input):
    """How a stored notifier is tested."""

    __test__ = False  # no test class, whatever its name says

    send: bool = Field(default=False, description="Deliver a message that is marked as a test.")


class TryNotifier(TestNotifier):
    """A configuration that is tested and not saved."""

    kind: Kind
    config: Config = Field(default_factory=dict)
    base_id: str | None = Field(
        None, max_length=128, description="Take secrets that are absent from this notifier."
    )


class NotifierCheckView(View):
    """One thing that a test looked at."""

    name: str
    ok: bool
    detail: str = ""
    hint: str = ""


class NotifierReportView(View):
    """The result of a test."""

    ok: bool
    checks: list[NotifierCheckView]
    duration_ms: int


class NotifierView(View):
    """One configured notifier; secrets show as ``{"set": true, …}``."""

    id: str
    name: str
    kind: str
    title: str = Field(description="The kind's name for people.")
    config: Config
    capabilities: list[str] = Field(description="What the kind can do; empty if unavailable.")
    enabled: bool
    source: NotifierSource
    state: NotifierState
    state_reason: str
    health: NotifierHealth
    test_status: NotifierTestStatus
    last_tested_at: datetime | None
    last_test_report: NotifierReportView | None
    created_by: str
    created_at: datetime
    updated_at: datetime
    version: int


class CreatedNotifierView(NotifierView):
    """A new notifier, with the secrets that were made for it."""

    generated_secrets: dict[str, str] = Field(
        description="By field; shown this once. Give them to the receiver."
    )


class NotifierQuery(ListQuery):
    """Filters of the notifier list."""

    kind: str | None = Field(None, max_length=64)
    enabled: bool | None = None
    health: NotifierHealth | None = None


class DeleteNotifierQuery(BaseModel):
    """How a notifier is deleted."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    force: bool = Field(default=False, description="Cancel the deliveries that wait for it.")


class NotifierKindView(View):
    """One kind of notifier that is installed, also one that cannot be used and why."""

    kind: str
    title: str
    summary: str
    available: bool
    error: str | None = Field(description="Why it cannot be used.")
    capabilities: list[str]
    aliases: list[str]
    schema_: dict[str, Any] | None = Field(
        alias="schema", description="JSON Schema of its configuration."
    )
    docs: str | None


# -- routes ------------------------------------------------------------------------------------


class RouteMatch(Input):
    """Which events a route takes. All conditions must hold; an empty one always does."""

    events: list[Tag] = Field(
        default_factory=list, max_length=_MANY, description="Event names, or `certificate.*`."
    )
    severities: list[Severity] = Field(default_factory=list, max_length=3)
    environments: list[Annotated[str, StringConstraints(max_length=50)]] = Field(
        default_factory=list, max_length=_MANY, description="Of the certificate concerned."
    )
    issuer_ids: list[Id] = Field(
        default_factory=list, max_length=_MANY, description="The issuer concerned."
    )
    profile_ids: list[Id] = Field(
        default_factory=list, max_length=_MANY, description="Of the certificate concerned."
    )


class RouteBody(Input):
    """The mutable part of a route."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    name: Name = Field(description="Unique name.")
    priority: int = Field(100, ge=0, le=10_000, description="The lowest is looked at first.")
    enabled: bool = True
    match: RouteMatch = Field(default_factory=RouteMatch)
    notifiers: list[NotifierId] = Field(
        default_factory=lambda: [ALL_NOTIFIERS],
        min_length=1,
        max_length=_MANY,
        description="Notifier ids; `*` stands for every enabled one.",
    )
    continues: bool = Field(
        default=True,
        alias="continue",
        description="Whether later routes are looked at after this one matched.",
    )


class CreateRoute(RouteBody):
    """A new route."""

    id: str | None = Field(None, max_length=128, description="Chosen id; made when absent.")


class PatchRoute(Input):
    """A merge patch: what is absent stays; ``match`` is merged member by member."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    name: Name | None = None
    priority: int | None = Field(None, ge=0, le=10_000)
    enabled: bool | None = None
    match: dict[str, Any] | None = None
    notifiers: list[NotifierId] | None = None
    continues: bool | None = Field(None, alias="continue")


class RouteView(View):
    """One route."""

    model_config = ConfigDict(
        validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )

    id: str
    name: str
    priority: int
    enabled: bool
    match: RouteMatch
    notifiers: list[str]
    continues: bool = Field(alias="continue")
    created_at: datetime
    updated_at: datetime
    version: int


class RouteQuery(ListQuery):
    """Filters of the route list."""

    enabled: bool | None = None


class PreviewRoute(Input):
    """An event that might happen."""

    event: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    severity: Severity | None = Field(None, description="The event's own when absent.")
    certificate_id: str | None = Field(None, max_length=128)


class PreviewedNotifier(View):
    """A notifier that would be used, and the route that leads there."""

    id: str
    name: str
    enabled: bool
    route_id: str
    route_name: str


class RoutePreviewView(View):
    """Who would be told."""

    severity: Severity
    is_stored: bool = Field(description="Whether the event leaves a notification at all.")
    notifiers: list[PreviewedNotifier]


# -- notifications and deliveries --------------------------------------------------------------


class DeliveryView(View):
    """One message to one notifier."""

    id: str
    notification_id: str
    notifier_id: str
    state: DeliveryState
    reason: Reason | None
    attempts: int
    next_attempt_at: datetime | None
    last_error: str | None
    error_class: str | None
    provider_id: str | None
    detail: str | None
    sent_at: datetime | None
    created_at: datetime


class NotificationView(View):
    """One thing that people are told."""

    id: str
    event: str
    severity: Severity
    state: NotificationStatus = Field(description="How its deliveries stand together.")
    reason: Reason | None = Field(description="Why nobody was told, where that is so.")
    alert: AlertState = Field(description="Whether the matter is open or over.")
    certificate_id: str | None
    version_id: str | None
    issuer_id: str | None
    title: str
    text: str
    dedup_key: str
    attempts: int = Field(description="Most attempts of one delivery.")
    last_error: str | None
    created_at: datetime
    read_at: datetime | None
    read_by: str | None


class NotificationDetails(NotificationView):
    """A notification with its deliveries and what its messages carry."""

    data: dict[str, Any]
    deliveries: list[DeliveryView]


class NotificationQuery(ListQuery):
    """Filters of the notification list."""

    event: str | None = Field(None, max_length=64)
    severity: Severity | None = None
    status: Literal["pending", "sent", "failed", "dead", "suppressed", "read"] | None = Field(
        None, description="How the deliveries stand; `read` for those that were read."
    )
    certificate_id: str | None = Field(None, max_length=128)
    unread: bool | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


class DeliveryQuery(ListQuery):
    """Filters of the delivery list."""

    notifier_id: str | None = Field(None, max_length=128)
    notification_id: str | None = Field(None, max_length=128)
    state: DeliveryState | None = None


class NotificationCountsView(View):
    """How many notifications there are."""

    all: int
    unread: int
    dead: int = Field(description="With a message that was given up.")
    suppressed: int = Field(description="That nobody was told.")


class NotificationStatusView(View):
    """What a change did."""

    status: str
    changed: int = Field(description="How many notifications or deliveries it concerned.")
