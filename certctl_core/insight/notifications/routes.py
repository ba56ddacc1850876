"""Notification routes: kept, checked against the events and notifiers there are, evaluated in memory.

The outbox asks :class:`RouteCache` at every commit; it answers without a query until a route or a
notifier changes (topic ``routes``), and looks again after 5 seconds at the latest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from certctl_core.contracts.notifiers import Severity
from certctl_core.insight.notifications import _store
from certctl_core.insight.notifications._store import R
from certctl_core.insight.notifications._tables import notification_routes as routes
from certctl_core.insight.notifications.errors import (
    RouteChanged,
    RouteNameTaken,
    RouteNotFound,
)
from certctl_core.insight.notifications.events import (
    NotifierEvent,
    RouteCreated,
    RouteDeleted,
    RouteEvent,
    RouteUpdated,
)
from certctl_core.insight.notifications.rules import RoutingTable
from certctl_core.insight.notifications.schemas import (
    CreateRoute,
    PatchRoute,
    RouteBody,
    RouteMatch,
    RouteQuery,
    RouteView,
)
from certctl_core.insight.notifications.types import ALL_NOTIFIERS, DEFAULT_ROUTE_ID
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.db import ChangeFeed, RowView, Uow, instance, paginate, recipe
from certctl_core.kernel.errors import FieldError, Invalid
from certctl_core.kernel.events import Emitted, Event
from certctl_core.kernel.ids import Prefix, parse_id
from certctl_core.kernel.operations import Page
from certctl_core.lifecycle.configured import RECHECK
from certctl_core.values import dataclass

COLLECTION = "notification_routes"
SORTS = {"created_at": R.created_at, "priority": R.priority, "name": R.name}
_SEEDED = "notification_routes_seeded"


def _default() -> CreateRoute:
    return CreateRoute(
        id=DEFAULT_ROUTE_ID,
        name="Everything from warning on",
        priority=1000,
        match=RouteMatch(severities=[Severity.WARNING, Severity.CRITICAL]),
        notifiers=[ALL_NOTIFIERS],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    table: RoutingTable
    generation: int
    read_at: float


class RouteCache:
    """The routing table of this process. Safe for threads.

    Args:
        clock: Its monotonic hand says when to look again.
        feed: Tells of changes (topic ``routes``).
    """

    def __init__(self, *, clock: Clock, feed: ChangeFeed | None = None) -> None:
        self._clock = clock
        self._known: _Known | None = None
        self._generation = 0
        if feed is not None:
            feed.subscribe("routes", self.look_again)

    def look_again(self) -> None:
        """Read the routes again before their next use."""
        self._generation += 1

    def table(self, uow: Uow, emitted: Sequence[Emitted] = ()) -> RoutingTable:
        """The routes that hold for what this transaction commits.

        Args:
            uow: The transaction; asked only when memory is too old.
            emitted: What it emitted. If it changed routes or notifiers itself, its own view counts
                for it, and is not kept: it may still be rolled back.
        """
        if any(isinstance(item.event, RouteEvent | NotifierEvent) for item in emitted):
            return _store.routing_table(uow)
        now, generation, known = self._clock.monotonic(), self._generation, self._known
        if (
            known is not None
            and known.generation == generation
            and now - known.read_at < RECHECK.total_seconds()
        ):
            return known.table
        table = _store.routing_table(uow)
        self._known = _Known(table=table, generation=generation, read_at=now)
        return table


class RouteService:
    """Owns ``notification_routes``."""

    def seed(self, uow: Uow) -> None:
        """Make the default route at the first start; whoever deletes it is not asked again."""
        marker = uow.insert(instance).values(name=_SEEDED, value="yes").on_conflict_do_nothing()
        if uow.execute(marker.execution_options(preserve_rowcount=True)).rowcount == 1:
            self.create(uow, _default())

    def get(self, uow: Uow, route_id: str) -> RouteView:
        """One route.

        Raises:
            RouteNotFound: No such id.
        """
        row = _store.find_route(uow, route_id)
        if row is None:
            raise RouteNotFound(route_id=route_id)
        return _view(row)

    def page(self, uow: Uow, query: RouteQuery) -> Page[RouteView]:
        """A page of routes, in the order of evaluation unless asked otherwise."""
        return paginate(
            uow,
            recipe(_selection, query),
            query=query,
            sorts=SORTS,
            id_column=R.id,
            view=_view,
            default="priority",
        )

    def create(self, uow: Uow, body: CreateRoute) -> RouteView:
        """Store a new route; emits ``notification_route.created``.

        Raises:
            Invalid: The chosen id is not an id; an event or notifier does not exist.
            RouteNameTaken: Name or id exists.
        """
        self._check(uow, body)
        route_id = parse_id(body.id) if body.id else _make_id(uow, body.name)
        row = uow.first(
            uow.insert(routes)
            .values(
                id=route_id,
                version=1,
                created_at=uow.now,
                updated_at=uow.now,
                **_values(body),
            )
            .on_conflict_do_nothing()
            .returning(routes)
        )
        if row is None:
            raise RouteNameTaken(name=body.name)
        uow.emit(RouteCreated(resource_id=route_id, route_name=body.name))
        self._changed(uow)
        return _view(row)

    def replace(
        self, uow: Uow, route_id: str, body: RouteBody, *, if_match: int | None = None
    ) -> RouteView:
        """Replace a route; emits ``notification_route.updated`` when something differs.

        Raises:
            RouteNotFound, RouteNameTaken: As named.
            RouteChanged: ``if_match`` differs, or somebody else was first.
            Invalid: An event or notifier does not exist.
        """
        before = self.get(uow, route_id)
        if if_match is not None and before.version != if_match:
            raise RouteChanged(route_id=route_id)
        self._check(uow, body)
        if _store.is_route_name_taken(uow, body.name, but=route_id):
            raise RouteNameTaken(name=body.name)
        values = _values(body)
        old = before.model_dump(mode="json", by_alias=False)
        changed = tuple(sorted(name for name, value in values.items() if old[name] != value))
        if not changed:
            return before
        row = uow.first(
            sa.update(routes)
            .where(R.id == route_id, R.version == before.version)
            .values(version=before.version + 1, updated_at=uow.now, **values)
            .returning(routes)
        )
        if row is None:
            raise RouteChanged(route_id=route_id)
        uow.emit(RouteUpdated(resource_id=route_id, route_name=body.name, fields=changed))
        self._changed(uow)
        return _view(row)

    def patch(
        self, uow: Uow, route_id: str, body: PatchRoute, *, if_match: int | None = None
    ) -> RouteView:
        """Apply a merge patch.

        Raises:
            pydantic.ValidationError: The result is not valid; the dispatcher answers 400.
            As for ``replace``.
        """
        current = self.get(uow, route_id).model_dump(mode="json", by_alias=False)
        whole = {name: current[name] for name in RouteBody.model_fields}
        for name in body.model_fields_set:
            value = getattr(body, name)
            if name == "match" and value is not None:
                value = {**whole["match"], **value}
                value = {key: item for key, item in value.items() if item is not None}
            if value is None:
                whole.pop(name)
            else:
                whole[name] = value
        return self.replace(uow, route_id, RouteBody.model_validate(whole), if_match=if_match)

    def delete(self, uow: Uow, route_id: str, *, if_match: int | None = None) -> None:
        """Delete a route; emits ``notification_route.deleted``.

        Raises:
            RouteNotFound, RouteChanged: As for ``replace``.
        """
        view = self.get(uow, route_id)
        if if_match is not None and view.version != if_match:
            raise RouteChanged(route_id=route_id)
        uow.execute(sa.delete(routes).where(R.id == route_id))
        uow.emit(RouteDeleted(resource_id=route_id, route_name=view.name))
        self._changed(uow)

    def _check(self, uow: Uow, body: RouteBody) -> None:
        faults = [
            FieldError(field="match.events", message=f"there is no event '{name}'")
            for name in body.match.events
            if not is_event(name)
        ]
        known = {ALL_NOTIFIERS, *_store.names(uow)}
        faults += [
            FieldError(field="notifiers", message=f"there is no notifier {name}")
            for name in body.notifiers
            if name not in known
        ]
        if faults:
            raise Invalid(fields=faults)

    def _changed(self, uow: Uow) -> None:
        uow.touch(COLLECTION)
        uow.wake("routes")


def is_event(name: str) -> bool:
    """Whether a tag, or ``noun.*``, names an event of this product."""
    if name.endswith(".*"):
        return any(tag.startswith(name[:-1]) for tag in Event.catalogue)
    return name in Event.catalogue


def _make_id(uow: Uow, name: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:32].strip("-")
    fresh = uow.new_id(Prefix.NOTIFICATION_ROUTE)
    return fresh if not words else f"{Prefix.NOTIFICATION_ROUTE}-{words}-{fresh[-6:]}"


def _values(body: RouteBody) -> dict[str, Any]:
    """The columns that a body sets."""
    dumped = body.model_dump(mode="json", by_alias=False)
    return {name: dumped[name] for name in RouteBody.model_fields}


def _selection(query: RouteQuery) -> sa.Select[Any]:
    statement = sa.select(routes)
    if query.enabled is not None:
        statement = statement.where(R.enabled == query.enabled)
    if query.q:
        statement = statement.where(R.name.icontains(query.q, autoescape=True))
    return statement


_view = RowView(RouteView)
