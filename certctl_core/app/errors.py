"""Failures of putting an installation together."""

from __future__ import annotations

from certctl_core.kernel.errors import Internal, Unprocessable


class KeyringMissing(Internal):
    """The database holds sealed values, or is PostgreSQL, and no encryption key is configured."""

    code = "keyring_missing"
    text = "No encryption key is configured{needed}."
    hint = "Set CERTCTL_CONFIG_ENCRYPTION_KEYS; 'certctl config keygen' prints a fresh value."


class KeyringWrong(Internal):
    """The configured keys do not open what the database holds; nothing was changed."""

    code = "keyring_wrong"
    text = "The configured encryption keys do not open this database ({reason})."
    hint = "Put back the value of CERTCTL_CONFIG_ENCRYPTION_KEYS that this database was used with."


class DataDirUnusable(Internal):
    """The data directory cannot be made or is open to others."""

    code = "data_dir_unusable"
    text = "The data directory {path} cannot be used: {reason}."
    hint = "Choose another one with --data-dir, or correct its owner and mode (0700)."


class SecretReferenceUnusable(Unprocessable):
    """A secret reference leads nowhere or outside what may be read."""

    code = "secret_reference_unusable"
    text = "The secret reference {reference} cannot be resolved: {reason}."
    hint = "File references name a file below the folder 'secrets' of the data directory."


class SignerNotConfigured(Unprocessable):
    """A signer is asked for whose settings are missing; data: ``signer``, ``setting``."""

    code = "signer_not_configured"
    text = "The signer {signer!r} is not configured: {setting} is not set."
    hint = "Set it and start again; docs/operator/keys-and-tokens.md shows how."
