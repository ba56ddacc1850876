"""The rows of ``crl_cache``: reading and writing lists that may be large, and their events."""

from __future__ import annotations

from datetime import datetime, timedelta
from io import BytesIO
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.kernel.db import Uow
from certctl_core.lifecycle.revocation._crl_store import (
    ROW_STATE,
    Place,
    is_cache_row,
    is_number_row,
)
from certctl_core.lifecycle.revocation._tables import (
    crl_cache,
    crl_generation_events,
    crl_numbers,
)
from certctl_core.lifecycle.revocation.types import StoredCRL
from certctl_core.values import dataclass

_PIECE = 1 << 20
"""Larger lists cross between here and PostgreSQL in pieces."""


_XMIN: sa.ColumnElement[str] = sa.literal_column(ROW_STATE).label("token")
_STAGING = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS crl_staging (n integer, data bytea) ON COMMIT DROP",
    "ALTER TABLE crl_staging ALTER COLUMN data SET STORAGE EXTERNAL",
    "DELETE FROM crl_staging",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Splice:
    """How the bytes of a list come from those of the row that holds the one before.

    Attributes:
        token: Of that row.
        front: What stands in front of what is kept.
        start: Where that begins in the row, from 0.
        length: How many bytes are kept.
        back: What follows.
    """

    token: str
    front: bytes
    start: int
    length: int
    back: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRow:
    """A row of ``crl_cache`` with its bytes."""

    der: bytes
    number: int
    revoked_count: int
    watermark: str
    token: str


def read_row(uow: Uow, place: Place, part: str) -> StoredRow | None:
    """The stored list. A large one crosses in pieces, so that it is in memory once."""
    c = crl_cache.c
    columns = (c.crl_number, c.revoked_count, c.revocation_watermark)
    if not uow.is_postgres:
        # What somebody wrote by hand may be text there.
        der = sa.cast(c.crl_der, sa.LargeBinary).label("der")
        row = uow.first(sa.select(*columns, der).where(is_cache_row(place, part)))
        return None if row is None else _row(row, bytes(row.der), "")
    size = sa.func.length(c.crl_der).label("size")
    row = uow.first(sa.select(*columns, size, _XMIN).where(is_cache_row(place, part)))
    if row is None:
        return None
    content = BytesIO()
    for start in range(0, row.size, _PIECE):
        piece = sa.func.substring(c.crl_der, start + 1, _PIECE, type_=sa.LargeBinary)
        found = uow.scalar(
            sa.select(piece).where(
                is_cache_row(place, part), sa.literal_column(ROW_STATE) == row.token
            )
        )
        if found is None:  # replaced meanwhile
            return read_row(uow, place, part)
        content.write(found)
    return _row(row, content.getvalue(), row.token)


def _row(row: Row[Any], der: bytes, token: str) -> StoredRow:
    return StoredRow(
        der=der,
        number=row.crl_number,
        revoked_count=row.revoked_count,
        watermark=row.revocation_watermark,
        token=token,
    )


def keep(
    uow: Uow,
    stored: StoredCRL,
    *,
    earliest_end: datetime | None,
    urls: tuple[str, ...],
    duration_ms: int,
    splice: Splice | None,
) -> str:
    """Store a list and its number; returns the new token of the row.

    Args:
        uow: The open unit of work.
        stored: The list.
        earliest_end: When the first entry may leave.
        urls: All addresses of a partition.
        duration_ms: How long it took so far.
        splice: PostgreSQL then needs only the difference.
    """
    place, c = (stored.issuer_id, stored.ca_key_id), crl_cache.c
    uow.execute(
        sa.update(crl_numbers)
        .where(is_number_row(place, stored.part))
        .values(
            last_number=stored.number,
            last_this_update=uow.now,
            watermark=stored.watermark,
            earliest_end=earliest_end,
            urls="\n".join(urls) or None,
        )
    )
    values: dict[str, Any] = {
        "crl_number": stored.number,
        "this_update": stored.this_update,
        "next_update": stored.next_update,
        "generated_at": uow.now,
        "generation_duration_ms": duration_ms,
        "revoked_count": stored.revoked_count,
        "revocation_watermark": stored.watermark,
        "updated_at": uow.now,
    }
    if splice is not None and uow.is_postgres:
        row = uow.first(
            sa.update(crl_cache)
            .where(
                is_cache_row(place, stored.part),
                sa.literal_column(ROW_STATE) == sa.literal(splice.token),
            )
            .values(crl_der=_spliced(splice), **values)
            .returning(_XMIN)
        )
        if row is not None:
            return str(row.token)
    values["crl_der"] = _staged(uow, stored) if uow.is_postgres else stored.der
    statement = (
        uow.insert(crl_cache)
        .values(
            issuer_id=place[0], ca_key_id=place[1], part=stored.part, created_at=uow.now, **values
        )
        .on_conflict_do_update(index_elements=[c.issuer_id, c.ca_key_id, c.part], set_=values)
    )
    if not uow.is_postgres:
        uow.execute(statement)
        return ""
    row = uow.first(statement.returning(_XMIN))
    assert row is not None  # noqa: S101 - the statement writes one
    return str(row.token)


def _spliced(splice: Splice) -> sa.ColumnElement[bytes]:
    kept: sa.ColumnElement[bytes] = sa.func.substring(
        crl_cache.c.crl_der, splice.start + 1, splice.length, type_=sa.LargeBinary
    )
    front = sa.literal(splice.front, sa.LargeBinary)
    return front.op("||")(kept).op("||")(sa.literal(splice.back, sa.LargeBinary))


def _staged(uow: Uow, stored: StoredCRL) -> sa.ColumnElement[bytes] | bytes:
    """The value of a list for a statement; a large one is sent ahead in pieces.

    The driver would keep a buffer of the size of its largest statement for good.
    """
    if stored.content.size <= _PIECE:
        return stored.der
    for statement in _STAGING:
        uow.execute(sa.text(statement))
    number = 0
    for whole in stored.content.pieces:
        for start in range(0, len(whole), _PIECE):
            number += 1
            uow.execute(
                sa.text("INSERT INTO crl_staging (n, data) VALUES (:n, :data)"),
                {"n": number, "data": bytes(whole[start : start + _PIECE])},
            )
    return sa.literal_column("(SELECT string_agg(data, ''::bytea ORDER BY n) FROM crl_staging)")


def prune_events(uow: Uow, *, keep_for: timedelta, keep_newest: int) -> None:
    """Keep the newest events of an issuer, and none past their time."""
    e = crl_generation_events.c
    uow.execute(sa.delete(crl_generation_events).where(e.started_at < uow.now - keep_for))
    for issuer_id in uow.execute(sa.select(e.issuer_id).distinct()).scalars().all():
        oldest = uow.scalar(
            sa.select(e.id)
            .where(e.issuer_id == issuer_id)
            .order_by(e.id.desc())
            .offset(keep_newest)
            .limit(1)
        )
        if oldest is not None:
            uow.execute(
                sa.delete(crl_generation_events).where(e.issuer_id == issuer_id, e.id <= oldest)
            )
