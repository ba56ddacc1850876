"""PKCS#10 certification requests (RFC 2986): read, check, extract."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.pki import keys, names
from certctl_core.pki._ekus import eku_name
from certctl_core.pki._library import LIBRARY_ERRORS
from certctl_core.pki._subjects import read_attributes
from certctl_core.pki.errors import BadCSRSignature, CSRTooLarge, MalformedCSR
from certctl_core.pki.keys import KeyInfo, PublicKey
from certctl_core.pki.names import GeneralName
from certctl_core.values import dataclass

MAX_CSR_BYTES = 16 * 1024
"""An ML-DSA-87 request with a hundred names stays below; nothing honest is larger."""

_ECDSA_SHA256 = x509.SignatureAlgorithmOID.ECDSA_WITH_SHA256
_UNVERIFIED: tuple[type[Exception], ...] = (InvalidSignature, *LIBRARY_ERRORS)
_WITH_SHA256 = ec.ECDSA(hashes.SHA256())
_PEM_MARK = b"-----BEGIN "


@dataclass(frozen=True, slots=True, kw_only=True)
class CSRInfo:
    """What a verified certification request asks for.

    Attributes:
        der: The request as it came, in DER.
        pem: The same as PEM ``CERTIFICATE REQUEST``.
        public_key: The key, accepted by ``keys.check_key``.
        key: The key in words.
        spki_sha256: 64 hex digits.
        common_name: The one common name, checked (``names.check_common_name``), or None.
        subject: The subject as RFC 4514 text; empty for an empty subject.
        attributes: What the subject holds besides the common name: (dotted OID, value), in order,
            as it stands (``check_subject_value``); bytes where the value is no text.
        names: SubjectAltName values in the order of the request, checked and in issued form.
        ekus: Extended key usages, names where known, else dotted OIDs.
        must_staple: The request carries the TLS feature status_request (RFC 7633).
    """

    der: bytes
    pem: str
    public_key: PublicKey
    key: KeyInfo
    spki_sha256: str
    common_name: str | None
    subject: str
    attributes: tuple[tuple[str, str | bytes], ...]
    names: tuple[GeneralName, ...]
    ekus: tuple[str, ...]
    must_staple: bool


def parse_csr(data: bytes | str) -> CSRInfo:
    """Read a certification request and verify its self-signature (02 CERT-1, CERT-7, PROF-3).

    Args:
        data: PEM (text or bytes) or DER, at most 16 KiB.

    Raises:
        CSRTooLarge: Over the limit; nothing was parsed.
        MalformedCSR: Not a request, or extensions or subject cannot be read.
        UnsupportedKey, WeakKey: See ``keys.check_key``; checked before the signature.
        BadCSRSignature: The signature does not verify.
        NameRejected: A name is malformed, unsafe or of a type that is not issued.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > MAX_CSR_BYTES:
        raise CSRTooLarge(limit=MAX_CSR_BYTES)
    is_pem = isinstance(data, str) or _PEM_MARK in raw[:512]
    if is_pem and raw.count(_PEM_MARK) > 1:
        raise MalformedCSR(reason="it is more than one PEM block")
    try:
        csr = x509.load_pem_x509_csr(raw) if is_pem else x509.load_der_x509_csr(raw)
        public_key = csr.public_key()
    except LIBRARY_ERRORS as error:
        raise MalformedCSR(reason="it is not a PKCS#10 request") from error
    key = keys.check_key(public_key)
    _verify(csr, public_key)
    try:
        extensions = csr.extensions
        name = csr.subject
        common_names = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        attributes = read_attributes(name)
        subject = name.rfc4514_string()
        der = csr.public_bytes(Encoding.DER)
        requested_names, ekus, must_staple = _read(extensions)
    except LIBRARY_ERRORS as error:
        raise MalformedCSR(reason="its subject or extensions cannot be read") from error
    return CSRInfo(
        der=der,
        pem=csr.public_bytes(Encoding.PEM).decode("ascii"),
        public_key=public_key,
        key=key,
        spki_sha256=keys.spki_sha256(public_key),
        common_name=_common_name([attribute.value for attribute in common_names]),
        subject=subject,
        attributes=attributes,
        names=names.from_x509(requested_names, strict=True),
        ekus=ekus,
        must_staple=must_staple,
    )


def _verify(csr: x509.CertificateSigningRequest, public_key: PublicKey) -> None:
    try:
        if csr.signature_algorithm_oid == _ECDSA_SHA256 and isinstance(
            public_key, ec.EllipticCurvePublicKey
        ):
            # The library's own check makes the key from its bytes once more.
            public_key.verify(csr.signature, csr.tbs_certrequest_bytes, _WITH_SHA256)
            return
        valid = csr.is_signature_valid
    except _UNVERIFIED as error:
        raise BadCSRSignature from error
    if not valid:
        raise BadCSRSignature


def _common_name(values: list[str | bytes]) -> str | None:
    if len(values) > 1:
        raise MalformedCSR(reason="it has more than one common name")
    if not values or not values[0]:
        return None
    if not isinstance(values[0], str):
        raise MalformedCSR(reason="its common name is not text")
    return names.check_common_name(values[0])


def _read(extensions: x509.Extensions) -> tuple[list[x509.GeneralName], tuple[str, ...], bool]:
    found: list[x509.GeneralName] = []
    ekus: tuple[str, ...] = ()
    must_staple = False
    for extension in extensions:
        value = extension.value
        # Not isinstance: for all that a value is not, the library's is slow.
        if type(value) is x509.SubjectAlternativeName:
            found = list(value)
        elif type(value) is x509.ExtendedKeyUsage:
            ekus = tuple(eku_name(usage.dotted_string) for usage in value)
        elif type(value) is x509.TLSFeature:
            must_staple = x509.TLSFeatureType.status_request in value
    return found, ekus, must_staple
