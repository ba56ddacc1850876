"""Running commands: the one place that starts a process (spec 07 §10).

No shell, a minimal environment, a session of its own, an end to every wait, and nothing secret in
what is kept of the output.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import IO

from certctl_core.contracts.errors import safe_text
from certctl_core.contracts.options import Command
from certctl_core.contracts.targets import CommandResult
from certctl_core.deploy.errors import CommandUnavailable
from certctl_core.deploy.policy import Policy
from certctl_core.deploy.report import MAX_DETAIL
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.secrets import Redactor

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT: Mapping[str, str] = {"PATH": PATH, "LC_ALL": "C"}

_UMASK = 0o077
_READ_LIMIT = 64 * 1024
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_PEM = re.compile(r"-----BEGIN [^-]{1,64}-----.*?(?:-----END [^-]{1,64}-----|\Z)", re.DOTALL)

_PEM_TAIL = re.compile(r"\A.*-----END [^-]{1,64}-----", re.DOTALL)
"""The end of a block whose beginning was cut off."""


def scrub(text: str, redactor: Redactor) -> str:
    """Text of a program, fit for a report: one line, no PEM, no known secret, its end kept.

    Args:
        text: What was printed.
        redactor: Knows the secrets in play.

    Returns:
        At most 2,048 characters.
    """
    whole = _PEM.sub("[PEM]", text)
    clean = redactor.text(_PEM_TAIL.sub("[PEM]", whole)).strip().replace("\n", " | ")
    return safe_text(clean[-MAX_DETAIL:], MAX_DETAIL)


def find_program(name: str) -> str:
    """Find the program to run and make sure that nobody else could have put it there.

    Args:
        name: A plain name, looked up on ``PATH`` alone, or an absolute path.

    Returns:
        The path to execute, links not resolved: some programs act by their name.

    Raises:
        CommandUnavailable: Absent, relative, or its file is not safe: it must belong to root (an
            absolute path may also name a file of the agent's own user) and be writable by no one
            else.
    """
    owners = {0}
    if name.startswith("/"):
        found: str | None = name if os.access(name, os.X_OK) else None
        owners.add(os.geteuid())
    elif "/" in name:
        raise CommandUnavailable(program=name, reason="a relative path")
    else:
        found = shutil.which(name, path=PATH)
    if found is None:
        raise CommandUnavailable(program=name, reason="it is not there or not executable")
    state = Path(found).stat()
    if not stat.S_ISREG(state.st_mode):
        raise CommandUnavailable(program=name, reason="it is not a file")
    if state.st_uid not in owners or state.st_mode & _OTHERS_WRITE:
        raise CommandUnavailable(program=name, reason="somebody else could have replaced it")
    return found


class CommandRunner:
    """Runs the commands of one target; a :class:`certctl_core.contracts.targets.Runner`.

    Args:
        policy: What the host allows.
        built_in: What the target kind allows itself.
        redactor: Knows the secrets of the target.
        clock: For the duration.
        timeout: For commands that say none.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        built_in: Sequence[Command],
        redactor: Redactor,
        clock: Clock,
        timeout: timedelta,
    ) -> None:
        self._policy = policy
        self._built_in = tuple(built_in)
        self._redactor = redactor
        self._clock = clock
        self._timeout = timeout

    def check(self, command: Command) -> None:
        """Refuse what ``__call__`` would refuse, without running it.

        Raises:
            PolicyDenied: The host does not allow it.
            CommandUnavailable: The program is absent or unsafe.
        """
        self._policy.check_command(command.argv, built_in=self._built_in)
        find_program(command.argv[0])

    def __call__(
        self,
        command: Command,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout: timedelta | None = None,
    ) -> CommandResult:
        """Run a command and wait for it; see :class:`certctl_core.contracts.targets.Runner`.

        The output goes to an unnamed file, not a pipe: a daemon that it leaves behind cannot hold
        us up, and nothing it prints is lost or kept in memory.

        Raises:
            PolicyDenied: The host does not allow it.
            CommandUnavailable: The program is absent, unsafe, or cannot be started.
        """
        self._policy.check_command(command.argv, built_in=self._built_in)
        program = find_program(command.argv[0])
        limit = self._timeout if timeout is None else timeout
        started = self._clock.monotonic()
        with tempfile.TemporaryFile() as output, _input(stdin) as given:
            try:
                process = subprocess.Popen(  # noqa: S603 - checked above
                    command.argv,
                    executable=program,
                    stdin=given,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    env={**ENVIRONMENT, **(env or {})},
                    start_new_session=True,
                    umask=_UMASK,
                )
            except OSError as error:
                reason = error.strerror or "it cannot be started"
                raise CommandUnavailable(program=command.argv[0], reason=reason) from error
            status = _wait(process, limit)
            text = _tail(output)
        return CommandResult(
            argv=command.argv,
            exit_status=status,
            output=scrub(text, self._redactor),
            duration=timedelta(seconds=self._clock.monotonic() - started),
        )


def _wait(process: subprocess.Popen[bytes], limit: timedelta) -> int | None:
    try:
        return process.wait(limit.total_seconds())
    except subprocess.TimeoutExpired:
        return None
    finally:
        # Also when we are interrupted: nothing we started runs on without us.
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _input(data: bytes) -> IO[bytes]:
    if not data:
        return Path(os.devnull).open("rb")
    # May hold a secret: in memory, never on a disk.
    file = os.fdopen(os.memfd_create("certctl-stdin"), "w+b")
    file.write(data)
    file.seek(0)
    return file


def _tail(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _READ_LIMIT))
    return output.read(_READ_LIMIT).decode("utf-8", "replace")
