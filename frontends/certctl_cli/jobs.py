"""``certctl jobs``: what goes on in the background."""

from __future__ import annotations

from typing import Any

import click

from certctl_cli.columns import JOB, JOBS
from certctl_cli.lazy import Group
from certctl_cli.lists import confirm, list_options, show, show_list, yes_option
from certctl_cli.options import state
from certctl_cli.waiting import wait_for_jobs, wait_options
from certctl_cli.words import Words

STATUSES = (
    "Pending",
    "AwaitingCSR",
    "AwaitingApproval",
    "AwaitingIssuer",
    "Running",
    "Completed",
    "Failed",
    "Cancelled",
)


@click.group(cls=Group, name="jobs")
def jobs() -> None:
    """List, show, cancel and retry jobs."""


@jobs.command("list")
@click.option("--status", type=Words(STATUSES), help="In this state.")
@click.option("--type", "type", metavar="TYPE", help="Renewal, Deployment …")
@click.option("--certificate", "certificate_id", metavar="ID", help="For this certificate.")
@click.option("--target", "target_id", metavar="ID", help="For this target.")
@click.option("--agent", "agent_id", metavar="ID", help="For this agent.")
@list_options
def list_jobs(**options: Any) -> None:
    """List jobs."""
    show_list(state().client().jobs.list, JOBS, empty="No jobs match.", **options)


@jobs.command("show")
@click.argument("job_id", metavar="ID")
@wait_options
def show_job(job_id: str, *, is_waiting: bool, wait_timeout: float) -> None:
    """Show a job."""
    client = state().client()
    if is_waiting:
        show(wait_for_jobs(client, state().output, [job_id], seconds=wait_timeout)[0], JOB)
    else:
        show(client.jobs.get(job_id), JOB)


@jobs.command("cancel")
@click.argument("job_id", metavar="ID")
@yes_option
def cancel(job_id: str, *, is_sure: bool) -> None:
    """Cancel a job that has not ended."""
    output = state().output
    confirm(f"Cancel {job_id}?", is_sure=is_sure)
    answer = state().client().jobs.cancel(job_id)
    if output.is_json:
        output.document(answer)
    else:
        output.text(f"Cancelled {job_id}.")


@jobs.command("retry")
@click.argument("job_id", metavar="ID")
def retry(job_id: str) -> None:
    """Run a failed job again at once."""
    show(state().client().jobs.retry(job_id), JOB)
