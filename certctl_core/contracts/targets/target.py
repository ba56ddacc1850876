"""The target classes and their context (spec 07 §8)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Protocol

from certctl_core.contracts.checks import Check
from certctl_core.contracts.context import Logger
from certctl_core.contracts.options import Command
from certctl_core.contracts.plugin import Plugin, hookspec
from certctl_core.contracts.targets.bundle import Bundle
from certctl_core.contracts.targets.config import TargetConfig
from certctl_core.contracts.targets.plan import Plan
from certctl_core.kernel.clock import Clock
from certctl_core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How a command ended.

    Attributes:
        argv: What was run.
        exit_status: 0 is success; negative is the signal that ended it; None: it ran out of time
            and was killed with its children.
        output: Standard output and error together, without keys and known secrets, at most
            2,048 characters: the end of it, where the reason stands.
        duration: How long it ran.
    """

    argv: tuple[str, ...]
    exit_status: int | None
    output: str
    duration: timedelta

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.exit_status == 0


class Runner(Protocol):
    """Runs commands under the local policy of the host; there is never a shell."""

    def __call__(
        self,
        command: Command,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout: timedelta | None = None,
    ) -> CommandResult:
        """Run a command and wait for it.

        Args:
            command: Must be of the target's ``commands`` or allowed by the host's policy.
            stdin: Its standard input.
            env: Added to the minimal environment. The place for a secret; argv is not.
            timeout: None takes the target's ``command_timeout``.

        Raises:
            PolicyDenied: The host does not allow it.
            CommandUnavailable: There is no such program, or it is not safe to run.
        """
        ...


class TargetContext(Protocol):
    """``self.ctx`` of a target; it runs on the agent, without database."""

    @property
    def target_id(self) -> str:
        """Id of the target row."""
        ...

    @property
    def clock(self) -> Clock:
        """The time; never take it from elsewhere."""
        ...

    @property
    def log(self) -> Logger:
        """The log of this target."""
        ...

    @property
    def run(self) -> Runner:
        """Runs commands."""
        ...

    @property
    def workdir(self) -> Path:
        """A private directory (0700) of this target for intermediate files."""
        ...


class FileTarget(Plugin):
    """A target kind that is files plus commands (family 1).

    The core owns order, locks, comparison, backup, atomic writes, rollback, verification, crash
    recovery and reporting. A kind says which bytes go where and how the service reads them.

    Args:
        config: The validated configuration, references resolved.
        ctx: The context of this target.

    Attributes:
        default_owners: User and group names for files that are new and not secret; the first that
            exists on the host is taken.
        commands: What this kind may run without an entry in the host's policy. An exact match is
            asked for, so list whole commands.
    """

    default_owners: ClassVar[tuple[str, ...]] = ()
    commands: ClassVar[tuple[Command, ...]] = ()

    def __init__(self, config: TargetConfig, ctx: TargetContext) -> None:
        self.config = config
        self.ctx = ctx

    @abstractmethod
    def plan(self, bundle: Bundle) -> Plan:
        """Say what is to be done. Pure: no file is opened, no command run.

        Raises:
            ConfigError: The configuration cannot serve this bundle.
        """

    def check(self) -> list[Check]:
        """What this kind looks at before a deployment and on request, without writing.

        The core itself looks at paths, rights, policy and programs.
        """
        return []


@hookspec
def certctl_targets() -> list[type[FileTarget]]:  # type: ignore[empty-body] # a specification
    """Register target kinds.

    Called once at start, each implementation on its own; all results count. Return the classes; do
    not build, read or call anything.
    """
