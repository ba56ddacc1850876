"""Lists of weak keys by the million: imported, kept as packed digests, asked at every issuance."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.kernel.db import Remembered, Uow, paginate
from certctl_core.kernel.operations import ListQuery, Page
from certctl_core.lifecycle.blocked_keys._tables import blocked_key_list_parts as parts
from certctl_core.lifecycle.blocked_keys._tables import blocked_key_lists as t
from certctl_core.lifecycle.blocked_keys.errors import BadDigests, KeyListNotFound, KeyListTaken
from certctl_core.lifecycle.blocked_keys.events import (
    KeyListCreated,
    KeyListDeleted,
    KeyListExtended,
)
from certctl_core.lifecycle.blocked_keys.schemas import AddDigests, CreateKeyList, KeyListView
from certctl_core.pki.key_marks import MARK_BYTES, KeyMark, key_mark
from certctl_core.pki.keys import PublicKey

LIST_SORTS = {"created_at": t.c.created_at, "name": t.c.name}
_STAMP = "blocked_key_lists"
_TOPIC = "blocked_keys"
_PREFIX_BITS = 12
"""4,096 parts: of a list of four million keys a look-up reads 15 kB."""
_AT_ONCE = 500


class KeyLists:
    """Owns ``blocked_key_lists`` and their parts. Safe for threads."""

    def __init__(self) -> None:
        self._lists = Remembered(_STAMP, _names_and_marks)

    def drop_cache(self) -> None:
        """Trust what is in memory only after a look at the stamp (topic ``blocked_keys``)."""
        self._lists.doubt()

    def find(self, uow: Uow, public_key: PublicKey) -> str | None:
        """The name of a list that the key is on (02 PROF-3); None for a key on no list."""
        lists = self._lists.get(uow)
        if not lists:
            return None
        marks = {mark: key_mark(public_key, mark) for mark in {mark for _, mark in lists}}
        wanted = {name: marked for name, mark in lists if (marked := marks[mark])}
        if not wanted:
            return None
        places = [
            sa.and_(parts.c.list_name == name, parts.c.prefix == _prefix(marked))
            for name, marked in wanted.items()
        ]
        statement = sa.select(parts.c.list_name, parts.c.digests).where(sa.or_(*places))
        for row in uow.execute(statement):
            if _holds(row.digests, wanted[row.list_name]):
                return str(row.list_name)
        return None

    def page(self, uow: Uow, query: ListQuery) -> Page[KeyListView]:
        """A page of the lists."""
        statement = sa.select(t)
        if query.q:
            statement = statement.where(t.c.name.contains(query.q.strip().lower(), autoescape=True))
        return paginate(
            uow, statement, query=query, sorts=LIST_SORTS, id_column=t.c.name, view=_view
        )

    def get(self, uow: Uow, name: str) -> KeyListView:
        """One list.

        Raises:
            KeyListNotFound: There is none of that name.
        """
        row = uow.first(sa.select(t).where(t.c.name == name))
        if row is None:
            raise KeyListNotFound(name=name)
        return _view(row)

    def create(self, uow: Uow, body: CreateKeyList) -> KeyListView:
        """Begin an empty list; emits ``key_list.created``.

        Raises:
            KeyListTaken: There is one of that name.
        """
        row = uow.first(
            uow.insert(t)
            .values(
                name=body.name,
                mark=body.mark,
                entries=0,
                note=body.note,
                created_by=uow.actor.id,
                created_at=uow.now,
                updated_at=uow.now,
            )
            .on_conflict_do_nothing()
            .returning(t)
        )
        if row is None:
            raise KeyListTaken(name=body.name)
        uow.emit(KeyListCreated(resource_id=body.name, mark=body.mark, note=body.note))
        self._changed(uow)
        return _view(row)

    def add(self, uow: Uow, name: str, body: AddDigests) -> KeyListView:
        """Add digests to a list; those it has are passed over. Emits ``key_list.extended``.

        Raises:
            KeyListNotFound: There is none of that name.
            BadDigests: No base64, or not a whole number of digests.
        """
        # The update holds the row until the end: two imports into one list take turns.
        row = uow.first(
            sa.update(t).where(t.c.name == name).values(updated_at=uow.now).returning(t)
        )
        if row is None:
            raise KeyListNotFound(name=name)
        by_prefix = _by_prefix(body.digests, MARK_BYTES[KeyMark(row.mark)])
        added = 0
        prefixes = sorted(by_prefix)
        for start in range(0, len(prefixes), _AT_ONCE):
            some = prefixes[start : start + _AT_ONCE]
            added += self._merge(uow, name, {prefix: by_prefix[prefix] for prefix in some})
        if not added:
            return _view(row)
        entries = row.entries + added
        changed = uow.first(
            sa.update(t).where(t.c.name == name).values(entries=entries).returning(t)
        )
        uow.emit(KeyListExtended(resource_id=name, added=added, entries=entries))
        self._changed(uow)
        return _view(row if changed is None else changed)

    def _merge(self, uow: Uow, name: str, new: dict[int, set[bytes]]) -> int:
        statement = sa.select(parts.c.prefix, parts.c.digests).where(
            parts.c.list_name == name, parts.c.prefix.in_(new)
        )
        size = len(next(iter(next(iter(new.values())))))
        before = {row.prefix: _split(row.digests, size) for row in uow.execute(statement)}
        merged = {prefix: digests.union(before.get(prefix, ())) for prefix, digests in new.items()}
        grown = [
            {"list_name": name, "prefix": prefix, "digests": b"".join(sorted(digests))}
            for prefix, digests in merged.items()
            if len(digests) > len(before.get(prefix, ()))
        ]
        if not grown:
            return 0
        insert = uow.insert(parts).values(grown)
        uow.execute(
            insert.on_conflict_do_update(
                index_elements=[parts.c.list_name, parts.c.prefix],
                set_={"digests": insert.excluded.digests},
            )
        )
        return sum(len(merged[p]) - len(before.get(p, ())) for p in merged)

    def delete(self, uow: Uow, name: str) -> None:
        """Ask a list no more; emits ``key_list.deleted``.

        Raises:
            KeyListNotFound: There is none of that name.
        """
        view = self.get(uow, name)
        uow.execute(sa.delete(parts).where(parts.c.list_name == name))
        uow.execute(sa.delete(t).where(t.c.name == name))
        uow.emit(KeyListDeleted(resource_id=name, entries=view.entries))
        self._changed(uow)

    def _changed(self, uow: Uow) -> None:
        uow.touch(_STAMP)
        uow.wake(_TOPIC)
        uow.after_commit(self.drop_cache)


def _names_and_marks(uow: Uow) -> tuple[tuple[str, KeyMark], ...]:
    rows = uow.execute(sa.select(t.c.name, t.c.mark).order_by(t.c.name))
    return tuple((row.name, KeyMark(row.mark)) for row in rows)


def _by_prefix(text: str, size: int) -> dict[int, set[bytes]]:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadDigests(reason="they are not base64") from error
    if not data or len(data) % size:
        raise BadDigests(reason=f"{len(data)} bytes are no whole number of {size}-byte digests")
    found: dict[int, set[bytes]] = defaultdict(set)
    for digest in _split(data, size):
        found[_prefix(digest)].add(digest)
    return found


def _prefix(digest: bytes) -> int:
    return int.from_bytes(digest[:2]) >> (16 - _PREFIX_BITS)


def _split(data: bytes, size: int) -> Sequence[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def _holds(data: bytes, digest: bytes) -> bool:
    size = len(digest)
    at = bisect_left(
        range(len(data) // size), digest, key=lambda n: data[n * size : n * size + size]
    )
    return data[at * size : at * size + size] == digest


def _view(row: Row[Any]) -> KeyListView:
    return KeyListView.model_validate(row, from_attributes=True)
