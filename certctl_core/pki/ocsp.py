"""OCSP requests and responses as bytes (RFC 6960, RFC 9654; 02 §12).

The cryptography library reads and builds messages about a single certificate; requests may hold
several, so the codec is our own. ``parse_request`` is strict DER with bounds, ``build_response``
a join of parts and one raw signature.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.pki import _der, keys
from certctl_core.pki._ocsp_read import (
    OCSPAnswer,
    OCSPResponseInfo,
    inspect_response,
    verify_response,
)
from certctl_core.pki._ocsp_types import (
    HASH_OIDS,
    CertID,
    CertIDHash,
    CertStatus,
    OCSPRequest,
    ResponseStatus,
    SingleResponse,
    cert_id,
    is_issued_by,
    issuer_hashes,
)
from certctl_core.pki._signing import algorithm_identifier, signed
from certctl_core.pki.errors import (
    MalformedOCSPNonce,
    MalformedOCSPRequest,
    MalformedSerial,
    MissingRevocationTime,
)
from certctl_core.pki.keys import SigningKey
from certctl_core.pki.reasons import CRLReason
from certctl_core.pki.serials import canonical
from certctl_core.values import dataclass

__all__ = [
    "MAX_CERT_IDS",
    "MAX_NONCE",
    "MAX_REQUEST_BYTES",
    "CertID",
    "CertIDHash",
    "CertStatus",
    "OCSPAnswer",
    "OCSPRequest",
    "OCSPResponseInfo",
    "ResponseStatus",
    "SingleResponse",
    "UnsignedResponse",
    "before_nonce",
    "build_request",
    "build_response",
    "cert_id",
    "error_response",
    "inspect_response",
    "is_issued_by",
    "issuer_hashes",
    "parse_request",
    "sign_response",
    "unsigned_response",
    "verify_response",
]

MAX_REQUEST_BYTES = 10 * 1024
"""02 OCSP-1: sixteen SHA-512 CertIDs and a signature with its certificates stay below."""

MAX_CERT_IDS = 16
MAX_NONCE = 128
"""RFC 9654 §2.1: a nonce has 1 to 128 octets."""

_NONCE = _der.oid("1.3.6.1.5.5.7.48.1.2")
_ACCEPTABLE_RESPONSES = _der.oid("1.3.6.1.5.5.7.48.1.4")
_BASIC = _der.oid("1.3.6.1.5.5.7.48.1.1")
_SUCCESSFUL = b"\x0a\x01\x00"


def parse_request(der: bytes) -> OCSPRequest:
    """Read a request (02 OCSP-3, OCSP-4, OCSP-10).

    The signature and requestorName are passed over. A CertID with a hash that is not answered
    is kept, with ``hash_algorithm`` None.

    Raises:
        MalformedOCSPRequest: Over 10 KiB, not DER, no or more than 16 CertIDs, a critical
            extension that is not known, a nonce of 0 or more than 128 bytes.
    """
    if len(der) > MAX_REQUEST_BYTES:
        raise MalformedOCSPRequest(reason="it is too large")
    try:
        return _parse(der)
    except (_der.DERError, MalformedSerial) as error:
        raise MalformedOCSPRequest(reason="it is not DER of an OCSPRequest") from error


def _parse(der: bytes) -> OCSPRequest:
    start, stop = _der.whole(der, _der.SEQUENCE)
    at, end = _der.expect(der, start, stop, _der.SEQUENCE)
    if end != stop:
        # optionalSignature [0]: nothing depends on it, it only has to be one element
        _, last = _der.expect(der, end, stop, 0xA0)
        if last != stop:
            raise _der.DERError
    tag, start, stop = _der.element(der, at, end)
    if tag == 0xA0:  # noqa: PLR2004 - version [0] EXPLICIT
        if der[start:stop] != b"\x02\x01\x00":
            raise _der.DERError
        tag, start, stop = _der.element(der, stop, end)
    if tag == 0xA1:  # noqa: PLR2004 - requestorName [1] EXPLICIT
        tag, start, stop = _der.element(der, stop, end)
    if tag != _der.SEQUENCE:
        raise _der.DERError
    cert_ids = _parse_list(der, start, stop)
    nonce = None
    if stop != end:
        start, last = _der.expect(der, stop, end, 0xA2)
        if last != end:
            raise _der.DERError
        nonce = _parse_extensions(der, start, last)
    return OCSPRequest(cert_ids=cert_ids, nonce=nonce)


def _parse_list(der: bytes, at: int, end: int) -> tuple[CertID, ...]:
    found: list[CertID] = []
    while at < end:
        if len(found) == MAX_CERT_IDS:
            raise MalformedOCSPRequest(reason=f"it asks for more than {MAX_CERT_IDS} certificates")
        start, stop = _der.expect(der, at, end, _der.SEQUENCE)
        id_start, id_stop = _der.expect(der, start, stop, _der.SEQUENCE)
        found.append(_parse_cert_id(der, start, id_start, id_stop))
        if id_stop != stop:
            start, last = _der.expect(der, id_stop, stop, 0xA0)
            if last != stop:
                raise _der.DERError
            _parse_extensions(der, start, last)
        at = stop
    if not found:
        raise MalformedOCSPRequest(reason="it asks for no certificate")
    return tuple(found)


def _parse_cert_id(der: bytes, first: int, at: int, end: int) -> CertID:
    start, stop = _der.expect(der, at, end, _der.SEQUENCE)
    _, oid_stop = _der.expect(der, start, stop, _der.OID)
    # Parameters are absent or NULL; anything else is not one of our hashes.
    is_plain = der[oid_stop:stop] in {b"", b"\x05\x00"}
    algorithm = HASH_OIDS.get(der[start:oid_stop]) if is_plain else None
    name_start, name_stop = _der.expect(der, stop, end, _der.OCTET_STRING)
    key_start, key_stop = _der.expect(der, name_stop, end, _der.OCTET_STRING)
    serial_start, serial_stop = _der.expect(der, key_stop, end, _der.INTEGER)
    if serial_stop != end:
        raise _der.DERError
    return CertID(
        hash_algorithm=algorithm,
        name_hash=der[name_start:name_stop],
        key_hash=der[key_start:key_stop],
        serial=canonical(_der.unsigned(der, serial_start, serial_stop)),
        der=der[first:end],
    )


def _parse_extensions(der: bytes, at: int, end: int) -> bytes | None:
    at, stop = _der.expect(der, at, end, _der.SEQUENCE)
    if stop != end:
        raise _der.DERError
    nonce: bytes | None = None
    while at < end:
        oid, critical, value, at = _der.extension(der, at, end)
        if oid == _NONCE:
            if nonce is not None:
                raise MalformedOCSPRequest(reason="it has two nonces")
            start, stop = _der.whole(value, _der.OCTET_STRING)
            nonce = value[start:stop]
            if not 0 < len(nonce) <= MAX_NONCE:
                raise MalformedOCSPNonce(reason="its nonce has not 1 to 128 octets")
        elif critical and oid != _ACCEPTABLE_RESPONSES:
            raise MalformedOCSPRequest(reason="a critical extension is not known")
    return nonce


def build_request(cert_ids: Sequence[CertID], *, nonce: bytes | None = None) -> bytes:
    """Build an unsigned request.

    Args:
        cert_ids: At least one, from ``cert_id``.
        nonce: Random bytes (32, RFC 9654 §2.1) or None.
    """
    listed = b"".join(_der.tlv(_der.SEQUENCE, wanted.der) for wanted in cert_ids)
    content = _der.tlv(_der.SEQUENCE, listed)
    if nonce is not None:
        content += _der.tlv(0xA2, _nonce_extensions(nonce))
    return _der.tlv(_der.SEQUENCE, _der.tlv(_der.SEQUENCE, content))


def before_nonce(der: bytes, nonce: bytes) -> bytes | None:
    """Give a request without its nonce's bytes, which are its last; None where they are not.

    Two requests of one length that agree in it differ in nothing but the nonce.
    """
    if not der.endswith(_nonce_extensions(nonce)):
        return None
    return der[: -len(nonce)]


def _nonce_extensions(nonce: bytes) -> bytes:
    value = _der.tlv(_der.OCTET_STRING, _der.tlv(_der.OCTET_STRING, nonce))
    return _der.tlv(_der.SEQUENCE, _der.tlv(_der.SEQUENCE, _NONCE + value))


_ERRORS = {status: bytes((0x30, 0x03, 0x0A, 0x01, status.value)) for status in ResponseStatus}
_REASONS = {
    reason: b""
    if reason is CRLReason.UNSPECIFIED
    else _der.tlv(0xA0, _der.integer(reason.code, _der.ENUMERATED))
    for reason in CRLReason
}


def error_response(status: ResponseStatus) -> bytes:
    """Give the five bytes of an unsigned error response."""
    return _ERRORS[status]


@lru_cache(maxsize=256)
def _responder_parts(responder_cert: x509.Certificate) -> tuple[bytes, bytes, bytes]:
    public_key = responder_cert.public_key()
    # byKey [2]: "KeyHash ::= OCTET STRING -- SHA-1 hash of responder's public key" (§4.2.1)
    responder_id = _der.tlv(0xA2, _der.tlv(_der.OCTET_STRING, keys.ski(public_key)))
    certificates = _der.tlv(
        0xA0, _der.tlv(_der.SEQUENCE, responder_cert.public_bytes(Encoding.DER))
    )
    return responder_id, algorithm_identifier(public_key), certificates


def _single(response: SingleResponse) -> bytes:
    if response.status is CertStatus.GOOD:
        status = b"\x80\x00"
    elif response.status is CertStatus.REVOKED:
        if response.revoked_at is None:
            raise MissingRevocationTime
        revoked = _der.generalized_time(response.revoked_at) + _REASONS[response.reason]
        status = _der.tlv(0xA1, revoked)
    else:
        status = b"\x82\x00"
    content = response.cert_id.der + status + _der.generalized_time(response.this_update)
    if response.next_update is not None:
        content += _der.tlv(0xA0, _der.generalized_time(response.next_update))
    return _der.tlv(_der.SEQUENCE, content)


@dataclass(frozen=True, slots=True)
class UnsignedResponse:
    """A successful response but for nonce and signature.

    Attributes:
        head: responderID, producedAt and responses of the ResponseData, in DER.
        algorithm / certificates: What stands around the signature.
    """

    head: bytes
    algorithm: bytes
    certificates: bytes


def unsigned_response(
    *,
    responses: Sequence[SingleResponse],
    responder_cert: x509.Certificate,
    produced_at: datetime,
) -> UnsignedResponse:
    """Build all of a response that no nonce changes; see ``build_response``."""
    responder_id, algorithm, certificates = _responder_parts(responder_cert)
    listed = _der.tlv(_der.SEQUENCE, b"".join([_single(response) for response in responses]))
    return UnsignedResponse(
        head=b"".join((responder_id, _der.generalized_time(produced_at), listed)),
        algorithm=algorithm,
        certificates=certificates,
    )


def sign_response(
    unsigned: UnsignedResponse, responder_key: SigningKey, *, nonce: bytes | None = None
) -> bytes:
    """Put nonce and signature to a response; see ``build_response``."""
    data = unsigned.head
    if nonce is not None:
        data += _der.tlv(0xA1, _nonce_extensions(nonce))
    basic = signed(
        _der.tlv(_der.SEQUENCE, data), responder_key, unsigned.algorithm, unsigned.certificates
    )
    response_bytes = _der.tlv(_der.SEQUENCE, _BASIC + _der.tlv(_der.OCTET_STRING, basic))
    return _der.tlv(_der.SEQUENCE, _SUCCESSFUL + _der.tlv(0xA0, response_bytes))


def build_response(
    *,
    responses: Sequence[SingleResponse],
    responder_cert: x509.Certificate,
    responder_key: SigningKey,
    produced_at: datetime,
    nonce: bytes | None = None,
) -> bytes:
    """Build and sign a successful response (02 OCSP-9, OCSP-10).

    Args:
        responses: One for each CertID of the request, in its order.
        responder_cert: The signer's certificate; always part of the response.
        responder_key: Its private key; the caller has checked that the two belong together.
        produced_at: Now, aware.
        nonce: The nonce of the request where it is to be echoed.

    Returns:
        The OCSPResponse in DER: responderID byKey, nonce in responseExtensions.

    Raises:
        MissingRevocationTime: ``revoked`` without ``revoked_at``.
        NaiveTime: A time without a zone.
        UnsupportedKey: The responder's key does not sign here.
    """
    unsigned = unsigned_response(
        responses=responses, responder_cert=responder_cert, produced_at=produced_at
    )
    return sign_response(unsigned, responder_key, nonce=nonce)
