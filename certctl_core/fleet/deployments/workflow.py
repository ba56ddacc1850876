"""What agents call: work, certificate requests, certificates, reports (spec 07 §5, §6)."""

from __future__ import annotations

from datetime import timedelta

from certctl_core.fleet.agents import AgentWorkflow
from certctl_core.fleet.deployments.errors import JobNotAwaitingCSR
from certctl_core.fleet.deployments.events import CertificateFetched, CSRSubmitted
from certctl_core.fleet.deployments.schemas import (
    AgentCertificateView,
    CSRView,
    JobReport,
    ReportedView,
    SubmitCSR,
    WorkView,
)
from certctl_core.fleet.deployments.service import DeploymentService
from certctl_core.fleet.deployments.types import CSR_JOBS
from certctl_core.fleet.deployments.work import IdleAgents, WorkDesk
from certctl_core.fleet.targets import TargetService
from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.jobs import JobNotFound, JobService, JobStatus, JobView, JobWrongState
from certctl_core.kernel.operations import Accepted, Call
from certctl_core.lifecycle.certificates import (
    CertificateNotFound,
    CertificateService,
    VersionNotFound,
    VersionView,
)
from certctl_core.lifecycle.issuance import (
    CSRRejected,
    IssuancePending,
    IssuanceWorkflow,
    IssuedCertificate,
    JobRef,
    OrderInProgress,
)
from certctl_core.pki.errors import PKIError
from certctl_core.pki.x509 import CSRInfo, parse_csr

_PEM_END = "-----END CERTIFICATE-----\n"
_LEASED_AT_ONCE = 100


