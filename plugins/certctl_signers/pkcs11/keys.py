"""Keys in a token as keys of ``cryptography`` (spec 02 SIGN-2): they sign, and never come out."""

from __future__ import annotations

from typing import NoReturn, Protocol, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from typing_extensions import Buffer, override

from certctl_core.contracts.signers import KeyRejectedBySigner, SigningKey

_DIGEST_INFO: dict[str, bytes] = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""What stands before the digest in an RSA signature (RFC 8017 §9.2, note 1)."""


class Signing(Protocol):
    """A key where it lies."""

    @property
    def ref(self) -> str:
        """Its reference."""
        ...

    def rsa(self, digest_info: bytes) -> bytes:
        """RSASSA-PKCS1-v1_5 over a DigestInfo."""
        ...

    def ecdsa(self, digest: bytes) -> bytes:
        """ECDSA over a digest: r and s, of the same length each."""
        ...

    def ed25519(self, data: bytes) -> bytes:
        """Pure Ed25519."""
        ...


class _InToken:
    """What all of them have in common: no way out.

    Args:
        place: The key where it lies.
    """

    def __init__(self, place: Signing) -> None:
        self._place = place

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._place.ref}>"

    @override
    def __reduce__(self) -> NoReturn:
        message = "a key in a token cannot be pickled"
        raise TypeError(message)

    def _stays(self) -> NoReturn:
        reason = "it never leaves its token"
        raise KeyRejectedBySigner(ref=self._place.ref, reason=reason)

    def private_bytes(
        self,
        encoding: serialization.Encoding,
        format: serialization.PrivateFormat,  # noqa: A002 - the name of the interface
        encryption_algorithm: serialization.KeySerializationEncryption,
    ) -> bytes:
        """Refused: the key never leaves its token."""
        del encoding, format, encryption_algorithm
        self._stays()

    def private_bytes_raw(self) -> bytes:
        """Refused: the key never leaves its token."""
        self._stays()


class TokenRSAKey(_InToken, rsa.RSAPrivateKey):
    """An RSA key in a token."""

    def __init__(self, place: Signing, public: rsa.RSAPublicKey) -> None:
        super().__init__(place)
        self._public = public

    @property
    @override
    def key_size(self) -> int:
        return self._public.key_size

    @override
    def public_key(self) -> rsa.RSAPublicKey:
        return self._public

    @override
    def sign(
        self,
        data: bytes,
        padding: padding.AsymmetricPadding,
        algorithm: utils.Prehashed | hashes.HashAlgorithm | utils.NoDigestInfo,
    ) -> bytes:
        if padding.name != "EMSA-PKCS1-v1_5":
            message = "keys in a token sign with PKCS#1 v1.5 padding only"
            raise UnsupportedAlgorithm(message)
        if isinstance(algorithm, utils.NoDigestInfo):
            return self._place.rsa(bytes(data))
        name, digest = _digest(data, algorithm)
        prefix = _DIGEST_INFO.get(name)
        if prefix is None:
            message = f"keys in a token do not sign {name} digests"
            raise UnsupportedAlgorithm(message)
        return self._place.rsa(prefix + digest)

    @override
    def decrypt(self, ciphertext: bytes, padding: padding.AsymmetricPadding) -> bytes:
        reason = "it is for signatures only"
        raise KeyRejectedBySigner(ref=self._place.ref, reason=reason)

    @override
    def private_numbers(self) -> rsa.RSAPrivateNumbers:
        self._stays()


class TokenECKey(_InToken, ec.EllipticCurvePrivateKey):
    """An elliptic-curve key in a token."""

    def __init__(self, place: Signing, public: ec.EllipticCurvePublicKey) -> None:
        super().__init__(place)
        self._public = public

    @property
    @override
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    @override
    def key_size(self) -> int:
        return self._public.key_size

    @override
    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    @override
    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        algorithm = signature_algorithm.algorithm
        _, digest = _digest(bytes(data), algorithm)
        # ECDSA takes the leftmost bits; not every token cuts by itself (FIPS 186-5 §6.4.1).
        raw = self._place.ecdsa(digest[: (self.key_size + 7) // 8])
        half = len(raw) // 2
        return utils.encode_dss_signature(
            int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
        )

    @override
    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        reason = "it is for signatures only"
        raise KeyRejectedBySigner(ref=self._place.ref, reason=reason)

    @override
    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        self._stays()


class TokenEd25519Key(_InToken, ed25519.Ed25519PrivateKey):
    """An Ed25519 key in a token."""

    def __init__(self, place: Signing, public: ed25519.Ed25519PublicKey) -> None:
        super().__init__(place)
        self._public = public

    @override
    def public_key(self) -> ed25519.Ed25519PublicKey:
        return self._public

    @override
    def sign(self, data: Buffer) -> bytes:
        return self._place.ed25519(bytes(data))


PublicTokenKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


def token_key(place: Signing, public: PublicTokenKey) -> SigningKey:
    """The key object for a key in a token."""
    if isinstance(public, rsa.RSAPublicKey):
        return TokenRSAKey(place, public)
    if isinstance(public, ec.EllipticCurvePublicKey):
        return TokenECKey(place, public)
    return TokenEd25519Key(place, public)


def _digest(data: bytes, algorithm: utils.Prehashed | hashes.HashAlgorithm) -> tuple[str, bytes]:
    if isinstance(algorithm, utils.Prehashed):
        # The hash behind it is known by its size alone.
        if len(data) != algorithm.digest_size:
            message = "the digest has another length than its algorithm"
            raise ValueError(message)
        return f"sha{8 * algorithm.digest_size}", bytes(data)
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return algorithm.name, digest.finalize()
