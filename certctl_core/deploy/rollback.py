"""Back to what was there: shared by a failing deployment and by crash recovery (DEP-01, DEP-15)."""

from __future__ import annotations

from pathlib import Path

from certctl_core.contracts.targets import Verify
from certctl_core.deploy.commands import CommandRunner
from certctl_core.deploy.errors import ReloadFailed, VerifyFailed
from certctl_core.deploy.files import Rights
from certctl_core.deploy.journal import Phase, Record
from certctl_core.deploy.parts import Parts
from certctl_core.deploy.report import MAX_DETAIL, Failure, Rollback, VerificationStatus
from certctl_core.deploy.snapshots import Saved
from certctl_core.kernel.errors import CertctlError


def roll_back(parts: Parts, record: Record, run: CommandRunner, failure: Failure) -> Rollback:
    """Restore the files of a deployment, reload, and look whether the old certificate is back.

    May be repeated: a crash in the middle is another rollback. The locks of the deployment must be
    held. Never raises for what goes wrong; that is the result.

    Args:
        parts: The agent's tools.
        record: The journal record.
        run: The runner of the target.
        failure: Why; kept in the journal for the report after a crash.
    """
    done: list[str] = []
    try:
        parts.journal.write(
            record.model_copy(
                update={
                    "phase": Phase.ROLLING_BACK,
                    "failure_code": failure.code,
                    "failure_message": failure.message,
                    "failure_stage": failure.stage,
                }
            )
        )
        done.append(_restore(parts, record))
        done.append(_reload(parts, record, run))
        done.append(_confirm(parts, record))
        parts.journal.remove(record.target_id)
    except Exception as error:  # noqa: BLE001 - whatever it is, a person has to be told
        return _failed(parts, record, done, error)
    parts.snapshots.prune(record.target_id, record.retention)
    return Rollback(attempted=True, ok=True, detail="; ".join(done)[:MAX_DETAIL])


def clear(parts: Parts, record: Record) -> None:
    """Remove temporary files and created directories of a deployment that changed nothing yet.

    Raises:
        WriteFailed: The file system refuses.
    """
    for path in record.destinations:
        for leftover in parts.files.leftovers(path):
            parts.files.remove(leftover)
    parts.files.remove_parents(record.created)


def _restore(parts: Parts, record: Record) -> str:
    restored = 0
    problem: CertctlError | None = None
    # In the order of the plan, certificate before key: the reverse of the way in. One file that
    # does not go back must not keep the others from it.
    for saved in parts.snapshots.load(Path(record.snapshot)):
        try:
            restored += _restore_one(parts, saved)
        except CertctlError as error:
            problem = problem or error
    if problem is not None:
        raise problem
    clear(parts, record)
    return f"{restored} of {len(record.destinations)} files restored"


def _restore_one(parts: Parts, saved: Saved) -> bool:
    present = parts.files.read(saved.resolved)
    if present == saved.state:
        return False
    if saved.state is None:
        parts.files.remove(saved.resolved)
        parts.files.sync(saved.resolved)
        return True
    old = saved.state
    rights = Rights(mode=old.mode, uid=old.uid, gid=old.gid)
    temporary, _ = parts.files.stage(saved.resolved, old.data, rights)
    parts.files.commit(temporary, saved.resolved)
    return True


def _reload(parts: Parts, record: Record, run: CommandRunner) -> str:
    if not record.baseline_ok:
        return "not reloaded, since the service's configuration was broken before"
    for command in record.reload_commands:
        result = run(command)
        if not result.ok:
            raise ReloadFailed(output=result.output or f"exit status {result.exit_status}")
    for path in record.touch:
        parts.files.touch(path)
    return "service reloaded"


def _confirm(parts: Parts, record: Record) -> str:
    if not record.served_before:
        return "the old certificate was not seen at an endpoint before, so not looked for"
    config: Verify = record.verify
    seen = parts.verifier.verify(
        config.model_copy(update={"check_chain": False}), record.old_fingerprint
    )
    if seen.status is not VerificationStatus.SUCCESS:
        raise VerifyFailed(reason=seen.error or "the old certificate is not served")
    return "the old certificate is served again"


def _failed(parts: Parts, record: Record, done: list[str], error: Exception) -> Rollback:
    reason = error.detail if isinstance(error, CertctlError) else type(error).__name__
    parts.log.error(
        "deploy.rollback_failed",
        target_id=record.target_id,
        version_id=record.version_id,
        reason=reason,
    )
    try:
        # Not tried again at the next start: by then a person may have repaired it by hand.
        parts.journal.remove(record.target_id)
    except OSError:
        parts.log.error(  # noqa: TRY400 - no trace
            "deploy.journal_stuck", target_id=record.target_id
        )
    steps = (
        f"{'; '.join(done) or 'nothing was restored'}; then: {reason} "
        f"The backup is {record.snapshot}: copy its files back to "
        f"{', '.join(record.destinations)}, check the service's configuration and reload it."
    )
    return Rollback(attempted=True, ok=False, detail=steps[:MAX_DETAIL])
