"""``certctl blocked-keys``: public keys that are never certified."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from certctl_cli.columns import BLOCKED_KEY, BLOCKED_KEYS, KEY_LIST, KEY_LISTS
from certctl_cli.key_lists import MARKS, batches, read_list
from certctl_cli.lazy import Group
from certctl_cli.lists import confirm, list_options, show, show_list, yes_option
from certctl_cli.options import state

_FORMS = {
    "-----BEGIN CERTIFICATE-----": "certificate_pem",
    "-----BEGIN CERTIFICATE REQUEST-----": "csr_pem",
    "-----BEGIN NEW CERTIFICATE REQUEST-----": "csr_pem",
    "-----BEGIN PUBLIC KEY-----": "public_key_pem",
}
_DIGEST_LENGTH = 64


@click.group(cls=Group, name="blocked-keys")
def blocked_keys() -> None:
    """List, block and unblock public keys, or lists of weak ones."""


@blocked_keys.command("list")
@click.option(
    "--source", type=click.Choice(["revocation", "operator"]), help="How they got on the list."
)
@list_options
def list_blocked_keys(**options: Any) -> None:
    """List the public keys that are not certified."""
    pages = state().client().blocked_keys.list
    show_list(pages, BLOCKED_KEYS, empty="No keys are blocked.", **options)


@blocked_keys.command("show")
@click.argument("digest", metavar="SHA256")
def show_blocked_key(digest: str) -> None:
    """Show why a public key is blocked."""
    show(state().client().blocked_keys.get(digest.lower()), BLOCKED_KEY)


@blocked_keys.command("block")
@click.argument("key", metavar="FILE|SHA256")
@click.option("--note", default="", help="Why; others see it.")
def block(key: str, note: str) -> None:
    """Block the key of a certificate, request or public key in PEM, or one by its digest.

    The digest is the SHA-256 of the SubjectPublicKeyInfo in hex.
    """
    show(state().client().blocked_keys.block(**_named(key), note=note), BLOCKED_KEY)


@blocked_keys.command("unblock")
@click.argument("digest", metavar="SHA256")
@yes_option
def unblock(digest: str, *, is_sure: bool) -> None:
    """Let a public key be certified again."""
    output = state().output
    confirm(f"Let the key {digest} be certified again?", is_sure=is_sure)
    state().client().blocked_keys.unblock(digest.lower())
    if output.is_json:
        output.document({"status": "unblocked", "spki_sha256": digest.lower()})
    else:
        output.text(f"Unblocked {digest.lower()}.")


@blocked_keys.command("import")
@click.argument(
    "file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--name", help="Name of the list; the file's name when not given.")
@click.option("--format", "mark", type=click.Choice(list(MARKS)), help="Told from the file.")
@click.option("--note", default="", help="Where the list is from; others see it.")
def import_list(file: Path, name: str | None, mark: str | None, note: str) -> None:
    """Import a list of known-weak keys; no request with a key on it is accepted.

    FILE has one digest a line in hex: the SHA-256 of the SubjectPublicKeyInfo (64 digits), or what
    the package openssl-blacklist and its successors use (20 digits: the end of the SHA-1 of
    "Modulus=..." and a newline). Lines that begin with # are passed over. The blocklist.dat of
    badkeys is taken as it is.

    The same command again goes on with an import that was interrupted, and adds to a list of that
    name what it does not have.
    """
    from certctl_client.errors import APIError

    kind, digests = read_list(file, mark)
    name = name or re.sub(r"[^a-z0-9._-]+", "-", file.name.lower()).strip("-._")
    lists = state().client().blocked_key_lists
    try:
        row = lists.create(name=name, mark=kind, note=note)
    except APIError as error:
        if error.code != "key_list_taken":
            raise
        row = lists.get(name)
        if row["mark"] != kind:
            message = f"the list {name} is one of {row['mark']} digests, the file of {kind}"
            raise click.BadParameter(message, param_hint="--name") from error
    before = row["entries"]
    output = state().output
    done = 0
    with output.progress(f"Importing {name}") as progress:
        for count, part in batches(digests, kind):
            row = lists.add(name, part)
            done += count
            progress(f"Importing {name}: {done} of {len(digests)}")
    if output.is_json:
        output.document(row)
    else:
        output.text(
            f"{file}: {len(digests)} digests, {row['entries'] - before} of them new in {name}."
        )


@blocked_keys.command("lists")
@list_options
def show_lists(**options: Any) -> None:
    """List the imported lists of weak keys."""
    show_list(
        state().client().blocked_key_lists.list,
        KEY_LISTS,
        empty="No lists of weak keys.",
        **options,
    )


@blocked_keys.command("show-list")
@click.argument("name")
def show_one_list(name: str) -> None:
    """Show a list of weak keys."""
    show(state().client().blocked_key_lists.get(name), KEY_LIST)


@blocked_keys.command("delete-list")
@click.argument("name")
@yes_option
def delete_list(name: str, *, is_sure: bool) -> None:
    """Delete a list of weak keys; they can be certified again."""
    output = state().output
    confirm(f"Delete the list {name}, so that its keys can be certified?", is_sure=is_sure)
    state().client().blocked_key_lists.delete(name)
    if output.is_json:
        output.document({"status": "deleted", "name": name})
    else:
        output.text(f"Deleted {name}.")


def _named(key: str) -> dict[str, str]:
    digest = key.replace(":", "").lower()
    if len(digest) == _DIGEST_LENGTH and not set(digest) - set("0123456789abcdef"):
        return {"spki_sha256": digest}
    try:
        text = Path(key).read_text("ascii", "replace")
    except OSError as error:
        message = f"{key} is neither a SHA-256 in hex nor a file that can be read: {error.strerror}"
        raise click.BadParameter(message, param_hint="FILE|SHA256") from error
    for mark, member in _FORMS.items():
        if mark in text:
            return {member: text}
    message = f"{key} holds no certificate, certificate request or public key in PEM"
    raise click.BadParameter(message, param_hint="FILE|SHA256")
