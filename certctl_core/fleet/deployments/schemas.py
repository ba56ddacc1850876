"""Bodies and answers of the deployments room (spec 07 §5, §6)."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from certctl_core.deploy import Outcome, VerificationStatus
from certctl_core.fleet.deployments.types import ReportStatus
from certctl_core.fleet.targets import CheckView, storable
from certctl_core.kernel.operations import Input, ListQuery, View

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,128}$")]
Word = Annotated[str, StringConstraints(max_length=64), AfterValidator(storable)]
Detail = Annotated[str, StringConstraints(max_length=2048), AfterValidator(storable)]
Message = Annotated[str, StringConstraints(max_length=4096), AfterValidator(storable)]
Address = Annotated[str, StringConstraints(max_length=1024), AfterValidator(storable)]
Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]
Milliseconds = Annotated[int, Field(ge=0, le=2**31 - 1)]


class WorkQuery(Input):
    """How much work an agent takes."""

    max: int = Field(10, ge=1, le=20, description="At most so many jobs.")


class NameView(View):
    """One subject alternative name."""

    type: str = Field(description="`dns`, `ip`, `email` or `uri`.")
    value: str


class KeySpecView(View):
    """The key that the agent is to make."""

    algorithm: str = Field(description="RSA, ECDSA, Ed25519 or ML-DSA.")
    size: int = Field(description="Bits; the parameter set for ML-DSA; 0 for Ed25519.")


class WorkTargetView(View):
    """A target with its configuration, secrets in place: for the owning agent only."""

    id: str
    kind: str
    config: dict[str, Any]
    config_digest: str


class WorkOptionsView(View):
    """How a job is to be carried out."""

    force: bool = False


class WorkItemView(View):
    """One job in the hands of an agent."""

    id: str
    type: str
    status: str
    attempt: int
    lease_id: str
    lease_expires_at: datetime | None
    certificate_id: str | None = None
    version_id: str | None = None
    common_name: str | None = None
    sans: list[NameView] | None = None
    key_spec: KeySpecView | None = None
    must_staple: bool | None = None
    reuse_key: bool | None = None
    certificate_pem: str | None = None
    chain_pem: str | None = None
    fingerprint_sha256: str | None = None
    spki_sha256: str | None = None
    not_after: datetime | None = None
    target: WorkTargetView | None = None
    options: WorkOptionsView = Field(default_factory=WorkOptionsView)


class WorkView(View):
    """The answer to a poll."""

    jobs: list[WorkItemView]
    count: int
    next_poll_seconds: int


class SubmitCSR(Input):
    """A certificate request for a job."""

    job_id: Id
    certificate_id: Id
    # PEM of at most 16 KiB of DER (KEY-11).
    csr_pem: str = Field(max_length=24576, description="PKCS#10 in PEM.")


class CSRView(View):
    """What became of a certificate request; the certificate when it was issued at once."""

    status: str = Field(description="`issued` or `pending`.")
    job_id: str
    version_id: str | None = None
    fingerprint_sha256: str | None = None
    certificate_pem: str | None = None
    chain_pem: str | None = None


class AgentCertificateQuery(Input):
    """Which version an agent wants."""

    version_id: str | None = Field(None, max_length=128, description="The current one if absent.")


class AgentCertificateView(View):
    """A certificate of which the agent holds the key."""

    certificate_id: str
    version_id: str
    certificate_pem: str = Field(description="The certificate, then its chain.")
    fingerprint_sha256: str
    spki_sha256: str
    not_after: datetime


class ReportedError(Input):
    """Why a job failed on the agent."""

    code: Code
    message: Message = ""
    stage: Word = ""


class ReportedStage(Input):
    """One stage of a deployment."""

    name: Word
    ok: bool
    ms: Milliseconds = 0
    detail: Detail = ""


class ReportedVerification(Input):
    """What the endpoint served."""

    status: VerificationStatus = VerificationStatus.PENDING
    endpoint: Address = ""
    server_name: Address = ""
    expected_fingerprint: Fingerprint = ""
    actual_fingerprint: Fingerprint = ""
    chain_ok: bool | None = None
    attempts: int = Field(0, ge=0, le=1000)
    error: Detail = ""


class ReportedRollback(Input):
    """Whether the old state came back."""

    attempted: bool = False
    ok: bool = False
    detail: Message = ""


class DeployResult(Input):
    """The result of a deployment (JOB-07)."""

    outcome: Outcome
    duration_ms: Milliseconds = 0
    stages: list[ReportedStage] = Field(default_factory=list, max_length=64)
    address: Address = ""
    fingerprint_sha256: Fingerprint = ""
    verification: ReportedVerification = Field(default_factory=ReportedVerification)
    rollback: ReportedRollback = Field(default_factory=ReportedRollback)
    details: dict[str, Any] = Field(default_factory=dict, max_length=64)


class TestResult(Input):
    """The result of a target's test."""

    __test__ = False

    ok: bool
    checks: list[CheckView] = Field(default_factory=list, max_length=100)


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {_without_nul(name): _without_nul(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_without_nul(member) for member in value]
    return value


class JobReport(Input):
    """What an agent says about a job (JOB-06)."""

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        """A report is evidence: odd characters of a host's programs are replaced, not refused."""
        return _without_nul(value)

    lease_id: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{1,64}$")]
    status: ReportStatus
    stage: Word | None = None
    error: ReportedError | None = None
    result: DeployResult | TestResult | None = None


class ReportedView(View):
    """The state of the job after the report."""

    job_id: str
    status: str


class DeployCertificate(Input):
    """What is to be deployed where."""

    target_id: Id | None = Field(None, description="One linked target; all of them when absent.")
    force: bool = Field(default=False, description="Also where the target has it already.")


class DeployView(View):
    """Deployments were handed to the agents."""

    status: str = "deployment_triggered"
    job_ids: list[str]


class DeploymentView(View):
    """One attempt to deploy a version to a target."""

    id: str
    job_id: str
    attempt: int
    certificate_id: str
    version_id: str
    target_id: str
    agent_id: str
    outcome: Outcome
    error_code: str | None
    error_message: str | None
    address: str
    fingerprint_sha256: str
    stages: list[dict[str, Any]]
    verification: dict[str, Any]
    rollback: dict[str, Any]
    details: dict[str, Any]
    duration_ms: int
    started_at: datetime | None
    finished_at: datetime


class DeploymentQuery(ListQuery):
    """Filters of the deployment history."""

    outcome: Outcome | None = None
    agent_id: str | None = Field(None, max_length=128)
