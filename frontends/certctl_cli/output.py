"""Answers: JSON, tables for a terminal, plain aligned text for everything else."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from certctl_core.kernel.clock import Clock, SystemClock
from certctl_core.values import dataclass

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Row = Mapping[str, Any]

_COLORS = {
    "green": {"Active", "Online", "Completed", "healthy", "ready", "Passed", "success", "current"},
    "yellow": {
        "Expiring", "RenewalDue", "RenewalInProgress", "Pending", "AwaitingCSR", "Degraded",
        "AwaitingApproval", "AwaitingIssuer", "Running", "untested", "degraded", "unknown",
    },
    "red": {"Expired", "Revoked", "Failed", "Offline", "down", "failed", "unhealthy", "compromised"},
}  # fmt: skip
_DAY_SECONDS = 86400
_WIDE = 120
_SHORT_ID = 12
_UNLIMITED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table, or one line of a form.

    Attributes:
        title: Shown above; upper case in plain text.
        key: Member of the row.
        value: Makes the text instead, when the member alone will not do.
        is_time: An RFC 3339 member: a terminal shows it short and says how far away it is.
        is_extra: Left out of a table on a terminal that is not wide.
    """

    title: str
    key: str = ""
    value: Callable[[Row], object] | None = None
    is_time: bool = False
    is_extra: bool = False

    def of(self, row: Row) -> object:
        """The raw value in a row."""
        return self.value(row) if self.value else row.get(self.key)


class Output:
    """Prints answers on stdout; remarks and progress go to stderr.

    Args:
        is_json: Answers are JSON documents.
        clock: The time, for "in 12 days".
    """

    def __init__(self, *, is_json: bool, clock: Clock | None = None) -> None:
        self.is_json = is_json
        self._clock = clock or SystemClock()

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at stdout."""
        return sys.stdout.isatty()

    def document(self, document: object) -> None:
        """Print a document."""
        print(json.dumps(document, indent=2, ensure_ascii=False))

    def text(self, text: str) -> None:
        """Print a line."""
        print(text)

    def note(self, text: str) -> None:
        """A remark beside the answer; silent with JSON."""
        if not self.is_json:
            print(text, file=sys.stderr)

    def table(self, rows: Sequence[Row], columns: Sequence[Column], *, empty: str) -> None:
        """Print rows; ``empty`` is said instead of a table without any."""
        if not rows:
            self.note(empty)
            return
        if self.is_terminal:
            self._rich_table(rows, columns)
            return
        cells = [[column.title.upper() for column in columns]]
        cells += [[_plain(column.of(row)) for column in columns] for row in rows]
        widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
        for line in cells:
            padded = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
            print("  ".join(padded).rstrip())

    def form(self, row: Row, columns: Sequence[Column]) -> None:
        """Print one object, a line a member; empty members are left out."""
        pairs = [(column, column.of(row)) for column in columns]
        pairs = [(column, value) for column, value in pairs if value not in (None, "", [], {})]
        if not pairs:
            return
        if self.is_terminal:
            self._rich_form(pairs)
            return
        width = max(len(column.title) for column, _ in pairs) + 1
        for column, value in pairs:
            print(f"{column.title + ':':<{width}} {_plain(value)}")

    @contextmanager
    def progress(self, text: str) -> Iterator[Callable[[str], None]]:
        """While something takes time: a spinner on a terminal, nothing elsewhere.

        Yields:
            Changes the text.
        """
        if self.is_json or not sys.stderr.isatty():
            yield lambda _text: None
            return
        from rich.console import Console

        with Console(stderr=True).status(text) as status:
            yield status.update

    def _rich_table(self, rows: Sequence[Row], columns: Sequence[Column]) -> None:
        from rich import box
        from rich.console import Console
        from rich.table import Table

        console = Console()
        shown = [c for c in columns if not c.is_extra or console.width >= _WIDE]
        table = Table(box=box.HORIZONTALS, pad_edge=False, show_edge=False, header_style="bold")
        for number, column in enumerate(shown):
            is_rigid = number == 0 or column.is_time
            table.add_column(column.title, overflow="fold", no_wrap=is_rigid)
        for row in rows:
            table.add_row(*(self._rich(column, column.of(row)) for column in shown))
        if any(column.key == "name" for column in shown):
            _narrow_ids(console, table, shown, rows)
        console.print(table)

    def _rich_form(self, pairs: Sequence[tuple[Column, object]]) -> None:
        from rich.console import Console
        from rich.table import Table

        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for column, value in pairs:
            grid.add_row(column.title, self._rich(column, value))
        Console().print(grid)

    def _rich(self, column: Column, value: object) -> Any:
        from rich.text import Text

        if column.is_time and isinstance(value, str):
            return Text(self._when(value))
        text = _plain(value)
        style = next((color for color, words in _COLORS.items() if text in words), "")
        return Text(text, style=style)

    def _when(self, text: str) -> str:
        """``2026-03-01 (45 d)``, or with the time when it is close."""
        moment = datetime.fromisoformat(text)
        days = (moment - self._clock.now()).total_seconds() / _DAY_SECONDS
        if days >= 1:
            return f"{moment:%Y-%m-%d} ({days:.0f} d)"
        if days <= -1:
            return f"{moment:%Y-%m-%d} ({-days:.0f} d ago)"
        return f"{moment:%Y-%m-%d %H:%M}"


def _narrow_ids(
    console: Console, table: Table, columns: Sequence[Column], rows: Sequence[Row]
) -> None:
    """Fold the ids where a table is too wide: people go by the names, and both are accepted."""
    from rich.measure import Measurement

    unlimited = console.options.update(max_width=_UNLIMITED)
    excess = Measurement.get(console, unlimited, table).maximum - console.width
    for number, column in enumerate(columns):
        if column.key == "id" and excess > 0:
            longest = max(len(_plain(column.of(row))) for row in rows)
            table.columns[number].width = max(min(longest, _SHORT_ID), longest - excess)
            table.columns[number].no_wrap = False


def _plain(value: object) -> str:
    """One line, whatever it is; control characters of other people's texts never reach a terminal."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_plain(item)}" for key, item in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value) or "-"
    return "".join(ch if ch.isprintable() else "\N{REPLACEMENT CHARACTER}" for ch in str(value))
