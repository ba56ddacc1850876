"""The queue of deliveries: claiming under a lease, settling against it (06 NTF-2, NTF-5)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.contracts.notifiers import AlertState, Severity
from certctl_core.insight.notifications._tables import IS_OPEN, notifiers
from certctl_core.insight.notifications._tables import deliveries as d
from certctl_core.insight.notifications._tables import notifications as n
from certctl_core.insight.notifications.types import (
    Claimed,
    DeliveryState,
    Outcome,
    sources_of,
)
from certctl_core.kernel.db import Uow

_IS_OPEN = sa.text(f"notification_deliveries.{IS_OPEN}")


def due_notifiers(uow: Uow) -> list[str]:
    """The notifiers for which something is due; asks each of the few once, whatever the backlog."""
    waits = sa.exists().where(
        d.c.notifier_id == notifiers.c.id, _IS_OPEN, d.c.next_attempt_at <= uow.now
    )
    return list(uow.execute(sa.select(notifiers.c.id).where(waits)).scalars())


def claim(
    uow: Uow, notifier_id: str, *, limit: int, holder: str, lease: timedelta
) -> list[Claimed]:
    """Take due deliveries of one notifier, the oldest first; moves them to ``sending``.

    A delivery waits for earlier ones of the same incident, so that nobody hears of the end before
    the beginning. One whose holder died is due again when its lease ends.
    """
    earlier = d.alias("earlier")
    is_blocked = sa.exists().where(
        earlier.c.notifier_id == d.c.notifier_id,
        earlier.c.dedup_key == d.c.dedup_key,
        earlier.c.id < d.c.id,
        sa.text(f"earlier.{IS_OPEN}"),
    )
    due = (
        sa.select(d.c.id)
        .where(
            d.c.notifier_id == notifier_id,
            _IS_OPEN,
            d.c.state.in_(sources_of(DeliveryState.SENDING)),
            d.c.next_attempt_at <= uow.now,
            ~is_blocked,
        )
        .order_by(d.c.next_attempt_at, d.c.id)
        .limit(limit)
    )
    until = uow.now + lease
    change = (
        sa.update(d)
        .values(
            state=DeliveryState.SENDING,
            attempts=d.c.attempts + 1,
            next_attempt_at=until,
            lease_owner=holder,
            lease_expires_at=until,
        )
        .returning(d.c.id, d.c.notification_id, d.c.attempts)
    )
    if uow.is_postgres:
        picked = due.with_for_update(skip_locked=True).cte("picked").prefix_with("MATERIALIZED")
        change = change.where(d.c.id == picked.c.id)
    else:
        change = change.where(d.c.id.in_(due))
    rows = uow.execute(change).all()
    if not rows:
        return []
    ids = {row.notification_id for row in rows}
    found = {row.id: row for row in uow.execute(sa.select(n).where(n.c.id.in_(ids)))}
    return [
        _claimed(row, found[row.notification_id], notifier_id, until)
        for row in sorted(rows, key=lambda row: str(row.id))
    ]


def _claimed(row: Row[Any], about: Row[Any], notifier_id: str, until: datetime) -> Claimed:
    return Claimed(
        id=row.id,
        notification_id=row.notification_id,
        notifier_id=notifier_id,
        attempts=row.attempts,
        lease_until=until,
        event=about.event,
        severity=Severity(about.severity),
        alert=AlertState(about.state),
        title=about.title,
        text=about.text,
        dedup_key=about.dedup_key,
        certificate_id=about.certificate_id,
        occurred_at=about.created_at,
        payload=about.payload,
    )


def settle(uow: Uow, item: Claimed, outcome: Outcome, *, holder: str) -> bool:
    """Store how an attempt ended; False when somebody else has taken the delivery over."""
    waits = outcome.state in {DeliveryState.QUEUED, DeliveryState.RETRYING}
    statement = (
        sa.update(d)
        .where(*_is_ours(item, holder), d.c.state.in_(sources_of(outcome.state)))
        .values(
            state=outcome.state,
            reason=outcome.reason,
            attempts=item.attempts if outcome.counts else item.attempts - 1,
            next_attempt_at=uow.now + outcome.delay if waits else None,
            last_error=outcome.error or None,
            error_class=outcome.error_class or None,
            provider_id=outcome.provider_id[:255] or None,
            detail=outcome.detail[:500] or None,
            sent_at=uow.now if outcome.state is DeliveryState.SENT else None,
            lease_owner=None,
            lease_expires_at=None,
        )
    )
    return uow.execute(statement).rowcount == 1


def give_back(uow: Uow, items: Sequence[Claimed], *, holder: str, delay: timedelta) -> None:
    """Return deliveries that were claimed and not tried; their error, if any, stays."""
    for item in items:
        state = DeliveryState.RETRYING if item.attempts > 1 else DeliveryState.QUEUED
        uow.execute(
            sa.update(d)
            .where(*_is_ours(item, holder))
            .values(
                state=state,
                attempts=item.attempts - 1,
                next_attempt_at=uow.now + delay,
                lease_owner=None,
                lease_expires_at=None,
            )
        )


def _is_ours(item: Claimed, holder: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        d.c.id == item.id,
        d.c.state == DeliveryState.SENDING,
        d.c.lease_owner == holder,
        # Each claim counts one up: a later one of our own is not this one.
        d.c.attempts == item.attempts,
    )


def oldest(uow: Uow) -> datetime | None:
    """When the oldest delivery that is still open was made."""
    found: datetime | None = uow.scalar(sa.select(sa.func.min(d.c.created_at)).where(_IS_OPEN))
    return found
