"""The values of OCSP messages, and the CertIDs of a CA (RFC 6960 §4.1.1)."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import IntEnum, StrEnum
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certctl_core.pki import _der
from certctl_core.pki.errors import MalformedCertificate
from certctl_core.pki.reasons import CRLReason
from certctl_core.pki.serials import canonical, to_int
from certctl_core.values import dataclass


class CertIDHash(StrEnum):
    """The hashes of CertIDs that are answered."""

    SHA1 = "sha1"
    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"


class CertStatus(StrEnum):
    """What is said about one certificate."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


class ResponseStatus(IntEnum):
    """OCSPResponseStatus without ``successful``; the values are those on the wire."""

    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    SIG_REQUIRED = 5
    UNAUTHORIZED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class CertID:
    """Which certificate is asked about.

    Attributes:
        hash_algorithm: None for a hash that is not answered (then nothing can match).
        name_hash: Hash of the issuer's name.
        key_hash: Hash of the issuer's public key bits.
        serial: Canonical.
        der: The whole CertID as it came; a response repeats it unchanged.
    """

    hash_algorithm: CertIDHash | None
    name_hash: bytes
    key_hash: bytes
    serial: str
    der: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OCSPRequest:
    """A request that may be answered.

    Attributes:
        cert_ids: One to sixteen, in their order.
        nonce: The value inside the extension, 1 to 128 bytes, or None.
    """

    cert_ids: tuple[CertID, ...]
    nonce: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleResponse:
    """The answer about one certificate.

    Attributes:
        cert_id: From the request.
        status: ``good``, ``revoked`` or ``unknown``.
        this_update: Aware.
        next_update: Aware, or None.
        revoked_at: Aware; required for ``revoked``, None otherwise.
        reason: Left out of the response for ``unspecified`` (02 OCSP-7).
    """

    cert_id: CertID
    status: CertStatus
    this_update: datetime
    next_update: datetime | None = None
    revoked_at: datetime | None = None
    reason: CRLReason = CRLReason.UNSPECIFIED


HASH_OIDS = {
    _der.oid("1.3.14.3.2.26"): CertIDHash.SHA1,
    _der.oid("2.16.840.1.101.3.4.2.1"): CertIDHash.SHA256,
    _der.oid("2.16.840.1.101.3.4.2.2"): CertIDHash.SHA384,
    _der.oid("2.16.840.1.101.3.4.2.3"): CertIDHash.SHA512,
}
_ALGORITHMS = {
    algorithm: _der.tlv(_der.SEQUENCE, oid + b"\x05\x00") for oid, algorithm in HASH_OIDS.items()
}


@lru_cache(maxsize=1024)
def issuer_hashes(hash_algorithm: CertIDHash, issuer_cert: x509.Certificate) -> tuple[bytes, bytes]:
    """Give the name and key hash that CertIDs of this CA carry.

    Raises:
        MalformedCertificate: The CA's key is of an unknown kind.
    """
    try:
        spki = issuer_cert.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        bits = _public_key_bits(spki)
        name = issuer_cert.subject.public_bytes()
    except ValueError as error:
        raise MalformedCertificate(reason="the CA certificate cannot be read") from error

    def digest(data: bytes) -> bytes:
        return hashlib.new(hash_algorithm.value, data, usedforsecurity=False).digest()

    return digest(name), digest(bits)


def _public_key_bits(spki: bytes) -> bytes:
    start, stop = _der.whole(spki, _der.SEQUENCE)
    _, _, algorithm_end = _der.element(spki, start, stop)
    bits, end = _der.expect(spki, algorithm_end, stop, _der.BIT_STRING)
    return spki[bits + 1 : end]


def cert_id(hash_algorithm: CertIDHash, issuer_cert: x509.Certificate, serial: str) -> CertID:
    """Make the CertID of a certificate.

    Raises:
        MalformedSerial, MalformedCertificate: As named.
    """
    name_hash, key_hash = issuer_hashes(hash_algorithm, issuer_cert)
    der = _der.tlv(
        _der.SEQUENCE,
        b"".join(
            (
                _ALGORITHMS[hash_algorithm],
                _der.tlv(_der.OCTET_STRING, name_hash),
                _der.tlv(_der.OCTET_STRING, key_hash),
                _der.integer(to_int(serial)),
            )
        ),
    )
    return CertID(
        hash_algorithm=hash_algorithm,
        name_hash=name_hash,
        key_hash=key_hash,
        serial=canonical(serial),
        der=der,
    )


def is_issued_by(wanted: CertID, issuer_cert: x509.Certificate) -> bool:
    """Say whether a CertID names this CA: both hashes must match (02 OCSP-6).

    Raises:
        MalformedCertificate: As for ``issuer_hashes``.
    """
    if wanted.hash_algorithm is None:
        return False
    return (wanted.name_hash, wanted.key_hash) == issuer_hashes(wanted.hash_algorithm, issuer_cert)
