"""The queries over CA keys and the ledger. Private to this room."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from certctl_core.kernel.db import Uow
from certctl_core.lifecycle.authorities._tables import ca_issued_certificates, ca_keys
from certctl_core.lifecycle.authorities.types import (
    TRANSITIONS,
    CAKeyState,
    CAOrigin,
    LedgerEntry,
    LedgerKind,
)
from certctl_core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CAKeyRow:
    """One row of ``ca_keys``.

    ``chain_pem`` leads upwards from the CA, the root last if known; ``cross_pem`` is the same CA as
    another one of ours vouches for it; ``member_id`` and ``ocsp_url`` are of a CA in a tree.
    """

    issuer_id: str
    ca_key_id: str
    cert_pem: str
    chain_pem: str
    cross_pem: str
    signer: str
    key_ref: str | None
    origin: CAOrigin
    state: CAKeyState
    subject: str
    not_before: datetime
    not_after: datetime
    first_seen_at: datetime
    updated_at: datetime
    member_id: str | None = None
    ocsp_url: str | None = None


def _key_row(row: Row[Any]) -> CAKeyRow:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public mapping
    del values["warned_days"]  # of the loop that warns, and nobody else's
    values["origin"] = CAOrigin(values["origin"])
    values["state"] = CAKeyState(values["state"])
    return CAKeyRow(**values)


def list_keys(uow: Uow, issuer_id: str | None = None) -> list[CAKeyRow]:
    """CA keys of an issuer (or all), oldest first."""
    statement = sa.select(ca_keys).order_by(ca_keys.c.first_seen_at, ca_keys.c.ca_key_id)
    if issuer_id is not None:
        statement = statement.where(ca_keys.c.issuer_id == issuer_id)
    return [_key_row(row) for row in uow.execute(statement)]


def find_key(uow: Uow, issuer_id: str, ca_key_id: str) -> CAKeyRow | None:
    """One CA key."""
    row = uow.first(
        sa.select(ca_keys).where(ca_keys.c.issuer_id == issuer_id, ca_keys.c.ca_key_id == ca_key_id)
    )
    return None if row is None else _key_row(row)


def add_key(uow: Uow, row: CAKeyRow) -> bool:
    """Insert a key; False when another process was first (same key, or another current one)."""
    values = {name: getattr(row, name) for name in CAKeyRow.__slots__}
    statement = uow.insert(ca_keys).values(values).on_conflict_do_nothing()
    return uow.execute(statement.execution_options(preserve_rowcount=True)).rowcount == 1


def swap_state(uow: Uow, row: CAKeyRow, to: CAKeyState) -> bool:
    """Move a key to another state; False when the table forbids it or somebody was first."""
    if to not in TRANSITIONS[row.state]:
        return False
    statement = (
        sa.update(ca_keys)
        .where(
            ca_keys.c.issuer_id == row.issuer_id,
            ca_keys.c.ca_key_id == row.ca_key_id,
            ca_keys.c.state == row.state,
        )
        .values(state=to, updated_at=uow.now)
    )
    return uow.execute(statement).rowcount == 1


_MATERIAL = (
    "cert_pem",
    "chain_pem",
    "signer",
    "key_ref",
    "origin",
    "subject",
    "not_before",
    "not_after",
)


def set_material(uow: Uow, row: CAKeyRow) -> None:
    """Record where a known key lies now and which certificate it carries."""
    uow.execute(
        sa.update(ca_keys)
        .where(ca_keys.c.issuer_id == row.issuer_id, ca_keys.c.ca_key_id == row.ca_key_id)
        .values({name: getattr(row, name) for name in _MATERIAL} | {"updated_at": uow.now})
    )


def list_ends(uow: Uow, states: Collection[CAKeyState]) -> list[Row[Any]]:
    """(issuer_id, ca_key_id, subject, not_after, warned_days) of the keys in these states."""
    c = ca_keys.c
    statement = sa.select(c.issuer_id, c.ca_key_id, c.subject, c.not_after, c.warned_days)
    rows = uow.execute(statement.where(c.state.in_(sorted(states))).order_by(c.ca_key_id))
    return list(rows.all())


def set_warned(uow: Uow, issuer_id: str, ca_key_id: str, days: int | None) -> None:
    """Remember the threshold that somebody was warned of."""
    uow.execute(
        sa.update(ca_keys)
        .where(ca_keys.c.issuer_id == issuer_id, ca_keys.c.ca_key_id == ca_key_id)
        .values(warned_days=days)
    )


def set_cross(uow: Uow, issuer_id: str, ca_key_id: str | None, cross_pem: str) -> None:
    """Give a key (all of the issuer with None) its cross certificate, or take it away with ""."""
    statement = sa.update(ca_keys).where(ca_keys.c.issuer_id == issuer_id)
    if ca_key_id is not None:
        statement = statement.where(ca_keys.c.ca_key_id == ca_key_id)
    uow.execute(statement.values(cross_pem=cross_pem, updated_at=uow.now))


def find_current_id(uow: Uow, issuer_id: str) -> str | None:
    """The id of the key that issues for an issuer."""
    found: str | None = uow.scalar(
        sa.select(ca_keys.c.ca_key_id).where(
            ca_keys.c.issuer_id == issuer_id, ca_keys.c.state == CAKeyState.CURRENT
        )
    )
    return found


def find_member(uow: Uow, issuer_id: str, member_id: str) -> CAKeyRow | None:
    """The key of one CA of a tree."""
    row = uow.first(
        sa.select(ca_keys).where(ca_keys.c.issuer_id == issuer_id, ca_keys.c.member_id == member_id)
    )
    return None if row is None else _key_row(row)


def set_member(uow: Uow, row: CAKeyRow) -> None:
    """A known key becomes one of a tree's."""
    uow.execute(
        sa.update(ca_keys)
        .where(ca_keys.c.issuer_id == row.issuer_id, ca_keys.c.ca_key_id == row.ca_key_id)
        .values(member_id=row.member_id, ocsp_url=row.ocsp_url, updated_at=uow.now)
    )


