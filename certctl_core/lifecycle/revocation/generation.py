"""Making CRLs inside one unit of work: the complete list, its partitions, its delta.

A list is made from the one before wherever possible: its entries stay as they are, new ones follow,
and what is left is a hash and a signature. Only when an entry has to go are they read anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError

from certctl_core.kernel.db import Uow
from certctl_core.kernel.errors import CertctlError
from certctl_core.lifecycle.authorities import AuthorityKey
from certctl_core.lifecycle.revocation import _crl_rows as rows
from certctl_core.lifecycle.revocation import _crl_store as store
from certctl_core.lifecycle.revocation._crl_store import Body, NewEntry, State
from certctl_core.lifecycle.revocation._tables import crl_generation_events
from certctl_core.lifecycle.revocation.types import (
    COMPLETE,
    DELTA,
    CRLContent,
    CRLSettings,
    Partition,
    StoredCRL,
    Trigger,
)
from certctl_core.pki.crl import (
    delta_indicator,
    freshest_crl,
    issuing_distribution_point,
    sign_crl,
)

_log = structlog.get_logger("certctl.crl")
_SMALL = 64 * 1024
_PATIENT = 50_000
"""Lists above this drop what has expired with the clock's ticks, not after each revocation."""

Wanted = Callable[[str, State | None], bool]
Reader = Callable[[Uow, str, State], StoredCRL | None]


def published_urls(key: AuthorityKey, part: str) -> tuple[str, ...]:
    """Where a part of a CA key's revocation data lies; empty without a base address."""
    ending = f"/crl/{key.issuer_id}/{key.ca_key_id}"
    return tuple(url + (f"/{part}" if part else "") for url in key.urls.crl if url.endswith(ending))


def etag_of(content: CRLContent) -> str:
    """A strong entity tag."""
    digest = hashlib.sha256()
    for piece in content.pieces:
        digest.update(piece)
    return f'"{digest.hexdigest()}"'


