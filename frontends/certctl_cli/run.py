"""Runs a command line and turns everything that may happen into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from certctl_cli.options import State
from certctl_cli.root import root


def run(arguments: Sequence[str]) -> int:
    """Run one command line; failures end here, on stderr.

    Args:
        arguments: Without the program's name.

    Returns:
        The exit code.
    """
    state = State()
    try:
        result = root.main(
            args=list(arguments), prog_name="certctl", standalone_mode=False, obj=state
        )
        sys.stdout.flush()  # a reader that has left is noticed here, not at the end of Python
    except Exception as error:  # noqa: BLE001 - the end of the program
        return _failed(error, state)
    except KeyboardInterrupt:
        return _interrupted()
    finally:
        state.close()
    return result if isinstance(result, int) else 0


def _failed(error: Exception, state: State) -> int:
    from certctl_cli import failures
    from certctl_core.kernel.errors import CertctlError

    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.Abort):
        return _interrupted()
    if isinstance(error, BrokenPipeError):
        # The reader has seen enough; without this, Python complains once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return failures.Exit.FAILED
    if isinstance(error, click.ClickException):
        return failures.report_usage(error)
    if isinstance(error, CertctlError):
        return failures.report(error, is_json=state.is_json, is_verbose=state.is_verbose)
    return failures.report_crash(error, is_verbose=state.is_verbose)


def _interrupted() -> int:
    from certctl_cli.failures import Exit

    print("certctl: interrupted", file=sys.stderr)
    return Exit.INTERRUPTED
