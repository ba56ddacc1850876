"""The queries of the audit log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.kernel.audit import _tables as t
from certctl_core.kernel.audit.errors import AuditLogBroken
from certctl_core.kernel.audit.merkle import Frontier, Node, complete, decompose, range_root
from certctl_core.kernel.audit.rules import EVENT_FIELDS
from certctl_core.kernel.audit.schemas import AuditQuery
from certctl_core.kernel.db import Uow
from certctl_core.kernel.ids import Prefix, new_id
from certctl_core.kernel.operations import Resource

TILE_LEVELS = 8
"""A tile is the root of 2^8 leaves, or of 2^8 tiles of the level below."""

e = t.audit_events.c
leaf = t.audit_leaves.c
tile = t.audit_tiles.c
point = t.audit_checkpoints.c
check = t.audit_verifications.c
EVENT_COLUMNS = tuple(e[name] for name in EVENT_FIELDS)
SORTS = {"timestamp": e.timestamp}
_NARROW = timedelta(minutes=5)
_ULID_TIME = len(Prefix.AUDIT_EVENT) + 1 + 10


def first_id_since(moment: datetime) -> str:
    """A text that sorts before every event id made at ``moment`` or later."""
    return new_id(Prefix.AUDIT_EVENT, at=moment)[:_ULID_TIME]


def insert_events(uow: Uow, rows: Sequence[Mapping[str, object]]) -> None:
    """Store events, with whatever else waits for the commit."""
    for row in rows:
        uow.add(t.audit_events, row)


def unsealed(uow: Uow, *, since: datetime | None, limit: int) -> Sequence[Row[Any]]:
    """Committed events without a leaf, in the order of their ids; ``since`` bounds the search."""
    if since is not None and uow.now - since <= _NARROW:
        return _unsealed_lately(uow, low=first_id_since(since), limit=limit)
    has_leaf = sa.select(leaf.leaf_index).where(leaf.event_id == e.id)
    statement = sa.select(*EVENT_COLUMNS).order_by(e.id).limit(limit)
    if since is not None:
        low = first_id_since(since)
        has_leaf = has_leaf.where(leaf.event_id >= low)
        statement = statement.where(e.id >= low)
    return uow.execute(statement.where(~has_leaf.exists())).all()


def _unsealed_lately(uow: Uow, *, low: str, limit: int) -> Sequence[Row[Any]]:
    """The same by two walks of an index: no plan that was made for empty tables can spoil it."""
    known = uow.execute(sa.select(e.id).where(e.id >= low).order_by(e.id)).scalars().all()
    sealed = set(uow.execute(sa.select(leaf.event_id).where(leaf.event_id >= low)).scalars())
    missing = [event_id for event_id in known if event_id not in sealed][:limit]
    if not missing:
        return []
    statement = sa.select(*EVENT_COLUMNS).where(e.id.in_(missing)).order_by(e.id)
    return uow.execute(statement).all()


def count_unsealed(uow: Uow, *, since: datetime) -> tuple[int, datetime | None]:
    """How many events since then have no leaf, and the time of the oldest."""
    low = first_id_since(since)
    has_leaf = sa.select(leaf.leaf_index).where(leaf.event_id == e.id, leaf.event_id >= low)
    row = uow.execute(
        sa.select(sa.func.count().label("number"), sa.func.min(e.timestamp).label("oldest")).where(
            e.id >= low, ~has_leaf.exists()
        )
    ).one()
    return int(row.number), row.oldest


def tree_size(uow: Uow) -> int:
    """The number of leaves, by the greatest index."""
    greatest = uow.scalar(sa.select(sa.func.max(leaf.leaf_index)))
    return 0 if greatest is None else int(greatest) + 1


def sizes(uow: Uow) -> tuple[int, int]:
    """Leaves by the greatest index, and the size of the newest checkpoint, in one snapshot."""
    row = uow.execute(
        sa.select(
            sa.select(sa.func.max(leaf.leaf_index)).scalar_subquery().label("greatest"),
            sa.select(sa.func.max(point.tree_size)).scalar_subquery().label("size"),
        )
    ).one()
    return (0 if row.greatest is None else int(row.greatest) + 1), int(row.size or 0)


def insert_leaves(uow: Uow, first: int, event_ids: Sequence[str], hashes: Sequence[bytes]) -> None:
    """Store leaves from index ``first`` on, with whatever else waits for the commit."""
    for place, (event_id, value) in enumerate(zip(event_ids, hashes, strict=True)):
        row = {"leaf_index": first + place, "event_id": event_id, "leaf_hash": value}
        uow.add(t.audit_leaves, row)


def insert_tiles(uow: Uow, nodes: Sequence[Node]) -> None:
    """Store those of the completed subtrees that are tiles."""
    for node in nodes:
        if node.level and node.level % TILE_LEVELS == 0:
            row = {"level": node.level, "tile_index": node.index, "node_hash": node.hash}
            uow.add(t.audit_tiles, row)


def insert_checkpoint(uow: Uow, *, size: int, origin: str, root: bytes, note: str) -> None:
    """Store a signed checkpoint."""
    uow.add(
        t.audit_checkpoints,
        {
            "tree_size": size,
            "origin": origin,
            "root_hash": root,
            "note": note,
            "created_at": uow.now,
        },
    )


def newest_checkpoint(uow: Uow) -> Row[Any] | None:
    """The checkpoint of the largest tree."""
    return uow.first(sa.select(t.audit_checkpoints).order_by(point.tree_size.desc()).limit(1))


def checkpoints_between(uow: Uow, low: int, high: int) -> dict[int, Row[Any]]:
    """The checkpoints of sizes in (low, high], by size."""
    rows = uow.execute(
        sa.select(t.audit_checkpoints).where(point.tree_size > low, point.tree_size <= high)
    )
    return {row.tree_size: row for row in rows}


def subtree(uow: Uow) -> Callable[[int, int], bytes]:
    """A reader of complete subtrees: at most 128 rows for any of them."""

    def read(level: int, index: int) -> bytes:
        base = level - level % TILE_LEVELS
        count = 1 << (level - base)
        low = index * count
        if base == 0:
            place, statement = leaf.leaf_index, sa.select(leaf.leaf_hash)
        else:
            place = tile.tile_index
            statement = sa.select(tile.node_hash).where(tile.level == base)
        statement = statement.where(place >= low, place < low + count).order_by(place)
        hashes = [bytes(row[0]) for row in uow.execute(statement)]
        if len(hashes) != count:
            raise AuditLogBroken(log={"level": level, "index": index})
        return complete(hashes)

    return read


def tile_hash(uow: Uow, level: int, index: int) -> bytes | None:
    """A stored tile."""
    found = uow.scalar(
        sa.select(tile.node_hash).where(tile.level == level, tile.tile_index == index)
    )
    return None if found is None else bytes(found)


def root_of(uow: Uow, low: int, high: int) -> bytes:
    """The root of the leaves [low, high).

    Raises:
        AuditLogBroken: A leaf or tile is missing.
    """
    return range_root(low, high, subtree(uow))


def frontier(uow: Uow, size: int) -> Frontier:
    """The right edge of the tree of ``size`` leaves, from the stored nodes.

    Raises:
        AuditLogBroken: A leaf or tile is missing.
    """
    read = subtree(uow)
    edge = Frontier()
    for level, index in decompose(0, size):
        edge.append(read(level, index), level)
    return edge


def leaf_of(uow: Uow, event_id: str) -> Row[Any] | None:
    """The leaf of an event."""
    return uow.first(sa.select(t.audit_leaves).where(leaf.event_id == event_id))


def walk(uow: Uow, low: int, high: int) -> Sequence[Row[Any]]:
    """Leaves [low, high) with their events, by index; the event columns are None where it is gone."""
    return uow.execute(
        sa.select(leaf.leaf_index, leaf.event_id, leaf.leaf_hash, *EVENT_COLUMNS)
        .select_from(t.audit_leaves.outerjoin(t.audit_events, leaf.event_id == e.id))
        .where(leaf.leaf_index >= low, leaf.leaf_index < high)
        .order_by(leaf.leaf_index)
    ).all()


def seq_range(
    uow: Uow, conditions: Sequence[sa.ColumnElement[bool]], below: int
) -> tuple[int, int]:
    """The least and the greatest leaf index of matching events, or (0, -1)."""
    row = uow.execute(
        sa.select(
            sa.func.min(leaf.leaf_index).label("least"),
            sa.func.max(leaf.leaf_index).label("greatest"),
        )
        .select_from(t.audit_leaves.join(t.audit_events, leaf.event_id == e.id))
        .where(leaf.leaf_index < below, *conditions)
    ).one()
    return (0, -1) if row.least is None else (int(row.least), int(row.greatest))


def last_verification(uow: Uow, *, ok: bool | None = None, full: bool = False) -> Row[Any] | None:
    """The newest verification; ``ok`` and ``full`` narrow it down."""
    statement = sa.select(t.audit_verifications).order_by(check.id.desc()).limit(1)
    if ok is not None:
        statement = statement.where(check.ok == ok)
    if full:
        statement = statement.where(check.is_full.is_(True))
    return uow.first(statement)


def greatest_verified(uow: Uow) -> int:
    """The largest tree that was ever found whole."""
    found = uow.scalar(sa.select(sa.func.max(check.tree_size)).where(check.ok.is_(True)))
    return int(found or 0)


def insert_verification(uow: Uow, values: Mapping[str, object]) -> None:
    """Store the result of a verification."""
    uow.execute(sa.insert(t.audit_verifications).values(**values))


def forgotten(uow: Uow, *, before: datetime, grace: timedelta) -> str | None:
    """An event that the sealer passed over: old, without a leaf, while younger ones have theirs."""
    has_leaf = sa.select(leaf.leaf_index).where(leaf.event_id == e.id)
    found: str | None = uow.scalar(
        sa.select(e.id)
        .where(e.id < first_id_since(before - grace), ~has_leaf.exists())
        .order_by(e.id)
        .limit(1)
    )
    return found


def view(uow: Uow, event_id: str) -> Row[Any] | None:
    """One event with its leaf index."""
    return uow.first(_views().where(e.id == event_id))


def filtered(query: AuditQuery, scopes: Sequence[Resource] | None) -> sa.Select[Any]:
    """The list select: every filter applied, neither order nor limit."""
    statement = _views()
    wanted = {
        e.event_category: query.category,
        e.actor: query.actor,
        e.actor_type: query.actor_type,
        e.action: query.action,
        e.resource_type: query.resource_type,
        e.resource_id: query.resource_id,
    }
    for column, value in wanted.items():
        if value is not None:
            statement = statement.where(column == value)
    if query.since is not None:
        statement = statement.where(e.timestamp >= query.since)
    if query.until is not None:
        statement = statement.where(e.timestamp < query.until)
    if query.q:
        statement = statement.where(
            sa.or_(
                e.id == query.q, e.resource_id == query.q, e.actor == query.q, e.action == query.q
            )
        )
    if scopes is not None:
        profiles = [scope.profile_id for scope in scopes if scope.profile_id]
        issuers = [scope.issuer_id for scope in scopes if scope.issuer_id]
        statement = statement.where(
            sa.or_(
                sa.and_(e.resource_type == "profile", e.resource_id.in_(profiles)),
                sa.and_(e.resource_type == "issuer", e.resource_id.in_(issuers)),
            )
        )
    return statement


def _views() -> sa.Select[Any]:
    return sa.select(*EVENT_COLUMNS, leaf.leaf_index.label("seq")).select_from(
        t.audit_events.outerjoin(t.audit_leaves, leaf.event_id == e.id)
    )
