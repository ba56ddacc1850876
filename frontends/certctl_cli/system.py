"""``certctl status``, ``me``, ``version``, ``plugins`` and ``crl``: the installation itself."""

from __future__ import annotations

import platform
from typing import Any

import click
from certctl_client.errors import APIError

from certctl_cli.columns import CRL_CHECK, CRLS, ME, PLUGINS, SUMMARY
from certctl_cli.lazy import Command, Group
from certctl_cli.lists import show
from certctl_cli.lookup import certificate_id
from certctl_cli.options import state
from certctl_cli.output import Column
from certctl_cli.parts import call_server
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.release import described, facts

_STATUS = (
    Column(title="Server", key="server"),
    Column(title="State", key="status"),
    Column(title="Version", key="version"),
)


@click.command("status", cls=Command)
@click.pass_context
def status(ctx: click.Context) -> None:
    """Show whether the server is ready, and the installation in numbers.

    Exits 1 when it is not ready. The numbers need a key that may read them.
    """
    client, output = state().client(), state().output
    is_ready, document = client.ready()
    found: dict[str, Any] = {
        "server": client.http.url,
        "status": document.get("status", "unknown"),
        "version": client.version()["version"] if is_ready else None,
        "summary": None,
    }
    if is_ready:
        try:
            found["summary"] = client.summary()
        except APIError as error:
            if error.status not in {401, 403}:
                raise
            output.note(f"The numbers are left out: {error.detail}")
    if output.is_json:
        output.document(found)
    else:
        output.form(found, _STATUS)
        if found["summary"] is not None:
            output.form(found["summary"], SUMMARY)
    ctx.exit(0 if is_ready else 1)


@click.command("me", cls=Command)
def me() -> None:
    """Show who you are to the server and what you may do."""
    show(state().client().auth.me(), ME)


@click.command("version", cls=Command)
def version() -> None:
    """Show the release of this program and of the server."""
    output = state().output
    found: dict[str, Any] = {
        "client": {**facts(), "python_version": platform.python_version()},
        "server": None,
    }
    try:
        found["server"] = state().client().version()
    except CertctlError as error:
        output.note(f"The server was not asked: {error.detail}")
    if output.is_json:
        output.document(found)
        return
    for name, release in found.items():
        if release is not None:
            build = described(
                release["version"],
                commit=release.get("commit"),
                is_modified=release.get("modified"),
                build_time=release.get("build_time"),
            )
            output.text(f"{name}: {build}, Python {release['python_version']}")


@click.group(cls=Group, name="plugins")
def plugins() -> None:
    """Show which plugins are installed."""


@plugins.command("list")
@click.option("--local", "is_local", is_flag=True, help="Of this environment; asks no server.")
@click.pass_context
def list_plugins(ctx: click.Context, *, is_local: bool) -> None:
    """List plugins, with the reason where one cannot be used."""
    if is_local:
        ctx.exit(call_server("plugins_list", is_json=state().is_json))
    output = state().output
    found = state().client().plugins()
    if output.is_json:
        output.document({"plugins": found})
    else:
        output.table(found, PLUGINS, empty="No plugins.")


@click.group(cls=Group, name="crl")
def crl() -> None:
    """Check what the revocation lists say; show and regenerate them."""


@crl.command("check")
@click.argument("certificate")
@click.pass_context
def check_crl(ctx: click.Context, certificate: str) -> None:
    """Show what the published CRL says of a certificate; exits 1 if it is revoked or not sure.

    CERTIFICATE is the id of a managed certificate or its name. The list is the one that the
    certificate points at: its partition, or the complete list of its CA key.
    """
    client, output = state().client(), state().output
    found = client.crls.check(certificate_id(client, certificate))
    if output.is_json:
        output.document(found)
    else:
        output.form(found, CRL_CHECK)
    told = found["delta"]
    sure = found["is_verified"] and not found["problem"] and (not told or not told["problem"])
    ctx.exit(0 if sure and not found["is_listed"] else 1)


@crl.command("show")
def show_crl() -> None:
    """Show the list of every CA key: its number, its age."""
    output = state().output
    found = state().client().crls.state()
    if output.is_json:
        output.document(found)
    else:
        output.table(found["cache_rows"], CRLS, empty="There is no CA key here.")


@crl.command("regenerate")
@click.argument("issuer_id", metavar="ISSUER", default="iss-local")
def regenerate(issuer_id: str) -> None:
    """Sign new lists for the CA keys of an issuer at once."""
    output = state().output
    found = state().client().crls.regenerate(issuer_id)
    if output.is_json:
        output.document(found)
    else:
        for key, number in found["crl_numbers"].items():
            output.text(f"CA key {key}: CRL number {number}")
