"""Configurations taken apart for storage: plain JSON, and one envelope for each secret.

An envelope is bound to its table, row and field, so that it opens nowhere else (06 SEC-1, SEC-2).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from certctl_core.contracts.options import PluginConfig, split_secrets
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.secrets import (
    Keyring,
    Purpose,
    SealBroken,
    UnknownKeyId,
    key_id_of,
)
from certctl_core.lifecycle.configured.types import SealedRow, StoredConfig, Unreadable


class Sealer:
    """Takes configurations apart for one table, and opens their secrets again.

    Args:
        keyring: Seals with the purpose ``plugin-config``.
        table: The name of the table, which the envelopes are bound to.
        unreadable: Makes the room's error for a secret that cannot be opened.
    """

    def __init__(
        self, keyring: Keyring, *, table: str, unreadable: Callable[[Unreadable], CertctlError]
    ) -> None:
        self._keyring = keyring
        self._table = table
        self._unreadable = unreadable

    def open(self, row: SealedRow) -> dict[str, str]:
        """The literal secrets of a row by field path.

        Raises:
            CertctlError: One cannot be decrypted; made by ``unreadable``.
        """
        opened = {}
        for name, envelope in row.secrets.items():
            try:
                opened[name] = self._keyring.open(
                    Purpose.PLUGIN_CONFIG, envelope, **self._place(row.id, name)
                ).decode()
            except (SealBroken, UnknownKeyId) as error:
                kid = str(error.data.get("kid") or _kid(envelope))
                found = Unreadable(row_id=row.id, key_id=kid, code=error.code)
                raise self._unreadable(found) from error
        return opened

    def store(
        self, row_id: str, config: PluginConfig, *, at: datetime, before: SealedRow | None = None
    ) -> StoredConfig:
        """Take a configuration apart and seal its secrets.

        Args:
            row_id: The row that the envelopes are bound to.
            config: Validated.
            at: Now; noted for secrets that are new.
            before: The row that it replaces: unchanged secrets keep their envelope and time.

        Raises:
            CertctlError: The secrets of ``before`` cannot be opened; as for ``open``.
        """
        plain, secrets = split_secrets(config)
        old = self.open(before) if before is not None else {}
        sealed, set_at = {}, {}
        now = at.isoformat().replace("+00:00", "Z")
        for name, text in secrets.items():
            if before is not None and old.get(name) == text:
                sealed[name] = before.secrets[name]
                set_at[name] = before.secrets_set_at.get(name, now)
                continue
            sealed[name] = self._keyring.seal(
                Purpose.PLUGIN_CONFIG, text.encode(), **self._place(row_id, name)
            )
            set_at[name] = now
        former = before.config if before is not None else {}
        names = {*plain, *former}
        changed = {f"config.{name}" for name in names if plain.get(name) != former.get(name)}
        names = {*secrets, *old}
        changed |= {f"config.{name}" for name in names if secrets.get(name) != old.get(name)}
        return StoredConfig(plain=plain, sealed=sealed, set_at=set_at, changed=changed)

    def _place(self, row_id: str, name: str) -> dict[str, str]:
        return {"table": self._table, "column": f"secrets.{name}", "row_id": row_id}


def _kid(envelope: str) -> str:
    try:
        return key_id_of(envelope)
    except SealBroken:
        return "unknown"
