"""Lists (01 API-09 … API-11): cursors that survive inserts and refuse what is not theirs."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from certctl_core.kernel.db import Uow, UTCDateTime, paginate
from certctl_core.kernel.db.errors import BadCursor, BadSort, PageTooDeep
from certctl_core.kernel.operations import ListQuery, Page
from certctl_core.testing.fakes import FakeClock
from tests.core.db.conftest import Watched

rows = sa.Table(
    "test_rows",
    sa.MetaData(),
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("is_on", sa.Boolean, nullable=False),
    sa.Column("made_at", UTCDateTime, nullable=False),
)
SORTS: dict[str, sa.ColumnElement[Any]] = {
    "name": rows.c.name,
    "size": rows.c.size,
    "is_on": rows.c.is_on,
    "made_at": rows.c.made_at,
}


class Row(BaseModel):
    id: str
    name: str


class Query(ListQuery):
    only: str | None = None


Fetch = Callable[..., Page[Row]]


@pytest.fixture
def fetch(watched: Watched, clock: FakeClock) -> Fetch:
    with watched.units.database.write() as connection:
        rows.create(connection)

    def run(**query: object) -> Page[Row]:
        with watched.units.read() as uow:
            return page(uow, Query.model_validate(query))

    return run


def page(uow: Uow, query: Query, *, total: int | None = None) -> Page[Row]:
    statement = sa.select(rows)
    if query.only is not None:
        statement = statement.where(rows.c.name == query.only)
    return paginate(
        uow,
        statement,
        query=query,
        sorts=SORTS,
        id_column=rows.c.id,
        view=lambda row: Row.model_validate(row, from_attributes=True),
        default="-made_at",
        total=total,
    )


def fill(watched: Watched, count: int, *, start: int = 0) -> None:
    with watched.units.begin() as uow:
        values = [
            {
                "id": f"r-{number:06}",
                "name": f"n{number % 7}",
                "size": number % 5,
                "is_on": bool(number % 2),
                "made_at": uow.now + timedelta(seconds=number // 3),
            }
            for number in range(start, start + count)
        ]
        uow.execute(sa.insert(rows), values)


def walk(fetch: Fetch, size: int, **query: object) -> list[str]:
    found: list[str] = []
    more: dict[str, str] = {}
    while True:
        part = fetch(page_size=size, **query, **more)
        found += [row.id for row in part.data]
        if part.next_cursor is None:
            return found
        more = {"cursor": part.next_cursor}


@pytest.mark.spec("01/API-10", "01/API-11")
@pytest.mark.parametrize("sort", [*SORTS, *(f"-{name}" for name in SORTS)])
def test_a_walk_is_the_whole_list_in_order(watched: Watched, fetch: Fetch, sort: str) -> None:
    fill(watched, 60)
    name, descends = sort.removeprefix("-"), sort.startswith("-")
    with watched.units.read() as uow:
        column = SORTS[name]
        order = [column.desc(), rows.c.id.desc()] if descends else [column, rows.c.id]
        expected = list(uow.execute(sa.select(rows.c.id).order_by(*order)).scalars())

    for size in (7, 60, 61):
        assert walk(fetch, size, sort=sort) == expected
    assert [row.id for row in fetch(sort=sort, per_page=60).data] == expected


def test_ends_and_edges(watched: Watched, fetch: Fetch) -> None:
    empty = fetch(page_size=5)
    assert (empty.data, empty.total, empty.next_cursor, empty.number) == ([], 0, None, None)
    fill(watched, 10)
    assert fetch(page_size=10).next_cursor is None
    assert fetch(page_size=9).next_cursor is not None
    second = fetch(page=2, per_page=4, sort="size")
    assert (len(second.data), second.number, second.size, second.total) == (4, 2, 4, 10)
    assert fetch(page=9, per_page=4).data == []
    assert fetch(page_size=5, only="n1").total == 2
    cursor = fetch(page_size=5).next_cursor
    assert len(fetch(cursor=cursor).data) == 5, "a cursor alone goes on with the default size"


@pytest.mark.spec("01/API-10")
def test_inserts_and_deletes_while_walking(watched: Watched, fetch: Fetch) -> None:
    fill(watched, 30)
    first = fetch(page_size=10)
    fill(watched, 5, start=100)
    with watched.units.begin() as uow:
        uow.execute(sa.delete(rows).where(rows.c.id == first.data[-1].id))

    second = fetch(page_size=50, cursor=first.next_cursor)

    ids = [row.id for row in first.data] + [row.id for row in second.data]
    assert len(ids) == len(set(ids)) == 30
    assert all(item < "r-000100" for item in ids)


@pytest.mark.spec("01/API-09")
def test_counting_ends_at_its_cap(
    watched: Watched, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("certctl_core.kernel.db.paging.MAX_OFFSET_ROWS", 20)
    fill(watched, 20)
    assert (fetch(per_page=5).total, fetch(per_page=5).total_exact) == (20, True)
    fill(watched, 1, start=20)
    assert (fetch(per_page=5).total, fetch(per_page=5).total_exact) == (20, False)
    with watched.units.read() as uow:
        known = page(uow, Query(page_size=5), total=21)
    assert (known.total, known.total_exact) == (21, True)
    assert len(fetch(page=2, per_page=10).data) == 10
    with pytest.raises(PageTooDeep):
        fetch(page=3, per_page=10)


@pytest.mark.spec("01/API-10", "01/API-11")
def test_a_cursor_belongs_to_filter_and_order(watched: Watched, fetch: Fetch) -> None:
    fill(watched, 30)
    cursor = fetch(page_size=5, sort="name").next_cursor

    for other in (
        {"sort": "size"},
        {"sort": "-name"},
        {},
        {"sort": "name", "only": "n1"},
        {"sort": "name", "q": "x"},
    ):
        with pytest.raises(BadCursor):
            fetch(cursor=cursor, **other)
    assert fetch(cursor=cursor, sort="name", page_size=3, fields="id").data
    with pytest.raises(BadSort, match="is_on, made_at, name, size"):
        fetch(sort="id")


def pack(*parts: object) -> str:
    text = json.dumps(parts, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("sort", ["name", "size", "is_on", "made_at"])
def test_a_forged_cursor_is_refused_whatever_it_holds(
    watched: Watched, fetch: Fetch, sort: str
) -> None:
    """The digest is no secret: a caller may put any value behind it."""
    fill(watched, 10)
    honest = fetch(page_size=5, sort=sort).next_cursor
    assert honest is not None
    digest = json.loads(base64.urlsafe_b64decode(honest + "=="))[0]
    values: list[object] = [
        ["v", None], ["v", {}], ["v", []], ["v", 1.5], ["v", 2**70], ["v", "a\0b"],
        ["t", "2026-01-01T00:00:00"], ["t", "nonsense"], ["t", 5], ["t", None], ["x"], [], None, "v",
    ]  # fmt: skip
    values += [["v", 5]] if sort in {"name", "made_at"} else [["v", "text"]]
    for value in values:
        with pytest.raises(BadCursor):
            fetch(sort=sort, cursor=pack(digest, value, "r-1"))
    lasts: list[object] = [None, 5, "a\0b", []]
    for last in lasts:
        good = json.loads(base64.urlsafe_b64decode(honest + "=="))[1]
        with pytest.raises(BadCursor):
            fetch(sort=sort, cursor=pack(digest, good, last))


@given(text=st.one_of(st.text(max_size=60), st.just("W1tb" * 500), st.just("é"), st.just("=")))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_any_other_text_is_no_cursor(fetch: Fetch, text: str) -> None:
    with pytest.raises(BadCursor):
        fetch(cursor=text or "x")
