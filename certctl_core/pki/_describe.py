"""Certificates as a reader sees them: PEM, fingerprint, every field in words."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from certctl_core.pki import keys, names
from certctl_core.pki._ekus import eku_name
from certctl_core.pki._extension_text import extension_name, extension_text, key_usage_names
from certctl_core.pki._library import LIBRARY_ERRORS
from certctl_core.pki.errors import MalformedCertificate
from certctl_core.pki.keys import KeyInfo
from certctl_core.pki.names import GeneralName
from certctl_core.pki.serials import canonical
from certctl_core.values import dataclass

MAX_PEM_CHARACTERS = 4 * 1024 * 1024
"""A full public trust store is about a quarter of a megabyte."""

MAX_CERTIFICATE_BYTES = 128 * 1024

_SIGNATURES = {
    "1.2.840.113549.1.1.4": "MD5-RSA",
    "1.2.840.113549.1.1.5": "SHA1-RSA",
    "1.2.840.113549.1.1.10": "RSASSA-PSS",
    "1.2.840.113549.1.1.11": "SHA256-RSA",
    "1.2.840.113549.1.1.12": "SHA384-RSA",
    "1.2.840.113549.1.1.13": "SHA512-RSA",
    "1.2.840.10045.4.1": "ECDSA-SHA1",
    "1.2.840.10045.4.3.2": "ECDSA-SHA256",
    "1.2.840.10045.4.3.3": "ECDSA-SHA384",
    "1.2.840.10045.4.3.4": "ECDSA-SHA512",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
    "2.16.840.1.101.3.4.3.17": "ML-DSA-44",
    "2.16.840.1.101.3.4.3.18": "ML-DSA-65",
    "2.16.840.1.101.3.4.3.19": "ML-DSA-87",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionInfo:
    """One extension in words.

    Attributes:
        oid: Dotted.
        name: The RFC's name, or the OID where it has none here.
        critical: As in the certificate.
        text: The value for people, one line.
    """

    oid: str
    name: str
    critical: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateInfo:
    """Every field of a certificate.

    Attributes:
        subject: RFC 4514.
        common_name: The first common name of the subject, or None.
        issuer_dn: RFC 4514.
        serial: Canonical.
        not_before: Aware, UTC.
        not_after: Aware, UTC.
        names: SubjectAltName values of the four known types, as they stand.
        key: The key in words.
        spki_sha256: 64 hex digits.
        signature_algorithm: For people; the dotted OID where there is no name.
        fingerprint_sha256: 64 hex digits.
        ski: Subject key identifier in hex, or None.
        aki: Authority key identifier in hex, or None.
        ekus: Names where known, else dotted OIDs; empty without the extension.
        key_usages: RFC 5280 names of the set bits; empty without the extension.
        is_ca: basicConstraints CA:TRUE.
        is_self_issued: Subject and issuer are the same name.
        path_length: Of a CA, or None.
        crl_urls: CRL distribution points.
        ocsp_urls: Authority information access, OCSP.
        ca_issuer_urls: Authority information access, caIssuers.
        must_staple: TLS feature status_request.
        extensions: All extensions in their order.
    """

    subject: str
    common_name: str | None
    issuer_dn: str
    serial: str
    not_before: datetime
    not_after: datetime
    names: tuple[GeneralName, ...]
    key: KeyInfo
    spki_sha256: str
    signature_algorithm: str
    fingerprint_sha256: str
    ski: str | None
    aki: str | None
    ekus: tuple[str, ...]
    key_usages: tuple[str, ...]
    is_ca: bool
    is_self_issued: bool
    path_length: int | None
    crl_urls: tuple[str, ...]
    ocsp_urls: tuple[str, ...]
    ca_issuer_urls: tuple[str, ...]
    must_staple: bool
    extensions: tuple[ExtensionInfo, ...]


def describe(cert: x509.Certificate) -> CertificateInfo:
    """Read every field of a certificate.

    Raises:
        MalformedCertificate: A field or extension cannot be read, or the key is of an unknown
            kind.
    """
    try:
        return _describe(cert)
    except LIBRARY_ERRORS as error:
        raise MalformedCertificate(reason="a field cannot be read") from error


def _describe(cert: x509.Certificate) -> CertificateInfo:
    by_type: dict[type[x509.ExtensionType], x509.ExtensionType] = {}
    extensions = []
    for extension in cert.extensions:
        by_type[type(extension.value)] = extension.value
        dotted = extension.oid.dotted_string
        extensions.append(
            ExtensionInfo(
                oid=dotted,
                name=extension_name(dotted),
                critical=extension.critical,
                text=extension_text(extension.value),
            )
        )

    san = by_type.get(x509.SubjectAlternativeName)
    eku = by_type.get(x509.ExtendedKeyUsage)
    usage = by_type.get(x509.KeyUsage)
    ski = by_type.get(x509.SubjectKeyIdentifier)
    aki = by_type.get(x509.AuthorityKeyIdentifier)
    basic = by_type.get(x509.BasicConstraints)
    feature = by_type.get(x509.TLSFeature)
    is_ca = isinstance(basic, x509.BasicConstraints) and basic.ca
    path_length = basic.path_length if isinstance(basic, x509.BasicConstraints) else None
    public_key = cert.public_key()
    signature = cert.signature_algorithm_oid.dotted_string
    ocsp_urls, ca_issuer_urls = _access_urls(by_type.get(x509.AuthorityInformationAccess))
    return CertificateInfo(
        subject=cert.subject.rfc4514_string(),
        common_name=_common_name(cert.subject),
        issuer_dn=cert.issuer.rfc4514_string(),
        serial=canonical(cert.serial_number),
        not_before=cert.not_valid_before_utc,
        not_after=cert.not_valid_after_utc,
        names=names.from_x509(san) if isinstance(san, x509.SubjectAlternativeName) else (),
        key=keys.describe_key(public_key),
        spki_sha256=keys.spki_sha256(public_key),
        signature_algorithm=_SIGNATURES.get(signature, signature),
        fingerprint_sha256=fingerprint_sha256(cert),
        ski=ski.digest.hex() if isinstance(ski, x509.SubjectKeyIdentifier) else None,
        aki=(
            aki.key_identifier.hex()
            if isinstance(aki, x509.AuthorityKeyIdentifier) and aki.key_identifier is not None
            else None
        ),
        ekus=(
            tuple(eku_name(oid.dotted_string) for oid in eku)
            if isinstance(eku, x509.ExtendedKeyUsage)
            else ()
        ),
        key_usages=key_usage_names(usage) if isinstance(usage, x509.KeyUsage) else (),
        is_ca=is_ca,
        is_self_issued=cert.subject == cert.issuer,
        path_length=path_length,
        crl_urls=_crl_urls(by_type.get(x509.CRLDistributionPoints)),
        ocsp_urls=ocsp_urls,
        ca_issuer_urls=ca_issuer_urls,
        must_staple=(
            isinstance(feature, x509.TLSFeature) and x509.TLSFeatureType.status_request in feature
        ),
        extensions=tuple(extensions),
    )


def _common_name(subject: x509.Name) -> str | None:
    for attribute in subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME):
        if isinstance(attribute.value, str):
            return attribute.value
    return None


def _crl_urls(points: x509.ExtensionType | None) -> tuple[str, ...]:
    if not isinstance(points, x509.CRLDistributionPoints):
        return ()
    return tuple(
        name.value
        for point in points
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
    )


def _access_urls(
    access: x509.ExtensionType | None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not isinstance(access, x509.AuthorityInformationAccess):
        return (), ()
    ocsp, ca_issuers = (
        tuple(
            entry.access_location.value
            for entry in access
            if entry.access_method == method
            and isinstance(entry.access_location, x509.UniformResourceIdentifier)
        )
        for method in (
            AuthorityInformationAccessOID.OCSP,
            AuthorityInformationAccessOID.CA_ISSUERS,
        )
    )
    return ocsp, ca_issuers


def fingerprint_sha256(cert: x509.Certificate) -> str:
    """Give the SHA-256 of the certificate's DER, 64 lowercase hex digits."""
    return cert.fingerprint(hashes.SHA256()).hex()


