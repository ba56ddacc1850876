"""What happens to deployments, and what agents ask for on the way there (OBS-02, JOB-09)."""

from __future__ import annotations

from certctl_core.kernel.events import Category, Event, Severity
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class CSRSubmitted(Event):
    """An agent sent a certificate request for a job (KEY-12)."""

    tag = "csr.submitted"
    category = Category.CERT_LIFECYCLE
    resource_type = "job"
    certificate_id: str
    agent_id: str
    spki_sha256: str


@dataclass(frozen=True, kw_only=True)
class CertificateFetched(Event):
    """An agent fetched a certificate that is linked to one of its targets."""

    tag = "certificate.retrieved"
    category = Category.CERT_LIFECYCLE
    resource_type = "certificate"
    version_id: str
    agent_id: str


@dataclass(frozen=True, kw_only=True)
class DeploymentRequested(Event):
    """A person or program asked for a deployment."""

    tag = "deployment.requested"
    category = Category.CERT_LIFECYCLE
    resource_type = "certificate"
    target_ids: tuple[str, ...]
    force: bool


@dataclass(frozen=True, kw_only=True)
class DeploymentJobsCreated(Event):
    """A new version is on its way to its targets."""

    tag = "deployment.jobs_created"
    category = Category.CERT_LIFECYCLE
    resource_type = "certificate"
    version_id: str
    job_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DeploymentEvent(Event):
    """Common to the ends of a deployment."""

    category = Category.CERT_LIFECYCLE
    resource_type = "deployment"
    certificate_id: str
    version_id: str
    target_id: str
    agent_id: str
    job_id: str
    outcome: str


@dataclass(frozen=True, kw_only=True)
class DeploymentSucceeded(DeploymentEvent):
    """The target has the certificate."""

    tag = "deployment.succeeded"
    verification: str


@dataclass(frozen=True, kw_only=True)
class DeploymentFailed(DeploymentEvent):
    """The target keeps what it had; ``retry`` says whether it is tried again."""

    tag = "deployment.failed"
    severity = Severity.WARNING
    error_code: str
    message: str
    retry: bool


@dataclass(frozen=True, kw_only=True)
class DeploymentRollbackFailed(DeploymentEvent):
    """The target is in an unknown state: a person has to look."""

    tag = "deployment.rollback_failed"
    severity = Severity.CRITICAL
    error_code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class VerificationSucceeded(Event):
    """The endpoint served the certificate that was deployed."""

    tag = "verification.succeeded"
    category = Category.CERT_LIFECYCLE
    resource_type = "deployment"
    certificate_id: str
    target_id: str
    endpoint: str


@dataclass(frozen=True, kw_only=True)
class VerificationFailed(Event):
    """The endpoint did not serve the certificate that was deployed."""

    tag = "verification.failed"
    category = Category.CERT_LIFECYCLE
    resource_type = "deployment"
    severity = Severity.WARNING
    certificate_id: str
    target_id: str
    endpoint: str
    expected_fingerprint: str
    actual_fingerprint: str