class WorkWorkflow:
    """The agent side of jobs. Every method begins with the self rule (AGT-12).

    Args:
        units: Opens units of work.
        agents: Knows who calls.
        service: Takes reports.
        desk: Hands out work.
        idle: Remembers who has nothing to do.
        jobs: The jobs.
        targets: Which certificates an agent may see.
        certificates: Their versions.
        issuance: Signs.
        lease: How long a job stays with its agent.
        poll_seconds: What agents are told about polls.
    """

    def __init__(
        self,
        *,
        units: UnitOfWorkFactory,
        agents: AgentWorkflow,
        service: DeploymentService,
        desk: WorkDesk,
        idle: IdleAgents,
        jobs: JobService,
        targets: TargetService,
        certificates: CertificateService,
        issuance: IssuanceWorkflow,
        lease: timedelta = timedelta(minutes=10),
        poll_seconds: int = 30,
    ) -> None:
        self._units = units
        self._agents = agents
        self._service = service
        self._desk = desk
        self._idle = idle
        self._jobs = jobs
        self._targets = targets
        self._certificates = certificates
        self._issuance = issuance
        self._lease = lease
        self._poll_seconds = poll_seconds

    def poll(self, call: Call, *, limit: int) -> WorkView:
        """Hand out work; without any, answered from memory where nothing has changed.

        Raises:
            AgentMismatch: Somebody else asks.
        """
        agent_id = self._agents.require_self(call)
        nothing = WorkView(jobs=[], count=0, next_poll_seconds=self._poll_seconds)
        if self._idle.knows(agent_id):
            return nothing
        generation = self._idle.generation
        with self._units.read(call.actor, request_id=call.request_id) as uow:
            due = self._desk.next_due(uow, agent_id)
            is_due = due is not None and due <= uow.now
        if not is_due:
            self._idle.remember(agent_id, generation, due)
            return nothing
        with self._units.begin(call.actor, request_id=call.request_id) as uow:
            items = self._desk.take(uow, agent_id, limit=limit)
        more = len(items) >= limit
        return WorkView(
            jobs=items,
            count=len(items),
            next_poll_seconds=1 if more else self._poll_seconds,
        )

    def csr(self, call: Call, body: SubmitCSR) -> CSRView | Accepted:
        """Carry out a job that awaits a CSR (spec 07 §5).

        The job runs while the issuer is asked, so that a second request cannot be signed beside.
        A repeat after success, recognised by the key, is answered with the same certificate.

        Returns:
            The certificate, or 202 when the issuer answers later.

        Raises:
            AgentMismatch: Somebody else asks.
            JobNotFound: No such job of this agent and certificate.
            JobNotAwaitingCSR: Late, or another request is under way.
            CSRRejected and the issuer's errors: It counts as an attempt; the job awaits another
                request, or fails at its last attempt.
        """
        agent_id = self._agents.require_self(call)
        with self._units.begin(call.actor, request_id=call.request_id) as uow:
            job = self._service.job_of(uow, agent_id, body.job_id)
            if job.type not in CSR_JOBS or job.certificate_id != body.certificate_id:
                raise JobNotFound(job_id=body.job_id)
            csr, rejected = _parse(body.csr_pem)
            again = self._issued_before(uow, job, csr)
            if again is not None:
                return _issued_view(job.id, again)
            self._start(uow, job, agent_id)
            if csr is not None:
                uow.emit(
                    CSRSubmitted(
                        resource_id=job.id,
                        certificate_id=body.certificate_id,
                        agent_id=agent_id,
                        spki_sha256=csr.spki_sha256,
                    )
                )
        if rejected is not None:
            self._give_back(call, job.id, rejected)
            raise rejected
        return self._issue(call, body, agent_id)

    def _issue(self, call: Call, body: SubmitCSR, agent_id: str) -> CSRView | Accepted:
        try:
            issued = self._issuance.issue(
                certificate_id=body.certificate_id,
                csr_pem=body.csr_pem,
                actor=call.actor,
                request_id=call.request_id,
                job=JobRef(job_id=body.job_id, agent_id=agent_id),
            )
        except IssuancePending as error:
            self._park(call, body.job_id, JobStatus.AWAITING_ISSUER, error.data.get("order_id"))
            return _pending(body.job_id)
        except OrderInProgress:
            # The order of an earlier try is not settled yet: the agent comes again.
            self._park(call, body.job_id, JobStatus.AWAITING_CSR)
            return _pending(body.job_id)
        except CertctlError as error:
            self._give_back(call, body.job_id, error)
            raise
        return _issued_view(body.job_id, issued)

    def certificate(
        self, call: Call, certificate_id: str, version_id: str | None
    ) -> AgentCertificateView:
        """A certificate of which the calling agent has the key; emits ``certificate.retrieved``.

        Raises:
            AgentMismatch: Somebody else asks.
            CertificateNotFound: It is linked to no target of the agent (AGT-13).
            NoVersionYet, VersionNotFound: As named; also for versions of other agents' keys.
        """
        agent_id = self._agents.require_self(call)
        with self._units.begin(call.actor, request_id=call.request_id) as uow:
            if not self._targets.is_linked_to_agent(uow, certificate_id, agent_id):
                raise CertificateNotFound(certificate_id=certificate_id)
            version = self._version(uow, certificate_id, version_id, agent_id)
            uow.emit(
                CertificateFetched(
                    resource_id=certificate_id, version_id=version.id, agent_id=agent_id
                )
            )
        return AgentCertificateView(
            certificate_id=certificate_id,
            version_id=version.id,
            certificate_pem=version.pem_chain,
            fingerprint_sha256=version.fingerprint_sha256,
            spki_sha256=version.spki_sha256,
            not_after=version.not_after,
        )

    def report(self, call: Call, job_id: str, body: JobReport) -> ReportedView:
        """Take a report on a job.

        Raises:
            AgentMismatch: Somebody else asks.
            JobNotFound, JobLeaseLost, JobWrongState, ReportIncomplete: As of
                ``DeploymentService.report``.
        """
        agent_id = self._agents.require_self(call)
        with self._units.begin(call.actor, request_id=call.request_id) as uow:
            job = self._service.report(uow, agent_id, job_id, body)
        return ReportedView(job_id=job.id, status=job.status.value)

    def _version(
        self, uow: Uow, certificate_id: str, version_id: str | None, agent_id: str
    ) -> VersionView:
        if version_id is None:
            return self._certificates.current_version(uow, certificate_id, agent_id=agent_id)
        version = self._certificates.version(uow, certificate_id, version_id)
        if version.agent_id != agent_id:
            raise VersionNotFound(certificate_id=certificate_id)
        return version

    def _issued_before(self, uow: Uow, job: JobView, csr: CSRInfo | None) -> VersionView | None:
        if job.status is not JobStatus.COMPLETED or job.version_id is None or csr is None:
            return None
        version = self._certificates.version(uow, job.certificate_id or "", job.version_id)
        return version if version.spki_sha256 == csr.spki_sha256 else None

    def _start(self, uow: Uow, job: JobView, agent_id: str) -> None:
        """AwaitingCSR → Running under a lease of the agent."""
        if job.status is not JobStatus.AWAITING_CSR:
            raise JobNotAwaitingCSR(job_id=job.id, job_status=job.status.value)
        kept = self._jobs.renew(uow, holder=agent_id, job_ids=[job.id], lease=self._lease)
        if job.id not in kept:
            leased = self._jobs.lease_waiting(
                uow,
                holder=agent_id,
                certificate_ids=(),
                types=CSR_JOBS,
                limit=_LEASED_AT_ONCE,
                lease=self._lease,
            )
            if job.id not in {found.id for found in leased}:
                raise JobNotAwaitingCSR(job_id=job.id, job_status=job.status.value)
        try:
            self._jobs.transition(uow, job.id, JobStatus.RUNNING, from_=(JobStatus.AWAITING_CSR,))
        except JobWrongState as error:
            raise JobNotAwaitingCSR(
                job_id=job.id, job_status=str(error.data.get("job_status"))
            ) from error

    def _park(self, call: Call, job_id: str, status: JobStatus, order_id: object = None) -> None:
        with self._units.begin(call.actor, request_id=call.request_id) as uow:
            self._jobs.transition(
                uow,
                job_id,
                status,
                from_=(JobStatus.RUNNING,),
                order_id=str(order_id) if order_id else None,
            )

    def _give_back(self, call: Call, job_id: str, error: CertctlError) -> None:
        """The attempt failed: the job awaits another request, or fails for good."""
        with self._units.begin(call.actor, request_id=call.request_id) as uow:
            if self._jobs.get(uow, job_id).status is not JobStatus.RUNNING:
                return  # Cancelled meanwhile, e.g. because the certificate was revoked.
            self._jobs.transition(uow, job_id, JobStatus.AWAITING_CSR, from_=(JobStatus.RUNNING,))
            self._jobs.refuse_csr(uow, job_id, code=error.code, message=error.detail)


def _parse(csr_pem: str) -> tuple[CSRInfo | None, CSRRejected | None]:
    try:
        return parse_csr(csr_pem), None
    except PKIError as error:
        return None, CSRRejected(summary=str(error).removesuffix("."), reasons=[str(error)])


def _pending(job_id: str) -> Accepted:
    return Accepted(status=202, body=CSRView(status="pending", job_id=job_id))


def _issued_view(job_id: str, issued: IssuedCertificate | VersionView) -> CSRView:
    version = issued if isinstance(issued, VersionView) else issued.version
    leaf, _, chain = version.pem_chain.partition(_PEM_END)
    return CSRView(
        status="issued",
        job_id=job_id,
        version_id=version.id,
        fingerprint_sha256=version.fingerprint_sha256,
        certificate_pem=leaf + _PEM_END,
        chain_pem=chain,
    )
