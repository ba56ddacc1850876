"""What a job type brings along: its payload model, its handler and how failures are retried."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import timedelta
from typing import Any, Generic, TypeVar

import structlog
from pydantic import BaseModel

from certctl_core.kernel.actors import Actor, system_actor
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.kernel.events import JSON
from certctl_core.kernel.jobs._changes import FinalFailure
from certctl_core.kernel.jobs.rules import RetryPolicy
from certctl_core.kernel.jobs.service import JobService
from certctl_core.kernel.jobs.types import Job, JobStatus
from certctl_core.values import dataclass

Payload = TypeVar("Payload", bound=BaseModel)
_log = structlog.get_logger("certctl.jobs")


class NoPayload(BaseModel):
    """For kinds that need nothing but the job's own columns."""


@dataclass(slots=True, kw_only=True)
class JobContext(Generic[Payload]):
    """What a handler is given. It runs in a worker thread, outside any transaction.

    Attributes:
        job: The claimed job.
        payload: Its payload, validated.
        units: Opens units of work; pass ``actor=ctx.actor, request_id=ctx.job.request_id``.
        clock: The time.
    """

    job: Job
    payload: Payload
    units: UnitOfWorkFactory
    clock: Clock
    jobs: JobService
    _lost: threading.Event = field(default_factory=threading.Event)
    _settled: threading.Event = field(default_factory=threading.Event)

    @property
    def actor(self) -> Actor:
        """The system actor on whose behalf a handler works."""
        return system_actor("job-runner")

    @property
    def log(self) -> Any:
        """A logger bound to the job."""
        return _log.bind(job_id=self.job.id, job_type=self.job.type, attempt=self.job.attempts)

    @property
    def lease_id(self) -> str:
        """Proof of the claim."""
        return self.job.lease_id or ""

    @property
    def is_lost(self) -> bool:
        """Whether to stop: the job was cancelled, timed out or given to somebody else."""
        return self._lost.is_set()

    @property
    def is_settled(self) -> bool:
        """Whether :meth:`complete` or :meth:`park` was committed."""
        return self._settled.is_set()

    def mark_lost(self) -> None:
        """Tell the handler to stop (the runner calls it)."""
        self._lost.set()

    def report(self, uow: Uow, result: Mapping[str, JSON]) -> None:
        """Store what was reached so far in the handler's own transaction.

        A later attempt finds it in :meth:`reported`.

        Raises:
            JobLeaseLost: Somebody else has the job now; let it roll the transaction back.
        """
        self.jobs.report(uow, self.job.id, self.lease_id, result)

    def reported(self) -> Mapping[str, JSON]:
        """What an earlier attempt has stored; empty where there was none."""
        if self.job.attempts <= 1:
            return {}
        with self.units.read(self.actor, request_id=self.job.request_id) as uow:
            return self.jobs.get(uow, self.job.id).result or {}

    def complete(self, uow: Uow, result: Mapping[str, JSON] | None = None) -> None:
        """Complete the job in the handler's own transaction, together with what it stores.

        Raises:
            JobLeaseLost: Somebody else has the job now; let it roll the transaction back.
        """
        self.jobs.complete(uow, self.job.id, self.lease_id, result)
        uow.after_commit(self._settled.set)

    def park(
        self, uow: Uow, status: JobStatus, *, order_id: str | None = None, owner: str | None = None
    ) -> None:
        """Leave the job in ``AwaitingCSR`` or ``AwaitingIssuer``; somebody else takes it on.

        Raises:
            JobLeaseLost, JobWrongState: As of ``JobService.transition``.
        """
        self.jobs.transition(
            uow,
            self.job.id,
            status,
            from_=(JobStatus.RUNNING,),
            lease_id=self.lease_id,
            order_id=order_id,
            owner=owner,
        )
        uow.after_commit(self._settled.set)


Handler = Callable[[JobContext[Any]], Mapping[str, JSON] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """One job type that the server runs.

    Attributes:
        type: As in ``enqueue``.
        handler: Does the work and returns a result (plain JSON) or None; raises a typed error.
        payload: The model that the stored payload must satisfy; else the job fails for good.
        timeout: After this the attempt counts as failed and its late result is refused.
        retry: Waits between attempts; None takes the service's.
        on_final_failure: Called in the transaction of the last failure.
    """

    type: str
    handler: Handler
    payload: builtins.type[BaseModel] = NoPayload
    timeout: timedelta = timedelta(minutes=5)
    retry: RetryPolicy | None = None
    on_final_failure: FinalFailure | None = None
