"""The deploy counters (spec 07 §19): moved by accepted reports, once per attempt (OBS-01)."""

from __future__ import annotations

from certctl_core.deploy import Outcome, VerificationStatus
from certctl_core.fleet.deployments.schemas import DeployResult, ReportedError
from certctl_core.kernel.observability.metrics import counter, histogram

_KIND = ("target_type",)
_ATTEMPTS = counter(
    "certctl_deploy_attempts_total", "Reported deployments.", ("target_type", "result")
)
_VALIDATE = counter(
    "certctl_deploy_validate_failures_total", "Refused by the service's own check.", _KIND
)
_RELOAD = counter("certctl_deploy_reload_failures_total", "Failed reloads.", _KIND)
_VERIFY = counter(
    "certctl_deploy_post_verify_failures_total", "Endpoints that served something else.", _KIND
)
_SKIPPED = counter(
    "certctl_deploy_idempotent_skip_total", "Targets that had the certificate already.", _KIND
)
_ROLLBACK = counter("certctl_deploy_rollback_total", "Rollbacks.", ("target_type", "outcome"))
_DURATION = histogram(
    "certctl_deploy_duration_seconds",
    "Time a deployment took on the agent.",
    _KIND,
    buckets=(0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
_FAILURES = {"validate_failed": _VALIDATE, "reload_failed": _RELOAD}


def measure(kind: str, result: DeployResult, error: ReportedError | None) -> None:
    """Count one accepted report.

    Args:
        kind: Of the target; one of the installed kinds.
        result: As reported.
        error: Why it failed, or None.
    """
    _ATTEMPTS.labels(kind, "success" if error is None else "failure").inc()
    _DURATION.labels(kind).observe(result.duration_ms / 1000)
    if error is not None and error.code in _FAILURES:
        _FAILURES[error.code].labels(kind).inc()
    if result.verification.status is VerificationStatus.FAILED:
        _VERIFY.labels(kind).inc()
    if result.outcome is Outcome.UNCHANGED:
        _SKIPPED.labels(kind).inc()
    if result.rollback.attempted:
        _ROLLBACK.labels(kind, "restored" if result.rollback.ok else "also_failed").inc()
