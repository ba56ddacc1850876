"""Lists: the options that all of them share, the walk over their pages, and how they print."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click
from certctl_client.errors import ListEndless

if TYPE_CHECKING:
    from certctl_client import Client, Page

from certctl_cli.options import state
from certctl_cli.output import Column

Function = TypeVar("Function", bound=Callable[..., Any])
_MAX_PAGE = 500
DEFAULT_LIMIT = 50


class ListPage(Protocol):
    """The ``list`` method of a group of the client."""

    def __call__(
        self, *, cursor: str | None = None, page_size: int = 100, **filters: object
    ) -> Page[Any]:
        """One page."""


def list_options(function: Function) -> Function:
    """Add ``--limit --all --cursor --sort --search`` to a command."""
    for option in reversed(
        (
            click.option(
                "-q", "--search", "q", metavar="TEXT", help="Only rows that contain this text."
            ),
            click.option("--sort", metavar="FIELD", help="Sort by a member; -FIELD descends."),
            click.option(
                "--limit",
                type=click.IntRange(min=1),
                default=DEFAULT_LIMIT,
                show_default=True,
                help="At most so many rows.",
            ),
            click.option("--all", "is_all", is_flag=True, help="Every row, page after page."),
            click.option("--cursor", metavar="CURSOR", help="Go on where an earlier list ended."),
        )
    ):
        function = option(function)
    return function


def show_list(
    pages: ListPage,
    columns: Sequence[Column],
    *,
    empty: str,
    limit: int,
    is_all: bool,
    cursor: str | None,
    **filters: object,
) -> None:
    """Walk a list and print it.

    JSON is one document however many pages it took: ``data``, ``total``, and ``next_cursor`` when
    there is more.
    """
    output = state().output
    rows: list[Any] = []
    while True:
        size = _MAX_PAGE if is_all else min(_MAX_PAGE, limit - len(rows))
        page = pages(cursor=cursor, page_size=size, **filters)
        rows += page.data
        if page.next_cursor is None or (not is_all and len(rows) >= limit):
            break
        if page.next_cursor == cursor:
            raise ListEndless(operation="list")
        cursor = page.next_cursor
    if output.is_json:
        document: dict[str, Any] = {"data": rows, "total": page.total}
        if not page.total_exact:
            document["total_exact"] = False
        if page.next_cursor is not None:
            document["next_cursor"] = page.next_cursor
        output.document(document)
        return
    output.table(rows, columns, empty=empty)
    if page.next_cursor is not None:
        about = "" if page.total_exact else "more than "
        output.note(f"{len(rows)} of {about}{page.total}; --all shows every one")


def pages_of(client: Client, operation: str, **path: str) -> ListPage:
    """The pages of a list that hangs on another object, by the operation's name."""

    def pages(*, cursor: str | None = None, page_size: int = 100, **filters: object) -> Page[Any]:
        return client.page(
            operation, path=path, filters=filters, cursor=cursor, page_size=page_size
        )

    return pages


def show(row: Any, columns: Sequence[Column]) -> None:
    """Print one object."""
    output = state().output
    if output.is_json:
        output.document(row)
    else:
        output.form(row, columns)


def confirm(question: str, *, is_sure: bool) -> None:
    """Ask before something that cannot be undone.

    Args:
        question: What is about to happen, as a question.
        is_sure: ``--yes`` was given.

    Raises:
        click.Abort: The answer is no.
        click.UsageError: Nobody is there to ask.
    """
    if is_sure:
        return
    if not sys.stdin.isatty():
        message = "This cannot be undone, and nobody can be asked here: give --yes."
        raise click.UsageError(message)
    click.confirm(question, abort=True, err=True)


yes_option = click.option("-y", "--yes", "is_sure", is_flag=True, help="Do not ask.")
