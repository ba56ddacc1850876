"""Failures of sealing; none of them says anything about the value or the key."""

from __future__ import annotations

from certctl_core.kernel.errors import Internal, Invalid


class KeyringMalformed(Invalid):
    """The setting is no keyring; data: ``reason`` (never holds any part of a key)."""

    code = "keyring_malformed"
    text = "The encryption keys are not usable: {reason}."
    hint = "An element is 'kid:base64 of 32 bytes' or 'kid:pass:passphrase of 32 bytes or more'."


class SealBroken(Internal):
    """A sealed value does not open: altered, moved to another row, or sealed by another key."""

    code = "seal_broken"
    text = "A stored secret cannot be decrypted."


class UnknownKeyId(Internal):
    """A sealed value names a key that the keyring does not hold; data: ``kid``."""

    code = "unknown_key_id"
    text = "A stored secret cannot be decrypted (key id {kid})."
    hint = "Add that key to CERTCTL_CONFIG_ENCRYPTION_KEYS again, behind the first."
