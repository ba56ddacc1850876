"""``certctl notifiers`` and ``notification-routes``: who is told what happens."""

from __future__ import annotations

from typing import Any

import click

from certctl_cli.columns import NOTIFIER, NOTIFIERS, ROUTE, ROUTES, TOLD
from certctl_cli.editing import add_configuring, add_editing, deleted, end_with
from certctl_cli.lazy import Group
from certctl_cli.lists import confirm, list_options, show, show_list, yes_option
from certctl_cli.options import state


@click.group(cls=Group, name="notifiers")
def notifiers() -> None:
    """List, show, create, change and test notifiers."""


@notifiers.command("list")
@click.option("--kind", metavar="KIND", help="Of this kind.")
@click.option("--health", metavar="HEALTH", help="healthy, degraded, failing or unknown.")
@click.option("--enabled/--disabled", default=None, help="Only those that send messages, or not.")
@list_options
def list_notifiers(**options: Any) -> None:
    """List notifiers."""
    show_list(state().client().notifiers.list, NOTIFIERS, empty="No notifiers match.", **options)


@notifiers.command("show")
@click.argument("notifier_id", metavar="ID")
def show_notifier(notifier_id: str) -> None:
    """Show a notifier."""
    show(state().client().notifiers.get(notifier_id), NOTIFIER)


@notifiers.command("delete")
@click.argument("notifier_id", metavar="ID")
@click.option("--force", is_flag=True, help="Cancel the messages that wait for it.")
@yes_option
def delete_notifier(notifier_id: str, *, force: bool, is_sure: bool) -> None:
    """Delete a notifier that no route names."""
    confirm(f"Delete the notifier {notifier_id}?", is_sure=is_sure)
    state().client().notifiers.delete(notifier_id, force=force)
    deleted(notifier_id, "notifier")


@notifiers.command("test")
@click.argument("notifier_id", metavar="ID")
@click.option("--send", is_flag=True, help="Deliver a message that is marked as a test.")
@click.pass_context
def test_notifier(ctx: click.Context, notifier_id: str, *, send: bool) -> None:
    """Let the server connect to a notifier's receiver; exits 1 when it cannot."""
    end_with(ctx, state().client().notifiers.test(notifier_id, send=send))


@click.group(cls=Group, name="notification-routes")
def routes() -> None:
    """List, show, create and change the routes of notifications."""


@routes.command("list")
@click.option("--enabled/--disabled", default=None, help="Only those in use, or not.")
@list_options
def list_routes(**options: Any) -> None:
    """List notification routes in the order they are looked at."""
    pages = state().client().notification_routes.list
    show_list(pages, ROUTES, empty="No notification routes match.", **options)


@routes.command("show")
@click.argument("route_id", metavar="ID")
def show_route(route_id: str) -> None:
    """Show a notification route."""
    show(state().client().notification_routes.get(route_id), ROUTE)


@routes.command("preview")
@click.argument("event")
@click.option("--severity", metavar="SEVERITY", help="info, warning or critical.")
@click.option("--certificate", "certificate_id", metavar="ID", help="What the event is about.")
def preview_routes(event: str, *, severity: str | None, certificate_id: str | None) -> None:
    """Show who would be told of an event, such as certificate.expiring; nothing is sent."""
    output = state().output
    found = (
        state()
        .client()
        .notification_routes.preview(event, severity=severity, certificate_id=certificate_id)
    )
    if output.is_json:
        output.document(found)
    else:
        output.table(found["notifiers"], TOLD, empty="Nobody would be told.")


add_configuring(
    notifiers,
    "a notifier",
    configured=lambda client: client.notifiers,
    columns=NOTIFIER,
    kind="webhook",
    use="send messages",
)
add_editing(
    routes,
    "a notification route",
    documents=lambda client: client.notification_routes,
    columns=ROUTE,
)
