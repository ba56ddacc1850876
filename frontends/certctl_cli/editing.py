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
    from certctl_client.calls import Documents

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
    plain = noun.split(" ", 1)[1]

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

    @group.command("delete", help=f"Delete {noun} that nothing refers to.")
    @click.argument("object_id", metavar="ID")
    @yes_option
    def delete(object_id: str, *, is_sure: bool) -> None:
        confirm(f"Delete the {plain} {object_id}?", is_sure=is_sure)
        documents(state().client()).delete(object_id)
        deleted(object_id, plain)


def deleted(object_id: str, noun: str) -> None:
    """Say that an object is gone."""
    output = state().output
    if output.is_json:
        output.document({"status": "deleted", "id": object_id})
    else:
        output.text(f"The {noun} {object_id} is deleted.")
