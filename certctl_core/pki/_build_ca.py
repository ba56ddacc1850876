"""CA certificates, requests for them, and delegated OCSP responders (02 CA-3, HIER-4, RSP-1)."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from certctl_core.pki import _der, keys
from certctl_core.pki._build import IssuerTemplate
from certctl_core.pki._library import LIBRARY_ERRORS
from certctl_core.pki._subjects import subject_name
from certctl_core.pki.errors import CannotBuild, EmptyValidity, MalformedCertificate
from certctl_core.pki.keys import PublicKey, SigningKey
from certctl_core.pki.names import parse_uri

_RESPONDER_PREFIX = "OCSP Responder for "
_MAX_COMMON_NAME = 64


def _ca_key_usage(*, digital_signature: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


_SIGNATURE_ONLY = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _start(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: PublicKey,
    *,
    serial: int,
    not_before: datetime,
    not_after: datetime,
) -> x509.CertificateBuilder:
    start, end = _der.utc(not_before), _der.utc(not_after)
    if end <= start:
        raise EmptyValidity
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before(start.replace(microsecond=0))
        .not_valid_after(end.replace(microsecond=0))
        .add_extension(
            x509.SubjectKeyIdentifier(keys.ski(public_key)),
            critical=False,
        )
    )


def _sign(builder: x509.CertificateBuilder, key: SigningKey) -> x509.Certificate:
    algorithm = keys.signature_hash(key.public_key())
    try:
        return builder.sign(key, algorithm)  # type: ignore[arg-type]  # checked by the key kind
    except LIBRARY_ERRORS as error:
        raise CannotBuild from error


def build_root(
    common_name: str,
    key: SigningKey,
    *,
    serial: int,
    not_before: datetime,
    not_after: datetime,
    path_length: int | None = None,
    subject_attributes: tuple[tuple[str, str], ...] = (),
    signs_ocsp: bool = False,
) -> x509.Certificate:
    """Build a self-signed CA certificate.

    Args:
        common_name: Checked by ``names.check_common_name``.
        key: The CA's own key.
        serial: From ``serials.new_serial``.
        not_before: Aware.
        not_after: Aware.
        path_length: How many CAs may follow below; None for no limit.
        subject_attributes: Further subject attributes, before the common name.
        signs_ocsp: Add digitalSignature for OCSP responses signed by the CA key itself.

    Returns:
        CA:TRUE and keyCertSign+cRLSign critical, SKI by RFC 5280 §4.2.1.2 method 1, and an AKI
        equal to it.

    Raises:
        EmptyValidity, MalformedName, UnsafeName, UnsupportedKey: As named.
    """
    subject = subject_name(common_name, subject_attributes)
    public_key = key.public_key()
    builder = _start(
        subject, subject, public_key, serial=serial, not_before=not_before, not_after=not_after
    )
    builder = builder.add_extension(
        x509.BasicConstraints(ca=True, path_length=path_length), critical=True
    ).add_extension(_ca_key_usage(digital_signature=signs_ocsp), critical=True)
    aki = x509.AuthorityKeyIdentifier(keys.ski(public_key), None, None)
    return _sign(builder.add_extension(aki, critical=False), key)


def build_sub_ca(
    subject: x509.Name,
    *,
    public_key: PublicKey,
    issuer: x509.Certificate,
    key: SigningKey,
    serial: int,
    not_before: datetime,
    not_after: datetime,
    path_length: int | None = None,
    name_constraints: x509.NameConstraints | None = None,
    crl_urls: tuple[str, ...] = (),
    ocsp_urls: tuple[str, ...] = (),
    ca_issuer_urls: tuple[str, ...] = (),
) -> x509.Certificate:
    """Build a CA certificate under another CA; its end is capped at the parent's.

    Path-length and name-constraint rules between the two are the caller's (02 HIER-2, HIER-3).

    Raises:
        EmptyValidity, MalformedCertificate, MalformedName, UnsupportedKey: As named.
    """
    template = IssuerTemplate.of(issuer)
    end = min(_der.utc(not_after), template.not_after)
    builder = _start(
        subject, issuer.subject, public_key, serial=serial, not_before=not_before, not_after=end
    )
    builder = builder.add_extension(
        x509.BasicConstraints(ca=True, path_length=path_length), critical=True
    ).add_extension(_ca_key_usage(digital_signature=False), critical=True)
    if name_constraints is not None:
        builder = builder.add_extension(name_constraints, critical=True)
    return _sign(_add_pointers(builder, template, crl_urls, ocsp_urls, ca_issuer_urls), key)


def build_ca_request(
    subject: x509.Name,
    key: SigningKey,
    *,
    path_length: int | None = None,
    name_constraints: x509.NameConstraints | None = None,
) -> str:
    """Build the request for a CA certificate that another CA signs, offline perhaps (RFC 2986).

    Returns:
        PEM; it asks for CA:TRUE with the path length, keyCertSign+cRLSign, the constraints and
        the subject key identifier.

    Raises:
        CannotBuild: The key does not sign.
    """
    public_key = key.public_key()
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_ca_key_usage(digital_signature=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier(keys.ski(public_key)), critical=False)
    )
    if name_constraints is not None:
        builder = builder.add_extension(name_constraints, critical=True)
    algorithm = keys.signature_hash(public_key)
    try:
        request = builder.sign(key, algorithm)  # type: ignore[arg-type]  # checked by the key kind
    except LIBRARY_ERRORS as error:
        raise CannotBuild from error
    return request.public_bytes(Encoding.PEM).decode()


def _add_pointers(
    builder: x509.CertificateBuilder,
    template: IssuerTemplate,
    crl_urls: tuple[str, ...],
    ocsp_urls: tuple[str, ...],
    ca_issuer_urls: tuple[str, ...],
) -> x509.CertificateBuilder:
    builder = builder.add_extension(_aki(template), critical=False)
    access = [
        x509.AccessDescription(method, _uri(url))
        for method, urls in (
            (AuthorityInformationAccessOID.OCSP, ocsp_urls),
            (AuthorityInformationAccessOID.CA_ISSUERS, ca_issuer_urls),
        )
        for url in urls
    ]
    if access:
        builder = builder.add_extension(x509.AuthorityInformationAccess(access), critical=False)
    if crl_urls:
        points = [x509.DistributionPoint([_uri(url)], None, None, None) for url in crl_urls]
        builder = builder.add_extension(x509.CRLDistributionPoints(points), critical=False)
    return builder


def _uri(url: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(parse_uri(url))


def _aki(template: IssuerTemplate) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier(template.key_id, None, None)


def build_responder(
    *,
    public_key: PublicKey,
    issuer: x509.Certificate,
    key: SigningKey,
    serial: int,
    not_before: datetime,
    not_after: datetime,
) -> x509.Certificate:
    """Build the certificate of a delegated OCSP responder (02 RSP-1, RFC 6960 §4.2.2.2).

    Args:
        public_key: The responder's own key.
        issuer: The CA it answers for.
        key: That CA's private key.
        serial: From ``serials.new_serial``.
        not_before: Aware.
        not_after: Aware; capped at the end of the CA.

    Returns:
        EKU OCSPSigning only, keyUsage digitalSignature critical, ocsp-nocheck, CA:FALSE, SKI and
        AKI; common name ``OCSP Responder for`` the CA's, cut at 64 characters.

    Raises:
        EmptyValidity, MalformedCertificate, UnsupportedKey: As named.
    """
    template = IssuerTemplate.of(issuer)
    found = issuer.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    ca_name = found[0].value if found else issuer.subject.rfc4514_string()
    if isinstance(ca_name, bytes):
        raise MalformedCertificate(reason="the common name of the CA is not text")
    subject = subject_name((_RESPONDER_PREFIX + ca_name)[:_MAX_COMMON_NAME].rstrip())
    end = min(_der.utc(not_after), template.not_after)
    builder = _start(
        subject, issuer.subject, public_key, serial=serial, not_before=not_before, not_after=end
    )
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_SIGNATURE_ONLY, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        .add_extension(x509.OCSPNoCheck(), critical=False)
        .add_extension(_aki(template), critical=False)
    )
    return _sign(builder, key)
