"""``certctl trust``: the trust bundles of the server."""

from __future__ import annotations

import click

from certctl_cli.columns import TRUST_ANCHORS, TRUST_BUNDLES
from certctl_cli.lazy import Group
from certctl_cli.options import state


@click.group(cls=Group, name="trust")
def trust() -> None:
    """Show and reload the trust bundles."""


@trust.command("list")
@click.option("--certificates", "with_certificates", is_flag=True, help="Each certificate of them.")
def list_bundles(*, with_certificates: bool) -> None:
    """List the trust bundles as they are in force."""
    output = state().output
    bundles = state().client().trust_bundles.show()
    if output.is_json:
        output.document({"data": bundles})
    elif with_certificates:
        rows = [
            {"bundle": item["name"], **anchor} for item in bundles for anchor in item["anchors"]
        ]
        output.table(rows, TRUST_ANCHORS, empty=_NONE)
    else:
        output.table([dict(item) for item in bundles], TRUST_BUNDLES, empty=_NONE)


@trust.command("reload")
@click.argument("name")
def reload(name: str) -> None:
    """Read a trust bundle again; where it cannot be used, what was in force stays."""
    output = state().output
    answer = state().client().trust_bundles.reload(name)
    if output.is_json:
        output.document(answer)
        return
    count, added, removed = answer["certs_loaded"], len(answer["added"]), len(answer["removed"])
    output.text(f"{name}: {count} certificate(s) in force, {added} new, {removed} gone.")
    for warning in answer["warnings"]:
        output.text(f"Mind: {warning}")


_NONE = "No trust bundles are configured."
