"""What running issuers report about themselves, written down when it changes.

Called between units of work, by the instances and their guards; each note is a transaction.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from certctl_core.contracts.host.guard import CallRecord, Outcome
from certctl_core.kernel.db import UnitOfWorkFactory
from certctl_core.lifecycle.issuers import _store
from certctl_core.lifecycle.issuers._store import COLLECTION, IssuerRow
from certctl_core.lifecycle.issuers.facts import FactsCache
from certctl_core.lifecycle.issuers.rules import health_after
from certctl_core.lifecycle.issuers.types import IssuerState

_log = structlog.get_logger("certctl.issuers")


class Watcher:
    """Keeps ``state`` and ``health`` of the rows true.

    Args:
        units: Opens the transactions.
        facts: Knows the health that is recorded.
        on_call: Told about every call as well (metrics).
    """

    def __init__(
        self,
        *,
        units: UnitOfWorkFactory,
        facts: FactsCache,
        on_call: Callable[[CallRecord], None] | None,
    ) -> None:
        self._units = units
        self._facts = facts
        self._on_call = on_call

    def cannot_start(self, row: IssuerRow, reason: str) -> None:
        """A stored issuer could not be built: it is unavailable and says why."""
        _log.warning("issuer.unavailable", issuer_id=row.id, kind=row.kind, reason=reason)
        if row.enabled and (row.state, row.state_reason) != (IssuerState.UNAVAILABLE, reason):
            self._note(row.id, state=IssuerState.UNAVAILABLE, state_reason=reason)

    def started(self, row: IssuerRow) -> None:
        """A stored issuer runs."""
        if row.state is IssuerState.UNAVAILABLE:
            self._note(row.id, state=IssuerState.READY, state_reason="")

    def called(self, record: CallRecord) -> None:
        """A call ended; its outcome may change the health (06 ISS-5)."""
        if self._on_call is not None:
            self._on_call(record)
        facts = self._facts.peek(record.instance_id)
        if facts is None or record.outcome is Outcome.REFUSED:
            return
        health = health_after(record.what, record.error_class)
        if health is not None and health is not facts.health:
            self._note(record.instance_id, health=health)

    def _note(self, issuer_id: str, **values: object) -> None:
        with self._units.begin() as uow:
            if _store.note(uow, issuer_id, **values):
                uow.touch(COLLECTION)
                uow.wake("issuers")
