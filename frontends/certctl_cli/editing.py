"""Objects that are made and changed member by member: from a file, from the command line, or both."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from certctl_cli.lists import confirm, show, yes_option
from certctl_cli.options import state
from certctl_cli.output import Column
from certctl_cli.values import pairs

if TYPE_CHECKING:
    from certctl_client import Client
    from certctl_client.calls import Configured, Documents
    from certctl_client.types import Report

Function = TypeVar("Function", bound=Callable[..., Any])


def config_options(function: Function) -> Function:
    """Add ``--config FILE`` and ``--set NAME=VALUE``; the command gets ``config``."""
    return _members(function, "config", "--config", "Its configuration in JSON (- is stdin).")


def member_options(function: Function) -> Function:
    """Add ``--file FILE`` and ``--set NAME=VALUE``; the command gets ``members``."""
    text = "Its members in JSON, as 'show --json' prints them (- is stdin)."
    return _members(function, "members", "--file", text)


def _members(function: Function, argument: str, option: str, text: str) -> Function:
    @click.option(option, "file", type=click.File("r"), metavar="FILE", help=text)
    @click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="NAME=VALUE",
        help="One member of it; VALUE is JSON, or else a text. Repeatable.",
    )
    @functools.wraps(function)
    def command(*args: Any, file: Any, settings: Iterable[str], **options: Any) -> Any:
        found = {} if file is None else read_object(file, option)
        found.update({name: _value(given) for name, given in pairs(settings, "--set").items()})
        return function(*args, **{argument: found}, **options)

    return cast("Function", command)


def read_object(file: Any, option: str) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        click.UsageError: It holds something else.
    """
    try:
        found = json.loads(file.read())
    except ValueError as error:
        message = f"{option} is not JSON: {error}."
        raise click.UsageError(message) from error
    if not isinstance(found, dict):
        message = f"{option} does not hold a JSON object."
        raise click.UsageError(message)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def require_change(changes: object) -> None:
    """Refuse a change that says nothing.

    Raises:
        click.UsageError: Nothing is to be changed.
    """
    if not changes:
        message = "Nothing is to be changed: give --set NAME=VALUE or a file."
        raise click.UsageError(message)


def add_editing(
    group: click.Group,
    noun: str,
    *,
    documents: Callable[[Client], Documents[Any]],
    columns: Sequence[Column],
) -> None:
    """Add ``create``, ``change`` and ``delete`` to the commands of a kind of objects.

    Args:
        group: The commands.
        noun: What one is called: ``a profile``.
        documents: Where the client has them.
        columns: How one is shown.
    """

    @group.command("create", help=f"Create {noun}; members that are not given have their default.")
    @click.argument("name")
    @click.option("--id", "object_id", metavar="ID", help="Its id; made when not given.")
    @member_options
    def create(name: str, *, object_id: str | None, members: dict[str, Any]) -> None:
        client = state().client()
        made = documents(client).create(members | {"name": name}, object_id=object_id)
        show(made, columns)

    @group.command("change", help=f"Change members of {noun}; the others stay as they are.")
    @click.argument("object_id", metavar="ID")
    @member_options
    def change(object_id: str, *, members: dict[str, Any]) -> None:
        require_change(members)
        group_of_client = documents(state().client())
        version = group_of_client.get(object_id)["version"]
        show(group_of_client.update(object_id, members, version=version), columns)

    add_deleting(group, noun, delete=lambda client, object_id: documents(client).delete(object_id))


def add_deleting(group: click.Group, noun: str, *, delete: Callable[[Client, str], None]) -> None:
    """Add ``delete`` to the commands of a kind of objects.

    Args:
        group: The commands.
        noun: What one is called: ``a profile``.
        delete: Does it, given an id.
    """
    plain = noun.split(" ", 1)[1]

    @group.command("delete", help=f"Delete {noun} that nothing refers to.")
    @click.argument("object_id", metavar="ID")
    @yes_option
    def delete_one(object_id: str, *, is_sure: bool) -> None:
        confirm(f"Delete the {plain} {object_id}?", is_sure=is_sure)
        delete(state().client(), object_id)
        deleted(object_id, plain)


def add_configuring(
    group: click.Group,
    noun: str,
    *,
    configured: Callable[[Client], Configured[Any, Any]],
    columns: Sequence[Column],
    kind: str,
    use: str,
) -> None:
    """Add ``create`` and ``change`` to the commands of objects that are configured plugins.

    Args:
        group: The commands.
        noun: What one is called: ``an issuer``.
        configured: Where the client has them.
        columns: How one is shown.
        kind: An example of a kind.
        use: What one does while it is enabled: ``take orders``.
    """
    creating = f"""Create {noun}; 'certctl plugins list' shows the kinds.

    Give secrets with --config - from a file or a pipe: others on this machine see a command line.
    """
    changing = (
        f"Change {noun}; members of its configuration that are not given stay, secrets as well."
    )

    @group.command("create", help=creating)
    @click.argument("name")
    @click.option("--kind", required=True, metavar="KIND", help=f"An installed kind, as {kind}.")
    @click.option("--id", "object_id", metavar="ID", help="Its id; made when not given.")
    @config_options
    @click.option(
        "--test", "is_tested", is_flag=True, help="Test it first; save nothing if that fails."
    )
    @click.option("--disabled", is_flag=True, help=f"It does not {use} yet.")
    def create(
        name: str,
        *,
        kind: str,
        object_id: str | None,
        config: dict[str, Any],
        is_tested: bool,
        disabled: bool,
    ) -> None:
        made = configured(state().client()).create(
            name,
            kind=kind,
            config=config,
            object_id=object_id,
            enabled=not disabled,
            test=is_tested,
        )
        show(made, columns)

    @group.command("change", help=changing)
    @click.argument("object_id", metavar="ID")
    @click.option("--name", metavar="NAME", help="Another name.")
    @config_options
    @click.option("--enable/--disable", "enabled", default=None, help=f"Let it {use}, or not.")
    def change(
        object_id: str, *, name: str | None, config: dict[str, Any], enabled: bool | None
    ) -> None:
        given = {"name": name, "config": config or None, "enabled": enabled}
        changes = {member: value for member, value in given.items() if value is not None}
        require_change(changes)
        group_of_client = configured(state().client())
        version = group_of_client.get(object_id)["version"]
        show(group_of_client.update(object_id, changes, version=version), columns)


def end_with(ctx: click.Context, report: Report) -> None:
    """Print the report of a test; exits 1 when it failed."""
    output = state().output
    if output.is_json:
        output.document(report)
    else:
        columns = (
            Column(title="Check", key="name"),
            Column(title="Passed", key="ok"),
            Column(title="Found", key="detail"),
            Column(title="Hint", value=lambda row: "" if row["ok"] else row["hint"]),
        )
        output.table(report["checks"], columns, empty="Nothing was checked.")
    ctx.exit(0 if report["ok"] else 1)


def deleted(object_id: str, noun: str) -> None:
    """Say that an object is gone."""
    output = state().output
    if output.is_json:
        output.document({"status": "deleted", "id": object_id})
    else:
        output.text(f"The {noun} {object_id} is deleted.")
