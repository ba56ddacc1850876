"""The writes of a unit of work on PostgreSQL: one statement, whatever their number.

Where nothing was asked before, the statement is the whole transaction: it commits by itself and
fails as a whole when one row could not be written, so that one round trip does what BEGIN,
statement and COMMIT take three for.
"""

from __future__ import annotations

from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.pq import TransactionStatus
from pydantic_core import PydanticSerializationError, to_json
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from certctl_core.kernel.db.writes import SEPARATOR, Kind, Tail, Waiting, Write, raise_lost

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy's own constructor
_statements: dict[tuple[Kind, ...], tuple[str, str]] = {}
"""Statement texts by what they write: a handful of combinations in a whole product."""
_STATEMENTS_MAX = 1000
_time_names: dict[Kind, tuple[str, ...]] = {}


def flush(conn: Connection, waiting: Waiting, tail: Tail, *, is_last: bool) -> None:
    """Write everything.

    Args:
        conn: Inside SQLAlchemy's transaction; for the server it may not have begun yet.
        waiting: The rows.
        tail: What goes along.
        is_last: Nothing follows but the commit.

    Raises:
        Exception: What the first row that could not be written has for its error.
    """
    kinds = tuple(waiting)
    alone, within = _texts(kinds)
    parameters: list[object] = [_document(kind, rows) for kind, rows in waiting.items()]
    known = {
        "counts": tail.counts,
        "touched": tail.touched,
        "topics": tail.topics,
        "soft": tail.is_soft,
    }
    parameters += [to_json(known).decode(), tail.shard]
    driver = conn.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)  # noqa: S101 - the one driver that is used
    is_idle = driver.info.transaction_status is TransactionStatus.IDLE
    if is_last and is_idle and _write_alone(conn, driver, alone, parameters):
        return
    try:
        row = _execute(conn, driver, within, parameters)
    except IntegrityError as error:
        _raise_orphaned(waiting, error)
        raise
    for (kind, writes), written in zip(waiting.items(), row or (), strict=False):
        if kind.may_lose and len(written or ()) != len(writes):
            raise_lost(kind, writes, set(written or ()))


def _write_alone(
    conn: Connection,
    driver: psycopg.Connection[Any],
    text: str,
    parameters: list[object],
) -> bool:
    """Write and commit in one go; False, with nothing written, when a row got in the way."""
    driver.autocommit = True
    try:
        _execute(conn, driver, text, parameters)
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.DivisionByZero | psycopg.errors.IntegrityError):
            return False
        raise
    finally:
        if not driver.closed:
            driver.autocommit = False
    return True


def _execute(
    conn: Connection, driver: psycopg.Connection[Any], text: str, parameters: list[object]
) -> Any:
    """Run prepared text with ``$1`` parameters; SQLAlchemy's layers cost as much as the server."""
    try:
        with psycopg.RawCursor(driver) as cursor:
            return cursor.execute(text, parameters).fetchone()
    except psycopg.Error as error:
        if driver.closed:
            conn.invalidate(error)
        raise DBAPIError.instance(
            text,
            None,
            error,
            psycopg.Error,
            hide_parameters=True,
            connection_invalidated=driver.closed,
            dialect=conn.dialect,
        ) from error


def _raise_orphaned(waiting: Waiting, error: IntegrityError) -> None:
    """A row whose parent was not written broke a foreign key: the parent's error is the cause."""
    name = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    parents = {
        key.referred_table
        for kind in waiting
        for key in kind.table.foreign_key_constraints
        if key.name == name
    }
    for kind, writes in waiting.items():
        if kind.is_insert and kind.table in parents and writes[0].lost is not None:
            raise writes[0].lost() from error


# -- text -------------------------------------------------------------------------------------


def _texts(kinds: tuple[Kind, ...]) -> tuple[str, str]:
    """The statement that is a transaction, and the one that is part of one."""
    found = _statements.get(kinds)
    if found is None:
        found = _made(kinds)
        if len(_statements) < _STATEMENTS_MAX:
            _statements[kinds] = found
    return found


