"""``certctl keys``: API keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from certctl_cli.columns import KEYS
from certctl_cli.lazy import Group
from certctl_cli.lists import confirm, list_options, show_list, yes_option
from certctl_cli.options import state
from certctl_cli.values import Duration
from certctl_core.kernel.clock import SystemClock


@click.group(cls=Group, name="keys")
def keys() -> None:
    """List, create, rotate and revoke API keys."""


@keys.command("list")
@click.option("--revoked", "include_revoked", is_flag=True, help="Revoked ones, too.")
@list_options
def list_keys(**options: Any) -> None:
    """List API keys; their values cannot be shown."""
    show_list(state().client().api_keys.list, KEYS, empty="No API keys.", **options)


@keys.command("create")
@click.argument("name")
@click.option(
    "--role",
    "role_ids",
    multiple=True,
    default=("r-viewer",),
    show_default=True,
    metavar="ID",
    help="A role; repeatable.",
)
@click.option("--expires-in", type=Duration(), metavar="DURATION", help="As 90d or 12h.")
@click.option("--no-expiry", is_flag=True, help="It never ends.")
def create(
    name: str, role_ids: tuple[str, ...], expires_in: int | None, *, no_expiry: bool
) -> None:
    """Create an API key; its value is shown once."""
    if (expires_in is None) != no_expiry:
        message = "Give either --expires-in or --no-expiry."
        raise click.UsageError(message, click.get_current_context())
    expires_at = None
    if expires_in is not None:
        expires_at = (SystemClock().now() + timedelta(seconds=expires_in)).isoformat()
    _print_new(state().client().api_keys.create(name, role_ids=role_ids, expires_at=expires_at))


@keys.command("rotate")
@click.argument("key_id", metavar="ID")
@click.option(
    "--overlap",
    type=Duration(),
    default="24h",
    show_default=True,
    metavar="DURATION",
    help="How long the old value still works.",
)
def rotate(key_id: str, overlap: int) -> None:
    """Give an API key a new value; it is shown once."""
    _print_new(state().client().api_keys.rotate(key_id, overlap_seconds=overlap))


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@yes_option
def revoke(key_id: str, *, is_sure: bool) -> None:
    """Revoke an API key at once."""
    output = state().output
    confirm(f"Revoke the API key {key_id}?", is_sure=is_sure)
    state().client().api_keys.revoke(key_id)
    if output.is_json:
        output.document({"status": "revoked", "key_id": key_id})
    else:
        output.text(f"Revoked {key_id}.")


def _print_new(key: Any) -> None:
    output = state().output
    if output.is_json:
        output.document(key)
        return
    output.note(f"{key['id']} ({key['name']}): its value is not shown again:")
    output.text(key["key_value"])
