"""What an issuance asks about an issuer, kept in memory."""

from __future__ import annotations

from datetime import timedelta

from certctl_core.contracts.host.registry import Kinds
from certctl_core.contracts.issuers import Cap, Issuer
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.db import UnitOfWorkFactory
from certctl_core.lifecycle.configured import RECHECK
from certctl_core.lifecycle.issuers import _store
from certctl_core.lifecycle.issuers._store import IssuerRow
from certctl_core.lifecycle.issuers.types import IssuerHealth
from certctl_core.values import dataclass

DEFAULT_VALIDITY = timedelta(days=90)
UNLIMITED_VALIDITY = timedelta(days=3650)
"""For issuers that fix the lifetime themselves: ours must not refuse what they decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerFacts:
    """What an issuance needs to know about an issuer.

    Attributes:
        default_validity: The lifetime of its certificates where no profile says otherwise.
        health: As last recorded.
    """

    id: str
    name: str
    kind: str
    enabled: bool
    version: int
    default_validity: timedelta
    health: IssuerHealth


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    facts: IssuerFacts
    generation: int
    checked: float


class FactsCache:
    """Facts by issuer id, read again after a wake-up and at most 5 seconds later. For threads."""

    def __init__(
        self, *, units: UnitOfWorkFactory, clock: Clock, kinds: Kinds[type[Issuer]]
    ) -> None:
        self._units = units
        self._clock = clock
        self._kinds = kinds
        self._known: dict[str, _Known] = {}
        self._generation = 0

    def look_again(self) -> None:
        """Read every row again before its next use."""
        self._generation += 1

    def peek(self, issuer_id: str) -> IssuerFacts | None:
        """What is in memory, however old."""
        known = self._known.get(issuer_id)
        return None if known is None else known.facts

    def find(self, issuer_id: str) -> IssuerFacts | None:
        """The facts of an issuer; None if there is none."""
        known = self._known.get(issuer_id)
        now = self._clock.monotonic()
        if (
            known is not None
            and known.generation == self._generation
            and now - known.checked < RECHECK.total_seconds()
        ):
            return known.facts
        generation = self._generation
        with self._units.read() as uow:
            row = _store.find(uow, issuer_id)
        if row is None:
            self._known.pop(issuer_id, None)
            return None
        facts = self.of(row)
        self._known[issuer_id] = _Known(facts=facts, generation=generation, checked=now)
        return facts

    def of(self, row: IssuerRow) -> IssuerFacts:
        """The facts that a row states."""
        entry = self._kinds.get(row.kind)
        days = row.config.get("validity_days")
        if entry is not None and Cap.TTL not in entry.plugin.capabilities:
            validity = UNLIMITED_VALIDITY
        else:
            validity = timedelta(days=days) if isinstance(days, int) else DEFAULT_VALIDITY
        return IssuerFacts(
            id=row.id,
            name=row.name,
            kind=row.kind,
            enabled=row.enabled,
            version=row.version,
            default_validity=validity,
            health=row.health,
        )
