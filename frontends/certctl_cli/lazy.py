"""Groups that know their commands by name and load them only when they are called."""

from __future__ import annotations

from collections.abc import Mapping
from gettext import gettext
from importlib import import_module
from typing import Any

import click

from certctl_cli.options import with_globals
from certctl_cli.overriding import override
from certctl_core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One command of a lazy group.

    Attributes:
        place: ``module:attribute`` of the ``click.Command``.
        help: The line shown in the group's help; the first sentence of the command's own help.
        section: The heading it stands under.
    """

    place: str
    help: str
    section: str = "Commands"


class Command(click.Command):
    """A command that takes the global options, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = with_globals(self.params)


class Group(click.Group):
    """A group of commands that take the global options, too."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = with_globals(self.params)


Group.group_class = Group


class LazyGroup(click.Group):
    """The root: its commands live in modules that are imported when one is needed.

    Args:
        table: Name → where it is.
        args: Of ``click.Group``.
        kwargs: Of ``click.Group``.
    """

    def __init__(self, *args: Any, table: Mapping[str, Entry], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table = table

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        del ctx
        return list(self._table)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command."""
        del ctx
        entry = self._table.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.place.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - a test loads every entry
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by section, without loading any."""
        del ctx
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, entry in self._table.items():
            sections.setdefault(entry.section, []).append((name, entry.help))
        for title, rows in sections.items():
            with formatter.section(gettext(title)):
                formatter.write_dl(rows)
