"""``DeployEngine``: the door to the deploy transaction, for the agent."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from certctl_core.contracts.checks import Check, CheckReport
from certctl_core.contracts.context import Logger
from certctl_core.contracts.options import secret_values, validate_config
from certctl_core.contracts.targets import Bundle, FileConfig, FileTarget, TargetConfig
from certctl_core.deploy.files import LocalFiles, private_directory
from certctl_core.deploy.journal import Journal
from certctl_core.deploy.locks import Locks
from certctl_core.deploy.parts import LocalContext, Parts, check_id
from certctl_core.deploy.policy import Policy
from certctl_core.deploy.recovery import recover_all
from certctl_core.deploy.report import DeployReport, Stage
from certctl_core.deploy.sample import sample_bundle
from certctl_core.deploy.snapshots import Snapshots
from certctl_core.deploy.transaction import Job, Transaction
from certctl_core.deploy.verify import Verifier
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.errors import CertctlError

LOCK_WAIT = timedelta(seconds=120)
"""How long a deployment waits for another one on the same target or file."""

Target = TypeVar("Target", bound=FileTarget)


class DeployEngine:
    """Deploys bundles on this host. Safe to use from several threads and processes at once.

    Args:
        state_dir: The agent's state directory; created with mode 0700.
        policy: What the host allows.
        clock: The time.
        log: Where to log; ids and reasons only.
        lock_wait: How long to wait for another deployment.
        files: The file system.
        sleep: Waits some seconds.
    """

    def __init__(
        self,
        state_dir: Path,
        policy: Policy,
        clock: Clock,
        log: Logger,
        *,
        lock_wait: timedelta = LOCK_WAIT,
        files: LocalFiles | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        private_directory(state_dir)
        self._parts = Parts(
            state_dir=state_dir,
            policy=policy,
            clock=clock,
            log=log,
            files=files or LocalFiles(),
            journal=Journal(state_dir / "journal"),
            snapshots=Snapshots(state_dir / "backups"),
            locks=Locks(state_dir / "locks", clock, sleep),
            verifier=Verifier(sleep),
            lock_wait=lock_wait,
        )

    def build(
        self, target: type[Target], config: Mapping[str, object], *, target_id: str
    ) -> Target:
        """Validate a configuration and make the target.

        Args:
            target: The class.
            config: As sent by the server, secrets in place, references resolved.
            target_id: Id of the target row.

        Raises:
            ConfigInvalid: It does not fit; ``DeployReport.refused`` turns it into a report.
            IdRefused: The id cannot be a file name.
        """
        check_id("target", target_id)
        checked = validate_config(target.Config, config)
        if not isinstance(checked, TargetConfig):
            message = f"{target.__name__}.Config must derive from TargetConfig"
            raise TypeError(message)
        context = LocalContext(
            target_id=target_id,
            clock=self._parts.clock,
            log=self._parts.log,
            run=self._parts.runner(
                target.commands, checked.command_timeout, secret_values(checked)
            ),
            directory=self._parts.state_dir / "work" / target_id,
        )
        return target(checked, context)

    def deploy(
        self,
        target: FileTarget,
        bundle: Bundle,
        *,
        version_id: str,
        target_id: str,
        force: bool = False,
        dry_run: bool = False,
        tag: str = "",
        should_abort: Callable[[], bool] | None = None,
        on_stage: Callable[[Stage], None] | None = None,
    ) -> DeployReport:
        """Bring one bundle to one target, or leave everything as it was.

        Args:
            target: Made by ``build``.
            bundle: Made by ``Bundle.build``.
            version_id: The version to deploy; must be that of the bundle.
            target_id: Id of the target row.
            force: Write and reload even where nothing differs or the service was broken before.
            dry_run: Change nothing; ``details.changes`` says what would change.
            tag: Comes back as ``DeployReport.tag``, after a crash as well.
            should_abort: Asked at the start of each stage; True ends the deployment, with a
                rollback where something has changed.
            on_stage: Told each stage as it starts.

        Returns:
            The report. What goes wrong on the host is in it, never raised.

        Raises:
            ValueError: ``version_id`` is not that of the bundle (DEP-12).
        """
        if version_id != bundle.version_id:
            message = "the bundle is of another version than the job"
            raise ValueError(message)
        job = Job(
            target_id=target_id,
            version_id=version_id,
            force=force,
            dry_run=dry_run,
            tag=tag,
            should_abort=should_abort,
            on_stage=on_stage,
        )
        report = Transaction(self._parts, target, bundle, job).run()
        failure = report.failure
        self._parts.log.info(
            "deploy.finished",
            target_id=target_id,
            version_id=version_id,
            outcome=report.outcome.value,
            code="" if failure is None else failure.code,
            duration_ms=report.duration_ms,
        )
        return report

    def recover(self) -> list[DeployReport]:
        """Finish or undo the deployments that a crash interrupted; call it before any new one.

        Returns:
            One report each, with ``recovered`` and the ``tag`` of the interrupted job.
        """
        return recover_all(self._parts)

    @property
    def recovery_pending(self) -> int:
        """How many deployments are unfinished, running ones counted."""
        return len(list(self._parts.journal.target_ids()))

    def check(self, target: FileTarget) -> CheckReport:
        """Look whether a deployment could work, without writing and without reload.

        Looks at policy, paths, programs, the service's configuration and the endpoint.
        """
        checks: list[Check] = []

        def look(name: str, act: Callable[[], object]) -> None:
            try:
                act()
                checks.append(Check(name=name, ok=True))
            except CertctlError as error:
                checks.append(Check(name=name, ok=False, detail=error.detail, hint=error.hint))

        parts, config = self._parts, target.config
        look("policy", lambda: parts.policy.check_kind(target.kind))
        try:
            plan = target.plan(sample_bundle(parts.clock.now()))
        except CertctlError as error:
            checks.append(Check(name="plan", ok=False, detail=error.detail, hint=error.hint))
            return CheckReport.of(checks)
        create = isinstance(config, FileConfig) and config.create_parents
        for file in plan.files:

            def path(name: str = file.path) -> None:
                parts.files.check_parent(parts.check_path(name), create=create)

            look("path", path)
        run = parts.runner(type(target).commands, config.command_timeout, secret_values(config))
        for command in (*plan.validate, *plan.reload):
            look("command", lambda command=command: run.check(command))  # type: ignore[misc]
        if all(check.ok for check in checks):
            for command in plan.validate:
                result = run(command)
                checks.append(Check(name="configuration", ok=result.ok, detail=result.output))
        if config.verify.enabled and config.verify.endpoint is not None:
            look("endpoint", lambda: parts.verifier.look(config.verify))
        return CheckReport.of([*checks, *target.check()])
