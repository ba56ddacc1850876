"""Every failure of the pki floor.

::

    PKIError
    ├── MalformedSerial · UnknownReason · UnknownEKU · NaiveTime · MissingRevocationTime
    ├── NameRejected
    │   ├── MalformedName · UnsafeName · UnsupportedName · SubtreeRejected
    ├── KeyRejected
    │   ├── MalformedKey · WrongPassphrase · UnsupportedKey · WeakKey
    ├── CSRRejected
    │   ├── MalformedCSR · CSRTooLarge · BadCSRSignature
    ├── CannotBuild
    │   ├── TimeStampingNotAlone · MustStapleNeedsOCSP · EmptyValidity · NoSubject
    │   ├── NameConstraintViolation · LintFailed
    ├── MalformedCertificate · MalformedPKCS11URI
    ├── ChainError
    ├── CRLRejected
    │   ├── MalformedCRL · BadCRLSignature
    ├── MalformedOCSPRequest
    │   └── MalformedOCSPNonce
    └── OCSPRejected
        └── MalformedOCSPResponse · BadOCSPSignature

This floor lies below the kernel, so the tree is its own; upper rooms translate it. ``code`` is
stable and never reused, ``text`` is a safe sentence: no key material, no path, no raw input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class PKIError(Exception):
    """Base of every failure of this floor.

    Args:
        data: Values for ``text``; kept in ``data``. Never pass a secret.
    """

    code: ClassVar[str] = "pki_error"
    text: ClassVar[str] = "The cryptographic object cannot be used."

    def __init__(self, **data: object) -> None:
        self.data: dict[str, object] = data
        super().__init__(self.detail)

    @property
    def detail(self) -> str:
        """The sentence with the data filled in."""
        return self.text.format(**self.data) if self.data else self.text


class MalformedSerial(PKIError):
    """A serial number is not hexadecimal, negative or too long."""

    code = "malformed_serial"
    text = "The serial number is not valid."


class UnknownReason(PKIError):
    """A revocation reason is outside the accepted list; data: ``reason``."""

    code = "bad_revocation_reason"
    text = "The revocation reason {reason!r} is not accepted."


class UnknownEKU(PKIError):
    """An extended key usage is neither a known name nor a dotted OID; data: ``eku``."""

    code = "unknown_eku"
    text = "The extended key usage {eku!r} is not known."


class NaiveTime(PKIError):
    """A time without a zone was handed in; all times here are aware."""

    code = "naive_time"
    text = "A time without a time zone cannot be encoded."


class MissingRevocationTime(PKIError):
    """An OCSP answer says revoked and not since when."""

    code = "missing_revocation_time"
    text = "A revoked status needs its revocation time."


class NameRejected(PKIError):
    """Base of the refusals of a name; data: ``name`` (shown escaped), ``reason``."""

    code = "name_rejected"
    text = "The name {name!r} is not accepted: {reason}."


class MalformedName(NameRejected):
    """The name breaks the syntax of its type."""

    code = "malformed_name"
    text = "The name {name!r} is not well-formed: {reason}."


class UnsafeName(NameRejected):
    """The name could be read as another one (controls, bidi, mixed labels)."""

    code = "unsafe_name"
    text = "The name {name!r} is unsafe: {reason}."


class UnsupportedName(NameRejected):
    """The name is of a type that is never issued (otherName, directoryName …)."""

    code = "unsupported_name"


class SubtreeRejected(NameRejected):
    """A name constraint is malformed, or reaches beyond what the CAs above allow."""

    code = "subtree_rejected"
    text = "The name constraint {name} is refused: {reason}."


class KeyRejected(PKIError):
    """Base of the refusals of a key."""

    code = "key_rejected"
    text = "The key is not accepted."


class MalformedKey(KeyRejected):
    """The bytes are not a key."""

    code = "malformed_key"
    text = "The key cannot be read."


class WrongPassphrase(KeyRejected):
    """The key is encrypted and the passphrase is absent or wrong, or superfluous."""

    code = "wrong_passphrase"
    text = "The passphrase of the key is missing or wrong, or the key has none."


class UnsupportedKey(KeyRejected):
    """The algorithm or curve is not one of ours; data: ``name``."""

    code = "unsupported_key"
    text = "Keys of type {name} are not supported."


class WeakKey(KeyRejected):
    """The algorithm is fine, this key is not; data: ``reason``."""

    code = "weak_key"
    text = "The key is weak: {reason}."


class CSRRejected(PKIError):
    """Base of the refusals of a certification request."""

    code = "csr_rejected"
    text = "The certification request is not accepted."


class MalformedCSR(CSRRejected):
    """The bytes are not a PKCS#10 request; data: ``reason``."""

    code = "malformed_csr"
    text = "The certification request cannot be read: {reason}."


