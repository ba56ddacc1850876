"""Renewals: who makes the CSR, and the jobs that wait for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from certctl_core.kernel.db import Uow
from certctl_core.kernel.jobs import Job, JobService, JobStatus, NewJob
from certctl_core.kernel.operations import Resource
from certctl_core.lifecycle.certificates import (
    RENEWABLE,
    CertificateService,
    CertificateView,
    KeyScope,
    Status,
    WrongState,
)
from certctl_core.lifecycle.policies import RenewalPolicyService
from certctl_core.lifecycle.renewal.errors import NoKeyHolder, RenewalInProgress
from certctl_core.lifecycle.renewal.events import RenewalJobCreated, RenewalRequested
from certctl_core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What one round over the due certificates did."""

    looked_at: int
    started: int


KeyHolders = Callable[[Uow, str], Sequence[str]]
JOB_TYPES = ("Issuance", "Renewal")


class RenewalService:
    """Starts renewals of agent-held keys: one job per holder, each waiting for its CSR."""

    def __init__(
        self,
        *,
        certificates: CertificateService,
        policies: RenewalPolicyService,
        jobs: JobService,
    ) -> None:
        self._certificates = certificates
        self._policies = policies
        self._jobs = jobs
        self._holders: KeyHolders = lambda _uow, _certificate_id: ()
        certificates.on_archive(self._cancel_jobs)
        for job_type in JOB_TYPES:
            jobs.on_final_failure(job_type, self._job_failed)

    def set_key_holders(self, holders: KeyHolders) -> None:
        """The fleet tells which agents hold (or will hold) the key of a certificate."""
        self._holders = holders

    def request(
        self,
        uow: Uow,
        certificate_id: str,
        *,
        force: bool = False,
        trigger: str = "manual",
    ) -> list[str]:
        """Start a renewal: the certificate moves to RenewalInProgress, jobs await CSRs.

        Returns:
            The ids of the jobs.

        Raises:
            CertificateNotFound, WrongState: Unknown, revoked or archived.
            NoKeyHolder: No agent could make a CSR.
            RenewalInProgress: One is under way and ``force`` is off.
        """
        view = self._certificates.get(uow, certificate_id)
        if view.status is Status.RENEWING and not force:
            raise RenewalInProgress(certificate_id=certificate_id)
        if view.status is not Status.RENEWING and view.status not in RENEWABLE:
            raise WrongState(certificate_status=view.status.value, wanted=Status.RENEWING.value)
        holders = list(self._holders(uow, certificate_id))
        if not holders:
            raise NoKeyHolder(certificate_id=certificate_id)
        if view.status is Status.RENEWING:
            self._cancel_jobs(uow, certificate_id)
            self._certificates.end_failed(
                uow, certificate_id, code="replaced", message="replaced by a forced renewal"
            )
        self._certificates.begin_renewal(uow, certificate_id)
        uow.emit(RenewalRequested(resource_id=certificate_id, force=force))
        jobs = [self._enqueue(uow, view, agent_id, trigger) for agent_id in holders]
        return list(dict.fromkeys(jobs))  # several holders of a single key share one job

    def _enqueue(self, uow: Uow, view: CertificateView, agent_id: str, trigger: str) -> str:
        policy = self._policies.resolve(uow, view.renewal_policy_id)
        per_agent = view.key_scope is KeyScope.PER_AGENT
        job, is_new = self._jobs.enqueue_unless_open(
            uow,
            NewJob(
                type="Renewal" if view.current_version_id else "Issuance",
                subject_type="certificate",
                subject_id=view.id,
                subject_key=f"{view.id}/{agent_id}" if per_agent else view.id,
                payload={"trigger": trigger},
                owner=agent_id,
                status=JobStatus.AWAITING_CSR,
                certificate_id=view.id,
                agent_id=agent_id,
                max_attempts=policy.max_retries + 1,
                scope=Resource(profile_id=view.certificate_profile_id, issuer_id=view.issuer_id),
            ),
        )
        if is_new:
            uow.emit(
                RenewalJobCreated(
                    resource_id=view.id, job_id=job.id, agent_id=agent_id, trigger=trigger
                )
            )
            uow.wake("agents")
        return job.id

    def start_due(self, uow: Uow, *, limit: int, within: timedelta | None = None) -> Started:
        """Start what is due (and ends ``within`` that time), the longest due first."""
        due = self._certificates.due_for_renewal(uow, limit=limit, within=within)
        started = sum(self.start(uow, view.id) for view in due)
        return Started(looked_at=len(due), started=started)

    def start(self, uow: Uow, certificate_id: str) -> bool:
        """Start one renewal that is due; whether it was started.

        A certificate without a key holder is planned again one retry interval later, so that it
        cannot keep others from their turn.
        """
        if not self._holders(uow, certificate_id):
            self._certificates.postpone(uow, certificate_id)
            return False
        self.request(uow, certificate_id, trigger="scheduler")
        return True

    def _cancel_jobs(self, uow: Uow, certificate_id: str) -> None:
        self._jobs.cancel_open(uow, certificate_id=certificate_id)

    def _job_failed(self, uow: Uow, job: Job) -> None:
        if job.certificate_id is None:
            return
        found = self._jobs.get(uow, job.id)
        self._certificates.end_failed(
            uow,
            job.certificate_id,
            code=found.error_code or "failed",
            message=found.last_error or "the job failed",
            job_id=job.id,
        )