def to_pem(cert: x509.Certificate) -> str:
    """Write a certificate as PEM text with a final line feed."""
    return cert.public_bytes(Encoding.PEM).decode("ascii")


def parse_certificate(data: bytes | str) -> x509.Certificate:
    """Read one certificate from PEM (the first of the text) or DER.

    Raises:
        MalformedCertificate: Too large or not a certificate.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > MAX_CERTIFICATE_BYTES:
        raise MalformedCertificate(reason="it is too large")
    is_pem = isinstance(data, str) or b"-----BEGIN " in raw[:4096]
    try:
        return (
            x509.load_pem_x509_certificate(raw) if is_pem else x509.load_der_x509_certificate(raw)
        )
    except LIBRARY_ERRORS as error:
        raise MalformedCertificate(reason="it is not an X.509 certificate") from error


def split_pem(text: str) -> list[x509.Certificate]:
    """Read all certificates of a PEM text in their order; other blocks are passed over.

    Raises:
        MalformedCertificate: Over 4 MiB, no certificate inside, or one that cannot be read.
    """
    if len(text) > MAX_PEM_CHARACTERS:
        raise MalformedCertificate(reason="the text is too large")
    try:
        return x509.load_pem_x509_certificates(text.encode("utf-8", "surrogatepass"))
    except LIBRARY_ERRORS as error:
        raise MalformedCertificate(reason="the text holds no readable certificate") from error