def _made(kinds: tuple[Kind, ...]) -> tuple[str, str]:
    parts = [
        _insert(at, kind) if kind.is_insert else _update(at, kind) for at, kind in enumerate(kinds)
    ]
    tail, shard = f"${len(kinds) + 1}::jsonb", f"${len(kinds) + 2}::int"
    # Rows are locked in the order of their names.
    counters = (
        "c AS (INSERT INTO counters (name, shard, value) "  # noqa: S608 - our own names
        f"SELECT key, {shard}, value::bigint FROM jsonb_each_text({tail} -> 'counts') ORDER BY key "
        "ON CONFLICT (name, shard) DO UPDATE SET value = counters.value + excluded.value)"
    )
    stamps = (
        "s AS (INSERT INTO stamps (name, shard, value) "  # noqa: S608 - our own names
        f"SELECT n, {shard}, 1 FROM jsonb_array_elements_text({tail} -> 'touched') AS u(n) "
        "ORDER BY n ON CONFLICT (name, shard) DO UPDATE SET value = stamps.value + 1)"
    )
    told = (
        "(SELECT count(pg_notify('certctl', topic)) "  # noqa: S608
        f"FROM jsonb_array_elements_text({tail} -> 'topics') AS u(topic)), "
        f"CASE WHEN {tail} -> 'soft' = 'true' "
        "THEN set_config('synchronous_commit', 'off', true) END, "
        # The checks of foreign keys run after this and keep the plan of their first runs: on an
        # installation that is new, that would be to read through tables which are small then.
        "set_config('enable_seqscan', 'off', true)"
    )
    keys = "".join(
        f"(SELECT array_agg(k) FROM w{at}), " if kind.may_lose else "NULL, "  # noqa: S608
        for at, kind in enumerate(kinds)
    )
    complete = " AND ".join(
        f"(SELECT count(*) FROM w{at}) = jsonb_array_length(${at + 1}::jsonb)"  # noqa: S608
        for at, kind in enumerate(kinds)
        if kind.may_lose
    )
    start = f"WITH {', '.join([*parts, counters, stamps])} SELECT "
    check = f"1 / CASE WHEN {complete or 'true'} THEN 1 ELSE 0 END, "
    return start + check + told, start + keys + told


def _insert(at: int, kind: Kind) -> str:
    columns = ", ".join(f'"{name}"' for name in kind.columns)
    read = ", ".join(_read(kind, name) for name in kind.columns)
    ignoring = f" ON CONFLICT DO NOTHING RETURNING {_key(kind)} AS k" if kind.may_lose else ""
    return (
        f'w{at} AS (INSERT INTO "{kind.table.name}" ({columns}) '  # noqa: S608 - our own names
        f"SELECT {read} FROM {_recordset(at, kind)}{ignoring})"
    )


def _update(at: int, kind: Kind) -> str:
    sets = [f'"{name}" = {_read(kind, name)}' for name in kind.columns]
    if kind.counted is not None:
        sets.append(f'"{kind.counted}" = t."{kind.counted}" + 1')
    met = " AND ".join(f't."{name}" = {_read(kind, name, "was_")}' for name in kind.expected)
    return (
        f'w{at} AS (UPDATE "{kind.table.name}" AS t SET {", ".join(sets)} '  # noqa: S608
        f"FROM {_recordset(at, kind)} WHERE {met} RETURNING {_key(kind, 't.')} AS k)"
    )


def _recordset(at: int, kind: Kind) -> str:
    typed = [f'"{name}" {_type(kind, name)}' for name in kind.columns]
    typed += [f'"was_{name}" {_type(kind, name)}' for name in kind.expected]
    return f"jsonb_to_recordset(${at + 1}::jsonb) AS r ({', '.join(typed)})"


def _read(kind: Kind, column: str, prefix: str = "") -> str:
    """A value of the document: bytes travel as hexadecimal digits."""
    text = f'r."{prefix}{column}"'
    return f"decode({text}, 'hex')" if _is(sa.LargeBinary, kind, column) else text


def _type(kind: Kind, column: str) -> str:
    if _is(sa.LargeBinary, kind, column):
        return "text"
    return str(kind.table.c[column].type.compile(_DIALECT))


def _is(wanted: type[Any], kind: Kind, column: str) -> bool:
    found = kind.table.c[column].type
    return isinstance(found.impl if isinstance(found, sa.TypeDecorator) else found, wanted)


def _key(kind: Kind, prefix: str = "") -> str:
    parts = [f'{prefix}"{column.name}"' for column in kind.table.primary_key]
    return f"concat_ws(chr({ord(SEPARATOR)}), {', '.join(parts)})"


# -- values -----------------------------------------------------------------------------------


def _document(kind: Kind, rows: list[Write]) -> str:
    """The rows of one kind as one JSON document.

    Raises:
        ValueError: A time without a zone.
        TypeError: A value that no column takes.
    """
    times = _times(kind)
    for row in rows:
        for name in times:
            moment = row.values[name]
            if moment is not None and moment.tzinfo is None:
                message = f"a naive time cannot be stored: {kind.table.name}.{name}"
                raise ValueError(message)
    try:
        return to_json([row.values for row in rows], bytes_mode="hex").decode()
    except PydanticSerializationError as error:
        message = f"a value of {kind.table.name} cannot be stored"
        raise TypeError(message) from error


def _times(kind: Kind) -> tuple[str, ...]:
    """What the times of a kind are called among its values."""
    found = _time_names.get(kind)
    if found is None:
        found = tuple(
            [name for name in kind.columns if _is(sa.DateTime, kind, name)]
            + [f"was_{name}" for name in kind.expected if _is(sa.DateTime, kind, name)]
        )
        if len(_time_names) < _STATEMENTS_MAX:
            _time_names[kind] = found
    return found
