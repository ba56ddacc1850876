"""Sealing at rest: one keyring, one envelope, one subkey per purpose (spec 08 CRYPT-1, CRYPT-2).

Envelope: ``v1.<kid>.<nonce>.<ciphertext and tag>``, the last two base64url without padding;
AES-256-GCM, 96-bit random nonce, additional data ``table|column|row id``, so that a value moved to
another place does not open. A root is 32 random bytes, or a passphrase stretched once when the
keyring is made; a subkey is HKDF-SHA256(root, installation salt, ``certctl/v1/<purpose>``).
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Sequence
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from typing_extensions import override

from certctl_core.kernel.secrets.credential import Credential
from certctl_core.kernel.secrets.errors import KeyringMalformed, SealBroken, UnknownKeyId
from certctl_core.values import dataclass

KEY_BYTES = 32
SALT_BYTES = 16
MIN_PASSPHRASE_BYTES = 32
SINGLE_KEY_ID = "k1"
_NONCE_BYTES = 12
_VERSION = "v1"
_KEY_ID = re.compile(r"[a-z0-9_-]{1,16}")
_ENVELOPE = re.compile(r"v1\.([a-z0-9_-]{1,16})\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{22,})")
# A passphrase may hold commas: one separates elements only where a whole element follows.
_SEPARATOR = re.compile(
    r"\s*(?:\n|,(?=\s*[a-z0-9_-]{1,16}:(?:pass:|[A-Za-z0-9+/_-]{43}=?\s*(?:[,\n]|\Z))))\s*"
)
# Argon2id, RFC 9106 §4 second recommended option: 64 MiB, 3 passes, 4 lanes.
_STRETCH_MEMORY_KIB = 64 * 1024
_STRETCH_PASSES = 3
_STRETCH_LANES = 4


class Purpose(StrEnum):
    """What a value is sealed for; each purpose has its own subkey. A closed list."""

    PLUGIN_CONFIG = "plugin-config"
    PLUGIN_STATE = "plugin-state"
    SESSION_KEY = "session-key"
    LOGIN = "login"
    IDENTITY_PROVIDER = "identity-provider"
    RESPONDER_KEY = "responder-key"
    CA_KEY = "ca-key"
    SERVER_KEY = "server-key"
    ACME_NONCE = "acme-nonce"
    ACME_ACCOUNT = "acme-account"
    EAB = "eab"
    EST = "est"
    SCEP_CHALLENGE = "scep-challenge"
    SCEP_RA = "scep-ra"
    AUDIT_KEY = "audit-key"
    IDEMPOTENCY = "idempotency"
    CANARY = "canary"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySpec:
    """One element of the keyring setting, parsed but not yet stretched.

    Attributes:
        kid: Key id, 1 to 16 of ``[a-z0-9_-]``.
        material: 32 key bytes, or the passphrase in UTF-8.
        is_passphrase: Whether ``material`` has to be stretched.
    """

    kid: str
    material: Credential
    is_passphrase: bool = False

    def root(self, salt: bytes) -> Credential:
        """The 32-byte root secret; takes about 100 ms for a passphrase."""
        if not self.is_passphrase:
            return self.material
        from argon2.low_level import Type, hash_secret_raw

        return self.material.use(
            lambda passphrase: Credential(
                hash_secret_raw(
                    passphrase,
                    salt,
                    time_cost=_STRETCH_PASSES,
                    memory_cost=_STRETCH_MEMORY_KIB,
                    parallelism=_STRETCH_LANES,
                    hash_len=KEY_BYTES,
                    type=Type.ID,
                )
            )
        )


def parse_keyring(text: str) -> tuple[KeySpec, ...]:
    """Read the list form of the setting, without the cost of stretching.

    Args:
        text: Elements ``kid:base64`` or ``kid:pass:passphrase``, separated by commas or newlines;
            the first encrypts, all decrypt.

    Raises:
        KeyringMalformed: Empty, a bad or repeated key id, a key that is not 32 bytes, a passphrase
            under 32 bytes.
    """
    parts = [part for part in _SEPARATOR.split(text.strip()) if part]
    if not parts:
        raise KeyringMalformed(reason="the list is empty")
    specs = [_parse_element(part, position) for position, part in enumerate(parts, start=1)]
    kids = [spec.kid for spec in specs]
    for kid in kids:
        if kids.count(kid) > 1:
            raise KeyringMalformed(reason=f"key id {kid!r} appears twice")
    return tuple(specs)


def parse_single_key(text: str) -> tuple[KeySpec, ...]:
    """Read the one-element form: a base64 key of 32 bytes, or else a passphrase; key id ``k1``.

    Raises:
        KeyringMalformed: Neither 32 key bytes nor a passphrase of at least 32 bytes.
    """
    key = _decode_key(text.strip())
    if key is not None:
        return (KeySpec(kid=SINGLE_KEY_ID, material=Credential(key)),)
    return (_passphrase(SINGLE_KEY_ID, text, 1),)


def _parse_element(part: str, position: int) -> KeySpec:
    kid, colon, rest = part.partition(":")
    if not colon or not _KEY_ID.fullmatch(kid):
        raise KeyringMalformed(reason=f"element {position} does not begin with a key id and ':'")
    if rest.startswith("pass:"):
        return _passphrase(kid, rest.removeprefix("pass:"), position)
    key = _decode_key(rest)
    if key is None:
        raise KeyringMalformed(reason=f"element {position} is not the base64 of 32 bytes")
    return KeySpec(kid=kid, material=Credential(key))


def _passphrase(kid: str, text: str, position: int) -> KeySpec:
    material = text.encode()
    if len(material) < MIN_PASSPHRASE_BYTES:
        raise KeyringMalformed(
            reason=f"the passphrase of element {position} is shorter than 32 bytes"
        )
    return KeySpec(kid=kid, material=Credential(material), is_passphrase=True)


def _decode_key(text: str) -> bytes | None:
    normal = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        key = base64.b64decode(normal + "=" * (-len(normal) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None


def generate_keyring() -> str:
    """Make the setting text of a new keyring with one random key, ``k1``."""
    return f"{SINGLE_KEY_ID}:{base64.b64encode(os.urandom(KEY_BYTES)).decode()}"


def key_id_of(text: str) -> str:
    """The key id that a sealed value names, without opening it.

    Raises:
        SealBroken: The text is no envelope.
    """
    return _split(text)[0]


class Keyring:
    """The root secrets of the installation; the first seals, all open. Safe for threads.

    Args:
        specs: At least one, with distinct key ids.
        salt: The installation salt, 16 bytes, the same for ever.

    Raises:
        KeyringMalformed: No element, or a salt of another length.
    """

    def __init__(self, specs: Sequence[KeySpec], *, salt: bytes) -> None:
        if not specs:
            raise KeyringMalformed(reason="the list is empty")
        if len(salt) != SALT_BYTES:
            raise KeyringMalformed(reason=f"the installation salt is not {SALT_BYTES} bytes")
        self._salt = salt
        self._roots = {spec.kid: spec.root(salt) for spec in specs}
        self._active = specs[0].kid
        self._ciphers: dict[tuple[str, Purpose], AESGCM] = {}

    @classmethod
    def from_setting(cls, text: str, *, salt: bytes) -> Keyring:
        """Make the keyring from the list form (see ``parse_keyring``); stretches passphrases.

        Raises:
            KeyringMalformed: As ``parse_keyring``.
        """
        return cls(parse_keyring(text), salt=salt)

    @override
    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._roots)})"

    @property
    def active_kid(self) -> str:
        """The id of the key that seals."""
        return self._active

    @property
    def kids(self) -> tuple[str, ...]:
        """The ids of all keys that open, the sealing one first."""
        return tuple(self._roots)

    def seal(
        self, purpose: Purpose, plaintext: bytes, *, table: str, column: str, row_id: str
    ) -> str:
        """Encrypt a value for one place in the database.

        Returns:
            The envelope, ASCII text of about 36 + 4/3 × length characters.
        """
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher(self._active, purpose).encrypt(
            nonce, plaintext, _place(table, column, row_id)
        )
        return f"{_VERSION}.{self._active}.{_encode(nonce)}.{_encode(sealed)}"

    def open(self, purpose: Purpose, text: str, *, table: str, column: str, row_id: str) -> bytes:
        """Decrypt a value that was sealed for exactly this purpose and place.

        Raises:
            UnknownKeyId: The keyring lacks the key that sealed it.
            SealBroken: Anything else: no envelope, altered, moved, another purpose or key.
        """
        kid, nonce, sealed = _split(text)
        if kid not in self._roots:
            raise UnknownKeyId(kid=kid)
        try:
            return self._cipher(kid, purpose).decrypt(nonce, sealed, _place(table, column, row_id))
        except InvalidTag:
            raise SealBroken from None

    def needs_reseal(self, text: str) -> bool:
        """Whether the value was sealed by another key than the active one.

        Raises:
            SealBroken: The text is no envelope.
        """
        return key_id_of(text) != self._active

    def reseal(self, purpose: Purpose, text: str, *, table: str, column: str, row_id: str) -> str:
        """Open a value and seal it with the active key (key rotation).

        Raises:
            UnknownKeyId: As ``open``.
            SealBroken: As ``open``.
        """
        plaintext = self.open(purpose, text, table=table, column=column, row_id=row_id)
        return self.seal(purpose, plaintext, table=table, column=column, row_id=row_id)

    def subkey(self, label: str) -> bytes:
        """A key of 32 bytes for keyed hashing, of the sealing root; other labels, other keys."""
        info = f"certctl/v1/subkey/{label}".encode()
        kdf = HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=self._salt, info=info)
        return self._roots[self._active].use(kdf.derive)

    def _cipher(self, kid: str, purpose: Purpose) -> AESGCM:
        # Two threads may both derive it; the result is the same, so no lock is needed.
        cipher = self._ciphers.get((kid, purpose))
        if cipher is None:
            info = f"certctl/v1/{purpose.value}".encode()
            kdf = HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=self._salt, info=info)
            cipher = AESGCM(self._roots[kid].use(kdf.derive))
            self._ciphers[kid, purpose] = cipher
        return cipher


def _place(table: str, column: str, row_id: str) -> bytes:
    if "|" in table or "|" in column:
        message = "table and column names hold no '|'"
        raise ValueError(message)
    return f"{table}|{column}|{row_id}".encode()


def _split(text: str) -> tuple[str, bytes, bytes]:
    match = _ENVELOPE.fullmatch(text)
    if match is None:
        raise SealBroken
    return match[1], _decode(match[2]), _decode(match[3])


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise SealBroken from None
    if _encode(data) != text:  # Stray bits at the end: one value, one spelling.
        raise SealBroken
    return data
