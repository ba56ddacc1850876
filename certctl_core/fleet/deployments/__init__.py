"""Deployments: versions on their way to targets, and their history."""

from certctl_core.fleet.deployments.errors import (
    DeployTargetNotLinked,
    JobNotAwaitingCSR,
    NothingToDeploy,
    ReportIncomplete,
)
from certctl_core.fleet.deployments.events import (
    CertificateFetched,
    CSRSubmitted,
    DeploymentFailed,
    DeploymentJobsCreated,
    DeploymentRequested,
    DeploymentRollbackFailed,
    DeploymentSucceeded,
    VerificationFailed,
    VerificationSucceeded,
)
from certctl_core.fleet.deployments.schemas import (
    CSRView,
    DeployCertificate,
    DeploymentQuery,
    DeploymentView,
    DeployResult,
    DeployView,
    JobReport,
    ReportedError,
    SubmitCSR,
    TestResult,
    WorkItemView,
    WorkView,
)
from certctl_core.fleet.deployments.service import DeploymentService
from certctl_core.fleet.deployments.types import ReportStatus
from certctl_core.fleet.deployments.work import IdleAgents, WorkDesk
from certctl_core.fleet.deployments.workflow import WorkWorkflow

__all__ = [
    "CSRSubmitted",
    "CSRView",
    "CertificateFetched",
    "DeployCertificate",
    "DeployResult",
    "DeployTargetNotLinked",
    "DeployView",
    "DeploymentFailed",
    "DeploymentJobsCreated",
    "DeploymentQuery",
    "DeploymentRequested",
    "DeploymentRollbackFailed",
    "DeploymentService",
    "DeploymentSucceeded",
    "DeploymentView",
    "IdleAgents",
    "JobNotAwaitingCSR",
    "JobReport",
    "NothingToDeploy",
    "ReportIncomplete",
    "ReportStatus",
    "ReportedError",
    "SubmitCSR",
    "TestResult",
    "VerificationFailed",
    "VerificationSucceeded",
    "WorkDesk",
    "WorkItemView",
    "WorkView",
    "WorkWorkflow",
]
