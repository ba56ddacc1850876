"""The work of agents: which jobs wait for one, and what it needs to know about them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from certctl_core.fleet.deployments.errors import NoKeyOffered
from certctl_core.fleet.deployments.rules import key_algorithm
from certctl_core.fleet.deployments.schemas import (
    KeySpecView,
    NameView,
    WorkItemView,
    WorkOptionsView,
    WorkTargetView,
)
from certctl_core.fleet.deployments.types import CSR_JOBS, DEPLOYMENT, TARGET_JOBS
from certctl_core.fleet.targets import TargetService
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.db import ChangeFeed, Uow
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.jobs import Job, JobQuery, JobService, JobStatus
from certctl_core.lifecycle.certificates import CertificateService, parse_names
from certctl_core.lifecycle.profiles import ProfileService
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.agents")
_PEM_END = "-----END CERTIFICATE-----\n"
_REMEMBERED = timedelta(minutes=10)
_MAX_IDLE = 100_000


@dataclass(frozen=True, slots=True)
class _Idle:
    generation: int
    until: datetime


class IdleAgents:
    """Which agents had nothing to do, and since when nothing has changed (DESIGN §7, §8).

    Any job that becomes due anywhere, and any work for an agent, moves the generation; a poll of an
    agent that is remembered under the present one is answered without a query.

    Args:
        clock: The time.
        feed: The change feed; topics ``jobs`` and ``agents``. Without one nothing is remembered.
    """

    def __init__(self, *, clock: Clock, feed: ChangeFeed | None) -> None:
        self._clock = clock
        self._feed = feed
        self._generation = 0
        self._idle: dict[str, _Idle] = {}
        if feed is not None:
            feed.subscribe("jobs", self.look_again)
            feed.subscribe("agents", self.look_again)

    @property
    def generation(self) -> int:
        """Moves whenever work may have appeared; read it before looking."""
        return self._generation

    def look_again(self) -> None:
        """Trust nothing that was remembered so far."""
        self._generation += 1

    def knows(self, agent_id: str) -> bool:
        """Whether the agent surely has nothing to do now."""
        # First: on SQLite this is what notices commits of other processes.
        if self._feed is None or not self._feed.is_fresh():
            return False
        idle = self._idle.get(agent_id)
        return (
            idle is not None
            and idle.generation == self._generation
            and self._clock.now() < idle.until
        )

    def remember(self, agent_id: str, generation: int, due: datetime | None) -> None:
        """Note that the agent had nothing to do, under the generation read before looking."""
        until = self._clock.now() + _REMEMBERED
        if len(self._idle) >= _MAX_IDLE:
            self._idle = {}
        self._idle[agent_id] = _Idle(generation, until if due is None else min(until, due))


class WorkDesk:
    """Hands work to agents.

    Args:
        jobs: Claims and leases.
        targets: The configurations.
        certificates: Names and versions.
        profiles: Which keys.
        lease: How long handed-out work stays with its agent.
    """

    def __init__(
        self,
        *,
        jobs: JobService,
        targets: TargetService,
        certificates: CertificateService,
        profiles: ProfileService,
        lease: timedelta,
    ) -> None:
        self._jobs = jobs
        self._targets = targets
        self._certificates = certificates
        self._profiles = profiles
        self._lease = lease

    def next_due(self, uow: Uow, agent_id: str) -> datetime | None:
        """When the agent's next work is due (in the past: now), or None."""
        pending = self._jobs.next_due(uow, types=(*CSR_JOBS, *TARGET_JOBS), owner=agent_id)
        waiting = self._jobs.list(
            uow, JobQuery(agent_id=agent_id, status=JobStatus.AWAITING_CSR, per_page=100)
        )
        moments = [job.next_attempt_at or uow.now for job in waiting.data if job.owner == agent_id]
        if pending is not None:
            moments.append(pending)
        return min(moments, default=None)

    def take(self, uow: Uow, agent_id: str, *, limit: int) -> list[WorkItemView]:
        """Lease up to ``limit`` jobs to the agent and describe them.

        Jobs that await a CSR keep their state; they are handed to the same agent again at each
        poll. A job that cannot be described fails with the reason.
        """
        self._revive_csr_jobs(uow, agent_id, limit)
        waiting = self._jobs.lease_waiting(
            uow,
            holder=agent_id,
            certificate_ids=(),
            types=CSR_JOBS,
            limit=limit,
            lease=self._lease,
        )
        items = [self._describe(uow, job, self._csr_item) for job in waiting]
        claimed = self._jobs.claim(
            uow,
            types=TARGET_JOBS,
            owner=agent_id,
            holder=agent_id,
            limit=limit - len(waiting),
            lease=self._lease,
        )
        items += [self._describe(uow, job, self._target_item) for job in claimed]
        return [item for item in items if item is not None]

    def _revive_csr_jobs(self, uow: Uow, agent_id: str, limit: int) -> None:
        """Jobs that lost their lease while they were carried out await a CSR again."""
        for job in self._jobs.claim(
            uow,
            types=CSR_JOBS,
            owner=agent_id,
            holder=agent_id,
            limit=limit,
            lease=self._lease,
        ):
            self._jobs.transition(uow, job.id, JobStatus.AWAITING_CSR, from_=(JobStatus.RUNNING,))

    def _describe(
        self, uow: Uow, job: Job, describe: Callable[[Uow, Job], WorkItemView]
    ) -> WorkItemView | None:
        try:
            return describe(uow, job)
        except CertctlError as error:
            _log.warning("work.not_handed_out", job_id=job.id, code=error.code)
            if job.status == JobStatus.AWAITING_CSR:
                self._jobs.refuse_csr(uow, job.id, code=error.code, message=error.detail)
            else:
                self._jobs.fail(
                    uow,
                    job.id,
                    job.lease_id or "",
                    code="config_invalid",
                    message=error.detail,
                    retryable=False,
                )
            return None

    def _csr_item(self, uow: Uow, job: Job) -> WorkItemView:
        certificate = self._certificates.get(uow, job.certificate_id or "")
        profile = self._profiles.resolve(uow, certificate.certificate_profile_id)
        choices = (
            (rule.algorithm, chosen)
            for rule in profile.allowed_key_algorithms
            if (chosen := key_algorithm(rule)) is not None
        )
        family, algorithm = next(choices, (None, None))
        if family is None or algorithm is None:
            raise NoKeyOffered(profile_id=profile.id)
        names = parse_names(certificate.common_name, certificate.sans)
        size = algorithm.value.rpartition("-")[2].removeprefix("P")
        return _item(
            job,
            common_name=certificate.common_name,
            sans=[NameView(type=name.type.value, value=name.value) for name in names],
            key_spec=KeySpecView(algorithm=family, size=int(size) if size.isdigit() else 0),
            must_staple=profile.must_staple,
            reuse_key=profile.reuse_key,
        )

    def _target_item(self, uow: Uow, job: Job) -> WorkItemView:
        target = self._targets.work(uow, job.target_id or "")
        shown = WorkTargetView(
            id=target.id,
            kind=target.kind,
            config=dict(target.config),
            config_digest=target.config_digest,
        )
        if job.type != DEPLOYMENT:
            return _item(job, target=shown)
        version = self._certificates.version(uow, job.certificate_id or "", job.version_id or "")
        leaf, _, chain = version.pem_chain.partition(_PEM_END)
        return _item(
            job,
            certificate_pem=leaf + _PEM_END,
            chain_pem=chain,
            fingerprint_sha256=version.fingerprint_sha256,
            spki_sha256=version.spki_sha256,
            not_after=version.not_after,
            target=shown,
            options=WorkOptionsView(force=bool(job.payload.get("force"))),
        )


def _item(job: Job, **members: object) -> WorkItemView:
    return WorkItemView.model_validate(
        {
            "id": job.id,
            "type": job.type,
            "status": job.status.value,
            "attempt": job.attempts,
            "lease_id": job.lease_id or "",
            "lease_expires_at": job.lease_expires_at,
            "certificate_id": job.certificate_id,
            "version_id": job.version_id,
            **members,
        }
    )
