"""``certctl ca``: the CAs of a tree, from the root to the one that issues."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from certctl_cli.columns import INTERMEDIATE
from certctl_cli.files import write_all
from certctl_cli.lazy import Command
from certctl_cli.lists import confirm, show, yes_option
from certctl_cli.options import state
from certctl_cli.reasons import REASONS
from certctl_cli.words import Words

if TYPE_CHECKING:
    from certctl_client.types import Intermediate

ALGORITHMS = (
    "ECDSA-P256",
    "ECDSA-P384",
    "ECDSA-P521",
    "RSA-2048",
    "RSA-3072",
    "RSA-4096",
    "Ed25519",
    "ML-DSA-44",
    "ML-DSA-65",
    "ML-DSA-87",
)
PREFIX = "ica-"
_ISSUER = click.option(
    "--issuer", "issuer_id", metavar="ID", default="iss-local", show_default=True, help="Whose."
)
_NAME = click.option("--name", required=True, metavar="NAME", help="Its name in the tree.")
_FILE = click.File("r")
_PARTS = ("organization", "organizational_unit", "country", "locality", "province")


@click.command("tree", cls=Command)
@click.argument("issuer_id", metavar="ISSUER", default="iss-local")
def tree(issuer_id: str) -> None:
    """Show the tree of CAs of an issuer; * marks the one that issues."""
    output = state().output
    found = state().client().hierarchy.list(issuer_id)
    if output.is_json:
        output.document({"data": list(found)})
        return
    if not found:
        output.note("This issuer has no tree: 'certctl ca create-root' begins one.")
    for line in _lines(found, None, ""):
        output.text(line)


def _lines(found: Sequence[Intermediate], parent: str | None, lead: str) -> list[str]:
    """One line a CA, children below their parent."""
    children = [row for row in found if row["parent_ca_id"] == parent]
    lines = []
    for row in children:
        is_last = row is children[-1]
        branch = "" if parent is None else "└── " if is_last else "├── "
        more = "" if parent is None else "    " if is_last else "│   "
        lines.append(f"{lead}{branch}{_line(row)}")
        lines += _lines(found, row["id"], lead + more)
    return lines


def _line(row: Intermediate) -> str:
    mark = " *" if row["is_issuing"] else ""
    where = "" if row["key_driver_id"] else ", offline"
    until = (
        f", until {row['not_after'][:10]}" if row["not_after"] else ", waits for its certificate"
    )
    above = ", revoked above" if row["revoked_above"] else ""
    return f"{row['name']}{mark}  {row['id']}  ({row['state']}{where}{until}{above})"


@click.command("show", cls=Command)
@click.argument("ca_id", metavar="CA")
def show_ca(ca_id: str) -> None:
    """Show a CA of a tree."""
    show(state().client().hierarchy.get(ca_id), INTERMEDIATE)


@click.command("create-root", cls=Command)
@_ISSUER
@_NAME
@click.option("--certificate", type=_FILE, metavar="FILE", help="Its self-signed certificate, PEM.")
@click.option("--current", is_flag=True, help="The CA that the issuer has now becomes the root.")
@click.option(
    "--key",
    "key_driver_id",
    metavar="SIGNER:REFERENCE",
    help="Where its key is; without it the root is offline.",
)
def create_root(
    issuer_id: str, name: str, certificate: Any, key_driver_id: str | None, *, current: bool
) -> None:
    """Begin a tree with a root: an offline one, or the CA that the issuer has now."""
    if current == (certificate is not None):
        message = "Give --certificate FILE, or --current for the CA that the issuer has now."
        raise click.UsageError(message)
    client = state().client()
    if certificate is not None:
        pem = certificate.read()
    else:
        keys = [key for key in client.issuers.ca_keys(issuer_id) if key["state"] == "current"]
        if not keys:
            message = f"{issuer_id} has no CA that issues now."
            raise click.UsageError(message)
        pem = keys[0]["certificate_pem"]
    made = client.hierarchy.create_root(
        issuer_id, name=name, root_cert_pem=pem, key_driver_id=key_driver_id
    )
    _told(made)


@click.command("create", cls=Command)
@_ISSUER
@_NAME
@click.option("--parent", "parent_ca_id", required=True, metavar="CA", help="The CA above it.")
@click.option("--common-name", metavar="NAME", help="Of its subject (default: its name).")
@click.option("--organization", multiple=True, metavar="TEXT", help="O of its subject.")
@click.option("--organizational-unit", multiple=True, metavar="TEXT", help="OU of its subject.")
@click.option("--country", multiple=True, metavar="CC", help="C of its subject.")
@click.option("--province", multiple=True, metavar="TEXT", help="ST of its subject.")
@click.option("--locality", multiple=True, metavar="TEXT", help="L of its subject.")
@click.option(
    "--algorithm",
    type=Words(ALGORITHMS),
    default="ECDSA-P256",
    show_default=True,
    help="Of its key.",
)
@click.option(
    "--days",
    "ttl_days",
    type=click.IntRange(min=1),
    default=1825,
    show_default=True,
    help="Its lifetime; its parent's end is the limit.",
)
@click.option(
    "--path-length",
    "path_len_constraint",
    type=click.IntRange(min=0),
    help="How many CAs may follow below it.",
)
@click.option(
    "--permit", "permitted", multiple=True, metavar="NAME", help="DNS:example.com, IP:10.0.0.0/8 …"
)
@click.option(
    "--exclude", "excluded", multiple=True, metavar="NAME", help="The same, never to certify."
)
@click.option("--ocsp-url", "ocsp_responder_url", metavar="URL", help="In its certificates.")
@click.option(
    "--key", "key_driver_id", metavar="KEY", help="An existing key: signer:reference or key id."
)
@click.option("--csr-only", is_flag=True, help="Only a request, also where the parent could sign.")
@click.option("--csr-out", type=click.Path(path_type=Path), metavar="FILE", help="The request.")
def create(issuer_id: str, *, csr_out: Path | None, **options: Any) -> None:
    """Make a CA below another one.

    The parent signs it at once. Below a CA whose key is not here, it waits: 'certctl ca csr' gives
    the request for the other CA, 'certctl ca import' takes the certificate.
    """
    subject: dict[str, object] = {
        part: list(values) for part in _PARTS if (values := options.pop(part))
    }
    subject["common_name"] = options.pop("common_name") or options["name"]
    made = state().client().hierarchy.create(issuer_id, subject=subject, **options)
    if csr_out is not None and made["csr_pem"]:
        write_all({csr_out: made["csr_pem"]}, is_replacing=False)
    _told(made)


def _told(made: Intermediate) -> None:
    output = state().output
    if output.is_json:
        output.document(made)
        return
    output.text(f"{made['name']} is {made['state']}: {made['id']}")
    if made["state"] == "created":
        output.note(f"'certctl ca csr {made['id']}' gives the request for the CA that signs it.")


@click.command("csr", cls=Command)
@click.argument("ca_id", metavar="CA")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Instead of stdout.")
def csr(ca_id: str, out: Path | None) -> None:
    """Print the request of a CA that another CA signs."""
    output = state().output
    found = state().client().hierarchy.get(ca_id)
    if output.is_json:
        output.document({"id": found["id"], "csr_pem": found["csr_pem"]})
    elif found["csr_pem"] is None:
        message = f"{ca_id} was signed by its parent; it has no request."
        raise click.UsageError(message)
    elif out is None:
        click.echo(found["csr_pem"], nl=False)
    else:
        write_all({out: found["csr_pem"]}, is_replacing=False)
        output.text(f"The request is in {out}.")


@click.command("import", cls=Command)
@click.argument("ca_id", metavar="CA")
@click.argument("certificate", type=_FILE, metavar="FILE")
@click.option("--chain", type=_FILE, metavar="FILE", help="CAs between it and its parent, PEM.")
def import_certificate(ca_id: str, certificate: Any, chain: Any) -> None:
    """Give a CA the certificate that another CA signed from its request."""
    chain_pem = None if chain is None else chain.read()
    _told(state().client().hierarchy.install(ca_id, certificate.read(), chain_pem=chain_pem))


@click.command("use", cls=Command)
@click.argument("ca_id", metavar="CA")
@_ISSUER
def use(ca_id: str, issuer_id: str) -> None:
    """Let a CA of the tree issue from now on; 'single' goes back to the issuer's own CA."""
    client = state().client()
    is_single = ca_id == "single"
    if not is_single:
        issuer_id = client.hierarchy.get(ca_id)["owning_issuer_id"]
    issuer = client.hierarchy.issue_by(issuer_id, None if is_single else ca_id)
    output = state().output
    if output.is_json:
        output.document(issuer)
    else:
        name = "Its own CA" if is_single else ca_id
        output.text(f"{name} issues for {issuer_id} from now on.")


