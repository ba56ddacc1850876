"""Loop bodies of the job engine, for the scheduler."""

from __future__ import annotations

from collections.abc import Callable

from certctl_core.kernel.actors import system_actor
from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.kernel.jobs.service import JobService
from certctl_core.kernel.jobs.sweeps import BATCH

_MAX_BATCHES = 200


def retry_due(service: JobService, units: UnitOfWorkFactory) -> int:
    """Loop ``job_retry``: make failed jobs due again; returns how many."""
    return _repeat(units, "scheduler:job_retry", service.retry_due)


def reap(service: JobService, units: UnitOfWorkFactory) -> int:
    """Loop ``job_timeout``: lost leases and overdue waits; returns how many jobs changed."""
    return _repeat(units, "system-reaper", service.reap)


def _repeat(units: UnitOfWorkFactory, actor: str, sweep: Callable[[Uow], int]) -> int:
    total = 0
    for _ in range(_MAX_BATCHES):
        with units.begin(system_actor(actor)) as uow:
            changed = sweep(uow)
        total += changed
        if changed < BATCH:
            break
    return total
