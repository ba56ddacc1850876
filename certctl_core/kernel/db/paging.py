"""Lists: keyset cursors that cost the same on every page, and offset pages with a floor."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from pydantic_core import to_json
from sqlalchemy.engine import Row

from certctl_core.kernel.db.columns import UTCDateTime
from certctl_core.kernel.db.errors import BadCursor, BadSort, PageTooDeep
from certctl_core.kernel.db.listing import (
    EDGE_ID,
    EDGE_VALUE,
    OFFSET,
    PAGING,
    JSONRows,
    Places,
    Recipe,
    Statement,
    compiled,
    stamped,
)
from certctl_core.kernel.db.rows import RowView, cells, time_of
from certctl_core.kernel.db.uow import Uow
from certctl_core.kernel.operations import ListQuery, Page

MAX_OFFSET_ROWS = 10_000
"""Offset paging reads and drops every row before the page, so it ends here (spec 01 API-09)."""

_INT64 = 2**63

Model = TypeVar("Model", bound=BaseModel)


def parse_sort(sort: str | None, offered: Mapping[str, Any], default: str) -> tuple[str, bool]:
    """Split ``-created_at`` into (name, descends).

    Raises:
        BadSort: The list does not offer that field.
    """
    text = sort or default
    name = text.removeprefix("-")
    if name not in offered:
        raise BadSort(sort=name, offered=", ".join(sorted(offered)))
    return name, text.startswith("-")


def paginate(
    uow: Uow,
    statement: sa.Select[Any] | Recipe,
    *,
    query: ListQuery,
    sorts: Mapping[str, sa.ColumnElement[Any]],
    id_column: sa.ColumnElement[Any],
    view: Callable[[Row[Any]], Model],
    default: str = "-created_at",
    total: int | sa.ScalarSelect[int] | None = None,
) -> Page[Model]:
    """Run ``statement`` (filtered, unsorted) for one page.

    A ``recipe`` together with a ``RowView`` takes the short way where JSON is wanted: no statement
    is made anew, and no object for a row. Whoever gives a recipe has read nothing of the answer
    before: the version stamp is read here. Where the path has no parameter, the room is not even
    asked when the same query comes again.

    Args:
        uow: The open unit of work.
        statement: The select with every filter applied and neither order nor limit.
        query: Paging, sort and cursor as asked for.
        sorts: Sort field → column, not null; the id breaks ties.
        id_column: The unique id, whatever it is called.
        view: Row → view model.
        default: Sort when the caller names none.
        total: The count if known, or the constant subquery that gives it (``counted``); else
            counted up to 10,000.

    Raises:
        BadSort, BadCursor, PageTooDeep: As their names say.
    """
    if query.page_size is None and query.cursor is None:
        _require_near(query)
    name, descends = parse_sort(query.sort, sorts, default)
    if uow.listing is not None and isinstance(statement, Recipe) and isinstance(view, RowView):
        source = _Source(
            recipe=statement,
            view=view,
            column=sorts[name],
            id_column=id_column,
            sort=name,
            descends=descends,
            total=total,
        )
        page = _short_way(uow, source, query)
        if page is not None:
            return page
    if isinstance(statement, Recipe):
        if uow.listing is not None:
            uow.listing.stamp = uow.stamp(uow.listing.collection)
        statement = statement.make()
    if isinstance(total, sa.ScalarSelect):
        total = int(uow.scalar(sa.select(total)))
    column = sorts[name]
    count, exact = (total, True) if total is not None else _count(uow, statement)
    ordered = _ordered(statement, column, id_column, descends=descends)
    if query.page_size is None and query.cursor is None:
        return _offset_page(uow, ordered, query, view, count, exact=exact)
    size = query.page_size or 50
    digest = _digest(query, name, descends=descends)
    if query.cursor is not None:
        value, last_id = _edge(query.cursor, digest, column)
        pair = sa.tuple_(column, id_column)
        edge = sa.tuple_(sa.literal(value, column.type), sa.literal(last_id, id_column.type))
        ordered = ordered.where(pair < edge if descends else pair > edge)
    edges = (column.label("sort_value"), id_column.label("last_id"))
    rows = uow.execute(ordered.add_columns(*edges).limit(size + 1)).all()
    more = len(rows) > size
    rows = rows[:size]
    cursor = _encode(rows[-1].sort_value, rows[-1].last_id, digest) if more else None
    return Page(
        data=[view(row) for row in rows],
        total=count,
        total_exact=exact,
        next_cursor=cursor,
        size=size,
    )


class _Source(NamedTuple):
    """What a list on the short way reads."""

    recipe: Recipe
    view: RowView[Any]
    column: sa.ColumnElement[Any]
    id_column: sa.ColumnElement[Any]
    sort: str
    descends: bool
    total: int | sa.ScalarSelect[int] | None


def _short_way(uow: Uow, source: _Source, query: ListQuery) -> Page[Any] | None:
    """The page with its stamp in one statement; None when no row comes that could bring them."""
    listing = uow.listing
    assert listing is not None  # noqa: S101 - the caller has looked
    by_offset = query.page_size is None and query.cursor is None
    size = query.per_page if by_offset else query.page_size or 50
    statement = compiled(
        (
            source.recipe.key,
            source.view,
            source.sort,
            source.descends,
            by_offset,
            query.cursor is None,
            size,
            "known" if isinstance(source.total, int) else source.total,
            listing.collection,
        ),
        lambda: _select(source, query, listing.collection, size, is_postgres=uow.is_postgres),
        is_postgres=uow.is_postgres,
    )
    values: dict[str, Any] = {}
    if by_offset:
        values[OFFSET] = (query.page - 1) * size
    elif query.cursor is not None:
        values[EDGE_VALUE], values[EDGE_ID] = _edge(query.cursor, statement.digest, source.column)
    plan = _Plan(
        statement=statement,
        parameters=statement.parameters(values),
        model=source.view.model,
        sorts_by_time=isinstance(source.column.type, UTCDateTime),
        total=source.total,
        size=size,
        number=query.page if by_offset else None,
    )
    page = plan.page(uow)
    if page is not None and not isinstance(source.total, int):
        listing.again = plan.page
    return page


class _Plan(NamedTuple):
    """One page of one list, ready to be read any number of times."""

    statement: Statement
    parameters: list[Any]
    model: type[BaseModel]
    sorts_by_time: bool
    total: int | sa.ScalarSelect[int] | None
    size: int
    number: int | None

    def page(self, uow: Uow) -> Page[Any] | None:
        """Read it; None when there are no rows."""
        statement = self.statement
        rows = uow.plain_rows(statement, self.parameters)
        if not rows:
            return None
        places = statement.places
        if uow.listing is not None:
            uow.listing.stamp = rows[0][places.stamp]
        total, exact = self.total, True
        if not isinstance(total, int):
            found = int(rows[0][places.stamp + 1])
            if total is None:
                total, exact = min(found, MAX_OFFSET_ROWS), found <= MAX_OFFSET_ROWS
            else:
                total = found
        cursor = None
        if self.number is None and len(rows) > self.size:
            del rows[self.size :]
            value = rows[-1][places.sort_value]
            value = time_of(value) if self.sorts_by_time else value
            cursor = _encode(value, rows[-1][places.row_id], statement.digest)
        return Page(
            data=JSONRows(self.model, statement.members, rows),
            total=total,
            total_exact=exact,
            next_cursor=cursor,
            size=self.size,
            number=self.number,
        )


def _select(
    source: _Source, query: ListQuery, collection: str, size: int, *, is_postgres: bool
) -> Statement:
    filtered = source.recipe.make()
    column, id_column = source.column, source.id_column
    members = cells(
        source.view.model, dict(filtered.selected_columns.items()), is_postgres=is_postgres
    )
    shown = [filtered.selected_columns[member.name] for member in members]
    for item, label in ((column, "page_sort_value"), (id_column, "page_last_id")):
        if _place(shown, item) is None:
            # A label of its own: a member may be called like the column.
            shown.append(item.label(label))
    places = Places(
        sort_value=_place(shown, column) or 0,
        row_id=_place(shown, id_column) or 0,
        stamp=len(shown),
    )
    shown.append(stamped(collection).label("page_stamp"))
    if source.total is None:
        shown.append(sa.select(sa.func.count()).select_from(_capped(filtered)).scalar_subquery())
    elif isinstance(source.total, sa.ScalarSelect):
        shown.append(source.total)
    found = filtered.with_only_columns(*shown, maintain_column_froms=True)
    found = _ordered(found, column, id_column, descends=source.descends)
    # Literal: with a parameter in its place the server would plan the statement each time anew.
    if query.page_size is None and query.cursor is None:
        found = found.limit(sa.literal_column(str(size)))
        found = found.offset(sa.bindparam(OFFSET, None, sa.Integer))
    else:
        found = found.limit(sa.literal_column(str(size + 1)))
    if query.cursor is not None:
        pair = sa.tuple_(column, id_column)
        edge = sa.tuple_(
            sa.bindparam(EDGE_VALUE, None, column.type), sa.bindparam(EDGE_ID, None, id_column.type)
        )
        found = found.where(pair < edge if source.descends else pair > edge)
    return Statement(
        select=found,
        members=members,
        places=places,
        digest=_digest(query, source.sort, descends=source.descends),
        is_postgres=is_postgres,
    )


def _place(shown: Sequence[sa.ColumnElement[Any]], wanted: sa.ColumnElement[Any]) -> int | None:
    for place, item in enumerate(shown):
        if item is wanted or (isinstance(item, sa.Label) and item.element is wanted):
            return place
    return None


def _ordered(
    statement: sa.Select[Any],
    column: sa.ColumnElement[Any],
    id_column: sa.ColumnElement[Any],
    *,
    descends: bool,
) -> sa.Select[Any]:
    direction = sa.desc if descends else sa.asc
    return statement.order_by(direction(column), direction(id_column))


def _require_near(query: ListQuery) -> None:
    if query.page * query.per_page > MAX_OFFSET_ROWS:
        raise PageTooDeep(limit=MAX_OFFSET_ROWS)


def _edge(cursor: str, digest: str, column: sa.ColumnElement[Any]) -> tuple[object, str]:
    """Sort value and id of the last row of the page before."""
    value, last_id = _decode(cursor, digest)
    if not _fits(value, column.type):
        raise BadCursor
    return value, last_id


def _offset_page(
    uow: Uow,
    ordered: sa.Select[Any],
    query: ListQuery,
    view: Callable[[Row[Any]], Model],
    count: int,
    *,
    exact: bool,
) -> Page[Model]:
    offset = (query.page - 1) * query.per_page
    rows = uow.execute(ordered.limit(query.per_page).offset(offset)).all()
    return Page(
        data=[view(row) for row in rows],
        total=count,
        total_exact=exact,
        size=query.per_page,
        number=query.page,
    )


def _count(uow: Uow, statement: sa.Select[Any]) -> tuple[int, bool]:
    found = int(uow.scalar(sa.select(sa.func.count()).select_from(_capped(statement))) or 0)
    return min(found, MAX_OFFSET_ROWS), found <= MAX_OFFSET_ROWS


def _capped(statement: sa.Select[Any]) -> sa.Subquery:
    return (
        statement.with_only_columns(sa.literal_column("1"), maintain_column_froms=True)
        .order_by(None)
        .limit(sa.literal_column(str(MAX_OFFSET_ROWS + 1)))
        .subquery()
    )


def _digest(query: ListQuery, name: str, *, descends: bool) -> str:
    filters = query.model_dump(mode="json", exclude={*PAGING, "sort"}, exclude_none=True)
    text = json.dumps([filters, name, descends], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _encode(value: object, last_id: str, digest: str) -> str:
    wire = ["t", value.isoformat()] if isinstance(value, datetime) else ["v", value]
    text = to_json([digest, wire, last_id])
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def _decode(cursor: str, digest: str) -> tuple[object, str]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        found, (kind, value), last_id = json.loads(text)
        decoded = datetime.fromisoformat(value) if kind == "t" else value
    except (ValueError, TypeError, RecursionError) as error:
        raise BadCursor from error
    if found != digest or not isinstance(last_id, str) or "\0" in last_id:
        raise BadCursor
    return decoded, last_id


def _fits(value: object, kind: sa.types.TypeEngine[Any]) -> bool:
    """Whether a value from outside can be compared with a column of that type."""
    if isinstance(kind, UTCDateTime):
        return isinstance(value, datetime) and value.tzinfo is not None
    if isinstance(value, str):
        return kind.python_type is str and "\0" not in value
    return isinstance(value, int) and kind.python_type in {int, bool} and abs(value) < _INT64