class CSRTooLarge(CSRRejected):
    """The request is over the limit; data: ``limit`` in bytes."""

    code = "csr_too_large"
    text = "The certification request is larger than {limit} bytes."


class BadCSRSignature(CSRRejected):
    """The self-signature does not verify."""

    code = "bad_csr_signature"
    text = "The signature of the certification request does not verify."


class CannotBuild(PKIError):
    """Base of the refusals to build a certificate."""

    code = "cannot_build"
    text = "The certificate cannot be built."


class TimeStampingNotAlone(CannotBuild):
    """RFC 3161 §2.3: timeStamping must be the only extended key usage."""

    code = "time_stamping_not_alone"
    text = "timeStamping must be the only extended key usage."


class MustStapleNeedsOCSP(CannotBuild):
    """A must-staple certificate without an OCSP address could never be served."""

    code = "must_staple_needs_ocsp_url"
    text = "A must-staple certificate needs an OCSP URL."


class EmptyValidity(CannotBuild):
    """Between the two dates nothing is left, the issuer's end counted in."""

    code = "empty_validity"
    text = "The result would not be valid for a single second."


class NoSubject(CannotBuild):
    """Neither a subject nor a SubjectAltName."""

    code = "no_subject"
    text = "A certificate needs a subject or a name."


class NameConstraintViolation(CannotBuild):
    """A name lies outside the name constraints of the issuer; data: ``name``."""

    code = "name_constraint_violation"
    text = "The name {name!r} lies outside the name constraints of the issuing CA."


class LintFailed(CannotBuild):
    """The certificate breaks RFC 5280; ``findings`` says where."""

    code = "lint_failed"
    text = "The certificate does not pass the RFC 5280 checks: {codes}."

    def __init__(self, findings: Sequence[object], *, codes: str = "") -> None:
        self.findings: tuple[object, ...] = tuple(findings)
        super().__init__(codes=codes)


class MalformedCertificate(PKIError):
    """The bytes are not a certificate; data: ``reason``."""

    code = "malformed_certificate"
    text = "The certificate cannot be read: {reason}."


class MalformedPKCS11URI(PKIError):
    """A reference to a key in a token cannot be read, or holds a PIN; data: ``reason``."""

    code = "malformed_pkcs11_uri"
    text = "The PKCS#11 URI cannot be used: {reason}."

    def __init__(self, reason: str) -> None:
        super().__init__(reason=reason)


class ChainError(PKIError):
    """A certification path does not verify; data: ``reason`` and ``subject`` (RFC 4514)."""

    code = "chain_invalid"
    text = "The certification path is not valid at {subject!r}: {reason}."


class CRLRejected(PKIError):
    """Base of the refusals of a CRL."""

    code = "crl_rejected"
    text = "The CRL is not accepted."


class MalformedCRL(CRLRejected):
    """The bytes are not a v2 CRL; data: ``reason``."""

    code = "malformed_crl"
    text = "The CRL cannot be read: {reason}."


class BadCRLSignature(CRLRejected):
    """The CRL is not from that CA: name, AKI or signature differ; data: ``reason``."""

    code = "bad_crl_signature"
    text = "The CRL was not issued by this CA: {reason}."


class MalformedOCSPRequest(PKIError):
    """The bytes are not an OCSP request that we answer; data: ``reason``."""

    code = "malformed_ocsp_request"
    text = "The OCSP request is malformed: {reason}."


class MalformedOCSPNonce(MalformedOCSPRequest):
    """Its nonce has no octet, or more than 128 (RFC 9654 §2.1)."""

    code = "malformed_ocsp_nonce"


class OCSPRejected(PKIError):
    """Base of the refusals of an OCSP response."""

    code = "ocsp_response_rejected"
    text = "The OCSP response is not accepted."


class MalformedOCSPResponse(OCSPRejected):
    """The bytes are not an OCSP response."""

    code = "malformed_ocsp_response"
    text = "The OCSP response cannot be read."


class BadOCSPSignature(OCSPRejected):
    """The response is not from this CA or a responder of its; data: ``reason``."""

    code = "bad_ocsp_signature"
    text = "The OCSP response is not from this CA: {reason}."
