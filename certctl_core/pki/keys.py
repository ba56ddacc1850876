"""Key algorithms, key ids, key strength and key files in PEM."""

from __future__ import annotations

import hashlib
import math
from enum import StrEnum
from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import (
    dsa,
    ec,
    ed448,
    ed25519,
    mldsa,
    mlkem,
    rsa,
    x448,
    x25519,
)
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509 import SubjectKeyIdentifier

from certctl_core.pki.errors import MalformedKey, UnsupportedKey, WeakKey, WrongPassphrase
from certctl_core.values import dataclass

PublicKey: TypeAlias = CertificatePublicKeyTypes
"""Any key that a certificate may carry; ``check_key`` says which of them are accepted."""

SigningKey: TypeAlias = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)
"""What signs here: a key in memory or a signer plugin's subclass of one of these ABCs."""


class KeyAlgorithm(StrEnum):
    """The key algorithms that are generated and accepted, by their public names."""

    RSA_2048 = "RSA-2048"
    RSA_3072 = "RSA-3072"
    RSA_4096 = "RSA-4096"
    ECDSA_P256 = "ECDSA-P256"
    ECDSA_P384 = "ECDSA-P384"
    ECDSA_P521 = "ECDSA-P521"
    ED25519 = "Ed25519"
    ML_DSA_44 = "ML-DSA-44"
    ML_DSA_65 = "ML-DSA-65"
    ML_DSA_87 = "ML-DSA-87"


class KeyFamily(StrEnum):
    """What kind of key it is; only the first four are ever accepted for issue."""

    RSA = "RSA"
    ECDSA = "ECDSA"
    ED25519 = "Ed25519"
    ML_DSA = "ML-DSA"
    DSA = "DSA"
    ED448 = "Ed448"
    X25519 = "X25519"
    X448 = "X448"
    ML_KEM = "ML-KEM"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """A key in words.

    Attributes:
        family: The algorithm family.
        size: Bits of the modulus, field or curve; for ML-DSA and ML-KEM the parameter set.
        name: ``RSA-2048``, ``ECDSA-P256``, ``Ed25519``, ``ML-DSA-65`` …
    """

    family: KeyFamily
    size: int
    name: str


MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
"""Above this a single verification costs milliseconds: a way to exhaust a server."""

_MIN_EXPONENT = 65537
_MAX_EXPONENT_BITS = 256
_MAX_PEM = 64 * 1024
_FERMAT_ROUNDS = 100

_CURVES: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    "secp256r1": ("P256", hashes.SHA256()),
    "secp384r1": ("P384", hashes.SHA384()),
    "secp521r1": ("P521", hashes.SHA512()),
}
_SHA256 = hashes.SHA256()
_MLDSA = (mldsa.MLDSA44PublicKey, mldsa.MLDSA65PublicKey, mldsa.MLDSA87PublicKey)


def generate(algorithm: KeyAlgorithm) -> SigningKey:
    """Make a new key in memory.

    Raises:
        UnsupportedKey: The linked OpenSSL lacks the algorithm (ML-DSA before 3.5).
    """
    try:
        return _generate(algorithm)
    except UnsupportedAlgorithm as error:
        raise UnsupportedKey(name=algorithm.value) from error


def _generate(algorithm: KeyAlgorithm) -> SigningKey:
    match algorithm:
        case KeyAlgorithm.RSA_2048 | KeyAlgorithm.RSA_3072 | KeyAlgorithm.RSA_4096:
            return rsa.generate_private_key(65537, int(algorithm.value.removeprefix("RSA-")))
        case KeyAlgorithm.ECDSA_P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyAlgorithm.ECDSA_P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyAlgorithm.ECDSA_P521:
            return ec.generate_private_key(ec.SECP521R1())
        case KeyAlgorithm.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        case KeyAlgorithm.ML_DSA_44:
            return mldsa.MLDSA44PrivateKey.generate()
        case KeyAlgorithm.ML_DSA_65:
            return mldsa.MLDSA65PrivateKey.generate()
        case KeyAlgorithm.ML_DSA_87:
            return mldsa.MLDSA87PrivateKey.generate()


