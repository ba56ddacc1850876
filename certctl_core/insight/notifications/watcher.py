"""What running notifiers report about themselves, written down when it changes.

Called between units of work, by the instances and their guards; each note is a transaction.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from certctl_core.contracts.host.guard import CallRecord, Outcome
from certctl_core.insight.notifications import _store
from certctl_core.insight.notifications._store import NotifierRow
from certctl_core.insight.notifications.rules import health_after
from certctl_core.insight.notifications.types import NotifierHealth, NotifierState
from certctl_core.kernel.db import UnitOfWorkFactory

_log = structlog.get_logger("certctl.notifications")


class Watcher:
    """Keeps ``state`` and ``health`` of the rows true.

    Args:
        units: Opens the transactions.
        known: The health that is recorded, by notifier id; None where that is not in memory.
    """

    def __init__(
        self, *, units: UnitOfWorkFactory, known: Callable[[str], NotifierHealth | None]
    ) -> None:
        self._units = units
        self._known = known

    def cannot_start(self, row: NotifierRow, reason: str) -> None:
        """A stored notifier could not be built: it is unavailable and says why."""
        _log.warning("notifier.unavailable", notifier_id=row.id, kind=row.kind, reason=reason)
        if row.enabled and (row.state, row.state_reason) != (NotifierState.UNAVAILABLE, reason):
            self._note(row.id, state=NotifierState.UNAVAILABLE, state_reason=reason)

    def started(self, row: NotifierRow) -> None:
        """A stored notifier runs."""
        if row.state is NotifierState.UNAVAILABLE:
            self._note(row.id, state=NotifierState.READY, state_reason="")

    def called(self, record: CallRecord) -> None:
        """A call ended; its outcome may change the health."""
        known = self._known(record.instance_id)
        if known is None or record.outcome is Outcome.REFUSED:
            return
        health = health_after(record.what, record.error_class)
        if health is not None and health is not known:
            self._note(record.instance_id, health=health)

    def _note(self, notifier_id: str, **values: object) -> None:
        with self._units.begin() as uow:
            if _store.note(uow, notifier_id, **values):
                uow.touch("notifiers")
                uow.wake("routes")
