"""The use cases of the deployments room, as data: the agents' side and the operators' side."""

from __future__ import annotations

from typing import cast

from certctl_core.fleet.agents import AgentMismatch, AgentRetired
from certctl_core.fleet.deployments.errors import (
    DeployTargetNotLinked,
    JobNotAwaitingCSR,
    NothingToDeploy,
    ReportIncomplete,
)
from certctl_core.fleet.deployments.schemas import (
    AgentCertificateQuery,
    AgentCertificateView,
    CSRView,
    DeployCertificate,
    DeploymentQuery,
    DeploymentView,
    DeployView,
    JobReport,
    ReportedView,
    SubmitCSR,
    WorkQuery,
    WorkView,
)
from certctl_core.fleet.deployments.service import DeploymentService
from certctl_core.fleet.deployments.workflow import WorkWorkflow
from certctl_core.fleet.targets import TargetNotFound
from certctl_core.kernel.db import Uow
from certctl_core.kernel.jobs import JobLeaseLost, JobNotFound, JobWrongState
from certctl_core.kernel.operations import Call, Operation, Resource, Transaction
from certctl_core.lifecycle.certificates import (
    CertificateNotFound,
    CertificateService,
    NoVersionYet,
    VersionNotFound,
    WrongState,
)
from certctl_core.lifecycle.issuance.operations import REFUSALS

_MAX_REPORT = 512 * 1024
_SORTS = ("finished_at", "created_at")


def operations(
    *,
    service: DeploymentService,
    workflow: WorkWorkflow,
    certificates: CertificateService,
) -> tuple[Operation, ...]:
    """Declare work, CSR, certificate and report of agents; deployments and their history."""

    def uow(call: Call) -> Uow:
        return cast("Uow", call.uow)

    def certificate(call: Call) -> str:
        return call.path["certificate_id"]

    def scope(call: Call) -> Resource:
        return certificates.resource(uow(call), certificate(call))

    own = (AgentMismatch, AgentRetired)
    return (
        Operation(
            name="agents.work",
            method="GET",
            path="/agents/{agent_id}/work",
            summary="Take work (the agent itself)",
            permission="agent.job.poll",
            query=WorkQuery,
            output=WorkView,
            errors=own,
            transaction=Transaction.NONE,
            run=lambda call: workflow.poll(call, limit=cast("WorkQuery", call.query).max),
        ),
        Operation(
            name="agents.csr",
            method="POST",
            path="/agents/{agent_id}/csr",
            summary="Send the certificate request of a job (the agent itself)",
            permission="agent.job.report",
            body=SubmitCSR,
            output=CSRView,
            also_statuses=(202,),
            errors=(*own, JobNotFound, JobNotAwaitingCSR, WrongState, *REFUSALS),
            transaction=Transaction.NONE,
            run=lambda call: workflow.csr(call, cast("SubmitCSR", call.body)),
        ),
        Operation(
            name="agents.certificate",
            method="GET",
            path="/agents/{agent_id}/certificates/{certificate_id}",
            summary="Fetch a certificate whose key the agent holds (the agent itself)",
            permission="agent.certificate.read",
            query=AgentCertificateQuery,
            output=AgentCertificateView,
            errors=(*own, CertificateNotFound, NoVersionYet, VersionNotFound),
            transaction=Transaction.NONE,
            run=lambda call: workflow.certificate(
                call, certificate(call), cast("AgentCertificateQuery", call.query).version_id
            ),
        ),
        Operation(
            name="agents.report",
            method="POST",
            path="/agents/{agent_id}/jobs/{job_id}/status",
            summary="Report on a job (the agent itself)",
            permission="agent.job.complete",
            body=JobReport,
            output=ReportedView,
            max_body=_MAX_REPORT,
            errors=(*own, JobNotFound, JobLeaseLost, JobWrongState, ReportIncomplete),
            transaction=Transaction.NONE,
            run=lambda call: workflow.report(
                call, call.path["job_id"], cast("JobReport", call.body)
            ),
        ),
        Operation(
            name="certificates.deploy",
            method="POST",
            path="/certificates/{certificate_id}/deploy",
            summary="Deploy a certificate to its targets",
            permission="certificate.edit",
            resource=scope,
            body=DeployCertificate,
            body_required=False,
            output=DeployView,
            status=202,
            errors=(CertificateNotFound, WrongState, DeployTargetNotLinked, NothingToDeploy),
            run=lambda call: service.request(
                uow(call), certificate(call), cast("DeployCertificate", call.body)
            ),
        ),
        Operation(
            name="certificates.deployments",
            method="GET",
            path="/certificates/{certificate_id}/deployments",
            summary="List the deployments of a certificate",
            permission="certificate.read",
            resource=scope,
            query=DeploymentQuery,
            output=DeploymentView,
            is_list=True,
            collection="deployments",
            sorts=_SORTS,
            errors=(CertificateNotFound,),
            transaction=Transaction.READ,
            run=lambda call: service.of_certificate(
                uow(call), certificate(call), cast("DeploymentQuery", call.query)
            ),
        ),
        Operation(
            name="targets.deployments",
            method="GET",
            path="/targets/{target_id}/deployments",
            summary="List the deployments to a target",
            permission="target.read",
            query=DeploymentQuery,
            output=DeploymentView,
            is_list=True,
            collection="deployments",
            sorts=_SORTS,
            errors=(TargetNotFound,),
            transaction=Transaction.READ,
            run=lambda call: service.of_target(
                uow(call), call.path["target_id"], cast("DeploymentQuery", call.query)
            ),
        ),
    )
