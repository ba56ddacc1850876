"""Rows of a list from PostgreSQL in binary form, without a Python object for every cell.

Times stay microseconds and documents stay text (``rows`` writes them); the server does not turn them
into text for us, which for times is dear. The statement is prepared on a connection the second time.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, cast

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.types.numeric import Int8BinaryLoader
from psycopg.types.string import TextBinaryLoader
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import PoolProxiedConnection

_INFO = "certctl.lists"
_MOST_PREPARED = 64


class _Reader:
    """What one connection of the pool keeps for its lists."""

    __slots__ = ("_driver", "_loads", "_made", "_names", "_prepares")

    def __init__(self, driver: psycopg.Connection[Any]) -> None:
        self._driver = driver
        # Behind a transaction pooler nothing may be prepared.
        self._prepares = driver.prepare_threshold is not None
        self._names: OrderedDict[bytes, bytes] = OrderedDict()
        self._made = 0
        cursor = driver.cursor(binary=True)
        cursor.adapters.register_loader("timestamptz", Int8BinaryLoader)
        cursor.adapters.register_loader("jsonb", TextBinaryLoader)
        self._loads = Transformer(cursor)

    @property
    def is_gone(self) -> bool:
        """Whether the connection is lost."""
        return self._driver.pgconn.status == ConnStatus.BAD

    def fetch(self, text: bytes, parameters: list[bytes | None]) -> list[tuple[Any, ...]]:
        """All rows of a statement."""
        connection = self._driver.pgconn
        name = self._name(text) if self._prepares else b""
        if name:
            result = connection.exec_prepared(name, parameters, None, Format.BINARY)  # type: ignore[arg-type] # None is NULL
        else:
            result = connection.exec_params(text, parameters, result_format=Format.BINARY)
        if result.status != ExecStatus.TUPLES_OK:
            raise error_from_result(result)
        self._loads.set_pgresult(result)
        return self._loads.load_rows(0, result.ntuples, tuple)

    def _name(self, text: bytes) -> bytes:
        """The name of the prepared statement, or nothing for one that comes the first time."""
        name = self._names.get(text)
        if name is None:
            self._names[text] = b""
            if len(self._names) > _MOST_PREPARED:
                self._drop()
            return b""
        self._names.move_to_end(text)
        if not name:
            self._made += 1
            name = b"certctl_list_%d" % self._made
            result = self._driver.pgconn.prepare(name, text)
            if result.status != ExecStatus.COMMAND_OK:
                raise error_from_result(result)
            self._names[text] = name
        return name

    def _drop(self) -> None:
        _, name = self._names.popitem(last=False)
        if name:
            self._driver.pgconn.exec_(b"DEALLOCATE " + name)


def fetch(conn: PoolProxiedConnection, text: bytes, parameters: list[Any]) -> list[tuple[Any, ...]]:
    """Run a statement with ``$1 …`` on a reading connection; all its rows.

    Raises:
        DBAPIError: As of SQLAlchemy; a connection that is gone has left the pool.
    """
    reader = conn.info.get(_INFO)
    if reader is None:
        reader = conn.info[_INFO] = _Reader(cast("psycopg.Connection[Any]", conn.driver_connection))
    try:
        return cast("_Reader", reader).fetch(text, [_text(value) for value in parameters])
    except psycopg.Error as error:
        is_gone = cast("_Reader", reader).is_gone
        if is_gone:
            conn.invalidate(error)
        kind = OperationalError if isinstance(error, psycopg.OperationalError) else DBAPIError
        raise kind(text.decode(), None, error, connection_invalidated=is_gone) from error


def _text(value: Any) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bool | int):
        return str(value).lower().encode()
    return cast("bytes", value.isoformat().encode())
