"""One raw signature over finished to-be-signed bytes, for every key kind we sign with."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from certctl_core.pki import _der
from certctl_core.pki.errors import UnsupportedKey
from certctl_core.pki.keys import describe_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certctl_core.pki.keys import PublicKey, SigningKey

_SHA256_WITH_RSA = "1.2.840.113549.1.1.11"
_RSA_SHA256 = _der.tlv(_der.SEQUENCE, _der.oid(_SHA256_WITH_RSA) + b"\x05\x00")
_OIDS = {
    "ECDSA-P256": "1.2.840.10045.4.3.2",
    "ECDSA-P384": "1.2.840.10045.4.3.3",
    "ECDSA-P521": "1.2.840.10045.4.3.4",
    "Ed25519": "1.3.101.112",
    "ML-DSA-44": "2.16.840.1.101.3.4.3.17",
    "ML-DSA-65": "2.16.840.1.101.3.4.3.18",
    "ML-DSA-87": "2.16.840.1.101.3.4.3.19",
}
# RFC 5758 §3.2 and RFC 8410 §3: parameters MUST be absent; RFC 9881 §2 likewise.
_BY_NAME = {name: _der.tlv(_der.SEQUENCE, _der.oid(oid)) for name, oid in _OIDS.items()}
_HASHES: dict[str, tuple[str, ec.ECDSA]] = {
    "secp256r1": ("sha256", ec.ECDSA(Prehashed(hashes.SHA256()))),
    "secp384r1": ("sha384", ec.ECDSA(Prehashed(hashes.SHA384()))),
    "secp521r1": ("sha512", ec.ECDSA(Prehashed(hashes.SHA512()))),
}
_PKCS1 = padding.PKCS1v15()
_RSA_PREHASHED = Prehashed(hashes.SHA256())


def algorithm_identifier(public_key: PublicKey) -> bytes:
    """Give the AlgorithmIdentifier of this key's signatures, in DER.

    Raises:
        UnsupportedKey: The key is of no kind that signs here.
    """
    return _RSA_SHA256 if _is_rsa(public_key) else _BY_NAME[_name(public_key)]


def signature_algorithm(public_key: PublicKey) -> str:
    """Give the dotted OID of this key's signatures.

    Raises:
        UnsupportedKey: The key is of no kind that signs here.
    """
    return _SHA256_WITH_RSA if _is_rsa(public_key) else _OIDS[_name(public_key)]


def _is_rsa(public_key: PublicKey) -> bool:
    return isinstance(public_key, rsa.RSAPublicKey)


def _name(public_key: PublicKey) -> str:
    name = describe_key(public_key).name
    if name not in _OIDS:
        raise UnsupportedKey(name=name)
    return name


def sign(key: SigningKey, *parts: bytes | memoryview) -> bytes:
    """Sign bytes, given in parts, with the one hash that belongs to the key.

    The digest is taken here, so that large parts are never joined and what crosses to a token
    is 32 to 64 bytes; Ed25519 and ML-DSA take the whole message.

    Raises:
        UnsupportedKey: The key is of no kind that signs here.
    """
    if isinstance(key, ec.EllipticCurvePrivateKey):
        known = _HASHES.get(key.curve.name)
        if known is None:
            raise UnsupportedKey(name=f"ECDSA-{key.curve.name}")
        return key.sign(_digest(known[0], parts), known[1])
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(_digest("sha256", parts), _PKCS1, _RSA_PREHASHED)
    if isinstance(
        key,
        ed25519.Ed25519PrivateKey
        | mldsa.MLDSA44PrivateKey
        | mldsa.MLDSA65PrivateKey
        | mldsa.MLDSA87PrivateKey,
    ):
        return key.sign(b"".join(parts))
    raise UnsupportedKey(name=type(key).__name__)


def verify(public_key: PublicKey, signature: bytes, data: bytes | memoryview) -> bool:
    """Say whether a signature in the key's own algorithm verifies."""
    try:
        if isinstance(public_key, ec.EllipticCurvePublicKey):
            known = _HASHES.get(public_key.curve.name)
            if known is None:
                return False
            public_key.verify(signature, _digest(known[0], (data,)), known[1])
            return True
        if isinstance(public_key, rsa.RSAPublicKey):
            public_key.verify(signature, _digest("sha256", (data,)), _PKCS1, _RSA_PREHASHED)
            return True
        if isinstance(
            public_key,
            ed25519.Ed25519PublicKey
            | mldsa.MLDSA44PublicKey
            | mldsa.MLDSA65PublicKey
            | mldsa.MLDSA87PublicKey,
        ):
            public_key.verify(signature, data)
            return True
    except InvalidSignature:
        return False
    return False


def _digest(name: str, parts: Iterable[bytes | memoryview]) -> bytes:
    digest = hashlib.new(name)
    for part in parts:
        digest.update(part)
    return digest.digest()


def signed(tbs: bytes, key: SigningKey, algorithm: bytes, *behind: bytes) -> bytes:
    """Give ``SEQUENCE { tbs, algorithm, BIT STRING signature, … }`` in DER.

    Args:
        tbs: What is signed, complete DER.
        key: Who signs.
        algorithm: ``algorithm_identifier`` of the key.
        behind: Complete DER of what follows the signature (an OCSP response's certificates).
    """
    tail = b"".join((algorithm, _der.bit_string(sign(key, tbs)), *behind))
    return b"".join((_der.header(_der.SEQUENCE, len(tbs) + len(tail)), tbs, tail))
