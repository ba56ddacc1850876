"""The queries behind CRLs: what is new, what is gone, the joined entries, the stored lists.

Everything that a generation takes is taken under the lock of the CA key's number. A revocation
belongs to a list once it carries the list's number, so one that commits while a list is made is
simply new for the next one, in whatever order transactions end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.engine import Row

from certctl_core.kernel.db import Uow, UTCDateTime
from certctl_core.lifecycle.revocation._tables import (
    certificate_revocations,
    crl_cache,
    crl_generation_events,
    crl_numbers,
    crl_removals,
)
from certctl_core.lifecycle.revocation.types import (
    COMPLETE,
    Buffer,
    Partition,
)
from certctl_core.pki.crl import encode_entry, encode_removal
from certctl_core.pki.reasons import parse_reason
from certctl_core.values import dataclass

_BATCH = 10_000
_CHUNK = 50_000
_MANY = 50_000
"""New entries above this are read with the rest instead of being kept in memory one by one."""

ROW_STATE = "crl_cache.xmin::text"
Place = tuple[str, str]
"""Issuer and CA key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is known of one part of a CA key without reading its bytes.

    Attributes:
        last_number / last_this_update: Of the last list, whether or not its row is still there.
        earliest_end: When the first entry may leave; None for none, or not known.
        is_dirty: A revocation came, went or changed since.
        has_row: There is a row of the last list.
        token: Changes with every change of the row; empty where the engine cannot tell.
    """

    last_number: int
    last_this_update: datetime | None
    earliest_end: datetime | None
    urls: tuple[str, ...]
    next_update: datetime | None
    revoked_count: int
    token: str
    has_row: bool
    is_dirty: bool

    @property
    def is_current(self) -> bool:
        """The row is the last list, and nothing has changed since."""
        return self.has_row and not self.is_dirty


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """A revocation that no list had yet."""

    serial: str
    entry: bytes
    end: datetime


@dataclass(slots=True, kw_only=True)
class Body:
    """Joined entries.

    Attributes:
        earliest_end: When the first of them may leave the list.
        added: What is in no older list, at the end.
    """

    pieces: list[Buffer]
    count: int
    earliest_end: datetime | None
    added: bytes = b""


def lock(uow: Uow, place: Place) -> None:
    """Wait for the turn to make lists of this CA key (02 CRL-4: one at a time)."""
    declare(uow, place, COMPLETE)
    if uow.is_postgres:
        uow.execute(
            sa.select(crl_numbers.c.part).where(is_number_row(place, COMPLETE)).with_for_update()
        )


def declare(uow: Uow, place: Place, part: str) -> None:
    """Make sure that the part has a number."""
    values = {"issuer_id": place[0], "ca_key_id": place[1], "part": part, "last_number": 0}
    uow.execute(uow.insert(crl_numbers).values(**values).on_conflict_do_nothing())


def parts(uow: Uow, place: Place) -> list[str]:
    """The parts that were ever made of this CA key."""
    n = crl_numbers.c
    statement = sa.select(n.part).where(n.issuer_id == place[0], n.ca_key_id == place[1])
    return list(uow.execute(statement.order_by(n.part)).scalars())


def state(uow: Uow, place: Place, part: str) -> State | None:
    """What is known of a part; None when it was never made."""
    return states(uow, place, part).get(part)


def states(uow: Uow, place: Place, part: str | None = None) -> dict[str, State]:
    """What is known of every part that was made, or of one."""
    n, c = crl_numbers.c, crl_cache.c
    token = sa.literal_column(ROW_STATE) if uow.is_postgres else sa.literal("")
    rows = uow.execute(
        sa.select(
            n.part,
            n.last_number,
            n.last_this_update,
            n.watermark,
            n.earliest_end,
            n.urls,
            c.crl_number,
            c.revocation_watermark,
            c.next_update,
            c.revoked_count,
            token.label("token"),
            sa.or_(_is_new(place), _is_gone(place)).label("is_dirty"),
        )
        .select_from(
            crl_numbers.outerjoin(
                crl_cache,
                sa.and_(c.issuer_id == n.issuer_id, c.ca_key_id == n.ca_key_id, c.part == n.part),
            )
        )
        .where(
            n.issuer_id == place[0],
            n.ca_key_id == place[1],
            n.last_number != 0,
            *(() if part is None else (n.part == part,)),
        )
    )
    return {row.part: _state(row) for row in rows}


def _state(row: Row[Any]) -> State:
    has_row = row.crl_number == row.last_number and row.revocation_watermark == row.watermark
    return State(
        last_number=row.last_number,
        last_this_update=row.last_this_update,
        earliest_end=row.earliest_end,
        urls=tuple((row.urls or "").split()),
        next_update=row.next_update,
        revoked_count=row.revoked_count or 0,
        token=row.token or "",
        has_row=has_row,
        is_dirty=bool(row.is_dirty),
    )


def is_dirty(uow: Uow, place: Place) -> bool:
    """Whether a revocation came, went or changed since the last list."""
    return bool(uow.scalar(sa.select(sa.or_(_is_new(place), _is_gone(place)))))


def _is_new(place: Place) -> sa.ColumnElement[bool]:
    return sa.exists(sa.select(sa.literal(1)).where(_new(place)).select_from(_R))


def _is_gone(place: Place) -> sa.ColumnElement[bool]:
    g = crl_removals.c
    return sa.exists(
        sa.select(sa.literal(1)).where(
            g.issuer_id == place[0], g.ca_key_id == place[1], g.applied_in.is_(None)
        )
    )


# -- what changed -----------------------------------------------------------------------------


def take_new(uow: Uow, place: Place, number: int) -> list[NewEntry] | None:
    """Give the revocations that no list had yet this list's number, and return them.

    None when there are so many that they are better read with all others. The rows are locked
    before they are read: one that is deleted meanwhile is noted as gone.
    """
    r = _R.c
    new: list[NewEntry] | None = []
    while True:
        batch = sa.select(r.seq).where(_new(place)).order_by(r.seq).limit(_BATCH)
        rows = uow.execute(
            sa.update(_R)
            .where(r.seq.in_(batch))
            .values(listed_in=number)
            .returning(
                r.seq,
                r.serial_number,
                r.revoked_at,
                r.reason,
                r.invalidity_date,
                r.not_after,
                r.entry_der,
            )
        ).all()
        rows = sorted(rows, key=lambda row: row.seq)
        encoded = _encode(uow, [row for row in rows if row.entry_der is None])
        if new is not None:
            new += [
                NewEntry(
                    serial=row.serial_number,
                    entry=encoded.get(row.seq) or bytes(row.entry_der),
                    end=max(row.not_after, row.revoked_at),
                )
                for row in rows
            ]
            new = new if len(new) <= _MANY else None
        if len(rows) < _BATCH:
            return new


def _encode(uow: Uow, rows: Sequence[Row[Any]]) -> dict[int, bytes]:
    """Encode and keep the entries of rows that were written or changed by hand."""
    if not rows:
        return {}
    entries = {
        row.seq: encode_entry(
            row.serial_number, row.revoked_at, parse_reason(row.reason), row.invalidity_date
        )
        for row in rows
    }
    uow.execute(
        sa.update(_R)
        .where(_R.c.seq == sa.bindparam("row"))
        .values(entry_der=sa.bindparam("entry")),
        [{"row": seq, "entry": entry} for seq, entry in entries.items()],
    )
    return entries


def take_gone(uow: Uow, place: Place, number: int) -> list[str]:
    """Give what left the lists this list's number; returns the serials."""
    g = crl_removals.c
    rows = uow.execute(
        sa.update(crl_removals)
        .where(g.issuer_id == place[0], g.ca_key_id == place[1], g.applied_in.is_(None))
        .values(applied_in=number)
        .returning(g.serial_number)
    )
    return list(rows.scalars())


