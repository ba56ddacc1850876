"""Where sealed values lie in the database, and which of them a keyring does not open (02 DR-19)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.kernel.db import Uow, metadata
from certctl_core.kernel.secrets import (
    Keyring,
    Purpose,
    SealBroken,
    UnknownKeyId,
    key_id_of,
)
from certctl_core.values import dataclass

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedColumn:
    """A column of sealed values.

    Attributes:
        table / column: Where.
        key: The columns that name a row, in the order in which its envelopes are bound to them.
        purpose: What they are sealed for.
        is_document: Whether it is a JSON object of envelopes instead of one.
    """

    table: str
    column: str
    key: tuple[str, ...]
    purpose: Purpose
    is_document: bool = False


SEALED_COLUMNS = (
    SealedColumn(
        table="audit_keys", column="sealed_key", key=("key_id",), purpose=Purpose.AUDIT_KEY
    ),
    SealedColumn(
        table="session_signing_keys", column="secret", key=("id",), purpose=Purpose.SESSION_KEY
    ),
    SealedColumn(
        table="ocsp_responder_certs",
        column="key_enc",
        key=("issuer_id", "ca_key_id"),
        purpose=Purpose.RESPONDER_KEY,
    ),
    *(
        SealedColumn(
            table=table,
            column="secrets",
            key=("id",),
            purpose=Purpose.PLUGIN_CONFIG,
            is_document=True,
        )
        for table in ("issuers", "notifiers", "targets")
    ),
    *(
        SealedColumn(
            table=f"{owner}_state",
            column="value",
            key=(f"{owner}_id", "key"),
            purpose=Purpose.PLUGIN_STATE,
        )
        for owner in ("issuer", "notifier")
    ),
)
"""Every column that holds sealed values; a test looks for others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sealed:
    """One envelope and where it lies."""

    kid: str
    row: str
    opens: Callable[[Keyring], bool]


def unopened(uow: Uow, keyring: Keyring | None) -> list[str]:
    """Name the rows that a keyring does not open, as ``issuers iss-vault``; ids only.

    A key that opens one of its rows is the right one: a single broken value is no reason to
    refuse, and whoever uses it hears of it.

    Args:
        uow: The open unit of work.
        keyring: The configured keys; None names every sealed row.
    """
    found = list(_sealed(uow))
    if keyring is None:
        return list(dict.fromkeys(item.row for item in found))
    right = {item.kid for item in found if item.kid in keyring.kids and item.opens(keyring)}
    return list(dict.fromkeys(item.row for item in found if item.kid not in right))


def in_words(rows: list[str]) -> str:
    """The rows as part of a sentence."""
    shown = ", ".join(rows[:_SHOWN])
    return f"{shown} and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else shown


def _sealed(uow: Uow) -> Iterator[_Sealed]:
    for place in SEALED_COLUMNS:
        table = metadata.tables[place.table]
        column = table.c[place.column]
        statement = sa.select(*(table.c[name] for name in place.key), column.label("sealed"))
        statement = statement.where(column.is_not(None)).order_by(*table.primary_key)
        for row in uow.execute(statement).all():
            yield from _of_row(place, row)


def _of_row(place: SealedColumn, row: Row[Any]) -> Iterator[_Sealed]:
    ids = [str(row[number]) for number in range(len(place.key))]
    envelopes: Mapping[str, str]
    if place.is_document:
        envelopes = {f"{place.column}.{name}": text for name, text in (row.sealed or {}).items()}
    else:
        envelopes = {place.column: row.sealed}
    for column, text in envelopes.items():
        try:
            kid = key_id_of(text)
        except SealBroken:
            continue

        def opens(keyring: Keyring, column: str = column, text: str = text) -> bool:
            try:
                keyring.open(
                    place.purpose,
                    text,
                    table=place.table,
                    column=column,
                    row_id="/".join(ids),
                )
            except (SealBroken, UnknownKeyId):
                return False
            return True

        yield _Sealed(kid=kid, row=f"{place.table} {'/'.join(ids)}", opens=opens)