@click.command("revoke", cls=Command)
@click.argument("ca_id", metavar="CA")
@click.option(
    "--reason",
    type=Words(one for one in REASONS if one != "certificateHold"),
    default="unspecified",
    show_default=True,
    help="RFC 5280 §5.3.1.",
)
@click.option("--note", default="", metavar="TEXT", help="Why; for the audit log.")
@yes_option
def revoke(ca_id: str, reason: str, note: str, *, is_sure: bool) -> None:
    """Revoke a CA: neither it nor a CA below it signs certificates any more."""
    confirm(f"Revoke {ca_id} and stop every CA below it? There is no way back.", is_sure=is_sure)
    output = state().output
    answer = state().client().hierarchy.revoke(ca_id, reason=reason, note=note)
    if output.is_json:
        output.document(answer)
        return
    output.text(f"{ca_id} is revoked ({answer['reason']}).")
    if not answer["on_crl"]:
        output.note(
            "No CRL of this server tells it: revoke it at the CA that signed it;"
            " take a root out of every trust store."
        )


def retire_ca(ca_id: str, *, note: str, is_final: bool) -> None:
    """The two steps of ``certctl ca retire`` for a CA of a tree."""
    output = state().output
    answer = state().client().hierarchy.retire(ca_id, note=note, confirm=is_final)
    if output.is_json:
        output.document(answer)
        return
    output.text(f"{ca_id} is {answer['state']}.")
    if answer["state"] == "retiring":
        output.note(f"When nothing below it is in use: 'certctl ca retire {ca_id} --confirm'.")


COMMANDS = (tree, show_ca, create_root, create, csr, import_certificate, use, revoke)
