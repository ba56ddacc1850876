"""How published lists of known-weak keys name a key: three digests of a public key.

Such lists hold millions of keys, for instance every RSA key that a Debian system of CVE-2008-0166
could make, so they carry short digests and no keys.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x448, x25519

from certctl_core.pki.keys import PublicKey, spki_sha256


class KeyMark(StrEnum):
    """What a list is made of."""

    SPKI_SHA256 = "spki-sha256"
    """SHA-256 of the SubjectPublicKeyInfo in DER."""
    OPENSSL = "openssl-blacklist"
    """The last 10 bytes of the SHA-1 of what ``openssl rsa -noout -modulus`` prints; RSA only."""
    BADKEYS = "badkeys"
    """The first 15 bytes of the SHA-256 of the modulus, the x coordinate or the raw key, written
    without leading zeros."""


MARK_BYTES = {KeyMark.SPKI_SHA256: 32, KeyMark.OPENSSL: 10, KeyMark.BADKEYS: 15}
"""Length of one digest."""


def key_mark(public_key: PublicKey, mark: KeyMark) -> bytes | None:
    """The digest by which a list of this kind names the key; None where it cannot name it.

    Returns:
        ``MARK_BYTES[mark]`` bytes.
    """
    if mark is KeyMark.SPKI_SHA256:
        return bytes.fromhex(spki_sha256(public_key))
    if mark is KeyMark.OPENSSL:
        if not isinstance(public_key, rsa.RSAPublicKey):
            return None
        line = f"Modulus={public_key.public_numbers().n:X}\n".encode()
        return hashlib.sha1(line, usedforsecurity=False).digest()[-MARK_BYTES[mark] :]
    return hashlib.sha256(_number(public_key)).digest()[: MARK_BYTES[mark]]


def _number(public_key: PublicKey) -> bytes:
    if isinstance(public_key, rsa.RSAPublicKey):
        return _shortest(public_key.public_numbers().n)
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return _shortest(public_key.public_numbers().x)
    if isinstance(
        public_key,
        ed25519.Ed25519PublicKey
        | ed448.Ed448PublicKey
        | x25519.X25519PublicKey
        | x448.X448PublicKey,
    ):
        return public_key.public_bytes_raw().lstrip(b"\0")
    if isinstance(public_key, dsa.DSAPublicKey):
        return _shortest(public_key.public_numbers().y)
    return public_key.public_bytes_raw()


def _shortest(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8)
