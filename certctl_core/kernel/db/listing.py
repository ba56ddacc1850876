"""The short way of a list to its bytes: one statement, its plain rows, their text.

What a statement looks like depends on the filters, the sort and the kind of page only; it is made and
compiled once for each, and then sent as it is. Version stamp and total come with the rows, so that
an answer costs one round trip, and its entity tag belongs to exactly these rows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Generic, NamedTuple, TypeVar, cast, overload

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Connection
from sqlalchemy.pool import PoolProxiedConnection
from typing_extensions import override

from certctl_core.kernel.db import _tables as t
from certctl_core.kernel.db import lists_postgres
from certctl_core.kernel.db.rows import Cell, Column, document
from certctl_core.kernel.operations import ListQuery, Page
from certctl_core.values import dataclass

Model = TypeVar("Model", bound=BaseModel)
EDGE_VALUE, EDGE_ID, OFFSET = "edge_value", "edge_id", "page_offset"
PAGING = frozenset({"page", "per_page", "page_size", "cursor", "fields"})
"""The members of a query that choose a page, not rows."""

_MOST_STATEMENTS = 512
_CHANGING = frozenset({EDGE_VALUE, EDGE_ID, OFFSET})
_POSTGRES = PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call] # theirs
_SQLITE = SQLiteDialect_pysqlite()


@dataclass(slots=True, kw_only=True)
class Listing:
    """That a unit of work answers a list as JSON.

    Attributes:
        collection: Whose version stamp is wanted with the rows.
        stamp: The stamp, once it came with them.
        again: Reads the same page once more in another unit of work, where that is possible; None
            from it when there are no rows.
    """

    collection: str
    stamp: int | None = None
    again: Callable[[Any], Page[Any] | None] | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """A select with its filters that need not be made when it is known already.

    Attributes:
        make: Makes it.
        key: Equal for two recipes that make the same.
    """

    make: Callable[[], sa.Select[Any]]
    key: Hashable


def recipe(make: Callable[..., sa.Select[Any]], *arguments: Any, **others: Any) -> Recipe:
    """The select ``make(*arguments, **others)``.

    Args:
        make: A function of a module: what it gives depends on its arguments alone, and of a query
            on its filters and its sort alone.
        arguments: Queries, scopes and plain values.
        others: The same by name.
    """
    values = [_key(value) for value in (*arguments, *others.values())]
    return Recipe(partial(make, *arguments, **others), (make, *others, *values))


def _key(value: Any) -> Hashable:
    if isinstance(value, ListQuery):
        return (type(value), *_filters(value))
    return tuple(value) if isinstance(value, list) else value


def _filters(query: ListQuery) -> Iterable[Any]:
    return [value for name, value in query.__dict__.items() if name not in PAGING]


@cache
def counted(name: str, *, besides: tuple[str, ...] = ()) -> sa.ScalarSelect[int]:
    """A counter, to come with the rows of a list.

    Args:
        name: Of one counter; with a dot at its end the sum of all below (``jobs.status.``).
        besides: Of those below, the rests of the names that do not count.
    """
    c = t.counters.c
    those = c.name.like(_word(name + "%")) if name.endswith(".") else c.name == _word(name)
    statement = sa.select(_sum(c.value)).where(those)
    if besides:
        statement = statement.where(c.name.not_in([_word(name + rest) for rest in besides]))
    return statement.scalar_subquery()


def stamped(collection: str) -> sa.ScalarSelect[int]:
    """The version stamp of a collection, to come with the rows of a list."""
    c = t.stamps.c
    return sa.select(_sum(c.value)).where(c.name == _word(collection)).scalar_subquery()


def _sum(column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    total = sa.func.coalesce(sa.func.sum(column), sa.literal_column("0"))
    return sa.cast(total, sa.BigInteger)


def _word(name: str) -> sa.ColumnElement[str]:
    """A name of ours as a literal: what has no parameter is planned once."""
    assert "'" not in name  # noqa: S101 - names of counters and collections
    return sa.literal_column(f"'{name}'", sa.String)


class JSONRows(Sequence[Model], Generic[Model]):
    """The rows of a page, ready to be written; as views to those who look at them.

    Args:
        model: What a view is.
        members: How the cells of a row are read; in the order of the columns.
        rows: At least one.
    """

    def __init__(
        self, model: type[Model], members: Sequence[Cell], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        self._model = model
        self._members = members
        self._rows = rows
        self._views: list[Model] | None = None

    def json(self, wanted: Iterable[str] | None = None) -> str:
        """The rows as a JSON array.

        Args:
            wanted: The members to keep, by their names in JSON; all when None.
        """
        columns: Iterable[tuple[Cell, Column]] = zip(
            self._members, zip(*self._rows, strict=True), strict=False
        )
        if wanted is not None:
            columns = [item for item in columns if item[0].wire in wanted]
        return document(columns, len(self._rows))

    def _all(self) -> list[Model]:
        if self._views is None:
            self._views = [self._model.model_validate(self._values(row)) for row in self._rows]
        return self._views

    def _values(self, row: tuple[Any, ...]) -> dict[str, Any]:
        return {
            member.name: None if value is None else member.value(value)
            for member, value in zip(self._members, row, strict=False)
        }

    @override
    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Model: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Model]: ...

    @override
    def __getitem__(self, index: int | slice) -> Model | Sequence[Model]:
        return self._all()[index]


class Places(NamedTuple):
    """Where in a row stands what is no member of the view; behind the stamp comes the total."""

    sort_value: int
    row_id: int
    stamp: int


class Statement:
    """A compiled list.

    Args:
        select: With the parameters ``EDGE_VALUE``, ``EDGE_ID`` and ``OFFSET`` where they apply.
        members: The cells of a row, from its start.
        places: Where the rest is.
        digest: What the cursors of the list carry.
        is_postgres: For which engine.
    """

    __slots__ = ("_changing", "_fixed", "_names", "_text", "_wire", "digest", "members", "places")

    def __init__(
        self,
        *,
        select: sa.Select[Any],
        members: tuple[Cell, ...],
        places: Places,
        digest: str,
        is_postgres: bool,
    ) -> None:
        self.members = members
        self.places = places
        self.digest = digest
        dialect = _POSTGRES if is_postgres else _SQLITE
        made = cast(
            "Any", select.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        )
        processors: Mapping[str, Callable[[Any], Any]] = made._bind_processors  # noqa: SLF001 - theirs
        values: Mapping[str, Any] = made.params
        self._text: str = made.string
        self._wire = self._text.encode()
        self._names = tuple(made.positiontup or ())
        self._changing = {name: processors.get(name, _same) for name in _CHANGING & values.keys()}
        self._fixed = {
            name: processors.get(name, _same)(value)
            for name, value in values.items()
            if name not in _CHANGING
        }

    def on_sqlite(self, conn: Connection, parameters: list[Any]) -> list[tuple[Any, ...]]:
        """The rows, as the driver gives them.

        Raises:
            DBAPIError: As of SQLAlchemy.
        """
        with conn.exec_driver_sql(self._text, tuple(parameters)) as result:
            cursor = cast("Any", result.cursor)
            return cast("list[tuple[Any, ...]]", cursor.fetchall())

    def on_postgres(
        self, conn: PoolProxiedConnection, parameters: list[Any]
    ) -> list[tuple[Any, ...]]:
        """The same on PostgreSQL."""
        return lists_postgres.fetch(conn, self._wire, parameters)

    def parameters(self, values: Mapping[str, Any]) -> list[Any]:
        """What is sent with the statement, in order.

        Args:
            values: Those that a page brings, by name.
        """
        known = {**self._fixed}
        for name, value in values.items():
            known[name] = self._changing[name](value)
        return [known[name] for name in self._names]


@cache
def stamp_alone(collection: str, *, is_postgres: bool) -> Statement:
    """The version stamp of a collection as a statement of its own."""
    return Statement(
        select=sa.select(stamped(collection)),
        members=(),
        places=Places(sort_value=0, row_id=0, stamp=0),
        digest="",
        is_postgres=is_postgres,
    )


_statements: dict[Hashable, Statement] = {}
"""Compiled lists by what they read: a few for each list of the product."""


def compiled(key: Hashable, make: Callable[[], Statement], *, is_postgres: bool) -> Statement:
    """The statement of that key; made when it is not known yet.

    Args:
        key: Everything that it depends on.
        make: Makes it.
        is_postgres: For which engine.
    """
    try:
        found = _statements.get((is_postgres, key))
    except TypeError:  # a filter that is a list
        return make()
    if found is None:
        found = make()
        if len(_statements) >= _MOST_STATEMENTS:
            _statements.clear()
        _statements[is_postgres, key] = found
    return found


def _same(value: Any) -> Any:
    return value
