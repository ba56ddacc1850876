"""Loop bodies: sending what is due, and removing what is old."""

from __future__ import annotations

from datetime import timedelta

from certctl_core.insight.notifications.delivery import DeliveryWorker
from certctl_core.insight.notifications.inbox import NotificationService
from certctl_core.kernel.actors import system_actor
from certctl_core.kernel.db import UnitOfWorkFactory

_ACTOR = system_actor("scheduler:notification_retention")


def deliver(worker: DeliveryWorker, *, wait: timedelta = timedelta()) -> int:
    """Send what is due; every replica runs it, claims keep them apart (06 NTF-4).

    Args:
        worker: The worker of this process.
        wait: Zero leaves the work to the lanes, so that a stuck notifier holds up no later run.

    Returns:
        How many deliveries were settled since the last run.
    """
    return worker.run(wait=wait)


def purge(units: UnitOfWorkFactory, service: NotificationService, *, older_than: timedelta) -> int:
    """Remove notifications past their retention, and cancel deliveries without a notifier.

    Returns:
        How many notifications went.
    """
    gone = 0
    while True:
        with units.begin(_ACTOR) as uow:
            batch = service.purge(uow, older_than=older_than)
        gone += batch
        if not batch:
            break
    with units.begin(_ACTOR) as uow:
        service.cancel_orphans(uow)
    return gone
