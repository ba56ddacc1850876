"""Exit codes, and the one failure that ends a start (spec 08 §1)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from certctl_core.kernel.config import ConfigError
    from certctl_core.kernel.errors import CertctlError

HELP_PAGE = "docs/operator/start-problems.md"


class Exit(IntEnum):
    """How a process ends. Stable: init systems and runbooks look at it."""

    OK = 0
    INTERNAL = 1
    CONFIG = 2
    DATABASE = 3
    SCHEMA = 4
    KEYRING = 5
    CREDENTIALS = 6
    AUTHORITY = 7
    TLS = 8
    BIND = 9
    PART_LOST = 10
    INTERRUPTED = 130


class StartFailure(Exception):
    """The start cannot go on.

    Args:
        exit_code: What the process ends with.
        problems: One sentence each: what, found what, what to do. Never a secret.
    """

    def __init__(self, exit_code: Exit, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.exit_code = exit_code
        self.problems = tuple(problems)

    @classmethod
    def of_config(cls, error: ConfigError) -> StartFailure:
        """Every problem of the settings."""
        return cls(Exit.CONFIG, [str(problem) for problem in error.problems])

    @classmethod
    def of(cls, exit_code: Exit, error: CertctlError, *, detail: str = "") -> StartFailure:
        """A typed failure, with what the log knows beyond the public sentence."""
        text = f"{error.detail.removesuffix('.')}: {detail}." if detail else error.detail
        return cls(exit_code, [f"{text} {error.hint}".strip()])


def say(failure: StartFailure, stream: TextIO) -> None:
    """Print a failure for a person: a head line, then one line a problem."""
    count = len(failure.problems)
    head = "1 problem" if count == 1 else f"{count} problems"
    anchor = f"{HELP_PAGE}#exit-{int(failure.exit_code)}"
    stream.write(f"certctl cannot start ({head}, exit {int(failure.exit_code)}; see {anchor}):\n")
    stream.writelines(f"  - {problem}\n" for problem in failure.problems)
    stream.flush()
