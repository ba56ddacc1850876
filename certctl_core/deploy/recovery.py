"""After a crash: finish what was reloaded, undo what was not (spec 07 DEP-16)."""

from __future__ import annotations

from pathlib import Path

from certctl_core.contracts.targets import OnFailure
from certctl_core.deploy.errors import TargetBusy
from certctl_core.deploy.journal import Phase, Record
from certctl_core.deploy.parts import Parts
from certctl_core.deploy.report import (
    MAX_MESSAGE,
    PENDING,
    DeployReport,
    Failure,
    Outcome,
    Rollback,
    Verification,
    VerificationStatus,
)
from certctl_core.deploy.rollback import clear, roll_back
from certctl_core.kernel.errors import CertctlError

_INTERRUPTED = "The agent stopped in the middle of the deployment."


def recover_all(parts: Parts) -> list[DeployReport]:
    """Recover every target with a journal record; one that is being deployed right now is left.

    Returns:
        One report per recovered deployment.
    """
    reports: list[DeployReport] = []
    for target_id in list(parts.journal.target_ids()):
        record = parts.journal.read(target_id)
        paths = () if record is None else record.destinations
        try:
            with parts.locks.hold(target_id, paths, parts.recovery_wait):
                report = recover_target(parts, target_id)
        except TargetBusy:
            continue
        if report is not None:
            reports.append(report)
    return reports


def recover_target(parts: Parts, target_id: str) -> DeployReport | None:
    """Recover one target, whose lock and path locks must be held; None if there is nothing."""
    if (aside := parts.journal.set_aside(target_id)) is not None:
        return _unreadable(parts, target_id, aside)
    record = parts.journal.read(target_id)
    if record is None:
        return None
    parts.log.warning(
        "deploy.recovering",
        target_id=target_id,
        version_id=record.version_id,
        phase=record.phase.value,
    )
    match record.phase:
        case Phase.PREPARED:
            return _forget(parts, record)
        case Phase.CHANGING | Phase.ROLLING_BACK:
            return _undo(parts, record, PENDING)
        case Phase.RELOADED:
            return _complete(parts, record)


def _forget(parts: Parts, record: Record) -> DeployReport:
    warnings: tuple[str, ...] = ()
    try:
        clear(parts, record)
        parts.snapshots.drop(Path(record.snapshot))
        parts.journal.remove(record.target_id)
    except (CertctlError, OSError) as error:
        warnings = (f"Tidying up failed: {error}",)
    return _report(record, Outcome.FAILED_VALIDATE, failure=_lost("STAGE"), warnings=warnings)


def _complete(parts: Parts, record: Record) -> DeployReport:
    seen = parts.verifier.verify(record.verify, record.fingerprint, record.chain_fingerprints)
    failed = seen.status is VerificationStatus.FAILED
    if failed and record.verify.on_failure is OnFailure.ROLLBACK:
        return _undo(parts, record, seen)
    warnings = [f"Not verified: {seen.error}."] if failed else []
    try:
        clear(parts, record.model_copy(update={"created": ()}))
        parts.journal.remove(record.target_id)
        parts.snapshots.prune(record.target_id, record.retention)
    except (CertctlError, OSError) as error:
        warnings.append(f"Tidying up failed: {error}")
    return _report(record, Outcome.DEPLOYED, verification=seen, warnings=tuple(warnings))


def _undo(parts: Parts, record: Record, seen: Verification) -> DeployReport:
    failure = _lost("COMMIT")
    if seen.code:
        failure = Failure(code=seen.code, message=seen.error, stage="VERIFY")
    if record.failure_code:
        failure = Failure(
            code=record.failure_code, message=record.failure_message, stage=record.failure_stage
        )
    run = parts.runner(record.built_in, record.command_timeout)
    result = roll_back(parts, record, run, failure)
    if result.ok:
        return _report(
            record, Outcome.ROLLED_BACK, failure=failure, verification=seen, rollback=result
        )
    message = f"{failure.message} Then the rollback failed: {result.detail}"[:MAX_MESSAGE]
    broken = Failure(code="rollback_failed", message=message, stage=failure.stage)
    return _report(
        record, Outcome.ROLLBACK_FAILED, failure=broken, verification=seen, rollback=result
    )


def _lost(stage: str) -> Failure:
    return Failure(code="agent_lost", message=_INTERRUPTED, stage=stage)


def _report(
    record: Record,
    outcome: Outcome,
    *,
    failure: Failure | None = None,
    verification: Verification = PENDING,
    rollback: Rollback | None = None,
    warnings: tuple[str, ...] = (),
) -> DeployReport:
    kept = outcome in {Outcome.DEPLOYED, Outcome.ROLLBACK_FAILED}
    return DeployReport(
        outcome=outcome,
        failure=failure,
        target_id=record.target_id,
        kind=record.kind,
        certificate_id=record.certificate_id,
        version_id=record.version_id,
        fingerprint_sha256=record.fingerprint,
        address=record.address,
        verification=verification,
        rollback=rollback or Rollback(),
        warnings=warnings,
        details={
            "serial": record.serial,
            "not_after": record.not_after.isoformat().replace("+00:00", "Z"),
            **({"snapshot": record.snapshot} if kept else {}),
        },
        recovered=True,
        tag=record.tag,
    )


def _unreadable(parts: Parts, target_id: str, aside: Path) -> DeployReport:
    parts.log.error("deploy.journal_unreadable", target_id=target_id, path=str(aside))
    message = (
        f"The journal of an interrupted deployment cannot be read; it is now {aside}. Compare the "
        f"files of the target with the newest backup below {parts.state_dir / 'backups'}."
    )
    return DeployReport(
        outcome=Outcome.ROLLBACK_FAILED,
        failure=Failure(code="rollback_failed", message=message, stage="COMMIT"),
        target_id=target_id,
        kind="",
        certificate_id="",
        version_id="",
        rollback=Rollback(attempted=False, ok=False, detail=message),
        recovered=True,
    )
