"""Exports: events with everything that an auditor needs to check them without us.

NDJSON, ascending by ``seq``, sealed events only. Each event is a line. Where leaves are left out
(other categories, other times) a line ``{"_gap": …}`` carries the hashes of the complete subtrees
over them, so that the whole file leads to the root of the checkpoint in the trailer
(:mod:`certctl_core.kernel.audit.offline`).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from certctl_core.kernel.actors import Actor
from certctl_core.kernel.audit import _store as store
from certctl_core.kernel.audit.errors import AuditLogBroken, BadTimeRange
from certctl_core.kernel.audit.events import AuditExported
from certctl_core.kernel.audit.keys import rotations
from certctl_core.kernel.audit.merkle import decompose, node_hash
from certctl_core.kernel.audit.rules import EVENT_FIELDS, event_json
from certctl_core.kernel.audit.schemas import ExportFormat, ExportQuery
from certctl_core.kernel.audit.service import b64
from certctl_core.kernel.audit.workflow import AuditLog
from certctl_core.kernel.db import UnitOfWorkFactory
from certctl_core.kernel.events import JSON
from certctl_core.kernel.operations import File

MAX_RANGE = timedelta(days=90)
_CHUNK = 1000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would run a cell that begins like this."""


def export(
    audit: AuditLog,
    units: UnitOfWorkFactory,
    query: ExportQuery,
    *,
    actor: Actor,
    request_id: str = "",
) -> File:
    """Copy a part of the log into a file; emits ``audit.exported``.

    The copy is taken from the tree of the newest checkpoint, in many short reads; it holds no
    transaction open.

    Raises:
        BadTimeRange: ``to`` is not after ``from``, or more than 90 days later.
        AuditLogBroken: A leaf or its event is missing: verify the log.
    """
    if query.until <= query.since:
        raise BadTimeRange(reason="'to' is not after 'from'")
    if query.until - query.since > MAX_RANGE:
        raise BadTimeRange(reason="it is longer than 90 days")
    run = _Export(units, query, actor)
    content = run.csv() if query.format is ExportFormat.CSV else run.ndjson()
    with units.begin(actor, request_id=request_id) as uow:
        uow.emit(
            AuditExported(
                resource_id=audit.origin,
                from_time=query.since,
                to_time=query.until,
                event_category=None if query.category is None else query.category.value,
                format=query.format.value,
                rows=run.rows,
            )
        )
    stem = f"certctl-audit-{query.since:%Y%m%dT%H%M%SZ}_to_{query.until:%Y%m%dT%H%M%SZ}"
    return File(
        content=content,
        media_type="text/csv" if query.format is ExportFormat.CSV else "application/x-ndjson",
        filename=f"{stem}.{query.format.value}",
    )


class _Gap:
    """Leaves that are left out, as few complete subtrees."""

    def __init__(self, start: int) -> None:
        self.start = self.end = start
        self._nodes: list[tuple[int, int, bytes]] = []

    def append(self, value: bytes) -> None:
        level, index = 0, self.end
        while self._nodes and index & 1 and self._nodes[-1][:2] == (level, index - 1):
            value = node_hash(self._nodes.pop()[2], value)
            level, index = level + 1, index >> 1
        self._nodes.append((level, index, value))
        self.end += 1

    def line(self) -> bytes:
        return _gap_line(self.start, self.end, [value for _, _, value in self._nodes])


class _Export:
    """One export."""

    def __init__(self, units: UnitOfWorkFactory, query: ExportQuery, actor: Actor) -> None:
        self._units = units
        self._query = query
        self._actor = actor
        self.rows = 0
        self.first: int | None = None
        self.last: int | None = None
        self.truncated = False
        with units.read(actor) as uow:
            point = store.newest_checkpoint(uow)
            self.note = None if point is None else str(point.note)
            self.size = 0 if point is None else int(point.tree_size)
            self.rotations = rotations(uow, up_to=self.size)
            self._low, self._high = store.seq_range(uow, self._conditions(), self.size)

    def ndjson(self) -> bytes:
        out = io.BytesIO()
        for line in self._lines():
            out.write(line)
        trailer: dict[str, JSON] = {
            "rows": self.rows,
            "first_seq": self.first,
            "last_seq": self.last,
            "checkpoint": self.note,
            "truncated": self.truncated,
        }
        if self.rotations:
            trailer["rotations"] = [
                {"key": key, "checkpoint": note} for key, note in self.rotations
            ]
        out.write(_dump({"_trailer": trailer}))
        return out.getvalue()

    def csv(self) -> bytes:
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(["seq", *EVENT_FIELDS])
        for place, event in self._events():
            if event is not None:
                writer.writerow([place, *(_cell(event[name]) for name in EVENT_FIELDS)])
        words = [f"rows={self.rows}", f"first_seq={self.first}", f"last_seq={self.last}"]
        writer.writerow([f"# {' '.join(words)} truncated={str(self.truncated).lower()}"])
        return out.getvalue().encode()

    def _lines(self) -> Iterator[bytes]:
        end = 0
        gap: _Gap | None = None
        for place, found in self._walk():
            if place > end:  # only before the first event
                yield self._stored_gap(end, place)
            end = place + 1
            if isinstance(found, bytes):
                gap = gap or _Gap(place)
                gap.append(found)
                continue
            if gap is not None:
                yield gap.line()
                gap = None
            yield _dump({**found, "seq": place})
        if gap is not None:
            yield gap.line()
        if end < self.size:
            yield self._stored_gap(end, self.size)

    def _events(self) -> Iterator[tuple[int, dict[str, JSON] | None]]:
        for place, found in self._walk():
            yield place, None if isinstance(found, bytes) else found

    def _walk(self) -> Iterator[tuple[int, dict[str, JSON] | bytes]]:
        """Each leaf between the first and the last match: the event, or the hash if left out."""
        for low in range(self._low, self._high + 1, _CHUNK):
            with self._units.read(self._actor) as uow:
                rows = store.walk(uow, low, min(low + _CHUNK, self._high + 1))
            for row in rows:
                if row.id is None:
                    raise AuditLogBroken(log={"leaf_index": row.leaf_index})
                if not self._matches(row):
                    yield row.leaf_index, bytes(row.leaf_hash)
                    continue
                if self.rows == self._query.limit:
                    self.truncated = True
                    return
                self.rows += 1
                self.first = row.leaf_index if self.first is None else self.first
                self.last = row.leaf_index
                yield row.leaf_index, event_json(row._asdict())

    def _stored_gap(self, low: int, high: int) -> bytes:
        with self._units.read(self._actor) as uow:
            read = store.subtree(uow)
            hashes = [read(level, index) for level, index in decompose(low, high)]
        return _gap_line(low, high, hashes)

    def _matches(self, row: Any) -> bool:
        query = self._query
        return query.since <= row.timestamp < query.until and (
            query.category is None or row.event_category == query.category
        )

    def _conditions(self) -> list[sa.ColumnElement[bool]]:
        conditions = [
            store.e.timestamp >= self._query.since,
            store.e.timestamp < self._query.until,
        ]
        if self._query.category is not None:
            conditions.append(store.e.event_category == self._query.category)
        return conditions


def _gap_line(low: int, high: int, hashes: list[bytes]) -> bytes:
    texts: list[JSON] = [b64(value) for value in hashes]
    return _dump({"_gap": {"from": low, "to": high, "hashes": texts}})


def _dump(value: JSON) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.encode() + b"\n"


def _cell(value: JSON) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(_FORMULA) else text
