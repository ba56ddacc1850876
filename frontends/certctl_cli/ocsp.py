"""``certctl ocsp``: what OCSP says, who signs it, what is stored."""

from __future__ import annotations

import click

from certctl_cli.columns import OCSP_CHECK, RESPONDERS
from certctl_cli.lazy import Group
from certctl_cli.lookup import certificate_id
from certctl_cli.options import state


@click.group(cls=Group, name="ocsp")
def ocsp() -> None:
    """Check what OCSP says; show and rotate the responders; purge stored answers."""


@ocsp.command("check")
@click.argument("certificate")
@click.pass_context
def check(ctx: click.Context, certificate: str) -> None:
    """Show what OCSP says of a certificate; exits 1 unless it is a valid "good".

    CERTIFICATE is the id of a managed certificate or its name.
    """
    client, output = state().client(), state().output
    found = client.ocsp.check(certificate_id(client, certificate))
    if output.is_json:
        output.document(found)
    else:
        output.form(found, OCSP_CHECK)
    ctx.exit(0 if found["status"] == "good" and found["is_verified"] else 1)


@ocsp.command("show")
def show() -> None:
    """Show the responder of every CA key and how many answers are stored."""
    output = state().output
    found = state().client().ocsp.state()
    if output.is_json:
        output.document(found)
        return
    empty = "No responder yet; the first request makes it."
    if found["direct_signing"]:
        empty = "No responder: the CA keys sign the answers themselves."
    output.table(found["responders"], RESPONDERS, empty=empty)
    for row in found["cache"]:
        output.text(
            f"Stored answers of {row['issuer_id']}: {row['good']} good, {row['revoked']} revoked"
        )


@ocsp.command("rotate")
@click.argument("issuer_id", metavar="ISSUER", default="iss-local")
def rotate(issuer_id: str) -> None:
    """Give the responders of an issuer new keys and certificates at once."""
    output = state().output
    found = state().client().ocsp.rotate(issuer_id)
    if output.is_json:
        output.document(found)
    else:
        for key, serial in found["serial_numbers"].items():
            output.text(f"CA key {key}: responder {serial}")


@ocsp.command("purge")
@click.option("--issuer", "issuer_id", metavar="ID", help="Only answers of this issuer.")
@click.option("--serial", metavar="HEX", help="Only answers about this serial number.")
def purge(issuer_id: str | None, serial: str | None) -> None:
    """Delete stored answers; the next requests are signed anew."""
    output = state().output
    found = state().client().ocsp.purge(issuer_id=issuer_id, serial=serial)
    if output.is_json:
        output.document(found)
    else:
        output.text(f"Deleted {found['purged']} stored answers.")
