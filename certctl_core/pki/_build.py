"""End-entity certificates, assembled as DER and signed once (02 §6).

The library's ``CertificateBuilder`` encodes every extension anew for each certificate. Here the
parts that belong to the issuer or are repeated come ready from caches and the rest is joined, so
an issue costs little more than its signature. Tests hold the result against the builder's.
"""

from __future__ import annotations

import hashlib
import ipaddress
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from certctl_core.pki import _der, keys, names
from certctl_core.pki._constraints import find_violation
from certctl_core.pki._ekus import DEFAULT_EKUS, EKU_OIDS, eku_oid
from certctl_core.pki._library import LIBRARY_ERRORS
from certctl_core.pki._signing import algorithm_identifier, signed
from certctl_core.pki._subjects import subject_der
from certctl_core.pki.errors import (
    EmptyValidity,
    MalformedCertificate,
    MalformedName,
    MustStapleNeedsOCSP,
    NameConstraintViolation,
    NoSubject,
    TimeStampingNotAlone,
)
from certctl_core.pki.keys import PublicKey, SigningKey
from certctl_core.pki.names import GeneralName, NameType
from certctl_core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafSpec:
    """An end-entity certificate that is to be built.

    Attributes:
        public_key: The subject's key; the caller has run ``keys.check_key``.
        common_name: Checked by ``names.check_common_name``; None for none.
        names: SubjectAltName values in the order wanted (``names.sort_names``).
        ekus: Names or dotted OIDs; empty means serverAuth and clientAuth.
        not_before: Start of validity, aware; fractions of a second are cut off.
        not_after: End of validity, aware; capped at the end of the issuer.
        serial: From ``serials.new_serial``.
        must_staple: Add the TLS feature status_request (RFC 7633).
        no_rev_avail: Add noRevAvail (RFC 9608) and leave CRL and OCSP addresses out.
        crl_urls: One distribution point each.
        ocsp_urls: Authority information access, OCSP.
        ca_issuer_urls: Authority information access, caIssuers.
        subject_attributes: Further (attribute, value) pairs, attribute as name
            (``organizationName``, ``O`` …) or dotted OID; they precede the common name.
    """

    public_key: PublicKey
    common_name: str | None
    names: tuple[GeneralName, ...]
    ekus: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    serial: int
    must_staple: bool = False
    no_rev_avail: bool = False
    crl_urls: tuple[str, ...] = ()
    ocsp_urls: tuple[str, ...] = ()
    ca_issuer_urls: tuple[str, ...] = ()
    subject_attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerTemplate:
    """What every certificate of one CA has in common, encoded once.

    Attributes:
        certificate: The CA certificate.
        algorithm: AlgorithmIdentifier of its signatures, DER.
        issuer_name: Its subject, DER.
        key_id: The key id that its AKIs carry.
        aki: The complete authority key identifier extension, DER.
        not_after: The end of its validity.
        constraints: Name constraints of the CA and of those above it.
    """

    certificate: x509.Certificate
    algorithm: bytes
    issuer_name: bytes
    key_id: bytes
    aki: bytes
    not_after: datetime
    constraints: tuple[x509.NameConstraints, ...]

    @staticmethod
    def of(
        certificate: x509.Certificate, above: tuple[x509.Certificate, ...] = ()
    ) -> IssuerTemplate:
        """Make (or take from a cache) the template of a CA.

        Args:
            certificate: The CA that signs.
            above: The rest of its chain; their name constraints hold as well.

        Raises:
            MalformedCertificate: Its extensions cannot be read.
            UnsupportedKey: Its key does not sign here.
        """
        return _template(certificate, above)


@lru_cache(maxsize=256)
def _template(certificate: x509.Certificate, above: tuple[x509.Certificate, ...]) -> IssuerTemplate:
    try:
        constraints = tuple(
            extension.value
            for ca in (certificate, *above)
            for extension in ca.extensions
            if isinstance(extension.value, x509.NameConstraints)
        )
        public_key = certificate.public_key()
        issuer_name = certificate.subject.public_bytes()
        key_id = issuer_key_id(certificate)
    except LIBRARY_ERRORS as error:
        raise MalformedCertificate(reason="the CA certificate cannot be read") from error
    return IssuerTemplate(
        certificate=certificate,
        algorithm=algorithm_identifier(public_key),
        issuer_name=issuer_name,
        key_id=key_id,
        aki=extension_der("2.5.29.35", _der.tlv(_der.SEQUENCE, _der.tlv(0x80, key_id))),
        not_after=certificate.not_valid_after_utc,
        constraints=constraints,
    )


