"""The writes of a unit of work on SQLite: one after the other."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import Connection

from certctl_core.kernel.db.writes import Kind, Tail, Waiting, raise_lost

_statements: dict[Kind, Any] = {}
_UPSERT = (
    "INSERT INTO {0} (name, shard, value) VALUES (:name, :shard, :value) "
    "ON CONFLICT (name, shard) DO UPDATE SET value = {0}.value + excluded.value"
)
_ADD_COUNTS = sa.text(_UPSERT.format("counters"))
_ADD_STAMPS = sa.text(_UPSERT.format("stamps"))


def flush(conn: Connection, waiting: Waiting, tail: Tail) -> None:
    """Write everything.

    Raises:
        Exception: What the first row that could not be written has for its error.
    """
    for kind, writes in waiting.items():
        statement = _statements.get(kind)
        if statement is None:
            statement = _statements[kind] = _statement(kind)
        if not kind.may_lose:
            conn.execute(statement, [write.values for write in writes])
            continue
        for write in writes:
            if conn.execute(statement, write.values).rowcount != 1:
                raise_lost(kind, [write], set())
    if tail.counts:
        rows = [{"name": n, "shard": tail.shard, "value": d} for n, d in tail.counts.items()]
        conn.execute(_ADD_COUNTS, rows)
    if tail.touched:
        rows = [{"name": n, "shard": tail.shard, "value": 1} for n in tail.touched]
        conn.execute(_ADD_STAMPS, rows)


def _statement(kind: Kind) -> Any:
    table = kind.table
    if kind.is_insert:
        statement = sqlite_insert(table).values({n: sa.bindparam(n) for n in kind.columns})
        if not kind.may_lose:
            return statement
        return statement.on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    sets: dict[str, Any] = {name: sa.bindparam(name) for name in kind.columns}
    if kind.counted is not None:
        sets[kind.counted] = table.c[kind.counted] + 1
    met = [table.c[name] == sa.bindparam(f"was_{name}") for name in kind.expected]
    return sa.update(table).where(*met).values(sets)
