"""The installation's keyring: from the settings, or made once beside a SQLite database."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import sqlalchemy as sa

from certctl_core.app.errors import KeyringMissing, KeyringWrong
from certctl_core.app.sealed import in_words, unopened
from certctl_core.kernel.config import Settings
from certctl_core.kernel.db import UnitOfWorkFactory, Uow, instance
from certctl_core.kernel.secrets import (
    SALT_BYTES,
    Keyring,
    KeySpec,
    Purpose,
    SealBroken,
    UnknownKeyId,
    generate_keyring,
    parse_keyring,
    parse_single_key,
)

_FILE = "keyring"
_CANARY = b"certctl"
_PLACE = {"table": "instance", "column": "value", "row_id": "canary"}


def open_keyring(settings: Settings, units: UnitOfWorkFactory, *, is_sure: bool = False) -> Keyring:
    """The keyring that opens this database (08 boot step 8).

    Args:
        settings: The settings with the keys.
        units: The database.
        is_sure: A process before this one has tried the keys on every sealed row: the canary will do.

    Raises:
        KeyringMissing: None is configured and none may be made.
        KeyringWrong: It does not open the canary, or a row that is sealed: another
            installation's, or a lost key. The rows are named, and nothing is changed.
        KeyringMalformed: The setting cannot be read.
    """
    keyring, canary = _found_or_made(settings, units)
    if canary is None:
        return keyring
    rows = []
    if not is_sure:
        with units.read() as uow:
            rows = unopened(uow, keyring)
    closed = f"; closed stay {in_words(rows)}" if rows else ""
    try:
        keyring.open(Purpose.CANARY, canary, **_PLACE)
    except UnknownKeyId as error:
        reason = f"it was sealed with {error.data['kid']}{closed}"
        raise KeyringWrong(reason=reason) from error
    except SealBroken as error:
        reason = f"a key of the same name with another value{closed}"
        raise KeyringWrong(reason=reason) from error
    if rows:
        raise KeyringWrong(reason=f"a key is missing or another one{closed}")
    return keyring


def _found_or_made(settings: Settings, units: UnitOfWorkFactory) -> tuple[Keyring, str | None]:
    """The keyring, and the canary that it has to open: None where it was sealed just now."""
    with units.read() as uow:
        salt, canary = _stored(uow)
        if salt is not None and canary is not None:
            return Keyring(_specs(settings, uow, has_data=True), salt=salt), canary
    with units.begin() as uow:
        salt, canary = _salt(uow), _stored(uow)[1]  # another process may have been first
        keyring = Keyring(_specs(settings, uow, has_data=canary is not None), salt=salt)
        if canary is None:
            sealed = keyring.seal(Purpose.CANARY, _CANARY, **_PLACE)
            uow.execute(sa.insert(instance).values(name="canary", value=sealed))
    return keyring, canary


def _stored(uow: Uow) -> tuple[bytes | None, str | None]:
    """Salt and canary, where they are."""
    names = instance.c.name.in_(("salt", "canary"))
    rows = uow.execute(sa.select(instance.c.name, instance.c.value).where(names))
    found: dict[str, str] = {row.name: row.value for row in rows}
    salt = found.get("salt")
    return None if salt is None else base64.b64decode(salt), found.get("canary")


def _salt(uow: Uow) -> bytes:
    salt, _ = _stored(uow)
    if salt is None:
        salt = os.urandom(SALT_BYTES)
        text = base64.b64encode(salt).decode()
        uow.execute(sa.insert(instance).values(name="salt", value=text))
    return salt


def _specs(settings: Settings, uow: Uow, *, has_data: bool) -> tuple[KeySpec, ...]:
    try:
        return _configured(settings, is_postgres=uow.is_postgres, has_data=has_data)
    except KeyringMissing:
        rows = unopened(uow, None)
        if not rows:
            raise
        raise KeyringMissing(needed=f" and is needed for {in_words(rows)}") from None


def _configured(settings: Settings, *, is_postgres: bool, has_data: bool) -> tuple[KeySpec, ...]:
    encryption = settings.encryption
    if encryption.keys is not None:
        return parse_keyring(encryption.keys.reveal())
    if encryption.key is not None:
        return parse_single_key(encryption.key.reveal())
    path = settings.data_dir / _FILE
    if path.exists():
        return parse_keyring(path.read_text().strip())
    if is_postgres or has_data:
        raise KeyringMissing(needed="")
    return parse_keyring(_make(path))


def _make(path: Path) -> str:
    text = generate_keyring()
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    return text
