"""Idempotent POSTs: the first answer is kept for 24 hours and replayed (spec 01 API-16)."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from certctl_core.api.errors import (
    BadIdempotencyKey,
    IdempotencyInProgress,
    IdempotencyMismatch,
)
from certctl_core.kernel.db import UnitOfWorkFactory, Uow, idempotency_keys
from certctl_core.kernel.errors import Unavailable
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.api")

LIFE = timedelta(hours=24)
_ABANDONED = timedelta(minutes=5)
"""A claim without an answer this old was left by a process that died."""
_MAX_KEY = 255
_REPEATS = uuid.UUID("5b0a6d5e-33c4-4d3c-9a5f-6c1f6f0f7a11")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One key of one actor, and the digest of the request that came with it."""

    actor_id: str
    key: str
    request_digest: str

    @property
    def repeat_key(self) -> str:
        """A UUID that every repetition of the request has in common."""
        return str(uuid.uuid5(_REPEATS, f"{self.actor_id}\0{self.key}\0{self.request_digest}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A finished answer."""

    status: int
    body: Any


def parse_key(text: str) -> str:
    """The key, if it is usable.

    Raises:
        BadIdempotencyKey: Empty, too long, or with invisible characters.
    """
    if not 1 <= len(text) <= _MAX_KEY or not text.isascii() or not text.isprintable():
        raise BadIdempotencyKey
    return text


def claim(units: UnitOfWorkFactory, slot: Slot) -> Stored | None:
    """Take the slot (None) or get the stored answer.

    Raises:
        IdempotencyMismatch: The key came with another request before.
        IdempotencyInProgress: The first request is still running.
    """
    t = idempotency_keys
    mine = sa.and_(t.c.actor_id == slot.actor_id, t.c.key == slot.key)
    with units.begin() as uow:
        stale = sa.or_(
            t.c.created_at < uow.now - LIFE,
            sa.and_(t.c.status.is_(None), t.c.created_at < uow.now - _ABANDONED),
        )
        uow.execute(sa.delete(t).where(mine, stale))
        taken = uow.first(
            uow.insert(t)
            .values(
                actor_id=slot.actor_id,
                key=slot.key,
                request_digest=slot.request_digest,
                created_at=uow.now,
            )
            .on_conflict_do_nothing()
            .returning(t.c.key)
        )
        if taken is not None:
            return None
        row = uow.first(sa.select(t).where(mine))
    if row is None:
        raise IdempotencyInProgress
    if row.request_digest != slot.request_digest:
        raise IdempotencyMismatch
    if row.status is None:
        raise IdempotencyInProgress
    return Stored(status=row.status, body=row.body)


def keep(uow: Uow, slot: Slot, *, status: int, body: Any) -> None:
    """Keep the answer in the transaction of the act."""
    t = idempotency_keys
    uow.execute(
        sa.update(t)
        .where(t.c.actor_id == slot.actor_id, t.c.key == slot.key)
        .values(status=status, body=body)
    )


def store(units: UnitOfWorkFactory, slot: Slot, *, status: int, body: Any) -> None:
    """Keep the answer of the request that holds the slot.

    The request has done its work: that its answer cannot be kept is no failure of it.
    """
    try:
        with units.begin() as uow:
            keep(uow, slot, status=status, body=body)
    except Unavailable as error:
        _log.warning("idempotency.answer_not_kept", actor_id=slot.actor_id, code=error.code)


def release(units: UnitOfWorkFactory, slot: Slot) -> None:
    """Free the slot of a request that failed: it may be repeated with the same key.

    If that cannot be done now, the slot frees itself after a few minutes; the failure of the
    request is what its caller has to hear.
    """
    t = idempotency_keys
    try:
        with units.begin() as uow:
            uow.execute(
                sa.delete(t).where(
                    t.c.actor_id == slot.actor_id, t.c.key == slot.key, t.c.status.is_(None)
                )
            )
    except Unavailable as error:
        _log.warning("idempotency.slot_not_freed", actor_id=slot.actor_id, code=error.code)


def release_all(units: UnitOfWorkFactory) -> None:
    """Free every slot without an answer: at the start of the only process there is."""
    with units.begin() as uow:
        uow.execute(sa.delete(idempotency_keys).where(idempotency_keys.c.status.is_(None)))


def purge(units: UnitOfWorkFactory) -> int:
    """Delete answers older than their life; returns how many (retention loop)."""
    t = idempotency_keys
    with units.begin() as uow:
        return uow.execute(sa.delete(t).where(t.c.created_at < uow.now - LIFE)).rowcount
