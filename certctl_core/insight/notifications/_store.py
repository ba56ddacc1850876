"""The queries over notifiers and routes, and those that the outbox makes. Private to this room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.contracts.notifiers import Severity
from certctl_core.insight.notifications._tables import (
    IS_OPEN,
    deliveries,
    notification_routes,
    notifications,
    notifiers,
)
from certctl_core.insight.notifications.rules import RoutingTable
from certctl_core.insight.notifications.types import (
    DeliveryState,
    NotifierHealth,
    NotifierSource,
    NotifierState,
    NotifierTestStatus,
    Reason,
    RouteRule,
    sources_of,
)
from certctl_core.kernel.db import Uow
from certctl_core.kernel.events import JSON
from certctl_core.lifecycle.configured import Rows
from certctl_core.values import dataclass

C = notifiers.c
R = notification_routes.c


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifierRow:
    """One row of ``notifiers``; ``secrets`` maps field paths to sealed envelopes."""

    id: str
    name: str
    kind: str
    config: dict[str, JSON]
    secrets: dict[str, str]
    secrets_set_at: dict[str, str]
    enabled: bool
    source: NotifierSource
    version: int
    revision: int
    state: NotifierState
    state_reason: str
    health: NotifierHealth
    test_status: NotifierTestStatus
    last_tested_at: datetime | None
    last_test_report: dict[str, Any] | None
    created_by: str
    created_at: datetime
    updated_at: datetime


_ENUMS: Mapping[str, type] = {
    "source": NotifierSource,
    "state": NotifierState,
    "health": NotifierHealth,
    "test_status": NotifierTestStatus,
}


_rows = Rows(notifiers, NotifierRow, columns=tuple(NotifierRow.__slots__), enums=_ENUMS)
from_row = _rows.from_row
find = _rows.find
insert = _rows.insert
update = _rows.update
note = _rows.note
delete = _rows.delete
is_name_taken = _rows.is_name_taken


def names(uow: Uow) -> dict[str, str]:
    """Name of every notifier by id; an installation has a handful."""
    return {row.id: row.name for row in uow.execute(sa.select(C.id, C.name))}


def take_dead_letter(uow: Uow, notifier_id: str, *, every: timedelta) -> Row[Any] | None:
    """Name and kind of a notifier whose dead letter is to be told now; None when it was lately."""
    lately = uow.now - every
    return uow.first(
        sa.update(notifiers)
        .where(
            C.id == notifier_id,
            sa.or_(C.dead_letter_at.is_(None), C.dead_letter_at <= lately),
        )
        .values(dead_letter_at=uow.now)
        .returning(C.name, C.kind)
    )


# -- deliveries of one notifier ----------------------------------------------------------------


def open_deliveries(uow: Uow, notifier_id: str) -> int:
    """How many deliveries wait for a notifier."""
    found = uow.scalar(
        sa.select(sa.func.count())
        .select_from(deliveries)
        .where(deliveries.c.notifier_id == notifier_id, sa.text(IS_OPEN))
    )
    return int(found or 0)


def cancel_deliveries(uow: Uow, notifier_id: str) -> list[str]:
    """Cancel what waits for a notifier that goes; returns the ids of the notifications."""
    rows = uow.execute(
        sa.update(deliveries)
        .where(
            deliveries.c.notifier_id == notifier_id,
            sa.text(IS_OPEN),
            deliveries.c.state.in_(sources_of(DeliveryState.CANCELLED)),
        )
        .values(
            state=DeliveryState.CANCELLED,
            reason=Reason.NOTIFIER_DELETED,
            next_attempt_at=None,
            lease_owner=None,
            lease_expires_at=None,
        )
        .returning(deliveries.c.notification_id)
    )
    return [row.notification_id for row in rows]


# -- routes ------------------------------------------------------------------------------------


def find_route(uow: Uow, route_id: str) -> Row[Any] | None:
    """One route."""
    return uow.first(sa.select(notification_routes).where(R.id == route_id))


def is_route_name_taken(uow: Uow, name: str, *, but: str) -> bool:
    """Whether another route has the name."""
    statement = sa.select(sa.literal(1)).where(R.name == name, R.id != but)
    return uow.scalar(statement.limit(1)) is not None


def routes_naming(uow: Uow, notifier_id: str) -> int:
    """How many routes name a notifier; there are few routes, so all are looked at."""
    rows = uow.execute(sa.select(R.notifiers))
    return sum(notifier_id in row.notifiers for row in rows)


def routing_table(uow: Uow) -> RoutingTable:
    """The enabled routes and all notifiers, as the outbox evaluates them."""
    routes = [_rule(row) for row in uow.execute(sa.select(notification_routes).where(R.enabled))]
    rows = uow.execute(sa.select(C.id, C.enabled).order_by(C.created_at, C.id))
    return RoutingTable(routes, {row.id: row.enabled for row in rows})


def _rule(row: Row[Any]) -> RouteRule:
    match: Mapping[str, Sequence[str]] = row.match
    return RouteRule(
        id=row.id,
        name=row.name,
        priority=row.priority,
        events=frozenset(match.get("events", ())),
        severities=frozenset(Severity(item) for item in match.get("severities", ())),
        environments=frozenset(match.get("environments", ())),
        issuer_ids=frozenset(match.get("issuer_ids", ())),
        profile_ids=frozenset(match.get("profile_ids", ())),
        notifiers=tuple(row.notifiers),
        continues=row.continues,
    )


# -- the outbox --------------------------------------------------------------------------------


def insert_notifications(
    uow: Uow, rows: Sequence[Mapping[str, object]], waiting: Sequence[Mapping[str, object]]
) -> None:
    """Store notifications and the deliveries that wait for their turn."""
    uow.execute(sa.insert(notifications), list(rows))
    if waiting:
        uow.execute(sa.insert(deliveries), list(waiting))
