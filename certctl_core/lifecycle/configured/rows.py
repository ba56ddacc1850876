"""The queries over a table of configured plugins; the table stays private to its room."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.kernel.db import Uow
from certctl_core.lifecycle.configured.types import VersionedRow

RowT = TypeVar("RowT", bound=VersionedRow)


class Rows(Generic[RowT]):
    """One table and the value that its rows become.

    Args:
        table: With the columns ``id``, ``name``, ``version`` and ``updated_at`` and the others.
        make: Makes the value of the columns, by keyword.
        columns: Their names.
        enums: Column → the enum that it holds.
    """

    def __init__(
        self,
        table: sa.Table,
        make: Callable[..., RowT],
        *,
        columns: Sequence[str],
        enums: Mapping[str, type],
    ) -> None:
        self._table = table
        self._make = make
        self._columns = columns
        self._enums = enums

    def from_row(self, row: Row[Any]) -> RowT:
        """Make the value of a row, which may carry further columns."""
        values = {name: getattr(row, name) for name in self._columns}
        return self._make(
            **values | {name: kind(values[name]) for name, kind in self._enums.items()}
        )

    def find(self, uow: Uow, row_id: str) -> RowT | None:
        """One row."""
        row = uow.first(sa.select(self._table).where(self._table.c.id == row_id))
        return None if row is None else self.from_row(row)

    def insert(self, uow: Uow, row: RowT) -> bool:
        """Insert; False when the id or the name is taken."""
        values = {name: getattr(row, name) for name in self._columns}
        statement = uow.insert(self._table).values(values).on_conflict_do_nothing()
        return uow.execute(statement.execution_options(preserve_rowcount=True)).rowcount == 1

    def update(self, uow: Uow, row: RowT, **values: object) -> bool:
        """Change a row if nobody changed it since it was read; moves its version."""
        statement = (
            sa.update(self._table)
            .where(self._table.c.id == row.id, self._table.c.version == row.version)
            .values(**values, version=row.version + 1, updated_at=uow.now)
        )
        return uow.execute(statement).rowcount == 1

    def note(self, uow: Uow, row_id: str, **values: object) -> bool:
        """Record what we observed (state, health, test), whoever edits at the same time."""
        statement = (
            sa.update(self._table)
            .where(self._table.c.id == row_id)
            .values(**values, version=self._table.c.version + 1, updated_at=uow.now)
        )
        return uow.execute(statement).rowcount == 1

    def delete(self, uow: Uow, row: RowT) -> bool:
        """Delete if nobody changed it since it was read; its state goes with it."""
        table = self._table
        statement = sa.delete(table).where(table.c.id == row.id, table.c.version == row.version)
        return uow.execute(statement).rowcount == 1

    def is_name_taken(self, uow: Uow, name: str, *, but: str | None = None) -> bool:
        """Whether another row has the name."""
        statement = sa.select(sa.literal(1)).where(self._table.c.name == name)
        if but is not None:
            statement = statement.where(self._table.c.id != but)
        return uow.scalar(statement.limit(1)) is not None
