"""One deployment, stage by stage (spec 07 §9)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import field
from datetime import timedelta
from pathlib import Path

from certctl_core.contracts.options import Command, secret_values
from certctl_core.contracts.targets import (
    Bundle,
    File,
    FileConfig,
    FileTarget,
    OnFailure,
    Plan,
)
from certctl_core.deploy.changes import Change, compare, describe
from certctl_core.deploy.commands import CommandRunner
from certctl_core.deploy.errors import (
    BaselineBroken,
    CheckFailed,
    ConnectFailed,
    PathRefused,
    ReloadFailed,
    TargetBusy,
    TransactionDefect,
    ValidateFailed,
    VerifyFailed,
)
from certctl_core.deploy.journal import Phase, Record
from certctl_core.deploy.pairs import NOTHING, Present, inspect
from certctl_core.deploy.parts import Parts, check_id
from certctl_core.deploy.recovery import recover_target
from certctl_core.deploy.report import (
    MAX_MESSAGE,
    PENDING,
    DeployReport,
    Failure,
    Outcome,
    Rollback,
    Stage,
    Verification,
    VerificationStatus,
    job_code,
)
from certctl_core.deploy.rollback import clear, roll_back
from certctl_core.deploy.snapshots import Saved
from certctl_core.deploy.stages import Minutes
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.events import JSON
from certctl_core.kernel.secrets import Redactor, Secret
from certctl_core.values import dataclass

_STALE = timedelta(hours=1)
"""A temporary file this old belongs to nobody any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is asked for.

    Attributes:
        target_id: Id of the target row.
        version_id: The version, never "the latest" (DEP-12).
        force: Write and reload even if nothing changes or the service was broken before.
        dry_run: Stop after COMPARE and say what would change.
        tag: Comes back in a report after a crash.
        should_abort: Asked at the start of each stage; True rolls back.
        on_stage: Told the name of each stage as it starts.
    """

    target_id: str
    version_id: str
    force: bool = False
    dry_run: bool = False
    tag: str = ""
    should_abort: Callable[[], bool] | None = None
    on_stage: Callable[[Stage], None] | None = None


@dataclass(slots=True, kw_only=True)
class _Run:
    """What is known so far."""

    warnings: list[str] = field(default_factory=list)
    verification: Verification = PENDING
    present: Present = NOTHING
    baseline_output: str | None = None
    changes: list[Change] = field(default_factory=list)
    snapshot: Path | None = None
    record: Record | None = None
    staged: list[tuple[str, str]] = field(default_factory=list)


class Transaction:
    """One deployment; use it once."""

    def __init__(self, parts: Parts, target: FileTarget, bundle: Bundle, job: Job) -> None:
        self._parts = parts
        self._target = target
        self._bundle = bundle
        self._job = job
        self._config = target.config
        # A program may print a key without its frame.
        lines = bundle.key.decode("latin-1").splitlines()
        key_lines = (Secret(line) for line in lines if not line.startswith("-"))
        secrets = (*secret_values(target.config), *key_lines)
        self._redactor = Redactor(secrets)
        self._minutes = Minutes(
            target_id=job.target_id,
            clock=parts.clock,
            log=parts.log,
            redactor=self._redactor,
            should_abort=job.should_abort,
            on_stage=job.on_stage,
        )
        self._runner: CommandRunner = parts.runner(
            type(target).commands, target.config.command_timeout, secrets
        )
        self._run = _Run()
        self._plan = Plan(files=())
        self._resolved: dict[str, str] = {}

    def run(self) -> DeployReport:
        """Carry it out.

        Returns:
            The report; nothing that goes wrong on the host is raised.
        """
        started = self._parts.clock.monotonic()
        with contextlib.ExitStack() as held:
            report = self._steps(held)
        elapsed = self._parts.clock.monotonic() - started
        return report(round(elapsed * 1000))

    def _steps(self, held: contextlib.ExitStack) -> Callable[[int], DeployReport]:
        try:
            self._precheck()
            self._lock(held)
            self._baseline()
            changed = self._compare()
            if self._job.dry_run:
                return self._end(Outcome.UNCHANGED)
            if not changed:
                self._confirm_unchanged()
                return self._end(Outcome.UNCHANGED)
            self._snapshot()
            self._write_journal()
            self._stage_files()
        except CertctlError as error:
            return self._nothing_changed(error)
        try:
            self._commit()
            self._validate()
            self._reload()
            self._verify()
        except CertctlError as error:
            return self._back(error)
        return self._finish()

    # -- before anything changes ------------------------------------------------------------------

    def _precheck(self) -> None:
        with self._minutes.stage(Stage.PRECHECK):
            for what, value in (
                ("target", self._job.target_id),
                ("version", self._job.version_id),
                ("certificate", self._bundle.certificate_id),
            ):
                check_id(what, value)
            self._parts.policy.check_kind(self._target.kind)
            self._bundle.check(self._parts.clock.now())
            self._plan = self._target.plan(self._bundle)
            paths = [file.path for file in self._plan.files]
            if not paths or len(set(paths)) != len(paths):
                raise TransactionDefect(what="the target's plan names no file or one file twice")
            for path in paths:
                self._resolved[path] = self._parts.check_path(path)
                self._parts.files.check_parent(self._resolved[path], create=self._create_parents)
            if len(set(self._resolved.values())) != len(paths):
                raise PathRefused(path=paths[0], reason="another path leads to the same file")
            for path in self._plan.touch:
                self._parts.check_path(path)
            for command in (*self._plan.validate, *self._plan.reload):
                self._runner.check(command)
            for check in self._target.check():
                if not check.ok:
                    raise CheckFailed(check=check.name, reason=check.detail or "no reason given")

    def _lock(self, held: contextlib.ExitStack) -> None:
        with self._minutes.stage(Stage.LOCK):
            target_id = self._job.target_id
            held.enter_context(
                self._parts.locks.hold(target_id, self._resolved.values(), self._parts.lock_wait)
            )
            if any(self._parts.files.resolve(path) != at for path, at in self._resolved.items()):
                raise TargetBusy
            # What a crash left of this target; its files may be others than today's.
            record = self._parts.journal.read(target_id)
            old = set(() if record is None else record.destinations)
            held.enter_context(
                self._parts.locks.hold_paths(
                    old - set(self._resolved.values()), self._parts.lock_wait
                )
            )
            if (earlier := recover_target(self._parts, target_id)) is not None:
                self._run.warnings.append(
                    f"An interrupted deployment of version {earlier.version_id} ended first: "
                    f"{earlier.outcome.value}."
                )

    def _baseline(self) -> None:
        with self._minutes.stage(Stage.BASELINE) as note:
            states = [self._parts.files.read(path) for path in self._resolved.values()]
            self._run.present = inspect(states)
            self._run.baseline_output = self._failing(self._plan.validate)
            output = self._run.baseline_output
            if output is None:
                return
            note.append(f"the configuration is broken: {output}")
            # With a matching pair in place the fault is not ours, and a reload would not help.
            if self._run.present.is_pair and not self._job.force:
                raise BaselineBroken(output=output)

    def _compare(self) -> bool:
        with self._minutes.stage(Stage.COMPARE) as note:
            for file in self._plan.files:
                present = self._parts.files.read(self._resolved[file.path])
                change, warning = compare(file, present, type(self._target).default_owners)
                self._run.changes.append(change)
                if warning:
                    self._run.warnings.append(warning)
            different = sum(change.different for change in self._run.changes)
            note.append(f"{different} of {len(self._run.changes)} files differ")
            return bool(different) or self._job.force

    def _confirm_unchanged(self) -> None:
        with self._minutes.stage(Stage.VERIFY) as note:
            result = self._look(note)
        if result.status is not VerificationStatus.FAILED:
            return
        with self._minutes.stage(Stage.RELOAD):
            self._run_reload()
        with self._minutes.stage(Stage.VERIFY) as note:
            self._judge(self._look(note))

    def _snapshot(self) -> None:
        with self._minutes.stage(Stage.SNAPSHOT) as note:
            saved = [
                Saved(
                    path=change.file.path,
                    resolved=self._resolved[change.file.path],
                    state=change.present,
                )
                for change in self._run.changes
            ]
            now = self._parts.clock.now()
            self._run.snapshot = self._parts.snapshots.take(
                self._job.target_id, self._job.version_id, now, saved
            )
            note.append(str(self._run.snapshot))

    def _write_journal(self) -> None:
        with self._minutes.stage(Stage.JOURNAL):
            created: dict[str, None] = {}
            for path in self._resolved.values():
                created |= dict.fromkeys(self._parts.files.missing_parents(path))
            old = self._run.present.fingerprint
            record = Record(
                target_id=self._job.target_id,
                kind=self._target.kind,
                certificate_id=self._bundle.certificate_id,
                version_id=self._job.version_id,
                tag=self._job.tag,
                started_at=self._parts.clock.now(),
                snapshot=str(self._run.snapshot),
                destinations=tuple(self._resolved.values()),
                created=tuple(sorted(created, key=len)),
                reload_commands=self._plan.reload,
                touch=self._plan.touch,
                built_in=type(self._target).commands,
                command_timeout=self._config.command_timeout,
                verify=self._config.verify,
                fingerprint=self._bundle.fingerprint,
                chain_fingerprints=self._bundle.chain_fingerprints,
                serial=self._bundle.serial,
                not_after=self._bundle.not_after,
                old_fingerprint=old,
                served_before=self._parts.verifier.serves(self._config.verify, old),
                baseline_ok=self._run.baseline_output is None,
                retention=self._config.backup_retention,
                address=self._address,
            )
            self._parts.journal.write(record)
            self._run.record = record

    def _stage_files(self) -> None:
        with self._minutes.stage(Stage.STAGE):
            self._parts.files.make_parents(self._record.created)
            before = self._parts.clock.now() - _STALE
            for path in self._resolved.values():
                for stale in self._parts.files.leftovers(path, before=before):
                    self._parts.files.remove(stale)
            # Keys first: a reader in between finds an old certificate, never a new one without key.
            for change in sorted(self._run.changes, key=lambda change: not change.file.secret):
                path = self._resolved[change.file.path]
                temporary, refused = self._parts.files.stage(path, change.data, change.rights)
                self._run.staged.append((temporary, path))
                if refused:
                    self._run.warnings.append(f"The owner of {path} could not be set: {refused}.")

    # -- the change ------------------------------------------------------------------------------

    def _commit(self) -> None:
        with self._minutes.stage(Stage.COMMIT):
            self._advance(Phase.CHANGING)
            for temporary, path in self._run.staged:
                self._parts.files.commit(temporary, path)

    def _validate(self) -> None:
        with self._minutes.stage(Stage.VALIDATE):
            output = self._failing(self._plan.validate)
            if output is not None:
                raise ValidateFailed(output=output)

    def _reload(self) -> None:
        with self._minutes.stage(Stage.RELOAD):
            self._run_reload()
            self._advance(Phase.RELOADED)

    def _verify(self) -> None:
        with self._minutes.stage(Stage.VERIFY) as note:
            self._judge(self._look(note))

    def _finish(self) -> Callable[[int], DeployReport]:
        try:
            with self._minutes.stage(Stage.FINISH, abortable=False):
                self._parts.journal.remove(self._job.target_id)
                self._parts.snapshots.prune(self._job.target_id, self._config.backup_retention)
        except CertctlError as error:
            # The certificate is in service; what is left over is tidied at the next start.
            self._run.warnings.append(f"Tidying up failed: {error.detail}")
        return self._end(Outcome.DEPLOYED)

    # -- the ways out -----------------------------------------------------------------------------

    def _nothing_changed(self, error: CertctlError) -> Callable[[int], DeployReport]:
        late = self._minutes.current in {Stage.STAGE, Stage.RELOAD, Stage.VERIFY}
        try:
            if self._run.record is not None:
                clear(self._parts, self._run.record)
                self._parts.journal.remove(self._job.target_id)
            if self._run.snapshot is not None:
                self._parts.snapshots.drop(self._run.snapshot)
        except (CertctlError, OSError) as problem:
            self._run.warnings.append(f"Tidying up failed: {problem}")
        return self._end(Outcome.FAILED_VALIDATE if late else Outcome.FAILED_PRECHECK, error)

    def _back(self, error: CertctlError) -> Callable[[int], DeployReport]:
        failure = self._failure(error)
        result = roll_back(self._parts, self._record, self._runner, failure)
        if result.ok:
            return self._end(Outcome.ROLLED_BACK, error, rollback=result)
        message = f"{failure.message} Then the rollback failed: {result.detail}"
        broken = Failure(code="rollback_failed", message=message[:MAX_MESSAGE], stage=failure.stage)
        return self._end(Outcome.ROLLBACK_FAILED, failure=broken, rollback=result)

    def _end(
        self,
        outcome: Outcome,
        error: CertctlError | None = None,
        *,
        failure: Failure | None = None,
        rollback: Rollback | None = None,
    ) -> Callable[[int], DeployReport]:
        if error is not None:
            failure = self._failure(error)
        run, bundle = self._run, self._bundle
        details: dict[str, JSON] = {
            "serial": bundle.serial,
            "not_after": bundle.not_after.isoformat().replace("+00:00", "Z"),
            "changes": [describe(change) for change in run.changes],
        }
        if self._job.dry_run:
            details["dry_run"] = True
            details["unsupported"] = ["validation of the new files by the service"]
        if run.snapshot is not None and outcome in {Outcome.DEPLOYED, Outcome.ROLLBACK_FAILED}:
            details["snapshot"] = str(run.snapshot)
        return lambda duration_ms: DeployReport(
            outcome=outcome,
            failure=failure,
            target_id=self._job.target_id,
            kind=self._target.kind,
            certificate_id=bundle.certificate_id,
            version_id=self._job.version_id,
            fingerprint_sha256=bundle.fingerprint,
            address=self._address,
            duration_ms=duration_ms,
            stages=tuple(self._minutes.results),
            verification=run.verification,
            rollback=rollback or Rollback(),
            warnings=tuple(run.warnings),
            details=details,
            tag=self._job.tag,
        )

    # -- helpers ----------------------------------------------------------------------------------

    def _failing(self, commands: Sequence[Command]) -> str | None:
        """Run commands up to the first that fails; its output, None if all succeed."""
        for command in commands:
            result = self._runner(command)
            if not result.ok:
                timed_out = result.exit_status is None
                how = "timed out" if timed_out else f"exit status {result.exit_status}"
                return f"{command}: {how}: {result.output}".rstrip(": ")
        return None

    def _run_reload(self) -> None:
        output = self._failing(self._plan.reload)
        if output is not None:
            raise ReloadFailed(output=output)
        for path in self._plan.touch:
            self._parts.files.touch(path)

    def _look(self, note: list[str]) -> Verification:
        result = self._parts.verifier.verify(
            self._config.verify, self._bundle.fingerprint, self._bundle.chain_fingerprints
        )
        self._run.verification = result
        note.append(f"{result.status.value} {result.error}".strip())
        return result

    def _judge(self, result: Verification) -> None:
        if result.status is not VerificationStatus.FAILED:
            return
        if self._config.verify.on_failure is OnFailure.WARN:
            self._run.warnings.append(f"Not verified: {result.error}.")
            return
        if result.code == "connect_failed":
            raise ConnectFailed(reason=result.error)
        raise VerifyFailed(reason=result.error)

    def _advance(self, phase: Phase) -> None:
        record = self._record.model_copy(update={"phase": phase})
        self._parts.journal.write(record)
        self._run.record = record

    def _failure(self, error: CertctlError) -> Failure:
        message = self._redactor.text(error.detail)[:MAX_MESSAGE]
        return Failure(code=job_code(error), message=message, stage=self._minutes.current.value)

    @property
    def _record(self) -> Record:
        if self._run.record is None:
            raise TransactionDefect(what="there is no journal record")
        return self._run.record

    @property
    def _create_parents(self) -> bool:
        return isinstance(self._config, FileConfig) and self._config.create_parents

    @property
    def _address(self) -> str:
        files: tuple[File, ...] = self._plan.files
        first = files[0].path if files else ""
        return str(self._config.verify.endpoint or first)