def describe_key(public_key: PublicKey) -> KeyInfo:
    """Say what kind of key it is; works for keys that are never accepted, too."""
    if isinstance(public_key, rsa.RSAPublicKey):
        size = public_key.key_size
        return KeyInfo(family=KeyFamily.RSA, size=size, name=f"RSA-{size}")
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        curve = public_key.curve
        name = _CURVES[curve.name][0] if curve.name in _CURVES else curve.name
        return KeyInfo(family=KeyFamily.ECDSA, size=curve.key_size, name=f"ECDSA-{name}")
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return KeyInfo(family=KeyFamily.ED25519, size=256, name="Ed25519")
    return _describe_rare(public_key)


def _describe_rare(public_key: PublicKey) -> KeyInfo:
    if isinstance(public_key, dsa.DSAPublicKey):
        size = public_key.key_size
        return KeyInfo(family=KeyFamily.DSA, size=size, name=f"DSA-{size}")
    for kind, family, size in (
        (mldsa.MLDSA44PublicKey, KeyFamily.ML_DSA, 44),
        (mldsa.MLDSA65PublicKey, KeyFamily.ML_DSA, 65),
        (mldsa.MLDSA87PublicKey, KeyFamily.ML_DSA, 87),
        (mlkem.MLKEM768PublicKey, KeyFamily.ML_KEM, 768),
        (mlkem.MLKEM1024PublicKey, KeyFamily.ML_KEM, 1024),
    ):
        if isinstance(public_key, kind):
            return KeyInfo(family=family, size=size, name=f"{family}-{size}")
    for plain, family, size in (
        (ed448.Ed448PublicKey, KeyFamily.ED448, 456),
        (x25519.X25519PublicKey, KeyFamily.X25519, 256),
        (x448.X448PublicKey, KeyFamily.X448, 448),
    ):
        if isinstance(public_key, plain):
            return KeyInfo(family=family, size=size, name=family.value)
    raise UnsupportedKey(name=type(public_key).__name__)


def spki_der(public_key: PublicKey) -> bytes:
    """Give the SubjectPublicKeyInfo in DER."""
    return public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def spki_sha256(public_key: PublicKey) -> str:
    """Give the SHA-256 of the SubjectPublicKeyInfo, 64 lowercase hex digits."""
    return hashlib.sha256(spki_der(public_key)).hexdigest()


def ski(public_key: PublicKey) -> bytes:
    """Give the 20 bytes of RFC 5280 §4.2.1.2 method 1: SHA-1 of the public key bits."""
    return SubjectKeyIdentifier.from_public_key(public_key).digest


def ca_key_id(public_key: PublicKey) -> str:
    """Give the id of a CA key: ``ski`` as 40 lowercase hex digits."""
    return ski(public_key).hex()


def signature_hash(public_key: PublicKey) -> hashes.HashAlgorithm | None:
    """Give the hash that signatures of this key use; None where the algorithm brings its own.

    Raises:
        UnsupportedKey: The key is of no kind that signs here.
    """
    if isinstance(public_key, rsa.RSAPublicKey):
        return _SHA256
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        curve = _CURVES.get(public_key.curve.name)
        if curve is not None:
            return curve[1]
    elif isinstance(public_key, (ed25519.Ed25519PublicKey, *_MLDSA)):
        return None
    raise UnsupportedKey(name=describe_key(public_key).name)


def check_key(public_key: PublicKey) -> KeyInfo:
    """Refuse keys that must not be certified (02 PROF-3), whatever a profile says.

    Returns:
        The description of the accepted key.

    Raises:
        UnsupportedKey: Algorithm or curve is not one of ours.
        WeakKey: RSA size outside 2048–8192 bits, an even exponent or one outside
            65537–2²⁵⁶, a modulus with the ROCA fingerprint, small or close factors.
    """
    signature_hash(public_key)
    info = describe_key(public_key)
    if isinstance(public_key, rsa.RSAPublicKey):
        _check_rsa(public_key)
    return info