def forget_gone(uow: Uow, place: Place, before: int) -> None:
    """Drop what left a list that no delta refers to any more."""
    g = crl_removals.c
    uow.execute(
        sa.delete(crl_removals).where(
            g.issuer_id == place[0], g.ca_key_id == place[1], g.applied_in <= before
        )
    )


# -- entries ----------------------------------------------------------------------------------


def read_body(
    uow: Uow, place: Place, *, partition: Partition | None, previous: datetime | None
) -> Body:
    """Join the entries of the listed revocations, in the order in which they came.

    Args:
        uow: The open unit of work.
        place: The CA key.
        partition: Only its share.
        previous: thisUpdate of the list before: what ended earlier was on it, and is left out.
    """
    r = _R.c
    end = _end(uow)
    wanted = [r.issuer_id == place[0], r.ca_key_id == place[1], r.on_crl, r.listed_in.is_not(None)]
    if previous is not None:
        wanted += [sa.or_(r.not_after >= previous, r.revoked_at >= previous)]
    if partition is not None:
        last = sa.func.substr(r.serial_number, sa.func.length(r.serial_number) - 1, 2)
        wanted += [last.in_(partition.endings)]
    body = Body(pieces=[], count=0, earliest_end=None)
    seq = -1
    while True:
        chunk = (
            sa.select(r.seq, r.entry_der, end.label("end"))
            .where(*wanted, r.seq > seq)
            .order_by(r.seq)
            .limit(_CHUNK)
        )
        found = _joined(uow, chunk)
        if found.without:
            _encode_between(uow, place, seq, found.last)
            continue
        if not found.rows:
            return body
        body.pieces.append(found.data)
        body.count += found.rows
        body.earliest_end = _earlier(body.earliest_end, found.end)
        seq = found.last


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    rows: int
    without: int
    last: int
    data: bytes
    end: datetime | None


