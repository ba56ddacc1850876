"""``certctl ca``: the keys of the built-in CA, from one generation to the next."""

from __future__ import annotations

from typing import Any

import click

from certctl_cli.ca_tree import ALGORITHMS, COMMANDS, PREFIX, retire_ca
from certctl_cli.columns import CA_KEYS
from certctl_cli.lazy import Group
from certctl_cli.lists import confirm, yes_option
from certctl_cli.options import state
from certctl_cli.words import Words

_issuer = click.option(
    "--issuer", "issuer_id", metavar="ID", default="iss-local", show_default=True, help="Whose."
)


@click.group(cls=Group, name="ca")
def ca() -> None:
    """CA keys and trees of CAs: list, rotate, create, retire, revoke."""


@ca.command("list")
@click.argument("issuer_id", metavar="ISSUER", default="iss-local")
def list_keys(issuer_id: str) -> None:
    """List the CA keys of an issuer: the one that issues, then the former ones."""
    output = state().output
    found = state().client().issuers.ca_keys(issuer_id)
    if output.is_json:
        output.document({"data": found})
    else:
        output.table(found, CA_KEYS, empty="This issuer has no CA key yet.")


@ca.command("rotate")
@click.argument("issuer_id", metavar="ISSUER", default="iss-local")
@click.option("--common-name", metavar="NAME", help="Of the new CA (default: with a number).")
@click.option("--algorithm", type=Words(ALGORITHMS), help="Of its key.")
@click.option("--days", "validity_days", type=click.IntRange(min=1), help="Its lifetime.")
@click.option("--no-cross-sign", is_flag=True, help="The two CAs do not certify each other.")
@yes_option
def rotate(issuer_id: str, *, no_cross_sign: bool, is_sure: bool, **options: Any) -> None:
    """Make a new CA key that issues from now on.

    The former key signs CRLs and OCSP responses for its certificates as long as there are any. For
    a CA that was made by certctl; one in files is replaced by new files.
    """
    confirm(f"Make a new CA key for {issuer_id}?", is_sure=is_sure)
    output = state().output
    answer = state().client().cas.rotate(issuer_id, cross_sign=not no_cross_sign, **options)
    if output.is_json:
        output.document(answer)
        return
    current = answer["current"]
    output.text(f"{current['subject']} issues from now on: CA key {current['ca_key_id']}")
    output.note("Give its root to all who verify certificates before the former one ends.")
    output.note("The server's own certificate follows by itself within seconds.")


@ca.command("mark-compromised")
@click.argument("ca_key_id", metavar="CA-KEY")
@_issuer
@click.option("--note", default="", metavar="TEXT", help="Why; for the audit log.")
@click.option("--renew", is_flag=True, help="Renew every certificate that the key signed.")
@yes_option
def mark_compromised(
    ca_key_id: str, issuer_id: str, note: str, *, renew: bool, is_sure: bool
) -> None:
    """Take a stolen CA key out of service at once.

    It signs nothing any more: no certificate, no CRL, no OCSP response. Whoever trusts its root has
    to stop doing so.
    """
    confirm(f"End CA key {ca_key_id}? There is no way back.", is_sure=is_sure)
    output = state().output
    client = state().client()
    answer = client.cas.mark_compromised(issuer_id, ca_key_id, note=note, renew=renew)
    if output.is_json:
        output.document(answer)
        return
    output.text(f"CA key {answer['ca_key_id']} is out of service.")
    if answer["replaced_by"] is None:
        output.text("Nothing is issued until a new CA is in place.")
    else:
        output.text(f"CA key {answer['replaced_by']} issues.")
    output.text(f"{answer['unexpired']} certificates of it have not expired.")
    if (renewals := answer["renewals"]) is not None:
        output.text(f"{renewals['planned']} of {renewals['affected']} in use are renewed now.")
    output.note(f"'certctl certificates list --ca-key {answer['ca_key_id']}' names those in use.")


@ca.command("renew-certificates")
@click.argument("ca_key_id", metavar="CA-KEY")
@_issuer
@yes_option
def renew_certificates(ca_key_id: str, issuer_id: str, *, is_sure: bool) -> None:
    """Renew every certificate in use that a CA key signed, at the scheduler's pace."""
    confirm(f"Renew all certificates of CA key {ca_key_id}?", is_sure=is_sure)
    output = state().output
    answer = state().client().cas.renew_certificates(issuer_id, ca_key_id)
    if output.is_json:
        output.document(answer)
        return
    output.text(f"{answer['planned']} of {answer['affected']} in use are renewed now.")
    if answer["planned"] < answer["affected"]:
        output.note("The others are renewed by those who hold their keys.")


@ca.command("retire")
@click.argument("ca_key_id", metavar="CA")
@_issuer
@click.option("--note", default="", metavar="TEXT", help="Why, for a CA of a tree.")
@click.option("--confirm", "is_final", is_flag=True, help="The second step, for a CA of a tree.")
@yes_option
def retire(ca_key_id: str, issuer_id: str, note: str, *, is_final: bool, is_sure: bool) -> None:
    """Take a CA out of use.

    A CA of a tree (ica-…) in two steps: it signs nothing new any more; when nothing below it is in
    use, --confirm ends it. A former CA key when all its certificates have expired.
    """
    if ca_key_id.startswith(PREFIX):
        confirm(f"Retire {ca_key_id}?", is_sure=is_sure)
        retire_ca(ca_key_id, note=note, is_final=is_final)
        return
    confirm(f"Retire CA key {ca_key_id}?", is_sure=is_sure)
    output = state().output
    answer = state().client().cas.retire(issuer_id, ca_key_id)
    if output.is_json:
        output.document(answer)
    else:
        output.text(f"CA key {answer['ca_key_id']} is retired.")


for _command in COMMANDS:
    ca.add_command(_command)