@dataclass(slots=True, kw_only=True)
class Generation:
    """One turn of making lists for a CA key.

    Attributes:
        read: Gives the stored list of a part, verified, or None.
        made: What was made, by part.
    """

    uow: Uow
    key: AuthorityKey
    settings: CRLSettings
    trigger: Trigger
    started: datetime
    read: Reader
    made: dict[str, StoredCRL] = field(default_factory=dict)
    _new: list[NewEntry] | None = field(default_factory=list)
    _gone: list[str] = field(default_factory=list)

    @property
    def _place(self) -> store.Place:
        return (self.key.issuer_id, self.key.ca_key_id)

    def run(self, wanted: Wanted) -> None:
        """Take up what changed and make every list that is touched by it, or wanted."""
        uow, place = self.uow, self._place
        store.lock(uow, place)
        complete = store.state(uow, place, COMPLETE)
        number = self._next(complete)
        if complete is None or complete.is_dirty:
            self._new = store.take_new(uow, place, number)
            self._gone = store.take_gone(uow, place, number)
        for part in self._parts():
            partition = Partition.parse(part)
            state = complete if part == COMPLETE else store.state(uow, place, part)
            if self._touches(partition) or wanted(part, state):
                if state is None:
                    store.declare(uow, place, part)
                self._make(part, partition, state)
        self._make_delta(wanted)

    def _parts(self) -> list[str]:
        """The complete list and every partition that is or was in use."""
        if not published_urls(self.key, COMPLETE):
            return [COMPLETE]
        known = {part for part in store.parts(self.uow, self._place) if Partition.parse(part)}
        known |= {partition.name for partition in Partition.all(self.settings.partitions)}
        return [COMPLETE, *sorted(known)]

    def _touches(self, partition: Partition | None) -> bool:
        if self._new is None:
            return True
        serials = [*(item.serial for item in self._new), *self._gone]
        return any(partition is None or partition.holds(serial) for serial in serials)

    def _next(self, state: State | None) -> int:
        return max(state.last_number + 1 if state else 1, int(self.uow.now.timestamp()))

    def _make(self, part: str, partition: Partition | None, state: State | None) -> None:
        clock = perf_counter()
        old = None
        if state is not None and self._may_append(partition, state):
            old = self.read(self.uow, part, state)
        urls: tuple[str, ...] = ()
        extra: list[bytes] = []
        if partition is not None:
            published = published_urls(self.key, part)
            urls = tuple(dict.fromkeys((*published, *(state.urls if state else ()))))
            extra.append(issuing_distribution_point(urls))
        if old is not None and state is not None:
            body = self._appended(old, partition, state)
        else:
            previous = state.last_this_update if state else None
            body = store.read_body(self.uow, self._place, partition=partition, previous=previous)
        if part == COMPLETE and self._has_delta(body.count):
            extra.append(freshest_crl(published_urls(self.key, DELTA)))
        self._store(
            part,
            body,
            number=self._next(state),
            extra=extra,
            urls=urls,
            clock=clock,
            old=old,
        )

    def _may_append(self, partition: Partition | None, state: State) -> bool:
        """Whether every entry of the list before stays where it is."""
        if self._new is None or not state.has_row:
            return False
        if any(partition is None or partition.holds(serial) for serial in self._gone):
            return False
        ended, last = state.earliest_end, state.last_this_update
        if ended is None or last is None or ended >= last:
            return True
        return state.revoked_count >= _PATIENT and self.trigger in {Trigger.REVOKE, Trigger.FETCH}

    def _appended(self, old: StoredCRL, partition: Partition | None, state: State) -> Body:
        mine = [
            item for item in self._new or () if partition is None or partition.holds(item.serial)
        ]
        added = b"".join(item.entry for item in mine)
        pieces = list(old.content.body)
        last = pieces.pop() if pieces else b""
        # Many small pieces would be many small hashes and writes.
        pieces += [b"".join((last, added))] if len(last) < _SMALL else [last, added]
        return Body(
            pieces=pieces,
            count=old.revoked_count + len(mine),
            earliest_end=store.earliest((item.end for item in mine), state.earliest_end),
            added=added,
        )

    def _has_delta(self, count: int) -> bool:
        above = self.settings.delta_above
        if not above or not published_urls(self.key, DELTA):
            return False
        return count >= above or DELTA in store.parts(self.uow, self._place)

    def _make_delta(self, wanted: Wanted) -> None:
        """Make the delta to the oldest complete list that is still valid (RFC 5280 §5.2.4)."""
        uow, place = self.uow, self._place
        complete = self.made.get(COMPLETE)
        if complete is None:
            state = store.state(uow, place, DELTA)
            current = store.state(uow, place, COMPLETE)
            if current is None or state is None or not wanted(DELTA, state):
                return
            # The two share their numbers: a delta alone cannot be made anew.
            self._make(COMPLETE, None, current)
            complete = self.made[COMPLETE]
        if not self._has_delta(complete.revoked_count):
            if self._gone:
                store.forget_gone(uow, place, complete.number)
            return
        clock = perf_counter()
        base = store.oldest_valid(uow, place, self.settings.validity) or complete.number
        store.declare(uow, place, DELTA)
        store.forget_gone(uow, place, base)
        self._store(
            DELTA,
            store.read_delta(uow, place, base),
            number=complete.number,
            extra=[delta_indicator(base)],
            urls=(),
            clock=clock,
        )

    def _store(
        self,
        part: str,
        body: Body,
        *,
        number: int,
        extra: Sequence[bytes],
        urls: tuple[str, ...],
        clock: float,
        old: StoredCRL | None = None,
    ) -> None:
        uow, key = self.uow, self.key
        end = min(uow.now + self.settings.validity, key.not_after)
        if end <= uow.now:  # the CA has ended; its lists go on (02 CA-5)
            end = uow.now + self.settings.validity
        signed = sign_crl(
            issuer_cert=key.certificate,
            key=key.key,
            body=body.pieces,
            number=number,
            this_update=uow.now,
            next_update=end,
            extra=extra,
        )
        content = CRLContent(signed.front, signed.body, signed.back)
        splice = None
        kept = sum(map(len, old.content.body)) if old is not None else 0
        if old is not None and old.token and kept:
            splice = rows.Splice(
                token=old.token,
                front=signed.front,
                start=len(old.content.front),
                length=kept,
                back=body.added + signed.back,
            )
        stored = StoredCRL(
            issuer_id=key.issuer_id,
            ca_key_id=key.ca_key_id,
            part=part,
            content=content,
            etag=etag_of(content),
            number=number,
            this_update=uow.now.replace(microsecond=0),
            next_update=end.replace(microsecond=0),
            revoked_count=body.count,
            watermark=store.watermark(uow, self._place, body.count),
        )
        duration = round((perf_counter() - clock) * 1000)
        token = rows.keep(
            uow,
            stored,
            earliest_end=body.earliest_end,
            urls=urls,
            duration_ms=duration,
            splice=splice,
        )
        self.made[part] = stored.with_token(token)
        write_event(
            uow,
            key,
            part=part,
            started=self.started,
            duration_ms=round((perf_counter() - clock) * 1000),
            trigger=self.trigger,
            number=number,
            count=body.count,
        )


def write_event(
    uow: Uow,
    key: AuthorityKey,
    *,
    part: str,
    started: datetime,
    duration_ms: int,
    trigger: Trigger,
    number: int = 0,
    count: int = 0,
    error: str | None = None,
) -> None:
    """Record an attempt; one that cannot be recorded is a warning, the list counts (02 CRL-7)."""
    try:
        with uow.attempt():
            uow.execute(
                sa.insert(crl_generation_events).values(
                    issuer_id=key.issuer_id,
                    ca_key_id=key.ca_key_id,
                    part=part,
                    crl_number=number,
                    duration_ms=duration_ms,
                    revoked_count=count,
                    started_at=started,
                    succeeded=error is None,
                    error=error,
                    trigger=trigger,
                )
            )
    except (CertctlError, DBAPIError) as failure:
        cause = type(failure).__name__
        _log.warning("crl.event_not_written", issuer_id=key.issuer_id, part=part, error=cause)
