"""``certctl dr`` and ``certctl doctor``: before, during and after a disaster."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import click

from certctl_cli.lazy import Command, Group
from certctl_cli.options import state
from certctl_cli.parts import call_server
from certctl_cli.server import config_option, server_options

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command("doctor", cls=Command)
@click.option(
    "--backups",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where backups of the database lie, to look at their age.",
)
@click.option("--strict", "is_strict", is_flag=True, help="Exit 1 for warnings, too.")
@server_options
def doctor(
    backups: Path | None, database: str | None, config_file: Path | None, *, is_strict: bool
) -> int:
    """Look whether a disaster could be survived; exits 1 when something is wrong.

    It goes through the checklist of the disaster-recovery page: backups, CA, responder keys, trust
    anchors, secrets, ages. It changes nothing.
    """
    return call_server(
        "doctor",
        overrides={"DATABASE_URL": database},
        config_file=config_file,
        backups=backups,
        is_strict=is_strict,
        is_json=state().is_json,
    )


@click.group(cls=Group, name="dr")
def dr() -> None:
    """Rehearse a restore, and bring back what a backup lacks."""


@dr.command("drill")
@click.option("--backup", type=_FILE, required=True, metavar="FILE", help="What to restore.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="An empty folder; removed at the end.",
)
@click.option(
    "--files",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="The data directory, or its backup, with keyring and CA (default: this one's).",
)
@click.option(
    "--database-url", metavar="URL", help="An empty PostgreSQL database, for a dump of one."
)
@click.option("--pg-restore", metavar="PROGRAM", help="Instead of pg_restore on the path.")
@click.option("--psql", metavar="PROGRAM", help="Instead of psql on the path.")
@click.option("--name", metavar="NAME", help="Of the certificate issued there (default: made up).")
@click.option("--profile", "profile_id", metavar="ID", help="Issue it under this profile.")
@click.option("--keep", "keeps", is_flag=True, help="Leave the folder there.")
@config_option
def drill(config_file: Path | None, **options: Any) -> int:
    """Restore a backup into a fresh place and prove that it works; exits 1 when it does not.

    A certificate is issued and revoked there, and OpenSSL judges chain, CRL and OCSP. The running
    installation is not touched and nobody is notified. The keys come from this installation's
    settings; give --files to use what was backed up.
    """
    return call_server("dr_drill", config_file=config_file, is_json=state().is_json, **options)


@dr.command("import-crl")
@click.argument("files", metavar="FILE...", type=_FILE, nargs=-1, required=True)
def import_crl(files: tuple[Path, ...]) -> None:
    """Add the revocations of kept CRLs (DER or PEM) that a restored database lacks.

    Every CRL has to be signed by a CA key of the server. The next CRL of that key gets a higher
    number than any of them.
    """
    client, output = state().client(), state().output
    answers = []
    for file in files:
        text = base64.b64encode(file.read_bytes()).decode()
        answer = client.recovery.import_crl(text)
        answers.append({"file": str(file), **answer})
        if not output.is_json:
            output.text(
                f"{file}: CRL {answer['crl_number']} of CA key {answer['ca_key_id']}: "
                f"{answer['added']} of {answer['entries']} revocations were missing"
            )
    if output.is_json:
        output.document({"data": answers})


@dr.command("import-certs")
@click.argument("files", metavar="FILE...", type=_FILE, nargs=-1, required=True)
@click.pass_context
def import_certs(ctx: click.Context, files: tuple[Path, ...]) -> None:
    """Add certificates (PEM) of the server's CAs to its ledger, so that OCSP knows them.

    Exits 1 when one of them was not signed by a CA key of the server.
    """
    output = state().output
    pem = "\n".join(file.read_text(encoding="utf-8") for file in files)
    answer = state().client().recovery.import_certificates(pem)
    if output.is_json:
        output.document(answer)
    else:
        output.text(f"{answer['added']} certificates added, {answer['known']} were known.")
        for subject in answer["foreign"]:
            output.text(f"Not ours: {subject}")
    ctx.exit(1 if answer["foreign"] else 0)
