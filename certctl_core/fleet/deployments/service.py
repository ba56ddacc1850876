"""Deployments: which version goes to which target, and what agents report about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import structlog
from pydantic import BaseModel

from certctl_core.deploy import RETRYABLE, Outcome
from certctl_core.deploy import VerificationStatus as ReportedStatus
from certctl_core.fleet.agents import AgentService
from certctl_core.fleet.deployments import _store
from certctl_core.fleet.deployments.errors import (
    DeployTargetNotLinked,
    NothingToDeploy,
    ReportIncomplete,
)
from certctl_core.fleet.deployments.events import (
    DeploymentFailed,
    DeploymentJobsCreated,
    DeploymentRequested,
    DeploymentRollbackFailed,
    DeploymentSucceeded,
    VerificationFailed,
    VerificationSucceeded,
)
from certctl_core.fleet.deployments.metrics import measure
from certctl_core.fleet.deployments.schemas import (
    DeployCertificate,
    DeploymentQuery,
    DeploymentView,
    DeployResult,
    DeployView,
    JobReport,
    ReportedError,
    ReportedVerification,
    TestResult,
)
from certctl_core.fleet.deployments.types import (
    CSR_JOBS,
    DEPLOYMENT,
    VALIDATION,
    ReportStatus,
    retry_wait,
)
from certctl_core.fleet.targets import (
    CheckView,
    TargetRef,
    TargetService,
    TestReport,
    storable,
)
from certctl_core.kernel.db import Uow, paginate, recipe
from certctl_core.kernel.events import JSON
from certctl_core.kernel.ids import Prefix
from certctl_core.kernel.jobs import (
    OPEN,
    JobNotFound,
    JobQuery,
    JobService,
    JobStatus,
    JobView,
    JobWrongState,
    NewJob,
    Verification,
    VerificationStatus,
)
from certctl_core.kernel.operations import Page, Resource
from certctl_core.kernel.secrets import redact_text
from certctl_core.lifecycle.certificates import (
    CertificateService,
    CertificateView,
    NoVersionYet,
    Status,
    VersionView,
    WrongState,
)
from certctl_core.lifecycle.issuance import IssuanceWorkflow, JobRef
from certctl_core.lifecycle.renewal import RenewalService

_log = structlog.get_logger("certctl.deployments")
_ENDED = (Status.REVOKED, Status.ARCHIVED)
_FIRST_ATTEMPTS = 3


class DeploymentService:
    """The use cases of deployments, each inside one unit of work.

    On construction it joins the storing transaction of the issuance choke point (a new version goes
    to its targets), the linking of targets (first issuance, first deployment), and tells renewals
    who holds keys.

    Args:
        jobs: Deployments are jobs of agents.
        agents: Their success is counted.
        targets: Where to.
        certificates: What.
        renewal: Starts a first issuance.
        issuance: Announces new versions.
        lease: How long a report keeps a job with its agent.
    """

    def __init__(
        self,
        *,
        jobs: JobService,
        agents: AgentService,
        targets: TargetService,
        certificates: CertificateService,
        renewal: RenewalService,
        issuance: IssuanceWorkflow,
        lease: timedelta = timedelta(minutes=10),
    ) -> None:
        self._jobs = jobs
        self._agents = agents
        self._targets = targets
        self._certificates = certificates
        self._renewal = renewal
        self._lease = lease
        renewal.set_key_holders(targets.key_holders)
        targets.on_linked(self._linked)
        issuance.on_issued(self._issued)
        issuance.on_interrupted(self._interrupted)

    # -- what is deployed where ---------------------------------------------------------------

    def request(self, uow: Uow, certificate_id: str, body: DeployCertificate) -> DeployView:
        """Deploy the current version to one or all targets; emits ``deployment.requested``.

        A target that has an unfinished deployment keeps it; its job is in the answer.

        Raises:
            CertificateNotFound: No such certificate.
            WrongState: It is revoked or archived.
            DeployTargetNotLinked: The target is not among those of the certificate.
            NothingToDeploy: No target can take one.
        """
        certificate = self._certificates.get(uow, certificate_id)
        if certificate.status in _ENDED:
            raise WrongState(certificate_status=certificate.status.value, wanted="deployed")
        targets = self._targets.linked(uow, certificate_id)
        if body.target_id is not None:
            targets = [target for target in targets if target.id == body.target_id]
            if not targets:
                raise DeployTargetNotLinked(certificate_id=certificate_id, target_id=body.target_id)
        job_ids: list[str] = []
        reached: list[str] = []
        for target in targets:
            version = self._held(uow, certificate_id, target.agent_id)
            if target.enabled and version is not None:
                job_ids.append(self._enqueue(uow, certificate, version, target, force=body.force))
                reached.append(target.id)
        if not job_ids:
            raise NothingToDeploy(certificate_id=certificate_id)
        uow.emit(
            DeploymentRequested(
                resource_id=certificate_id, target_ids=tuple(reached), force=body.force
            )
        )
        return DeployView(job_ids=job_ids)

    def _issued(self, uow: Uow, version: VersionView, job: JobRef | None) -> None:
        """Hook of the choke point: finish the job, send the version to its targets."""
        if job is None or job.agent_id is None:
            return  # Whoever sent the CSR holds the key: no agent could deploy it.
        try:
            self._jobs.transition(
                uow,
                job.job_id,
                JobStatus.COMPLETED,
                from_=(JobStatus.RUNNING, JobStatus.AWAITING_ISSUER),
                version_id=version.id,
                result={"version_id": version.id, "serial_number": version.serial_number},
            )
        except JobWrongState as error:
            # Cancelled meanwhile. The certificate is signed: it is kept, but goes nowhere.
            _log.warning("deployment.job_ended_early", job_id=job.job_id, code=error.code)
            return
        targets = self._targets.auto_deployed(uow, version.certificate_id, job.agent_id)
        self._send(uow, version, targets)

    def _interrupted(self, uow: Uow, job_id: str) -> None:
        """Hook of the choke point: the job awaits its CSR again, without waiting for its lease."""
        try:
            self._jobs.transition(uow, job_id, JobStatus.AWAITING_CSR, from_=(JobStatus.RUNNING,))
        except JobWrongState as error:
            _log.info("deployment.job_moved_on", job_id=job_id, code=error.code)

    def _linked(self, uow: Uow, certificate_id: str, target: TargetRef) -> None:
        """Hook of linking: deploy what the agent holds, or have it make a key."""
        if not target.enabled:
            return
        version = self._held(uow, certificate_id, target.agent_id)
        if version is not None:
            automatic = self._targets.auto_deployed(uow, certificate_id, target.agent_id)
            self._send(uow, version, [found for found in automatic if found.id == target.id])
            return
        certificate = self._certificates.get(uow, certificate_id)
        if not certificate.managed_renewal or self._awaits_csr(uow, certificate_id, target):
            return
        if certificate.status is not Status.RENEWING:
            self._renewal.request(uow, certificate_id, trigger="linked")
        else:
            # Another agent is at it already: this one gets its own job beside.
            self._first_issuance(uow, certificate, target.agent_id)

    def _awaits_csr(self, uow: Uow, certificate_id: str, target: TargetRef) -> bool:
        query = JobQuery(certificate_id=certificate_id, agent_id=target.agent_id, per_page=100)
        found = self._jobs.list(uow, query).data
        return any(job.type in CSR_JOBS and job.status in OPEN for job in found)

    def _first_issuance(self, uow: Uow, certificate: CertificateView, agent_id: str) -> None:
        self._jobs.enqueue_unless_open(
            uow,
            NewJob(
                type="Issuance",
                subject_type="certificate",
                subject_id=certificate.id,
                subject_key=f"{certificate.id}/{agent_id}",
                payload={"trigger": "linked"},
                owner=agent_id,
                status=JobStatus.AWAITING_CSR,
                certificate_id=certificate.id,
                agent_id=agent_id,
                max_attempts=_FIRST_ATTEMPTS,
                scope=_scope(certificate),
            ),
        )
        uow.wake("agents")

    def _held(self, uow: Uow, certificate_id: str, agent_id: str) -> VersionView | None:
        """The newest version of which the agent has the key, unless it was revoked."""
        try:
            version = self._certificates.current_version(uow, certificate_id, agent_id=agent_id)
        except NoVersionYet:
            return None
        return None if version.revoked_at is not None else version

    def _send(self, uow: Uow, version: VersionView, targets: Sequence[TargetRef]) -> None:
        """Queue a version for its targets; deployments of older versions are called off."""
        if not targets:
            return
        certificate = self._certificates.get(uow, version.certificate_id)
        job_ids = []
        for target in targets:
            self._jobs.cancel_open(
                uow,
                certificate_id=certificate.id,
                target_id=target.id,
                reason="superseded by a newer version",
            )
            job_ids.append(self._enqueue(uow, certificate, version, target, force=False))
        uow.emit(
            DeploymentJobsCreated(
                resource_id=certificate.id, version_id=version.id, job_ids=tuple(job_ids)
            )
        )

    def _enqueue(
        self,
        uow: Uow,
        certificate: CertificateView,
        version: VersionView,
        target: TargetRef,
        *,
        force: bool,
    ) -> str:
        job, _ = self._jobs.enqueue_unless_open(
            uow,
            NewJob(
                type=DEPLOYMENT,
                subject_type="target",
                subject_id=target.id,
                payload={"force": force},
                owner=target.agent_id,
                certificate_id=certificate.id,
                version_id=version.id,
                target_id=target.id,
                agent_id=target.agent_id,
                scope=_scope(certificate),
            ),
        )
        return job.id

    # -- what agents report -------------------------------------------------------------------

    def report(self, uow: Uow, agent_id: str, job_id: str, report: JobReport) -> JobView:
        """Take an agent's report on one of its jobs (JOB-06, JOB-07).

        Raises:
            JobNotFound: No such job of this agent (AGT-13).
            JobLeaseLost, JobWrongState: The lease is stale or the job has ended: nothing is stored.
            ReportIncomplete: Result or error is missing, or contradicts the status.
        """
        job = self.job_of(uow, agent_id, job_id)
        if report.status is ReportStatus.RUNNING:
            self._require_lease(uow, job_id, report.lease_id)
            self._jobs.renew(uow, holder=agent_id, job_ids=[job_id], lease=self._lease)
            return self._jobs.get(uow, job_id)
        if job.type == DEPLOYMENT:
            return self._deployed(uow, job, report)
        if job.type == VALIDATION:
            return self._tested(uow, job, report)
        if report.status is ReportStatus.FAILED and report.error is not None:
            # The agent could not make a request at all: that was an attempt, too.
            return self._jobs.refuse_csr(
                uow, job_id, code=report.error.code, message=report.error.message
            )
        raise ReportIncomplete(job_id=job_id, what="an error")

    def job_of(self, uow: Uow, agent_id: str, job_id: str) -> JobView:
        """A job, if it is one of this agent's.

        Raises:
            JobNotFound: It is not.
        """
        job = self._jobs.get(uow, job_id)
        if job.owner != agent_id:
            raise JobNotFound(job_id=job_id)
        return job

    def _require_lease(self, uow: Uow, job_id: str, lease_id: str) -> None:
        # The engine compares the lease before it looks at the step, which it does not have.
        try:
            self._jobs.transition(
                uow, job_id, JobStatus.RUNNING, from_=(JobStatus.RUNNING,), lease_id=lease_id
            )
        except JobWrongState as error:
            if error.data.get("job_status") != JobStatus.RUNNING:
                raise

    def _deployed(self, uow: Uow, job: JobView, report: JobReport) -> JobView:
        result = report.result
        if not isinstance(result, DeployResult):
            raise ReportIncomplete(job_id=job.id, what="the result of the deployment")
        error = report.error
        is_ok = report.status is ReportStatus.COMPLETED
        if result.outcome.ok is not is_ok:
            raise ReportIncomplete(job_id=job.id, what="an outcome that fits the status")
        if not is_ok and error is None:
            raise ReportIncomplete(job_id=job.id, what="an error")
        clean = _clean(result)
        verification = _verification(result.verification)
        if is_ok or error is None:
            after = self._jobs.complete(
                uow, job.id, report.lease_id, clean, verification=verification
            )
            self._certificates.note_deployment(uow, cast("str", job.certificate_id))
        else:
            after = self._jobs.fail(
                uow,
                job.id,
                report.lease_id,
                code=error.code,
                message=error.message,
                retryable=error.code in RETRYABLE,
                retry_in=retry_wait(max(job.attempts, 1)),
                result=clean,
                verification=verification,
            )
        deployment_id = self._keep(uow, job, clean, error)
        self._agents.note_deployment(uow, job.owner, ok=is_ok)
        self._tell(uow, deployment_id, after, result, error)
        kind = self._kind(uow, job)
        uow.after_commit(lambda: measure(kind, result, error))
        return after

    def _keep(
        self, uow: Uow, job: JobView, clean: dict[str, Any], error: ReportedError | None
    ) -> str:
        deployment_id = uow.new_id(Prefix.DEPLOYMENT)
        _store.insert(
            uow,
            id=deployment_id,
            job_id=job.id,
            certificate_id=job.certificate_id,
            version_id=job.version_id,
            target_id=job.target_id,
            agent_id=job.owner,
            error_code=error.code if error else None,
            error_message=error.message if error else None,
            started_at=job.started_at,
            finished_at=uow.now,
            **clean,
        )
        uow.touch("deployments")
        return deployment_id

    def _tell(
        self,
        uow: Uow,
        deployment_id: str,
        job: JobView,
        result: DeployResult,
        error: ReportedError | None,
    ) -> None:
        about: dict[str, Any] = {
            "resource_id": deployment_id,
            "certificate_id": job.certificate_id,
            "version_id": job.version_id,
            "target_id": job.target_id,
            "agent_id": job.owner,
            "job_id": job.id,
            "outcome": result.outcome.value,
        }
        verification = result.verification
        if error is None:
            uow.emit(DeploymentSucceeded(verification=verification.status.value, **about))
        elif result.outcome is Outcome.ROLLBACK_FAILED:
            uow.emit(
                DeploymentRollbackFailed(
                    error_code=error.code, message=error.message[:500], **about
                )
            )
        else:
            uow.emit(
                DeploymentFailed(
                    error_code=error.code,
                    message=error.message[:500],
                    retry=job.next_attempt_at is not None,
                    **about,
                )
            )
        seen: dict[str, Any] = {
            "resource_id": deployment_id,
            "certificate_id": job.certificate_id,
            "target_id": job.target_id,
            "endpoint": verification.endpoint,
        }
        if verification.status is ReportedStatus.SUCCESS:
            uow.emit(VerificationSucceeded(**seen))
        elif verification.status is ReportedStatus.FAILED:
            uow.emit(
                VerificationFailed(
                    expected_fingerprint=verification.expected_fingerprint,
                    actual_fingerprint=verification.actual_fingerprint,
                    **seen,
                )
            )

    def _tested(self, uow: Uow, job: JobView, report: JobReport) -> JobView:
        target_id = cast("str", job.target_id)
        if report.status is ReportStatus.FAILED:
            if report.error is None:
                raise ReportIncomplete(job_id=job.id, what="an error")
            after = self._jobs.fail(
                uow,
                job.id,
                report.lease_id,
                code=report.error.code,
                message=report.error.message,
                retryable=False,
            )
            check = CheckView(name=report.error.code, ok=False, detail=report.error.message)
            self._targets.record_test(uow, target_id, TestReport(ok=False, checks=[check]))
            return after
        if not isinstance(report.result, TestResult):
            raise ReportIncomplete(job_id=job.id, what="the result of the test")
        clean = _clean(report.result)
        after = self._jobs.complete(uow, job.id, report.lease_id, clean)
        self._targets.record_test(uow, target_id, TestReport.model_validate(clean))
        return after

    def _kind(self, uow: Uow, job: JobView) -> str:
        return self._targets.get(uow, cast("str", job.target_id)).kind

    # -- history ------------------------------------------------------------------------------

    def of_certificate(
        self, uow: Uow, certificate_id: str, query: DeploymentQuery
    ) -> Page[DeploymentView]:
        """A page of the deployments of a certificate, newest first.

        Raises:
            CertificateNotFound: No such certificate.
        """
        self._certificates.get(uow, certificate_id)
        return self._page(uow, query, certificate_id=certificate_id)

    def of_target(self, uow: Uow, target_id: str, query: DeploymentQuery) -> Page[DeploymentView]:
        """A page of the deployments to a target, newest first.

        Raises:
            TargetNotFound: No such target.
        """
        self._targets.get(uow, target_id)
        return self._page(uow, query, target_id=target_id)

    @staticmethod
    def _page(uow: Uow, query: DeploymentQuery, **which: str) -> Page[DeploymentView]:
        return paginate(
            uow,
            recipe(_store.selection, query, **which),
            query=query,
            sorts=_store.SORTS,
            id_column=_store.c.id,
            view=_store.view,
            default="-finished_at",
        )


def _scope(certificate: CertificateView) -> Resource:
    return Resource(profile_id=certificate.certificate_profile_id, issuer_id=certificate.issuer_id)


def _clean(result: BaseModel) -> dict[str, JSON]:
    """A result as it is stored: no text of it shows a key or a credential."""
    return {name: _clean_value(value) for name, value in result.model_dump(mode="json").items()}


def _clean_value(value: JSON) -> JSON:
    if isinstance(value, str):
        return redact_text(storable(value))
    if isinstance(value, dict):
        return {redact_text(storable(name)): _clean_value(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_clean_value(item) for item in value]
    return value


def _verification(seen: ReportedVerification) -> Verification:
    return Verification(
        status=VerificationStatus(seen.status.value),
        expected_fingerprint=seen.expected_fingerprint or None,
        actual_fingerprint=seen.actual_fingerprint or None,
        error=seen.error or None,
    )
