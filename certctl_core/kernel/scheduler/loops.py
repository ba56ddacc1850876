"""Loop bodies about replicas, for the scheduler itself."""

from __future__ import annotations

from datetime import timedelta

from certctl_core.kernel.jobs import JobService, LostReason
from certctl_core.kernel.scheduler.service import SchedulerService
from certctl_core.kernel.scheduler.workflow import LoopContext

_REMEMBERED = timedelta(hours=24)


def return_jobs_of_dead_replicas(
    context: LoopContext, *, scheduler: SchedulerService, jobs: JobService
) -> int:
    """Give the running jobs of dead replicas back at once, before their leases end.

    Part of the loop ``job_timeout`` (spec 08 JOB-2). Returns the number of jobs.
    """
    with context.units.read(context.actor) as uow:
        dead = scheduler.dead_replicas(uow)
    returned = 0
    for replica_id in dead:
        with context.units.begin(context.actor) as uow:
            returned += jobs.expire_holder(uow, holder=replica_id, reason=LostReason.HOLDER_DEAD)
    if dead:
        with context.units.begin(context.actor) as uow:
            scheduler.forget_dead(uow, after=_REMEMBERED)
    return returned
