"""Secrets: the opaque types, sealing at rest with a keyring, and redaction of what is shown."""

from __future__ import annotations

from certctl_core.kernel.secrets.credential import REDACTED, Credential
from certctl_core.kernel.secrets.errors import KeyringMalformed, SealBroken, UnknownKeyId
from certctl_core.kernel.secrets.keyring import (
    SALT_BYTES,
    Keyring,
    KeySpec,
    Purpose,
    generate_keyring,
    key_id_of,
    parse_keyring,
    parse_single_key,
)
from certctl_core.kernel.secrets.private_keys import open_private_key
from certctl_core.kernel.secrets.redaction import Redactor, redact, redact_text
from certctl_core.kernel.secrets.secret import MASK, Secret

__all__ = [
    "MASK",
    "REDACTED",
    "SALT_BYTES",
    "Credential",
    "KeySpec",
    "Keyring",
    "KeyringMalformed",
    "Purpose",
    "Redactor",
    "SealBroken",
    "Secret",
    "UnknownKeyId",
    "generate_keyring",
    "key_id_of",
    "open_private_key",
    "parse_keyring",
    "parse_single_key",
    "redact",
    "redact_text",
]
