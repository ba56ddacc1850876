"""Waits: for jobs to end, for a turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from certctl_client import Client
    from certctl_client.types import Job

from certctl_cli.failures import Failed, WaitedTooLong
from certctl_cli.output import Output

Function = TypeVar("Function", bound=Callable[..., Any])
Answer = TypeVar("Answer")
_PAUSES = (0.2, 0.3, 0.5, 1.0, 2.0)
_TURNS = 3
"""Somebody else may be faster now and then."""


def wait_options(function: Function) -> Function:
    """Add ``--wait`` and ``--wait-timeout`` to a command."""
    for option in (
        click.option(
            "--wait-timeout",
            type=click.FloatRange(min=0, max=86400),
            default=300,
            show_default=True,
            metavar="SECONDS",
            help="Wait at most so long.",
        ),
        click.option("--wait", "is_waiting", is_flag=True, help="Wait until it has ended."),
    ):
        function = option(function)
    return function


def wait_for_jobs(
    client: Client,
    output: Output,
    job_ids: Sequence[str],
    *,
    seconds: float,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Job]:
    """Ask until every job has ended.

    Returns:
        The jobs in the order of their ids, all completed.

    Raises:
        Failed: A job failed or was cancelled.
        WaitedTooLong: One was still open after ``seconds``.
    """
    from certctl_client.fleet import OPEN_JOB_STATES

    deadline = time.monotonic() + seconds
    done: list[Job] = []
    with output.progress("Waiting") as tell:
        for number, job_id in enumerate(job_ids, start=1):
            attempt = 0
            while True:
                job = client.jobs.get(job_id)
                tell(f"{job['type']} {number}/{len(job_ids)}: {job['status']}")
                if job["status"] not in OPEN_JOB_STATES:
                    break
                if time.monotonic() >= deadline:
                    raise WaitedTooLong(job_id=job_id, seconds=f"{seconds:g}")
                sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
                attempt += 1
            if job["status"] != "Completed":
                cause = f": {job['last_error']}" if job["last_error"] else ""
                raise Failed(reason=f"The job {job_id} ended as {job['status']}{cause}.")
            done.append(job)
    return done


def in_turn(
    ask: Callable[[], Answer],
    output: Output,
    *,
    code: str,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """Ask; while the server refuses with ``code``, wait as long as it says, and ask again.

    Args:
        ask: The call.
        output: Says that it waits, and why.
        code: Of the refusal that says no more than "later".
        sleep: Waits so many seconds.

    Raises:
        APIError: Refused for another reason, or time and again.
    """
    from certctl_client.errors import APIError

    turn = 1
    while True:
        try:
            return ask()
        except APIError as error:
            if error.code != code or error.retry_after_seconds is None or turn == _TURNS:
                raise
            seconds, turn = error.retry_after_seconds, turn + 1
            output.note(f"{error.detail} Waiting {seconds:g} s for the next turn.")
        with output.progress("Waiting"):
            sleep(seconds)
