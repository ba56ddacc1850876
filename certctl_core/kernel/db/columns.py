"""Column types that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, ColumnElement, DateTime, Text, func, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator
from typing_extensions import override

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect
    from sqlalchemy.types import TypeEngine

JSONDocument = JSON().with_variant(JSONB(), "postgresql")
"""A JSON value: ``jsonb`` on PostgreSQL, text on SQLite."""


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC time: ``timestamptz`` on PostgreSQL, RFC 3339 text with ``Z`` on SQLite.

    The text form sorts as time does, and reads well in ``sqlite3`` at 3 am.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    @override
    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite, the real type elsewhere."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(Text())
        return dialect.type_descriptor(DateTime(timezone=True))

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse naive times: they are always a bug."""
        if value is None:
            return None
        if value.tzinfo is None:
            message = "a naive time cannot be stored"
            raise ValueError(message)
        if dialect.name == "sqlite":
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return value

    @override
    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Give back an aware time in UTC."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return datetime.fromisoformat(value).astimezone(UTC)
        return value.astimezone(UTC)  # type: ignore[no-any-return] # psycopg gives a datetime


def day_of(column: ColumnElement[Any], *, is_postgres: bool) -> ColumnElement[str]:
    """The UTC day of a time column as ``YYYY-MM-DD`` text, on either engine."""
    if is_postgres:
        return func.to_char(func.timezone("UTC", column), "YYYY-MM-DD")
    return func.substr(type_coerce(column, Text()), 1, 10)
