"""CRLs: made by ``generation``, kept in rows, verified before they are served."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from time import perf_counter

import structlog

from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.observability import Merge, gauge
from certctl_core.lifecycle.authorities import AuthorityKey, AuthorityService
from certctl_core.lifecycle.revocation import _crl_rows as rows
from certctl_core.lifecycle.revocation import _crl_store as store
from certctl_core.lifecycle.revocation._crl_store import State
from certctl_core.lifecycle.revocation.errors import (
    CRLSigningForbidden,
    CRLUnavailable,
    PKIIssuerNotFound,
)
from certctl_core.lifecycle.revocation.exporting import CRLExporter
from certctl_core.lifecycle.revocation.generation import (
    Generation,
    Wanted,
    etag_of,
    published_urls,
    write_event,
)
from certctl_core.lifecycle.revocation.types import (
    COMPLETE,
    DELTA,
    CRLContent,
    CRLSettings,
    Partition,
    StoredCRL,
    Trigger,
)
from certctl_core.pki.crl import CRLInfo, entries_span, verify_crl
from certctl_core.pki.errors import PKIError
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.crl")
_KEEP_EVENTS = 1000
_AFTER_FAILURE = timedelta(seconds=5)

_NEXT_UPDATE = gauge(
    "certctl_crl_next_update_timestamp_seconds",
    "When the CRL of a CA key has to be replaced, as a Unix time.",
    ("issuer_id", "ca_key_id"),
    merge=Merge.MAX,
)
_ENTRIES = gauge(
    "certctl_crl_entries",
    "Entries of the CRL of a CA key.",
    ("issuer_id", "ca_key_id"),
    merge=Merge.LATEST,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Memory:
    """What this process answers with until ``until``, unless it hears of a change before.

    Attributes:
        epoch: Of the service when it was found to hold.
    """

    epoch: int
    until: datetime
    crl: StoredCRL


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rejected:
    """A stored list that is no use, why, and the token of its row."""

    reason: str
    token: str


def _held(found: StoredCRL | _Rejected | None) -> StoredCRL | None:
    return found if isinstance(found, StoredCRL) else None


def _one_of(parts: set[str]) -> Wanted:
    return lambda part, _state: part in parts


class CRLService:
    """The CRL of every CA key, with memory that never outlives the truth (02 CRL-1 … CRL-8).

    Args:
        units: Opens the transactions of a generation.
        authorities: The CA keys.
        settings: What lists are made like.
    """

    def __init__(
        self,
        *,
        units: UnitOfWorkFactory,
        authorities: AuthorityService,
        settings: CRLSettings | None = None,
    ) -> None:
        self.settings = settings or CRLSettings()
        self._units = units
        self._authorities = authorities
        self._exporter = CRLExporter(self.settings.export_dir)
        self._memory: dict[tuple[str, str, str], _Memory] = {}
        self._failures: dict[tuple[str, str, str], tuple[datetime, CertctlError]] = {}
        self._epoch = 0
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._guard = threading.Lock()
        self.on_generated: Callable[[str, bool], None] = lambda _issuer_id, _ok: None

    def forget(self) -> None:
        """Look at the rows again before the next answer (topic ``pki``)."""
        self._epoch += 1

    # -- serving ------------------------------------------------------------------------------

    def current(
        self, key: AuthorityKey, part: str = COMPLETE, *, trust_memory: bool = True
    ) -> StoredCRL:
        """The CRL to serve now: from memory, else from the row if it holds, else made now.

        Args:
            key: The CA key.
            part: Empty for the complete list, ``delta``, or the name of a partition.
            trust_memory: False when this process cannot confirm that its memory is current.

        Raises:
            PKIIssuerNotFound: There is no such part of this CA key.
            CRLSigningForbidden: The CA's key usage has no cRLSign.
            CRLUnavailable: It cannot be made and no valid older one exists.
        """
        place = (key.issuer_id, key.ca_key_id, part)
        found = self._remembered(place, trust_memory=trust_memory)
        if found is not None:
            return found
        with self._lock(key):
            found = self._remembered(place, trust_memory=trust_memory)
            if found is not None:
                return found
            # A change that is announced from here on makes what is learned now count for nothing.
            epoch = self._epoch
            try:
                crl, until = self._find_or_make(key, part)
            except (CRLUnavailable, CRLSigningForbidden) as failure:
                # The requests of the next seconds must not fill the events with the same failure.
                self._failures[place] = (self._units.clock.now() + _AFTER_FAILURE, failure)
                raise
            self._memory[place] = _Memory(epoch=epoch, until=until, crl=crl)
            return crl

    def _remembered(self, place: tuple[str, str, str], *, trust_memory: bool) -> StoredCRL | None:
        known, now = self._memory.get(place), self._units.clock.now()
        if known is not None and trust_memory and known.epoch == self._epoch and now < known.until:
            return known.crl
        failed = self._failures.get(place)
        if failed is not None and now < failed[0]:
            raise failed[1]
        return None

    def _find_or_make(self, key: AuthorityKey, part: str) -> tuple[StoredCRL, datetime]:
        if part != COMPLETE and not self._is_published(key, part):
            raise PKIIssuerNotFound
        found, token = self._stored(key, part)
        if found is not None:
            return found, found.next_update

        def wanted(name: str, state: State | None) -> bool:
            if name != part:
                return False
            # Another process may have been faster; the row that was refused here is no use.
            return not self._is_usable(state) or (
                state is not None and token is not None and state.token == token
            )

        try:
            made = self._make(key, Trigger.FETCH, wanted)
            if part in made:
                return made[part], made[part].next_update
            found, _ = self._stored(key, part)
        except CRLSigningForbidden:
            raise
        except CertctlError as error:
            return self._older(key, part, error)
        if found is None:
            return self._older(key, part, None)
        return found, found.next_update

    def _older(
        self, key: AuthorityKey, part: str, error: CertctlError | None
    ) -> tuple[StoredCRL, datetime]:
        """What still holds when no new list can be had (02 CRL-6)."""
        cause = "another process holds it" if error is None else error.detail
        older, _ = self._stored(key, part, any_watermark=True)
        if older is None:
            raise CRLUnavailable(log={"cause": cause}) from error
        _log.error("crl.generation_failed", issuer_id=key.issuer_id, error=cause)
        return older, min(older.next_update, self._units.clock.now() + _AFTER_FAILURE)

    def _is_published(self, key: AuthorityKey, part: str) -> bool:
        """Whether certificates or lists of this CA point at the part, now or from earlier on."""
        partition = Partition.parse(part)
        if not published_urls(key, part):
            return False
        if partition is not None and partition.count == self.settings.partitions:
            return True
        if part == DELTA and not self.settings.delta_above:
            return False
        if part != DELTA and partition is None:
            return False
        with self._units.read() as uow:
            return part in store.parts(uow, (key.issuer_id, key.ca_key_id))

    # -- the row ------------------------------------------------------------------------------

    def parts_in_force(self, uow: Uow, key: AuthorityKey) -> set[str]:
        """The parts of a CA key's revocation data whose stored list is the one to serve now."""
        states = store.states(uow, (key.issuer_id, key.ca_key_id))
        return {part for part, state in states.items() if self._is_usable(state)}

    def _is_usable(self, state: State | None) -> bool:
        return (
            state is not None
            and state.is_current
            and state.next_update is not None
            and state.next_update > self._units.clock.now()
        )

    def _stored(
        self, key: AuthorityKey, part: str, *, any_watermark: bool = False
    ) -> tuple[StoredCRL | None, str | None]:
        """The stored CRL, if it passes every check of CRL-5; a rejected one leaves an event.

        Returns:
            The list or None, and the token of a row that was rejected.
        """
        with self._units.read() as uow:
            state = store.state(uow, (key.issuer_id, key.ca_key_id), part)
            if state is None or not (state.is_current or any_watermark):
                return None, None
            found = self._read(uow, key, part, state)
        if isinstance(found, _Rejected):
            self._record_failure(
                key,
                part,
                self._units.clock.now(),
                0,
                Trigger.FETCH,
                error=f"cached CRL rejected: {found.reason}",
            )
            return None, found.token
        return found, None

    def _read(
        self, uow: Uow, key: AuthorityKey, part: str, state: State
    ) -> StoredCRL | _Rejected | None:
        place = (key.issuer_id, key.ca_key_id, part)
        known = self._memory[place].crl if place in self._memory else None
        now = self._units.clock.now()
        if (
            known is not None
            and known.token
            and (known.token, known.number) == (state.token, state.last_number)
            and known.next_update > now
        ):
            return known
        if known is not None and known.token:
            # It is not in force any more, and two large lists need not be in memory at a time.
            self._memory.pop(place, None)
            known = None
        row = rows.read_row(uow, (key.issuer_id, key.ca_key_id), part)
        if row is None:
            return None
        if known is not None and not row.token and known.der == row.der and known.next_update > now:
            return known
        info = self._verified(row.der, row.number, key)
        if isinstance(info, str):
            return _Rejected(reason=info, token=row.token)
        content = CRLContent.of(row.der, *entries_span(row.der))
        return StoredCRL(
            issuer_id=key.issuer_id,
            ca_key_id=key.ca_key_id,
            part=part,
            content=content,
            etag=etag_of(content),
            number=info.number,
            this_update=info.this_update,
            next_update=info.next_update,
            revoked_count=row.revoked_count,
            watermark=row.watermark,
            token=row.token,
        )

    def _verified(self, der: bytes, number: int, key: AuthorityKey) -> CRLInfo | str:
        """The frame of a stored CRL that passes every check of CRL-5, or what is wrong with it."""
        try:
            info = verify_crl(der, key.certificate)
        except PKIError as error:
            return str(error)
        if info.next_update <= self._units.clock.now():
            return "it is past nextUpdate"
        if info.number != number:
            return "its number is not the one of its row"
        return info

    # -- making -------------------------------------------------------------------------------

    def generate(self, key: AuthorityKey, *, trigger: Trigger) -> StoredCRL:
        """Make and store every list of a CA key; returns the complete one.

        Each list leaves a generation event, and so does a failure.

        Raises:
            CRLSigningForbidden: The CA's key usage has no cRLSign.
            CRLUnavailable: It failed.
        """
        with self._lock(key):
            return self._make(key, trigger, lambda _part, _state: True)[COMPLETE]

    def refresh(self, *, trigger: Trigger, margin: timedelta) -> int:
        """Make every list that is missing, outdated, bad or ends within ``margin``.

        One failing CA key does not stop the others (02 CRL-4). Returns for how many keys.
        """

        def due(key: AuthorityKey) -> set[str]:
            with self._units.read() as uow:
                parts = self._parts(uow, key)
            return {part for part in parts if ends_soon(*self._stored(key, part))}

        def ends_soon(stored: StoredCRL | None, _rejected: str | None) -> bool:
            return stored is None or stored.next_update - self._units.clock.now() <= margin

        return self._for_each(trigger, due)

    def refresh_changed(self, *, at_start: bool = False) -> int:
        """Make the lists that a revocation has outdated, or whose row is gone (02 CRL-4).

        Costs one query for each CA key where nothing changed. Returns for how many keys it made
        lists.
        """

        def changed(key: AuthorityKey) -> set[str]:
            with self._units.read() as uow:
                return {COMPLETE} if store.is_dirty(uow, (key.issuer_id, key.ca_key_id)) else set()

        def missing(key: AuthorityKey) -> set[str]:
            with self._units.read() as uow:
                state = store.state(uow, (key.issuer_id, key.ca_key_id), COMPLETE)
            return set() if self._is_usable(state) else {COMPLETE}

        made = self._for_each(Trigger.REVOKE, changed)
        return made + self._for_each(Trigger.START if at_start else Trigger.TICK, missing)

    def _for_each(self, trigger: Trigger, due: Callable[[AuthorityKey], set[str]]) -> int:
        made = 0
        for key in self._authorities.authority_keys():
            if key.private_key is None or not key.may_sign_crls:
                continue
            try:
                parts = due(key)
                if parts:
                    with self._lock(key):
                        self._make(key, trigger, _one_of(parts))
                    made += 1
            except CertctlError as error:
                _log.error("crl.refresh_failed", issuer_id=key.issuer_id, code=error.code)
        return made

    def _parts(self, uow: Uow, key: AuthorityKey) -> list[str]:
        if not published_urls(key, COMPLETE):
            return [COMPLETE]
        known = set(store.parts(uow, (key.issuer_id, key.ca_key_id)))
        known |= {partition.name for partition in Partition.all(self.settings.partitions)}
        if not self.settings.delta_above:
            known.discard(DELTA)
        return [COMPLETE, *sorted(known - {COMPLETE})]

    def _make(self, key: AuthorityKey, trigger: Trigger, wanted: Wanted) -> dict[str, StoredCRL]:
        started, clock = self._units.clock.now(), perf_counter()
        epoch = self._epoch
        try:
            if not key.may_sign_crls:
                raise CRLSigningForbidden
            with self._units.begin() as uow:
                turn = Generation(
                    uow=uow,
                    key=key,
                    settings=self.settings,
                    trigger=trigger,
                    started=started,
                    read=lambda uow, part, state: _held(self._read(uow, key, part, state)),
                )
                turn.run(wanted)
                if turn.made:
                    uow.wake("crl")
        except (CertctlError, PKIError) as error:
            self.on_generated(key.issuer_id, False)  # noqa: FBT003 - a callback of two words
            taken = round((perf_counter() - clock) * 1000)
            self._record_failure(key, COMPLETE, started, taken, trigger, error=str(error))
            if isinstance(error, CertctlError):
                raise
            raise CRLUnavailable(log={"cause": str(error)}) from error
        for part, crl in turn.made.items():
            self._exporter.write(crl)
            self._memory[key.issuer_id, key.ca_key_id, part] = _Memory(
                epoch=epoch, until=crl.next_update, crl=crl
            )
        complete = turn.made.get(COMPLETE)
        if complete is not None:
            _NEXT_UPDATE.labels(key.issuer_id, key.ca_key_id).set(complete.next_update.timestamp())
            _ENTRIES.labels(key.issuer_id, key.ca_key_id).set(complete.revoked_count)
        if turn.made:
            self.on_generated(key.issuer_id, True)  # noqa: FBT003 - a callback of two words
        return turn.made

    # -- events -------------------------------------------------------------------------------

    def prune_events(self) -> None:
        """Keep the newest 1000 events an issuer, and none past the retention."""
        with self._units.begin() as uow:
            rows.prune_events(uow, keep_for=self.settings.keep_events, keep_newest=_KEEP_EVENTS)

    def _record_failure(
        self,
        key: AuthorityKey,
        part: str,
        started: datetime,
        duration_ms: int,
        trigger: Trigger,
        *,
        error: str,
    ) -> None:
        try:
            with self._units.begin() as uow:
                write_event(
                    uow,
                    key,
                    part=part,
                    started=started,
                    duration_ms=duration_ms,
                    trigger=trigger,
                    error=error[:2000],
                )
        except CertctlError as failure:
            # A generation never fails because its event cannot be written (CRL-7).
            _log.warning("crl.event_not_written", issuer_id=key.issuer_id, code=failure.code)

    def _lock(self, key: AuthorityKey) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault((key.issuer_id, key.ca_key_id), threading.Lock())
