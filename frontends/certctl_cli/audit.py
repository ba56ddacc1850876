"""``certctl audit``: the record of who did what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from certctl_cli.columns import EVENT, EVENTS, REPORT
from certctl_cli.lazy import Group
from certctl_cli.lists import list_options, show, show_list
from certctl_cli.options import state
from certctl_cli.parts import call_server
from certctl_cli.waiting import in_turn

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.group(cls=Group, name="audit")
def audit() -> None:
    """List the audit log and verify that nobody changed it."""


@audit.command("list")
@click.option("--category", metavar="NAME", help="Of this category.")
@click.option("--actor", metavar="ID", help="By this actor.")
@click.option("--action", metavar="NAME", help="As certificate.revoked.")
@click.option("--resource-type", metavar="NAME", help="On objects of this type.")
@click.option("--resource", "resource_id", metavar="ID", help="On this object.")
@click.option("--since", metavar="TIME", help="RFC 3339: from then on.")
@click.option("--until", metavar="TIME", help="RFC 3339: before then.")
@list_options
def list_events(**options: Any) -> None:
    """List audit events, newest first."""
    show_list(state().client().audit.list, EVENTS, empty="No events match.", **options)


@audit.command("show")
@click.argument("event_id", metavar="ID")
def show_event(event_id: str) -> None:
    """Show an audit event."""
    show(state().client().audit.get(event_id), EVENT)


@audit.command("verify")
@click.option("--full", is_flag=True, help="From the first entry, not only since the last check.")
@click.option("--local", "is_local", is_flag=True, help="Read the database of this installation.")
@click.option("--file", "export", type=_FILE, metavar="FILE", help="Verify an export (NDJSON).")
@click.option("--key", "key_file", type=_FILE, metavar="FILE", help="Its verifier key.")
@click.option("--checkpoint", type=_FILE, metavar="FILE", help="A checkpoint that was kept.")
@click.pass_context
def verify(
    ctx: click.Context,
    *,
    full: bool,
    is_local: bool,
    export: Path | None,
    key_file: Path | None,
    checkpoint: Path | None,
) -> None:
    """Verify the log against its signed checkpoints; exits 1 when it was tampered with.

    The server does it, once a minute at most: this waits for its turn. --local reads the database
    without a server; --file with --key needs neither.
    """
    output = state().output
    if export is not None:
        ctx.exit(_verify_export(export, key_file, checkpoint))
    if key_file is not None or checkpoint is not None:
        message = "--key and --checkpoint belong to --file."
        raise click.UsageError(message, ctx)
    if is_local:
        ctx.exit(call_server("audit_verify", full=full, is_json=output.is_json))
    client = state().client()
    report = in_turn(lambda: client.audit.verify(full=full), output, code="verified_just_now")
    if output.is_json:
        output.document(report)
    else:
        output.form(report, REPORT)
    ctx.exit(0 if report["ok"] else 1)


def _verify_export(export: Path, key_file: Path | None, checkpoint: Path | None) -> int:
    if key_file is None:
        message = "--file needs --key, a file with the log's verifier key."
        raise click.UsageError(message, click.get_current_context())
    return call_server(
        "audit_verify_export",
        export=export,
        key=key_file.read_text(encoding="utf-8").strip(),
        checkpoint=checkpoint,
        is_json=state().is_json,
    )


@audit.command("checkpoint")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Into a file.")
def checkpoint(out: Path | None) -> None:
    """Show the newest signed checkpoint, to be kept off-site."""
    output = state().output
    found = state().client().audit.checkpoint()
    if output.is_json:
        output.document(found)
    elif out is None:
        output.text(found["note"].rstrip("\n"))
    else:
        from certctl_cli.files import write_all

        write_all({out: found["note"]}, is_replacing=False)
        output.text(f"Wrote {out}.")
