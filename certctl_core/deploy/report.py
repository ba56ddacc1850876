"""What a deployment reports: the ``result`` of the job (spec 07 JOB-07, §9 outcomes)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.events import JSON
from certctl_core.values import dataclass

MAX_DETAIL = 2048
MAX_MESSAGE = 4096


class Stage(StrEnum):
    """The stages in order."""

    PRECHECK = "PRECHECK"
    LOCK = "LOCK"
    BASELINE = "BASELINE"
    COMPARE = "COMPARE"
    SNAPSHOT = "SNAPSHOT"
    JOURNAL = "JOURNAL"
    STAGE = "STAGE"
    COMMIT = "COMMIT"
    VALIDATE = "VALIDATE"
    RELOAD = "RELOAD"
    VERIFY = "VERIFY"
    FINISH = "FINISH"


class Outcome(StrEnum):
    """How it ended; a closed set."""

    DEPLOYED = "deployed"
    UNCHANGED = "unchanged"
    FAILED_PRECHECK = "failed_precheck"
    FAILED_VALIDATE = "failed_validate"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_FAILED = "rollback_failed"

    @property
    def ok(self) -> bool:
        """Whether the job is Completed."""
        return self in {Outcome.DEPLOYED, Outcome.UNCHANGED}


class VerificationStatus(StrEnum):
    """Whether the served certificate was seen (VER-07)."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"


RETRYABLE = frozenset(
    {"agent_lost", "connect_failed", "verify_failed", "reload_failed", "busy", "rate_limited"}
)
"""The codes after which the same job may succeed later (JOB-08)."""


_JOB_CODES = {
    "validation_error": "config_invalid",
    "path_refused": "config_invalid",
    "plugin_config_error": "config_invalid",
}


def job_code(error: CertctlError) -> str:
    """The code that a job carries for an error: its own, but one for all faulty configurations."""
    return _JOB_CODES.get(error.code, error.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """One stage: its name, success, milliseconds and a remark of at most 2,048 characters."""

    name: str
    ok: bool
    ms: int
    detail: str = ""

    def to_json(self) -> dict[str, JSON]:
        """Write it for the wire."""
        return {"name": self.name, "ok": self.ok, "ms": self.ms, "detail": self.detail}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What the endpoint served.

    Attributes:
        status: SKIPPED where there is no endpoint; never called verified.
        endpoint: ``host:port``, or empty.
        server_name: The SNI sent, or empty.
        expected_fingerprint: Of the leaf, SHA-256 in hex.
        actual_fingerprint: Of the served leaf; empty if none was seen.
        chain_ok: Whether every intermediate was served; None if not looked at.
        attempts: Probes made.
        error: Why it failed.
        code: ``verify_failed`` or ``connect_failed`` when it failed.
    """

    status: VerificationStatus
    endpoint: str = ""
    server_name: str = ""
    expected_fingerprint: str = ""
    actual_fingerprint: str = ""
    chain_ok: bool | None = None
    attempts: int = 0
    error: str = ""
    code: str = ""

    def to_json(self) -> dict[str, JSON]:
        """Write it for the wire."""
        return {
            "status": self.status.value,
            "endpoint": self.endpoint,
            "server_name": self.server_name,
            "expected_fingerprint": self.expected_fingerprint,
            "actual_fingerprint": self.actual_fingerprint,
            "chain_ok": self.chain_ok,
            "attempts": self.attempts,
            "error": self.error,
        }


PENDING = Verification(status=VerificationStatus.PENDING)
"""Not reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """Whether the old state came back; ``detail`` says how, and lists steps when it did not."""

    attempted: bool = False
    ok: bool = False
    detail: str = ""

    def to_json(self) -> dict[str, JSON]:
        """Write it for the wire."""
        return {"attempted": self.attempted, "ok": self.ok, "detail": self.detail}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The ``error`` of the job report (JOB-06)."""

    code: str
    message: str
    stage: str

    @property
    def retryable(self) -> bool:
        """Whether the same job may succeed later."""
        return self.code in RETRYABLE

    def to_json(self) -> dict[str, JSON]:
        """Write it for the wire."""
        return {"code": self.code, "message": self.message, "stage": self.stage}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployReport:
    """What one run of the transaction did.

    Attributes:
        outcome: How it ended.
        failure: Why, when ``outcome.ok`` is false.
        target_id: Which target.
        kind: Its kind.
        certificate_id: Which certificate.
        version_id: Which version.
        fingerprint_sha256: Of the deployed leaf; what is in service only when ``outcome.ok``.
        address: The endpoint, or the first file where there is none.
        duration_ms: Of the whole run.
        stages: What ran, in order.
        verification: What was served.
        rollback: What came back.
        warnings: What a person should know, in sentences.
        details: ``serial``, ``not_after``, ``snapshot``, ``changes`` … JSON.
        recovered: It finished a deployment that a crash had interrupted.
        tag: What the caller of ``deploy`` gave to recognise its job.
    """

    outcome: Outcome
    failure: Failure | None = None
    target_id: str
    kind: str
    certificate_id: str
    version_id: str
    fingerprint_sha256: str = ""
    address: str = ""
    duration_ms: int = 0
    stages: tuple[StageResult, ...] = ()
    verification: Verification = PENDING
    rollback: Rollback = Rollback()
    warnings: tuple[str, ...] = ()
    details: Mapping[str, JSON] = field(default_factory=dict)
    recovered: bool = False
    tag: str = ""

    @property
    def retryable(self) -> bool:
        """Whether the same job may succeed later."""
        return self.failure is not None and self.failure.retryable

    def to_json(self) -> dict[str, JSON]:
        """The ``result`` of the job report (JOB-07); the failure goes beside it (JOB-06)."""
        details: dict[str, JSON] = dict(self.details)
        if self.warnings:
            details["warnings"] = list(self.warnings)
        if self.recovered:
            details["recovered"] = True
        return {
            "outcome": self.outcome.value,
            "duration_ms": self.duration_ms,
            "stages": [stage.to_json() for stage in self.stages],
            "address": self.address,
            "fingerprint_sha256": self.fingerprint_sha256,
            "verification": self.verification.to_json(),
            "rollback": self.rollback.to_json(),
            "details": details,
        }

    @classmethod
    def refused(
        cls,
        error: CertctlError,
        *,
        target_id: str,
        kind: str,
        certificate_id: str,
        version_id: str,
    ) -> DeployReport:
        """The report of a deployment that did not begin: no key, no bundle, a bad configuration.

        Args:
            error: Why; its code and sentence go into the report.
            target_id: Which target.
            kind: Its kind.
            certificate_id: Which certificate.
            version_id: Which version.
        """
        fields = "; ".join(f"{field.field} {field.message}" for field in error.fields)
        message = f"{error.detail} {fields}".strip()[:MAX_MESSAGE]
        return cls(
            outcome=Outcome.FAILED_PRECHECK,
            failure=Failure(code=job_code(error), message=message, stage=Stage.PRECHECK),
            target_id=target_id,
            kind=kind,
            certificate_id=certificate_id,
            version_id=version_id,
        )