_add_statements: dict[bool, Any] = {}
"""The ledger's ``INSERT`` by engine, built once: making it costs more than running it."""


def queue_entry(uow: Uow, entry: LedgerEntry, taken: Callable[[], Exception]) -> None:
    """Append to the ledger with the next flush."""
    uow.add(ca_issued_certificates, _entry_values(entry), taken=taken)


def add_entry(uow: Uow, entry: LedgerEntry) -> bool:
    """Append to the ledger; False when the serial is there already. One statement."""
    statement = _add_statements.get(uow.is_postgres)
    if statement is None:
        statement = (
            uow.insert(ca_issued_certificates)
            .on_conflict_do_nothing()
            .execution_options(preserve_rowcount=True)
        )
        _add_statements[uow.is_postgres] = statement
    return uow.execute(statement, _entry_values(entry)).rowcount == 1


def _entry_values(entry: LedgerEntry) -> dict[str, object]:
    return {
        "issuer_id": entry.issuer_id,
        "ca_key_id": entry.ca_key_id,
        "serial_number": entry.serial,
        "kind": entry.kind,
        "certificate_id": entry.certificate_id,
        "profile_id": entry.profile_id,
        "subject": entry.subject,
        "not_before": entry.not_before,
        "not_after": entry.not_after,
        "fingerprint_sha256": entry.fingerprint_sha256,
        "short_lived": entry.short_lived,
        "issued_at": entry.issued_at,
    }


_LEDGER = ca_issued_certificates.c


def _entry(row: Row[Any]) -> LedgerEntry:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public mapping
    values["serial"] = values.pop("serial_number")
    values["kind"] = LedgerKind(values["kind"])
    return LedgerEntry(**values)


def find_entry(
    uow: Uow, issuer_id: str, ca_key_ids: Sequence[str], serial: str
) -> LedgerEntry | None:
    """The entry of a serial under any of these keys; a primary-key lookup for each."""
    row = uow.first(
        sa.select(ca_issued_certificates).where(
            _LEDGER.issuer_id == issuer_id,
            _LEDGER.ca_key_id.in_(ca_key_ids),
            _LEDGER.serial_number == serial,
        )
    )
    return None if row is None else _entry(row)


_IS_ISSUED = sa.select(sa.literal(1)).where(
    _LEDGER.issuer_id == sa.bindparam("issuer_id"),
    _LEDGER.ca_key_id == sa.bindparam("ca_key_id"),
    _LEDGER.serial_number == sa.bindparam("serial"),
)


def is_issued(uow: Uow, issuer_id: str, ca_key_id: str, serial: str) -> bool:
    """Whether the ledger holds the serial."""
    found = uow.execute(
        _IS_ISSUED, {"issuer_id": issuer_id, "ca_key_id": ca_key_id, "serial": serial}
    )
    return found.first() is not None


def serials_in_force(
    uow: Uow, issuer_id: str, ca_key_id: str, *, after: str, limit: int
) -> list[str]:
    """Serials that people may ask about, in their order."""
    return list(
        uow.execute(
            sa.select(_LEDGER.serial_number)
            .where(
                _LEDGER.issuer_id == issuer_id,
                _LEDGER.ca_key_id == ca_key_id,
                _LEDGER.serial_number > after,
                _LEDGER.not_after >= uow.now,
                _LEDGER.kind != LedgerKind.OCSP_RESPONDER,
                _LEDGER.short_lived.is_(False),
            )
            .order_by(_LEDGER.serial_number)
            .limit(limit)
        ).scalars()
    )


def has_unexpired(uow: Uow, issuer_id: str) -> bool:
    """Whether any certificate of the issuer is still within its validity."""
    statement = (
        sa.select(sa.literal(1))
        .where(_LEDGER.issuer_id == issuer_id, _LEDGER.not_after >= uow.now)
        .limit(1)
    )
    return uow.scalar(statement) is not None


def count_unexpired(uow: Uow, issuer_id: str, ca_key_id: str | None = None) -> int:
    """How many end-entity certificates of the issuer (or one key) are within their validity."""
    statement = sa.select(sa.func.count()).where(
        _LEDGER.issuer_id == issuer_id,
        _LEDGER.not_after >= uow.now,
        _LEDGER.kind == LedgerKind.LEAF,
    )
    if ca_key_id is not None:
        statement = statement.where(_LEDGER.ca_key_id == ca_key_id)
    return int(uow.scalar(statement) or 0)
