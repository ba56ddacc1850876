"""Reading OCSP responses: our own from a cache, anybody's in a check."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from certctl_core.pki import keys
from certctl_core.pki._library import LIBRARY_ERRORS
from certctl_core.pki._ocsp_types import CertStatus, ResponseStatus
from certctl_core.pki._signing import verify
from certctl_core.pki.errors import BadOCSPSignature, MalformedOCSPResponse
from certctl_core.pki.serials import canonical
from certctl_core.values import dataclass

MAX_RESPONSE_BYTES = 256 * 1024
"""Sixteen answers and a chain of ML-DSA certificates stay below."""

_STATUSES = {
    ocsp.OCSPCertStatus.GOOD: CertStatus.GOOD,
    ocsp.OCSPCertStatus.REVOKED: CertStatus.REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN: CertStatus.UNKNOWN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OCSPAnswer:
    """What a response says about one certificate.

    Attributes:
        serial: Canonical.
        status: ``good``, ``revoked`` or ``unknown``.
        this_update: Aware, UTC.
        next_update: Aware, UTC, or None.
        revoked_at: Aware, UTC; only of ``revoked``.
        reason: RFC 5280 spelling (also the two that are not given here), or None.
    """

    serial: str
    status: CertStatus
    this_update: datetime
    next_update: datetime | None
    revoked_at: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OCSPResponseInfo:
    """A response in words.

    Attributes:
        error: The response status, or None for ``successful``; with an error the rest is empty.
        produced_at: Aware, UTC.
        responder_key_id: Hex of the responder's key hash, if it is named by key.
        responder_dn: RFC 4514, if it is named by name.
        nonce: The value inside the extension, or None.
        answers: One for each certificate.
    """

    error: ResponseStatus | None
    produced_at: datetime | None = None
    responder_key_id: str | None = None
    responder_dn: str | None = None
    nonce: bytes | None = None
    answers: tuple[OCSPAnswer, ...] = ()


def inspect_response(der: bytes) -> OCSPResponseInfo:
    """Read a response without verifying it.

    Raises:
        MalformedOCSPResponse: Not an OCSPResponse in DER.
    """
    return _inspect(der)[1]


def _inspect(der: bytes) -> tuple[ocsp.OCSPResponse, OCSPResponseInfo]:
    if len(der) > MAX_RESPONSE_BYTES:
        raise MalformedOCSPResponse
    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return response, OCSPResponseInfo(error=ResponseStatus(response.response_status.value))
        key_hash, name = response.responder_key_hash, response.responder_name
        nonce = None
        for extension in response.extensions:
            if isinstance(extension.value, x509.OCSPNonce):
                nonce = extension.value.nonce
        return response, OCSPResponseInfo(
            error=None,
            produced_at=response.produced_at_utc,
            responder_key_id=None if key_hash is None else key_hash.hex(),
            responder_dn=None if name is None else name.rfc4514_string(),
            nonce=nonce,
            answers=tuple(_answer(single) for single in response.responses),
        )
    except LIBRARY_ERRORS as error:
        raise MalformedOCSPResponse from error


def _answer(single: ocsp.OCSPSingleResponse) -> OCSPAnswer:
    reason = single.revocation_reason
    return OCSPAnswer(
        serial=canonical(single.serial_number),
        status=_STATUSES[single.certificate_status],
        this_update=single.this_update_utc,
        next_update=single.next_update_utc,
        revoked_at=single.revocation_time_utc,
        reason=None if reason is None else reason.value,
    )


def verify_response(der: bytes, *, issuer_cert: x509.Certificate, at: datetime) -> OCSPResponseInfo:
    """Check who signed a successful response (RFC 6960 §4.2.2.2).

    The signer is the CA itself or a delegated responder: a certificate in the response, issued
    directly by the CA, valid at ``at``, with the extended key usage OCSPSigning. Whether the
    answers are recent and about the right CertID is the caller's.

    Raises:
        MalformedOCSPResponse: As for ``inspect_response``.
        BadOCSPSignature: An error response, no entitled signer, or a wrong signature.
    """
    response, info = _inspect(der)
    if info.error is not None:
        raise BadOCSPSignature(reason="an error response is not signed")
    try:
        signers = [issuer_cert, *(c for c in response.certificates if c != issuer_cert)]
        for signer in signers:
            if _names(info, signer) and _may_answer(signer, issuer_cert, at):
                if _signature_verifies(response, signer):
                    return info
                raise BadOCSPSignature(reason="the signature does not verify")
    except LIBRARY_ERRORS as error:
        raise BadOCSPSignature(reason="the signer cannot be read") from error
    raise BadOCSPSignature(reason="no entitled signer")


def _names(info: OCSPResponseInfo, signer: x509.Certificate) -> bool:
    if info.responder_key_id is not None:
        return keys.ca_key_id(signer.public_key()) == info.responder_key_id
    return signer.subject.rfc4514_string() == info.responder_dn


def _may_answer(signer: x509.Certificate, issuer_cert: x509.Certificate, at: datetime) -> bool:
    if signer == issuer_cert:
        return True
    if not signer.not_valid_before_utc <= at <= signer.not_valid_after_utc:
        return False
    try:
        usages = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        signer.verify_directly_issued_by(issuer_cert)
    except LIBRARY_ERRORS:
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in usages


def _signature_verifies(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    public_key = signer.public_key()
    tbs, signature = response.tbs_response_bytes, response.signature
    hash_algorithm = response.signature_hash_algorithm
    if hash_algorithm is None:
        return verify(public_key, signature, tbs)
    # Responders of other makers may use another hash than ours.
    try:
        if isinstance(public_key, rsa.RSAPublicKey):
            public_key.verify(signature, tbs, padding.PKCS1v15(), hash_algorithm)
            return True
        if isinstance(public_key, ec.EllipticCurvePublicKey):
            public_key.verify(signature, tbs, ec.ECDSA(hash_algorithm))
            return True
    except LIBRARY_ERRORS:
        return False
    return False
