"""The queries over configured issuers. Private to this room."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from certctl_core.kernel.db import Uow
from certctl_core.kernel.events import JSON
from certctl_core.lifecycle.configured import Rows
from certctl_core.lifecycle.issuers._tables import issuers
from certctl_core.lifecycle.issuers.types import (
    IssuerHealth,
    IssuerSource,
    IssuerState,
    TestStatus,
)
from certctl_core.values import dataclass

C = issuers.c

COLLECTION = "issuers"
"""The version stamp of the list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerRow:
    """One row of ``issuers``; ``secrets`` maps field paths to sealed envelopes."""

    id: str
    name: str
    kind: str
    config: dict[str, JSON]
    secrets: dict[str, str]
    secrets_set_at: dict[str, str]
    enabled: bool
    source: IssuerSource
    version: int
    revision: int
    state: IssuerState
    state_reason: str
    health: IssuerHealth
    test_status: TestStatus
    last_tested_at: datetime | None
    last_test_report: dict[str, Any] | None
    created_by: str
    created_at: datetime
    updated_at: datetime


_ENUMS: Mapping[str, type] = {
    "source": IssuerSource,
    "state": IssuerState,
    "health": IssuerHealth,
    "test_status": TestStatus,
}


_rows = Rows(issuers, IssuerRow, columns=tuple(IssuerRow.__slots__), enums=_ENUMS)
from_row = _rows.from_row
find = _rows.find
insert = _rows.insert
update = _rows.update
note = _rows.note
delete = _rows.delete
is_name_taken = _rows.is_name_taken


def is_empty(uow: Uow) -> bool:
    """Whether there is no issuer at all."""
    return uow.scalar(sa.select(sa.literal(1)).select_from(issuers).limit(1)) is None
