"""``certctl signers``: where private keys are kept."""

from __future__ import annotations

import click

from certctl_cli.lazy import Command, Group
from certctl_cli.options import state
from certctl_cli.output import Column

_SIGNERS = (
    Column(title="Kind", key="kind"),
    Column(title="Title", key="title"),
    Column(title="Used for", value=lambda r: ", ".join(r["purposes"]) or "-"),
    Column(title="Ready", value=lambda r: "yes" if r["is_ready"] else f"no: {r['error']}"),
)
_PURPOSES = (
    Column(title="Keys of", key="purpose"),
    Column(title="Are kept by", key="signer"),
    Column(title="Setting", value=lambda r: r["setting"] or "-"),
)


@click.group(cls=Group, name="signers")
def signers() -> None:
    """Show where private keys are kept."""


@signers.command("list", cls=Command)
def list_signers() -> None:
    """List the signers, whether their keys can be had now, and what each is used for."""
    output = state().output
    found = state().client().signers()
    if output.is_json:
        output.document(dict(found))
        return
    output.table(found["signers"], _SIGNERS, empty="No signers.")
    output.table(found["purposes"], _PURPOSES, empty="")
