"""Keeps ``notifications.status`` and the counters in step with the deliveries.

Called by whoever changed deliveries, in the same transaction, after the change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.insight.notifications._tables import deliveries as d
from certctl_core.insight.notifications._tables import notifications as n
from certctl_core.insight.notifications.rules import status_of
from certctl_core.insight.notifications.types import DeliveryState
from certctl_core.kernel.db import Uow

COLLECTION = "notifications"
DELIVERIES = "notification_deliveries"
TOTAL = "notifications.all"
UNREAD = "notifications.unread"
STATUS = "notifications.status."


def refresh(uow: Uow, notification_ids: Iterable[str]) -> None:
    """Derive status, attempts and last error of notifications from their deliveries anew."""
    ids = sorted(set(notification_ids))
    if not ids:
        return
    uow.touch(COLLECTION)
    uow.touch(DELIVERIES)
    # Locked first: of two deliveries that end at once, the later one must see the earlier one.
    before = uow.execute(
        sa.select(n.c.id, n.c.status, n.c.attempts, n.c.last_error)
        .where(n.c.id.in_(ids))
        .order_by(n.c.id)
        .with_for_update()
    ).all()
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in uow.execute(
        sa.select(d.c.notification_id, d.c.state, d.c.attempts, d.c.last_error)
        .where(d.c.notification_id.in_(ids))
        .order_by(d.c.id)
    ):
        found[row.notification_id].append(row)
    for row in before:
        own = found[row.id]
        status = status_of((DeliveryState(item.state), item.last_error is not None) for item in own)
        attempts = max((item.attempts for item in own), default=0)
        error = next((item.last_error for item in own if item.last_error is not None), None)
        if (status, attempts, error) == (row.status, row.attempts, row.last_error):
            continue
        uow.execute(
            sa.update(n)
            .where(n.c.id == row.id)
            .values(status=status, attempts=attempts, last_error=error)
        )
        if status != row.status:
            uow.count(STATUS + row.status, -1)
            uow.count(STATUS + status, 1)
