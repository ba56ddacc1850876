"""Notifications and deliveries as people see them: lists, read marks, sending again, retention."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.insight.notifications._tables import IS_OPEN, notifiers
from certctl_core.insight.notifications._tables import deliveries as d
from certctl_core.insight.notifications._tables import notifications as n
from certctl_core.insight.notifications.aggregate import (
    COLLECTION,
    DELIVERIES,
    STATUS,
    TOTAL,
    UNREAD,
    refresh,
)
from certctl_core.insight.notifications.errors import (
    DeliveryNotFound,
    NothingDead,
    NotificationNotFound,
)
from certctl_core.insight.notifications.events import NotificationRequeued
from certctl_core.insight.notifications.schemas import (
    DeliveryQuery,
    DeliveryView,
    NotificationCountsView,
    NotificationDetails,
    NotificationQuery,
    NotificationStatusView,
    NotificationView,
)
from certctl_core.insight.notifications.types import (
    OPEN,
    DeliveryState,
    NotificationStatus,
    Reason,
    sources_of,
)
from certctl_core.kernel.db import RowView, Uow, counted, paginate, recipe
from certctl_core.kernel.operations import Page, Resource

SORTS = {"created_at": n.c.created_at}
DELIVERY_SORTS = {"created_at": d.c.created_at}
_PURGE_BATCH = 500
_RENAMED = {"state": n.c.status, "alert": n.c.state}
_SHOWN = [
    _RENAMED[name].label(name) if name in _RENAMED else n.c[name]
    for name in NotificationView.model_fields
]


class NotificationService:
    """Reads and marks ``notifications``; sends again what died."""

    # -- reading ------------------------------------------------------------------------------

    def page(
        self, uow: Uow, query: NotificationQuery, *, scopes: Sequence[Resource] | None = None
    ) -> Page[NotificationView]:
        """A page of notifications; ``scopes`` limits it to what the actor may see."""
        return paginate(
            uow,
            recipe(_filtered, query, scopes),
            query=query,
            sorts=SORTS,
            id_column=n.c.id,
            view=_view,
            total=_total(query, scopes),
        )

    def counts(self, uow: Uow) -> NotificationCountsView:
        """How many there are: from counters, whatever their number."""
        return NotificationCountsView(
            all=uow.counter(TOTAL),
            unread=uow.counter(UNREAD),
            dead=uow.counter(STATUS + NotificationStatus.DEAD),
            suppressed=uow.counter(STATUS + NotificationStatus.SUPPRESSED),
        )

    def get(self, uow: Uow, notification_id: str) -> NotificationDetails:
        """One notification with its deliveries.

        Raises:
            NotificationNotFound: No such id.
        """
        row = self._row(uow, notification_id)
        found = uow.execute(
            sa.select(d).where(d.c.notification_id == notification_id).order_by(d.c.id)
        )
        return NotificationDetails(
            **_members(row),
            data=row.payload.get("data") or {},
            deliveries=[_delivery(item) for item in found],
        )

    def resource(self, uow: Uow, notification_id: str) -> Resource:
        """The scopes of a notification, for the access decision.

        Raises:
            NotificationNotFound: No such id.
        """
        row = self._row(uow, notification_id)
        return Resource(profile_id=row.profile_id, issuer_id=row.issuer_id)

    def delivery_resource(self, uow: Uow, delivery_id: str) -> Resource:
        """The scopes of a delivery's notification.

        Raises:
            DeliveryNotFound: No such id.
        """
        return self.resource(uow, self._owner(uow, delivery_id))

    def deliveries(
        self, uow: Uow, query: DeliveryQuery, *, scopes: Sequence[Resource] | None = None
    ) -> Page[DeliveryView]:
        """A page of deliveries; ``scopes`` limits it to what the actor may see."""
        return paginate(
            uow,
            recipe(_deliveries, query, scopes),
            query=query,
            sorts=DELIVERY_SORTS,
            id_column=d.c.id,
            view=_delivery,
        )

    # -- read marks: they never touch a delivery (06 NTF-6) -----------------------------------

    def mark(self, uow: Uow, notification_id: str, *, read: bool) -> NotificationStatusView:
        """Mark a notification read or unread; repeating it changes nothing.

        Raises:
            NotificationNotFound: No such id.
        """
        self._row(uow, notification_id)
        changed = self._mark(uow, [n.c.id == notification_id], read=read)
        word = "marked_as_read" if read else "marked_as_unread"
        return NotificationStatusView(status=word, changed=changed)

    def mark_all_read(self, uow: Uow) -> NotificationStatusView:
        """Mark every notification read."""
        changed = self._mark(uow, [], read=True)
        return NotificationStatusView(status="marked_as_read", changed=changed)

    def _mark(self, uow: Uow, where: list[sa.ColumnElement[bool]], *, read: bool) -> int:
        state = n.c.read_at.is_(None) if read else n.c.read_at.is_not(None)
        changed = uow.execute(
            sa.update(n)
            .where(state, *where)
            .values(read_at=uow.now if read else None, read_by=uow.actor.id if read else None)
        ).rowcount
        if changed:
            uow.count(UNREAD, -changed if read else changed)
            uow.touch(COLLECTION)
        return changed

    # -- sending again ------------------------------------------------------------------------

    def requeue(self, uow: Uow, notification_id: str) -> NotificationStatusView:
        """Send the dead deliveries of a notification again; emits ``notification.requeued``.

        Raises:
            NotificationNotFound: No such id.
            NothingDead: None of its deliveries was given up.
        """
        self._row(uow, notification_id)
        return self._requeue(uow, notification_id, d.c.notification_id == notification_id)

    def requeue_delivery(self, uow: Uow, delivery_id: str) -> NotificationStatusView:
        """Send one dead delivery again; emits ``notification.requeued``.

        Raises:
            DeliveryNotFound: No such id.
            NothingDead: It was not given up.
        """
        notification_id = self._owner(uow, delivery_id)
        return self._requeue(uow, notification_id, d.c.id == delivery_id)

    def _requeue(
        self, uow: Uow, notification_id: str, which: sa.ColumnElement[bool]
    ) -> NotificationStatusView:
        ids = (
            uow.execute(
                sa.update(d)
                .where(which, d.c.state == DeliveryState.DEAD)
                .values(
                    state=DeliveryState.QUEUED,
                    attempts=0,
                    next_attempt_at=uow.now,
                    last_error=None,
                    error_class=None,
                )
                .returning(d.c.id)
            )
            .scalars()
            .all()
        )
        if not ids:
            raise NothingDead
        refresh(uow, [notification_id])
        uow.emit(NotificationRequeued(resource_id=notification_id, deliveries=tuple(ids)))
        uow.wake("notify")
        return NotificationStatusView(status="requeued", changed=len(ids))

    # -- retention ----------------------------------------------------------------------------

    def purge(self, uow: Uow, *, older_than: timedelta) -> int:
        """Remove a batch of old notifications with their deliveries (06 NTF-7); 0 when done."""
        old = uow.execute(
            sa.select(n.c.id, n.c.status, n.c.read_at)
            .where(n.c.created_at < uow.now - older_than)
            .order_by(n.c.created_at)
            .limit(_PURGE_BATCH)
            .with_for_update(skip_locked=True)
        ).all()
        if not old:
            return 0
        uow.execute(sa.delete(n).where(n.c.id.in_([row.id for row in old])))
        uow.count(TOTAL, -len(old))
        for row in old:
            uow.count(STATUS + row.status, -1)
            uow.count(UNREAD, -1 if row.read_at is None else 0)
        uow.touch(COLLECTION)
        uow.touch(DELIVERIES)
        return len(old)

    def cancel_orphans(self, uow: Uow) -> int:
        """Cancel a batch of deliveries whose notifier is gone: written by a process that had not
        heard of its deletion yet.
        """  # noqa: D205 - one sentence
        is_gone = ~sa.exists().where(notifiers.c.id == d.c.notifier_id)
        wanted = sa.select(d.c.id).where(sa.text(IS_OPEN), is_gone).limit(_PURGE_BATCH)
        rows = uow.execute(
            sa.update(d)
            .where(d.c.id.in_(wanted), d.c.state.in_(sources_of(DeliveryState.CANCELLED)))
            .values(
                state=DeliveryState.CANCELLED,
                reason=Reason.NOTIFIER_DELETED,
                next_attempt_at=None,
                lease_owner=None,
                lease_expires_at=None,
            )
            .returning(d.c.notification_id)
        )
        ids = [row.notification_id for row in rows]
        refresh(uow, ids)
        return len(ids)

    def stats(self, uow: Uow) -> dict[str, int]:
        """Open and dead deliveries by state; for metrics and reports."""
        states = [*sorted(OPEN), DeliveryState.DEAD]
        rows = uow.execute(
            sa.select(d.c.state, sa.func.count().label("total"))
            .where(d.c.state.in_(states))
            .group_by(d.c.state)
        )
        found = {row.state: int(row.total) for row in rows}
        return {state.value: found.get(state.value, 0) for state in states}

    def _owner(self, uow: Uow, delivery_id: str) -> str:
        found: str | None = uow.scalar(sa.select(d.c.notification_id).where(d.c.id == delivery_id))
        if found is None:
            raise DeliveryNotFound(delivery_id=delivery_id)
        return found

    def _row(self, uow: Uow, notification_id: str) -> Row[Any]:
        row = uow.first(sa.select(n).where(n.c.id == notification_id))
        if row is None:
            raise NotificationNotFound(notification_id=notification_id)
        return row


def _filtered(query: NotificationQuery, scopes: Sequence[Resource] | None) -> sa.Select[Any]:
    statement = sa.select(*_SHOWN)
    for name in ("event", "severity", "certificate_id"):
        value = getattr(query, name)
        if value is not None:
            statement = statement.where(n.c[name] == value)
    if query.status == "read":
        statement = statement.where(n.c.read_at.is_not(None))
    elif query.status is not None:
        statement = statement.where(n.c.status == query.status)
    if query.unread is not None:
        unread = n.c.read_at.is_(None)
        statement = statement.where(unread if query.unread else ~unread)
    if query.since is not None:
        statement = statement.where(n.c.created_at >= query.since)
    if query.until is not None:
        statement = statement.where(n.c.created_at < query.until)
    if query.q:
        match = n.c.title.icontains(query.q, autoescape=True)
        statement = statement.where(match | (n.c.id == query.q))
    if scopes is not None:
        statement = statement.where(_in_scope(scopes))
    return statement


def _deliveries(query: DeliveryQuery, scopes: Sequence[Resource] | None) -> sa.Select[Any]:
    statement = sa.select(d)
    if scopes is not None:
        visible = sa.select(n.c.id).where(_in_scope(scopes))
        statement = statement.where(d.c.notification_id.in_(visible))
    for name in ("notifier_id", "notification_id"):
        value = getattr(query, name)
        if value is not None:
            statement = statement.where(d.c[name] == value)
    if query.state is not None:
        statement = statement.where(d.c.state == query.state)
    if query.q:
        statement = statement.where(sa.or_(d.c.id == query.q, d.c.provider_id == query.q))
    return statement


def _in_scope(scopes: Sequence[Resource]) -> sa.ColumnElement[bool]:
    profiles = [scope.profile_id for scope in scopes if scope.profile_id]
    issuers = [scope.issuer_id for scope in scopes if scope.issuer_id]
    return n.c.profile_id.in_(profiles) | n.c.issuer_id.in_(issuers)


def _total(
    query: NotificationQuery, scopes: Sequence[Resource] | None
) -> sa.ScalarSelect[int] | None:
    """The number of matches from a counter row, where one counts exactly that."""
    asked = {
        name
        for name in ("event", "severity", "status", "certificate_id", "unread", "since", "until")
        if getattr(query, name) is not None
    }
    if scopes is not None or query.q:
        return None
    if not asked:
        return counted(TOTAL)
    if asked == {"unread"} and query.unread:
        return counted(UNREAD)
    if asked == {"status"} and query.status != "read":
        return counted(f"{STATUS}{query.status}")
    return None


def _members(row: Row[Any]) -> dict[str, Any]:
    same: Iterable[str] = NotificationView.model_fields.keys() - {"state", "alert"}
    found = row._asdict()
    return {name: found[name] for name in same} | {"state": row.status, "alert": row.state}


_view = RowView(NotificationView)
_delivery = RowView(DeliveryView)
