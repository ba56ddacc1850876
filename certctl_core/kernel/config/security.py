"""Who may come in, and with which keys we keep secrets."""

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator

from certctl_core.kernel.config.fields import OFF, ON, Section, setting
from certctl_core.kernel.config.values import Duration, Flag, choice, split_list
from certctl_core.kernel.secrets import (
    KeyringMalformed,
    KeySpec,
    Secret,
    parse_keyring,
    parse_single_key,
)
from certctl_core.values import dataclass

SEEDED_ROLES = ("admin", "operator", "viewer", "agent", "mcp", "cli", "auditor")
"""What a configured key may be: the ids of the seeded roles without ``r-``."""

MIN_KEY_CHARS = 16
"""Shorter API keys and tokens can be guessed; refused (spec 08 CFG-9)."""

_KEY_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MIN_PARTS, _MAX_PARTS = 2, 3
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedKey:
    """One API key of the configuration: ``name``, the key itself, ``role`` without ``r-``."""

    name: str
    key: Secret
    role: str = "viewer"


def _read_named_keys(value: object) -> tuple[NamedKey, ...]:
    keys = [_read_named_key(item, at) for at, item in enumerate(split_list(value), start=1)]
    for at, item in enumerate(keys, start=1):
        for other in keys[at:]:
            if item.name == other.name and item.key == other.key:
                message = f"holds {item.name!r} twice with the same key"
                raise ValueError(message)
            if item.name == other.name and item.role != other.role:
                message = f"gives {item.name!r} two roles; a rotation pair has one"
                raise ValueError(message)
            if item.key == other.key:
                message = f"gives {item.name!r} and {other.name!r} the same key"
                raise ValueError(message)
    return tuple(keys)


def _read_named_key(item: object, at: int) -> NamedKey:
    if isinstance(item, NamedKey):
        return item
    parts = [part.strip() for part in str(item).split(":")]
    if not _MIN_PARTS <= len(parts) <= _MAX_PARTS:
        message = f"has an element {at} that is not name:key or name:key:role"
        raise ValueError(message)
    name, key, role = (*parts, "viewer")[:3]
    if not _KEY_NAME.fullmatch(name):
        message = f"has an element {at} whose name is not 1 to 64 letters, digits, '-' or '_'"
        raise ValueError(message)
    if role not in SEEDED_ROLES:
        message = f"gives {name!r} a role that is not one of {', '.join(SEEDED_ROLES)}"
        raise ValueError(message)
    return NamedKey(name=name, key=Secret(key), role=role)


def _read_keyring(value: object) -> Secret:
    secret = value if isinstance(value, Secret) else Secret(_joined(value))
    _check(secret, single=False)
    return secret


def _read_single_key(value: object) -> Secret:
    secret = value if isinstance(value, Secret) else Secret(str(value))
    _check(secret, single=True)
    return secret


def _joined(value: object) -> str:
    return value if isinstance(value, str) else "\n".join(str(item) for item in split_list(value))


def _check(secret: Secret, *, single: bool) -> None:
    try:
        (parse_single_key if single else parse_keyring)(secret.reveal())
    except KeyringMalformed as error:
        message = f"is not usable: {error.data['reason']}"
        raise ValueError(message) from None


NamedKeys = Annotated[tuple[NamedKey, ...], BeforeValidator(_read_named_keys)]
KeyringText = Annotated[Secret, BeforeValidator(_read_keyring)]
SingleKeyText = Annotated[Secret, BeforeValidator(_read_single_key)]


class AuthSettings(Section):
    """``settings.auth``: credentials of the configuration and the first administrator."""

    api_keys: NamedKeys = setting(
        "API_KEYS_NAMED",
        (),
        "API keys that exist by configuration: name:key[:role], with commas. The role is a "
        "seeded role without 'r-' (viewer when left out). The same name twice is a rotation pair.",
        live=True,
    )
    bootstrap_token: Secret | None = setting(
        "BOOTSTRAP_TOKEN",
        None,
        "A one-shot token, at least 32 characters, with which the first administrator is made.",
    )
    print_first_admin: Flag = setting(
        "PRINT_FIRST_ADMIN",
        ON,
        "On a first start without any administrator, make an administrator's key and print it once.",
        example="false",
    )


class SameSite(StrEnum):
    """The SameSite attribute of the session cookie; None is never an option."""

    LAX = "Lax"
    STRICT = "Strict"


class SessionSettings(Section):
    """``settings.sessions``: people signed in with a browser."""

    idle_timeout: Duration = setting(
        "SESSION_IDLE_TIMEOUT",
        timedelta(hours=1),
        "A session ends when nothing was done for this long.",
        ge=timedelta(minutes=1),
        le=30 * _DAY,
        example="20m",
    )
    absolute_timeout: Duration = setting(
        "SESSION_ABSOLUTE_TIMEOUT",
        timedelta(hours=8),
        "A session ends after this long in any case. Longer than the idle time.",
        ge=timedelta(minutes=1),
        le=30 * _DAY,
        example="12h",
    )
    signing_key_retention: Duration = setting(
        "SESSION_SIGNING_KEY_RETENTION",
        timedelta(hours=24),
        "How long a replaced signing key still verifies. At least the absolute time.",
        ge=timedelta(minutes=1),
        le=366 * _DAY,
        example="48h",
    )
    signing_key_rotation: Duration = setting(
        "SESSION_SIGNING_KEY_ROTATION",
        timedelta(days=30),
        "How often the signing key is replaced.",
        ge=timedelta(hours=1),
        le=366 * _DAY,
        example="7d",
    )
    samesite: Annotated[SameSite, choice(SameSite)] = setting(
        "SESSION_SAMESITE",
        SameSite.LAX,
        "SameSite attribute of the session cookie.",
        example="Strict",
    )
    bind_ip: Flag = setting(
        "SESSION_BIND_IP",
        OFF,
        "End a session that comes from another client address.",
        example="true",
    )
    bind_user_agent: Flag = setting(
        "SESSION_BIND_USER_AGENT",
        OFF,
        "End a session that comes from another browser.",
        example="true",
    )


class EncryptionSettings(Section):
    """``settings.encryption``: the keyring that seals secrets in the database."""

    keys: KeyringText | None = setting(
        "CONFIG_ENCRYPTION_KEYS",
        None,
        "Keys that seal stored secrets: kid:base64 of 32 bytes, or kid:pass:passphrase of at "
        "least 32 bytes, with commas. The first encrypts, all decrypt. On SQLite one is made "
        "when none is set.",
    )
    key: SingleKeyText | None = setting(
        "CONFIG_ENCRYPTION_KEY",
        None,
        "The form with one key (key id k1): the base64 of 32 bytes, or a passphrase of at least "
        "32 bytes.",
    )

    @property
    def specs(self) -> tuple[KeySpec, ...]:
        """The parsed keyring, the sealing key first; empty when none is configured."""
        if self.keys is not None:
            return parse_keyring(self.keys.reveal())
        return () if self.key is None else parse_single_key(self.key.reveal())
