"""The list of keys that are not certified, at hand for every issuance."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.kernel.db import Remembered, Uow, paginate
from certctl_core.kernel.operations import Page
from certctl_core.lifecycle.blocked_keys._tables import blocked_keys as t
from certctl_core.lifecycle.blocked_keys.errors import BlockedKeyNotFound, KeyBlockedAlready
from certctl_core.lifecycle.blocked_keys.events import KeyBlocked, KeyUnblocked
from certctl_core.lifecycle.blocked_keys.rules import digest_of
from certctl_core.lifecycle.blocked_keys.schemas import BlockedKeyQuery, BlockedKeyView, BlockKey
from certctl_core.lifecycle.blocked_keys.types import BlockSource

SORTS = {"created_at": t.c.created_at}
STAMP = "blocked_keys"
_MOST_IN_MEMORY = 200_000
"""Digests; about 25 MB. A longer list is asked row by row."""


class BlockedKeyService:
    """Owns ``blocked_keys``; issuance asks memory (topic ``blocked_keys``). Safe for threads."""

    def __init__(self) -> None:
        self._digests: Remembered[frozenset[str] | None] = Remembered(STAMP, _all_or_none)

    def drop_cache(self) -> None:
        """Trust what is in memory only after a look at the stamp (topic ``blocked_keys``)."""
        self._digests.doubt()

    def is_blocked(self, uow: Uow, spki_sha256: str) -> bool:
        """Whether a public key must not be certified (02 PROF-3)."""
        digests = self._digests.get(uow)
        if digests is not None:
            return spki_sha256 in digests
        found = uow.scalar(sa.select(t.c.spki_sha256).where(t.c.spki_sha256 == spki_sha256))
        return found is not None

    def page(self, uow: Uow, query: BlockedKeyQuery) -> Page[BlockedKeyView]:
        """A page of the list."""
        statement = sa.select(t)
        if query.source is not None:
            statement = statement.where(t.c.source == query.source)
        if query.q:
            statement = statement.where(
                t.c.spki_sha256.startswith(query.q.strip().lower(), autoescape=True)
            )
        return paginate(
            uow, statement, query=query, sorts=SORTS, id_column=t.c.spki_sha256, view=_view
        )

    def get(self, uow: Uow, spki_sha256: str) -> BlockedKeyView:
        """One entry.

        Raises:
            BlockedKeyNotFound: The key is not blocked.
        """
        row = uow.first(sa.select(t).where(t.c.spki_sha256 == spki_sha256.lower()))
        if row is None:
            raise BlockedKeyNotFound(digest=spki_sha256)
        return _view(row)

    def block(self, uow: Uow, body: BlockKey) -> BlockedKeyView:
        """Put a key on the list by hand; emits ``key.blocked``.

        Raises:
            NoKeyGiven: The body does not say which key.
            KeyBlockedAlready: It is on the list.
        """
        digest = digest_of(
            digest=body.spki_sha256,
            certificate=body.certificate_pem,
            csr=body.csr_pem,
            public_key=body.public_key_pem,
        )
        row = self._add(uow, digest, BlockSource.OPERATOR, note=body.note)
        if row is None:
            raise KeyBlockedAlready(digest=digest)
        return _view(row)

    def block_compromised(self, uow: Uow, spki_sha256: str, *, certificate_id: str) -> None:
        """Put the key of a certificate that is revoked for keyCompromise on the list."""
        self._add(uow, spki_sha256, BlockSource.REVOCATION, certificate_id=certificate_id)

    def unblock(self, uow: Uow, spki_sha256: str) -> None:
        """Take a key off the list; emits ``key.unblocked``.

        Raises:
            BlockedKeyNotFound: The key is not blocked.
        """
        view = self.get(uow, spki_sha256)
        uow.execute(sa.delete(t).where(t.c.spki_sha256 == view.spki_sha256))
        uow.emit(KeyUnblocked(resource_id=view.spki_sha256, source=view.source.value))
        self._changed(uow)

    def _add(
        self,
        uow: Uow,
        digest: str,
        source: BlockSource,
        *,
        certificate_id: str | None = None,
        note: str = "",
    ) -> Row[Any] | None:
        row = uow.first(
            uow.insert(t)
            .values(
                spki_sha256=digest,
                source=source,
                certificate_id=certificate_id,
                note=note,
                created_by=uow.actor.id,
                created_at=uow.now,
            )
            .on_conflict_do_nothing()
            .returning(t)
        )
        if row is not None:
            uow.emit(
                KeyBlocked(
                    resource_id=digest, source=source, certificate_id=certificate_id, note=note
                )
            )
            self._changed(uow)
        return row

    def _changed(self, uow: Uow) -> None:
        uow.touch(STAMP)
        uow.wake(STAMP)
        uow.after_commit(self.drop_cache)


def _all_or_none(uow: Uow) -> frozenset[str] | None:
    """The whole list, where it is not too long for memory."""
    rows = uow.execute(sa.select(t.c.spki_sha256).limit(_MOST_IN_MEMORY + 1)).scalars().all()
    return frozenset(rows) if len(rows) <= _MOST_IN_MEMORY else None


def _view(row: Row[Any]) -> BlockedKeyView:
    return BlockedKeyView.model_validate(row, from_attributes=True)
