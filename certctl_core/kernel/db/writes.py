"""Writes that wait for the end of a unit of work and then travel together.

A change of state touches five tables. One statement each costs a round trip, a plan and a parse;
here they wait in memory and reach PostgreSQL as one statement of common table expressions, each
fed by one JSON document, whatever the number of rows. SQLite has no round trips to save: there
they run one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

import sqlalchemy as sa

from certctl_core.values import dataclass

SEPARATOR = "\x1f"
"""Between the parts of a primary key."""

Values = Mapping[str, Any]
Lost = Callable[[], Exception]
"""Makes the error for a row that could not be written: name taken, state moved."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What rows must have in common to share a statement."""

    table: sa.Table
    columns: tuple[str, ...]
    expected: tuple[str, ...] = ()
    counted: str | None = None
    is_insert: bool = True
    may_lose: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """One row to write, and its error if that fails."""

    values: dict[str, Any]
    lost: Lost | None


@dataclass(frozen=True, slots=True)
class Tail:
    """What goes along with the last writes: counters, stamps and wake-ups."""

    counts: Mapping[str, int] = field(default_factory=dict)
    touched: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    shard: int = 0
    is_soft: bool = False

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.counts or self.touched or self.topics)


Waiting = dict[Kind, list[Write]]


class Writes:
    """The waiting rows of one unit of work, in the order in which tables were first named."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: Waiting = {}

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting)

    def insert(self, table: sa.Table, values: Values, taken: Lost | None) -> None:
        """Queue a row; ``taken`` makes the error for one that breaks a unique constraint."""
        kind = Kind(table=table, columns=tuple(values), may_lose=taken is not None)
        self._waiting.setdefault(kind, []).append(Write(dict(values), taken))

    def swap(
        self, table: sa.Table, expected: Values, values: Values, counted: str | None, lost: Lost
    ) -> None:
        """Queue a conditional update of the row that equals ``expected``, primary key included."""
        kind = Kind(
            table=table,
            columns=tuple(values),
            expected=tuple(expected),
            counted=counted,
            is_insert=False,
            may_lose=True,
        )
        both = dict(values) | {f"was_{name}": value for name, value in expected.items()}
        self._waiting.setdefault(kind, []).append(Write(both, lost))

    def holds(self, table: sa.Table, expected: Values) -> bool:
        """Whether the row with that primary key waits: one statement writes a row once only."""
        names = [column.name for column in table.primary_key]
        key = [expected[name] for name in names]
        for kind, writes in self._waiting.items():
            if kind.table is table:
                own = _key_names(kind, names)
                if any([write.values[name] for name in own] == key for write in writes):
                    return True
        return False

    def take(self) -> Waiting:
        """Hand over what waits."""
        waiting, self._waiting = self._waiting, {}
        return waiting


def raise_lost(kind: Kind, writes: list[Write], written: set[str]) -> None:
    """Raise the error of the first row that is not among the written keys.

    Of two rows with one key the second one was not written.
    """
    names = _key_names(kind, [column.name for column in kind.table.primary_key])
    left = set(written)
    for write in writes:
        key = SEPARATOR.join(str(write.values[name]) for name in names)
        if key in left:
            left.remove(key)
        elif write.lost is not None:
            raise write.lost()


def _key_names(kind: Kind, names: list[str]) -> list[str]:
    """What the parts of the primary key are called among the values of a write."""
    return names if kind.is_insert else [f"was_{name}" for name in names]
