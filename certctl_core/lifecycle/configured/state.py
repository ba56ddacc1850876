"""What a running instance gets from us: its sealed key/value store and its leases (06 §1.4).

Called from inside plugin calls, outside any unit of work, so each operation opens its own.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import sqlalchemy as sa

from certctl_core.contracts.context import Stored
from certctl_core.contracts.errors import LockBusy
from certctl_core.contracts.host.contexts import check_state_key, check_state_value
from certctl_core.kernel.db import Leases, UnitOfWorkFactory, Uow
from certctl_core.kernel.secrets import Keyring, Purpose
from certctl_core.values import dataclass

_RETRY_SECONDS = 0.2
_MAX_LEASE_NAME = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """What kind of plugin the instances of a room are, and where their values are kept.

    Attributes:
        noun: ``issuer``: names of leases begin with it, and ``issuer_id`` is the column.
        table: Columns ``<noun>_id``, ``key``, ``value``, ``version`` and ``updated_at``.
    """

    noun: str
    table: sa.Table


class SealedState:
    """A ``StateStore`` over the table of its owner: each value sealed for its instance and key.

    Args:
        owner: Says which table.
        owner_id: Whose values.
        units: Opens the transactions.
        keyring: Seals with the purpose ``plugin-state``.
    """

    def __init__(
        self, owner: Owner, owner_id: str, *, units: UnitOfWorkFactory, keyring: Keyring
    ) -> None:
        self._table = owner.table
        self._column = f"{owner.noun}_id"
        self._owner_id = owner_id
        self._units = units
        self._keyring = keyring

    def get(self, key: str) -> Stored | None:
        """Read a value, or None."""
        check_state_key(key)
        with self._units.read() as uow:
            row = uow.first(
                sa.select(self._table.c.value, self._table.c.version).where(*self._at(key))
            )
        if row is None:
            return None
        value = self._keyring.open(
            Purpose.PLUGIN_STATE,
            row.value,
            table=self._table.name,
            column="value",
            row_id=self._place(key),
        )
        return Stored(value=value, version=row.version)

    def put(self, key: str, value: bytes) -> int:
        """Write a value whatever was there; returns its new version."""
        sealed = self._seal(key, value)
        with self._units.begin() as uow:
            insert = uow.insert(self._table).values(**self._row(uow, key, sealed))
            statement = insert.on_conflict_do_update(
                index_elements=[self._table.c[self._column], self._table.c.key],
                set_={
                    "value": sealed,
                    "version": self._table.c.version + 1,
                    "updated_at": uow.now,
                },
            ).returning(self._table.c.version)
            return int(uow.scalar(statement))

    def compare_and_set(self, key: str, value: bytes, *, version: int | None) -> bool:
        """Write only if the stored version is ``version`` (None: only if absent)."""
        sealed = self._seal(key, value)
        with self._units.begin() as uow:
            if version is None:
                insert = uow.insert(self._table).values(**self._row(uow, key, sealed))
                insert = insert.on_conflict_do_nothing().execution_options(preserve_rowcount=True)
                return uow.execute(insert).rowcount == 1
            statement = (
                sa.update(self._table)
                .where(*self._at(key), self._table.c.version == version)
                .values(value=sealed, version=version + 1, updated_at=uow.now)
            )
            return uow.execute(statement).rowcount == 1

    def delete(self, key: str) -> None:
        """Remove a value; absent is fine."""
        check_state_key(key)
        with self._units.begin() as uow:
            uow.execute(sa.delete(self._table).where(*self._at(key)))

    def _seal(self, key: str, value: bytes) -> str:
        check_state_key(key)
        check_state_value(value)
        return self._keyring.seal(
            Purpose.PLUGIN_STATE,
            value,
            table=self._table.name,
            column="value",
            row_id=self._place(key),
        )

    def _place(self, key: str) -> str:
        return f"{self._owner_id}/{key}"

    def _at(self, key: str) -> tuple[sa.ColumnElement[bool], ...]:
        return (self._table.c[self._column] == self._owner_id, self._table.c.key == key)

    def _row(self, uow: Uow, key: str, sealed: str) -> dict[str, object]:
        return {
            self._column: self._owner_id,
            "key": key,
            "value": sealed,
            "version": 1,
            "updated_at": uow.now,
        }


class LeasedLocks:
    """``Locks`` over the kernel's leases: one process of all replicas holds a name at a time.

    Args:
        owner: Says how the names begin.
        owner_id: The names are this instance's own.
        units: Opens the transactions.
    """

    def __init__(self, owner: Owner, owner_id: str, *, units: UnitOfWorkFactory) -> None:
        self._noun = owner.noun
        self._prefix = f"{owner.noun}:{owner_id}:"
        self._units = units
        self._leases = Leases()

    @contextmanager
    def __call__(
        self, name: str, ttl: timedelta, *, wait: timedelta = timedelta()
    ) -> Iterator[None]:
        """Hold the lease inside ``with``; see ``contracts.context.Locks``."""
        holder = secrets.token_hex(8)
        lease_name = self._prefix + name
        if len(lease_name) > _MAX_LEASE_NAME:
            lease_name = f"{self._noun}:{hashlib.sha256(lease_name.encode()).hexdigest()}"
        deadline = self._units.clock.monotonic() + wait.total_seconds()
        while True:
            with self._units.begin() as uow:
                lease = self._leases.acquire(uow, lease_name, holder=holder, ttl=ttl)
            if lease is not None:
                break
            if self._units.clock.monotonic() >= deadline:
                raise LockBusy(lock=name)
            threading.Event().wait(_RETRY_SECONDS)
        try:
            yield
        finally:
            with self._units.begin() as uow:
                self._leases.release(uow, lease)