def issuer_key_id(certificate: x509.Certificate) -> bytes:
    """Give the key id that AKIs of this CA carry: its SKI, or method 1 if it has none."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return keys.ski(certificate.public_key())
    return extension.value.digest


def extension_der(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    """Encode one Extension."""
    return _der.tlv(
        _der.SEQUENCE,
        _der.oid(oid) + (_der.TRUE if critical else b"") + _der.tlv(_der.OCTET_STRING, value),
    )


_VERSION_3 = b"\xa0\x03\x02\x01\x02"
_NOT_A_CA = extension_der("2.5.29.19", b"\x30\x00", critical=True)
_MUST_STAPLE = extension_der("1.3.6.1.5.5.7.1.24", b"\x30\x03\x02\x01\x05")
_NO_REV_AVAIL = extension_der("2.5.29.56", b"\x05\x00")

# BIT STRING: digitalSignature 0x80, nonRepudiation 0x40, keyEncipherment 0x20, as a named bit
# list without trailing zero bits (X.690 §11.2.2). Key: (keyEncipherment, nonRepudiation).
_KEY_USAGE = {
    (False, False): extension_der("2.5.29.15", b"\x03\x02\x07\x80", critical=True),
    (False, True): extension_der("2.5.29.15", b"\x03\x02\x06\xc0", critical=True),
    (True, False): extension_der("2.5.29.15", b"\x03\x02\x05\xa0", critical=True),
    (True, True): extension_der("2.5.29.15", b"\x03\x02\x05\xe0", critical=True),
}
_TLS = frozenset({EKU_OIDS["serverAuth"], EKU_OIDS["clientAuth"]})
_SKI_PREFIX = _der.oid("2.5.29.14") + b"\x04\x16\x04\x14"
_SKI_HEADER = _der.header(_der.SEQUENCE, len(_SKI_PREFIX) + 20)
_OCSP = _der.oid("1.3.6.1.5.5.7.48.1")
_CA_ISSUERS = _der.oid("1.3.6.1.5.5.7.48.2")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Usage:
    extension: bytes
    tls: bool
    email: bool


@lru_cache(maxsize=256)
def _usage(ekus: tuple[str, ...]) -> _Usage:
    dotted = tuple(dict.fromkeys(eku_oid(eku) for eku in ekus or DEFAULT_EKUS))
    stamping = EKU_OIDS["timeStamping"] in dotted
    if stamping and len(dotted) > 1:
        raise TimeStampingNotAlone
    value = _der.tlv(_der.SEQUENCE, b"".join(_der.oid(oid) for oid in dotted))
    return _Usage(
        extension=extension_der("2.5.29.37", value, critical=stamping),
        tls=not _TLS.isdisjoint(dotted),
        email=EKU_OIDS["emailProtection"] in dotted,
    )


def _url(url: str) -> bytes:
    return _der.tlv(0x86, names.parse_uri(url).encode("ascii"))


@lru_cache(maxsize=1024)
def crl_points_der(urls: tuple[str, ...]) -> bytes:
    """Encode the CRL distribution points extension; empty without URLs."""
    return extension_der("2.5.29.31", crl_points_value(urls)) if urls else b""


def crl_points_value(urls: tuple[str, ...]) -> bytes:
    """Encode CRLDistributionPoints with one point for each URL."""
    points = (_der.tlv(_der.SEQUENCE, _der.tlv(0xA0, _der.tlv(0xA0, _url(url)))) for url in urls)
    return _der.tlv(_der.SEQUENCE, b"".join(points))


@lru_cache(maxsize=1024)
def authority_info_der(ocsp: tuple[str, ...], ca_issuers: tuple[str, ...]) -> bytes:
    """Encode the authority information access extension; empty without URLs."""
    if not ocsp and not ca_issuers:
        return b""
    entries = [_der.tlv(_der.SEQUENCE, _OCSP + _url(url)) for url in ocsp]
    entries += [_der.tlv(_der.SEQUENCE, _CA_ISSUERS + _url(url)) for url in ca_issuers]
    return extension_der("1.3.6.1.5.5.7.1.1", _der.tlv(_der.SEQUENCE, b"".join(entries)))


def _san(name_list: tuple[GeneralName, ...], *, critical: bool) -> bytes:
    parts = []
    for name in name_list:
        try:
            match name.type:
                case NameType.DNS:
                    parts.append(_der.tlv(0x82, name.value.encode("ascii")))
                case NameType.IP:
                    parts.append(_der.tlv(0x87, ipaddress.ip_address(name.value).packed))
                case NameType.EMAIL:
                    parts.append(_der.tlv(0x81, name.value.encode("ascii")))
                case NameType.URI:
                    parts.append(_der.tlv(0x86, name.value.encode("ascii")))
        except ValueError as error:
            raise MalformedName(
                name=ascii(name.value), reason="it is not in issued form"
            ) from error
    value = _der.tlv(_der.SEQUENCE, b"".join(parts))
    return extension_der("2.5.29.17", value, critical=critical)


def _check_constraints(template: IssuerTemplate, spec: LeafSpec, subject: bytes) -> None:
    general_names = list(names.to_x509(spec.names)) if spec.names else []
    name = x509.Name.from_bytes(subject)
    for constraints in template.constraints:
        outside = find_violation(
            constraints, subject=name, names=general_names, common_name_counts=True
        )
        if outside is not None:
            raise NameConstraintViolation(name=outside)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafDraft:
    """An end-entity certificate that is complete but for its signature.

    Attributes:
        certificate: With an empty signature, for checks before the CA key is used.
        tbs: What is to be signed, DER.
        algorithm: AlgorithmIdentifier of the signature, DER.
    """

    certificate: x509.Certificate
    tbs: bytes
    algorithm: bytes

    def signed(self, key: SigningKey) -> x509.Certificate:
        """The certificate, signed with the key of the CA."""
        return x509.load_der_x509_certificate(signed(self.tbs, key, self.algorithm))


def draft_leaf(spec: LeafSpec, *, issuer: x509.Certificate | IssuerTemplate) -> LeafDraft:
    """Build everything but the signature; arguments and failures as of ``build_leaf``."""
    template = issuer if isinstance(issuer, IssuerTemplate) else IssuerTemplate.of(issuer)
    tbs = _tbs(spec, template)
    unsigned = _der.tlv(_der.SEQUENCE, b"".join((tbs, template.algorithm, _der.bit_string(b""))))
    return LeafDraft(
        certificate=x509.load_der_x509_certificate(unsigned),
        tbs=tbs,
        algorithm=template.algorithm,
    )


def leaf_der(spec: LeafSpec, *, template: IssuerTemplate, key: SigningKey) -> bytes:
    """Build and sign a certificate; as ``build_leaf``, but gives DER."""
    return signed(_tbs(spec, template), key, template.algorithm)


def _tbs(spec: LeafSpec, template: IssuerTemplate) -> bytes:
    not_before = _der.utc(spec.not_before)
    not_after = min(_der.utc(spec.not_after), template.not_after)
    if not_after <= not_before:
        raise EmptyValidity
    usage = _usage(spec.ekus)
    ocsp_urls = () if spec.no_rev_avail else spec.ocsp_urls
    if spec.must_staple and not ocsp_urls:
        raise MustStapleNeedsOCSP
    subject = subject_der(spec.common_name, spec.subject_attributes)
    anonymous = len(subject) == 2  # noqa: PLR2004 - 30 00, the empty sequence
    if anonymous and not spec.names:
        raise NoSubject
    if template.constraints:
        _check_constraints(template, spec, subject)

    spki = keys.spki_der(spec.public_key)
    is_rsa = isinstance(spec.public_key, RSAPublicKey)
    extensions = b"".join(
        (
            _NOT_A_CA,
            _KEY_USAGE[usage.tls and is_rsa, usage.email],
            usage.extension,
            _SKI_HEADER,
            _SKI_PREFIX,
            _sha1_of_bits(spki),
            template.aki,
            # "the subjectAltName extension MUST be critical" for an empty subject (§4.2.1.6)
            _san(spec.names, critical=anonymous) if spec.names else b"",
            authority_info_der(ocsp_urls, spec.ca_issuer_urls),
            b"" if spec.no_rev_avail else crl_points_der(spec.crl_urls),
            _MUST_STAPLE if spec.must_staple else b"",
            _NO_REV_AVAIL if spec.no_rev_avail else b"",
        )
    )
    return _der.tlv(
        _der.SEQUENCE,
        b"".join(
            (
                _VERSION_3,
                _der.integer(spec.serial),
                template.algorithm,
                template.issuer_name,
                _der.tlv(_der.SEQUENCE, _der.time(not_before) + _der.time(not_after)),
                subject,
                spki,
                _der.tlv(0xA3, _der.tlv(_der.SEQUENCE, extensions)),
            )
        ),
    )


def _sha1_of_bits(spki: bytes) -> bytes:
    start, _ = _der.whole(spki, _der.SEQUENCE)
    _, _, algorithm_end = _der.element(spki, start, len(spki))
    bits, _ = _der.expect(spki, algorithm_end, len(spki), _der.BIT_STRING)
    return hashlib.sha1(spki[bits + 1 :], usedforsecurity=False).digest()


def build_leaf(
    spec: LeafSpec, *, issuer: x509.Certificate | IssuerTemplate, key: SigningKey
) -> x509.Certificate:
    """Build and sign an end-entity certificate (02 CERT-8 to CERT-18).

    Args:
        spec: What to put in.
        issuer: The CA that signs, or its template (needed where a CA further up has name
            constraints of its own).
        key: The private key of the CA; the caller has checked that the two belong together.

    Returns:
        The certificate: basicConstraints, keyUsage, extKeyUsage, SKI, AKI and, where asked for,
        SubjectAltName, AIA, CRL distribution points, TLS feature, noRevAvail.

    Raises:
        UnknownEKU, TimeStampingNotAlone, MustStapleNeedsOCSP, NameConstraintViolation: As named.
        EmptyValidity: Nothing is left between the two dates after the cap.
        NoSubject: Neither a subject nor a name.
        MalformedName: A URL or name is not in issued form.
        NaiveTime: A date without a zone.
    """
    template = issuer if isinstance(issuer, IssuerTemplate) else IssuerTemplate.of(issuer)
    return x509.load_der_x509_certificate(leaf_der(spec, template=template, key=key))
