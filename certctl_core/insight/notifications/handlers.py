"""Subscribes the outbox to the event stream."""

from __future__ import annotations

from certctl_core.insight.notifications.outbox import Outbox
from certctl_core.kernel.db import Uow
from certctl_core.kernel.events import Bus


def register(bus: Bus[Uow], outbox: Outbox) -> None:
    """From now on every commit stores the notifications that its events ask for.

    Register it after the audit log: a notification is never without its audit event.
    """
    bus.at_commit(outbox.record)