def _check_rsa(public_key: rsa.RSAPublicKey) -> None:
    size = public_key.key_size
    if not MIN_RSA_BITS <= size <= MAX_RSA_BITS:
        raise WeakKey(reason=f"RSA keys must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
    numbers = public_key.public_numbers()
    exponent = numbers.e
    if exponent < _MIN_EXPONENT or not exponent & 1:
        raise WeakKey(reason="the RSA exponent must be odd and at least 65537")
    if exponent.bit_length() > _MAX_EXPONENT_BITS:
        raise WeakKey(reason="the RSA exponent is too large")
    modulus = numbers.n
    if math.gcd(modulus, _SMALL_PRODUCT) != 1:
        raise WeakKey(reason="the RSA modulus has a small factor")
    if _has_roca_fingerprint(modulus):
        raise WeakKey(reason="the RSA modulus has the ROCA fingerprint")
    if _has_close_factors(modulus):
        raise WeakKey(reason="the factors of the RSA modulus lie too close together")


def _primes_below(limit: int) -> list[int]:
    return [n for n in range(2, limit) if all(n % d for d in range(2, math.isqrt(n) + 1))]


_SMALL_PRODUCT = math.prod(_primes_below(752))

# CVE-2017-15361: the affected library builds primes as k·M + 65537^a mod M, where M is a product
# of the first primes (39 of them for the smallest keys). So a modulus is a power of 65537 modulo
# each of those primes; the chance that an honest key is, too, is below 2^-60.
_ROCA_PRIMES = _primes_below(168)[1:]
_ROCA_PRODUCT = math.prod(_ROCA_PRIMES)
_ROCA_POWERS = tuple((p, frozenset(pow(65537, a, p) for a in range(p))) for p in _ROCA_PRIMES)


def _has_roca_fingerprint(modulus: int) -> bool:
    residue = modulus % _ROCA_PRODUCT
    return all(residue % prime in powers for prime, powers in _ROCA_POWERS)


_SQUARES_MOD_64 = frozenset(n * n % 64 for n in range(64))


def _has_close_factors(modulus: int) -> bool:
    # Fermat's method, 100 rounds: finds p and q that agree in about the upper half of their bits.
    mean = math.isqrt(modulus - 1) + 1
    square = mean * mean - modulus
    for _ in range(_FERMAT_ROUNDS):
        if square & 63 in _SQUARES_MOD_64 and math.isqrt(square) ** 2 == square:
            return True
        square += 2 * mean + 1
        mean += 1
    return False


def private_key_pem(key: SigningKey, *, password: bytes | None = None) -> bytes:
    """Write a key as PKCS#8 PEM, encrypted when a password is given."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def load_private_key_pem(data: bytes, *, password: bytes | None = None) -> SigningKey:
    """Read a key from PKCS#8 (plain or encrypted), PKCS#1 or SEC 1 PEM.

    Returns:
        A key that passed ``check_key``.

    Raises:
        MalformedKey: No readable private key.
        WrongPassphrase: Encrypted without a matching passphrase, or one given for a plain key.
        UnsupportedKey: A kind that does not sign here.
        WeakKey: As for ``check_key``.
    """
    if len(data) > _MAX_PEM:
        raise MalformedKey
    try:
        key = serialization.load_pem_private_key(data, password=password)
    except TypeError as error:
        # Raised for "encrypted, no password" and "password, not encrypted" alike.
        raise WrongPassphrase from error
    except UnsupportedAlgorithm as error:
        raise UnsupportedKey(name="an unknown algorithm") from error
    except ValueError as error:
        # The library does not tell a wrong password from broken bytes; nor should we.
        if password is not None:
            raise WrongPassphrase from error
        raise MalformedKey from error
    if not isinstance(
        key,
        rsa.RSAPrivateKey
        | ec.EllipticCurvePrivateKey
        | ed25519.Ed25519PrivateKey
        | mldsa.MLDSA44PrivateKey
        | mldsa.MLDSA65PrivateKey
        | mldsa.MLDSA87PrivateKey,
    ):
        raise UnsupportedKey(name=type(key).__name__.removesuffix("PrivateKey"))
    check_key(key.public_key())
    return key