def _joined(uow: Uow, chunk: sa.Select[Any]) -> _Chunk:
    if not uow.is_postgres:
        rows = uow.execute(chunk.with_only_columns(_R.c.seq, _R.c.entry_der)).all()
        return _Chunk(
            rows=len(rows),
            without=sum(row.entry_der is None for row in rows),
            last=rows[-1].seq if rows else -1,
            data=b"".join(row.entry_der or b"" for row in rows),
            end=uow.scalar(sa.select(sa.func.min(chunk.subquery().c.end))),
        )
    # The server joins: one value crosses to here, not fifty thousand rows.
    c = chunk.subquery().c
    nothing: sa.ColumnElement[bytes] = sa.literal_column("''::bytea")
    row = uow.first(
        sa.select(
            sa.func.count().label("rows"),
            (sa.func.count() - sa.func.count(c.entry_der)).label("without"),
            sa.func.max(c.seq).label("last"),
            sa.func.string_agg(c.entry_der, aggregate_order_by(nothing, c.seq)).label("data"),
            sa.func.min(c.end).label("end"),
        )
    )
    assert row is not None  # noqa: S101 - an aggregate has a row
    return _Chunk(
        rows=row.rows,
        without=row.without,
        last=row.last if row.last is not None else -1,
        data=bytes(row.data or b""),
        end=row.end,
    )


def _encode_between(uow: Uow, place: Place, after: int, last: int) -> None:
    r = _R.c
    rows = uow.execute(
        sa.select(r.seq, r.serial_number, r.revoked_at, r.reason, r.invalidity_date).where(
            r.issuer_id == place[0],
            r.ca_key_id == place[1],
            r.on_crl,
            r.entry_der.is_(None),
            r.seq > after,
            r.seq <= last,
        )
    ).all()
    _encode(uow, rows)


def read_delta(uow: Uow, place: Place, base: int) -> Body:
    """Join what a delta to the complete list ``base`` says: new entries, and removals."""
    r, g = _R.c, crl_removals.c
    mine = (r.issuer_id == place[0], r.ca_key_id == place[1])
    entries = uow.execute(
        sa.select(r.entry_der).where(*mine, r.on_crl, r.listed_in > base).order_by(r.seq)
    ).scalars()
    pieces = [bytes(entry) for entry in entries]
    still = sa.exists(sa.select(sa.literal(1)).where(*mine, r.serial_number == g.serial_number))
    gone = uow.execute(
        sa.select(g.serial_number, sa.func.min(g.revoked_at).label("revoked_at"))
        .where(
            g.issuer_id == place[0],
            g.ca_key_id == place[1],
            g.listed_in <= base,
            g.applied_in > base,
            ~still,
        )
        .group_by(g.serial_number)
        .order_by(g.serial_number)
    )
    pieces += [encode_removal(row.serial_number, row.revoked_at) for row in gone]
    return Body(pieces=[b"".join(pieces)], count=len(pieces), earliest_end=None)


def oldest_valid(uow: Uow, place: Place, validity: timedelta) -> int | None:
    """The number of the oldest complete list that may still be in use."""
    e = crl_generation_events.c
    found = uow.scalar(
        sa.select(sa.func.min(e.crl_number)).where(
            e.issuer_id == place[0],
            e.ca_key_id == place[1],
            e.part == COMPLETE,
            e.succeeded.is_(True),
            e.started_at >= uow.now - validity,
        )
    )
    return None if found is None else int(found)


def watermark(uow: Uow, place: Place, count: int) -> str:
    """Name the state of the rows that a list is made from: the newest, and how many are listed."""
    r = _R.c
    newest = uow.scalar(
        sa.select(sa.func.coalesce(sa.func.max(r.seq), 0)).where(
            r.issuer_id == place[0], r.ca_key_id == place[1]
        )
    )
    return f"{newest}:{count}"


_R = certificate_revocations


def _new(place: Place) -> sa.ColumnElement[bool]:
    r = _R.c
    return sa.and_(
        r.issuer_id == place[0], r.ca_key_id == place[1], r.listed_in.is_(None), r.on_crl
    )


def is_number_row(place: Place, part: str) -> sa.ColumnElement[bool]:
    """The row of ``crl_numbers`` of a part."""
    n = crl_numbers.c
    return sa.and_(n.issuer_id == place[0], n.ca_key_id == place[1], n.part == part)


def is_cache_row(place: Place, part: str) -> sa.ColumnElement[bool]:
    """The row of ``crl_cache`` of a part."""
    c = crl_cache.c
    return sa.and_(c.issuer_id == place[0], c.ca_key_id == place[1], c.part == part)


def _end(uow: Uow) -> sa.ColumnElement[datetime]:
    r = _R.c
    later = sa.func.greatest if uow.is_postgres else sa.func.max
    return sa.type_coerce(later(r.not_after, r.revoked_at), UTCDateTime)


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    known = [moment for moment in (one, other) if moment is not None]
    return min(known, default=None)


def earliest(ends: Iterator[datetime], known: datetime | None) -> datetime | None:
    """The first of some times and one that is known."""
    return _earlier(min(ends, default=None), known)
