"""The tools of one agent that every transaction and recovery shares."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from certctl_core.contracts.context import Logger
from certctl_core.contracts.options import Command
from certctl_core.contracts.targets import Runner
from certctl_core.deploy.commands import CommandRunner
from certctl_core.deploy.errors import IdRefused
from certctl_core.deploy.files import LocalFiles, private_directory
from certctl_core.deploy.journal import Journal
from certctl_core.deploy.locks import Locks
from certctl_core.deploy.policy import Policy
from certctl_core.deploy.snapshots import Snapshots
from certctl_core.deploy.verify import Verifier
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.secrets import Redactor, Secret
from certctl_core.values import dataclass

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a transaction works with.

    Attributes:
        state_dir: The agent's state directory; ``backups``, ``journal``, ``locks``, ``targets`` and
            ``work`` lie below.
        lock_wait: How long a deployment waits for another one.
        recovery_wait: The same for recovery at start.
    """

    state_dir: Path
    policy: Policy
    clock: Clock
    log: Logger
    files: LocalFiles
    journal: Journal
    snapshots: Snapshots
    locks: Locks
    verifier: Verifier
    lock_wait: timedelta
    recovery_wait: timedelta = timedelta()

    @property
    def own_roots(self) -> tuple[str, ...]:
        """Where targets may always write: the agent's own place for them."""
        return (str(self.state_dir / "targets"),)

    def runner(
        self, built_in: Sequence[Command], timeout: timedelta, secrets: Sequence[Secret] = ()
    ) -> CommandRunner:
        """Make the runner of one target."""
        return CommandRunner(
            policy=self.policy,
            built_in=built_in,
            redactor=Redactor(secrets),
            clock=self.clock,
            timeout=timeout,
        )

    def check_path(self, path: str) -> str:
        """Check a configured path against the policy, as it stands and as it resolves.

        Returns:
            What it resolves to.

        Raises:
            PolicyDenied: It is not allowed.
        """
        self.policy.check_path(path, more_roots=self.own_roots)
        resolved = self.files.resolve(path)
        self.policy.check_path(resolved, more_roots=self.own_roots)
        return resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalContext:
    """A :class:`certctl_core.contracts.targets.TargetContext` on this host."""

    target_id: str
    clock: Clock
    log: Logger
    run: Runner
    directory: Path

    @property
    def workdir(self) -> Path:
        """The private directory of the target; created on first use."""
        return private_directory(self.directory)


def check_id(what: str, value: str) -> None:
    """Refuse an id that could leave its directory as a file name (MOD-02).

    Raises:
        IdRefused: It is not of ``[A-Za-z0-9._-]``, too long, ``.`` or ``..``.
    """
    if not _ID.fullmatch(value) or value in {".", ".."}:
        raise IdRefused(what=what)
