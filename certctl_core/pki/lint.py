"""RFC 5280 checks on an end-entity certificate that is about to leave (02 CERT-20).

They look at the finished bytes, not at what the builder meant, and judge what we issue: a
foreign certificate may be fine and still break a rule here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.pki import _der, keys, names
from certctl_core.pki._build import issuer_key_id
from certctl_core.pki._ekus import EKU_OIDS
from certctl_core.pki._library import LIBRARY_ERRORS
from certctl_core.pki._lint_usual import MAX_COMMON_NAME, MAX_SERIAL_BITS, Shape, usual_shape
from certctl_core.pki.errors import LintFailed, NameRejected
from certctl_core.pki.findings import Finding, Severity, errors_of

__all__ = ["Finding", "Severity", "lint_leaf", "require_clean"]

_TEXTS = {
    "unreadable": "The certificate or one of its extensions cannot be read (§4.1).",
    "not_version_3": "Extensions need version 3 (§4.1.2.1).",
    "bad_serial": "The serial number must be positive and at most 20 octets (§4.1.2.2).",
    "algorithms_differ": "The two signature algorithm fields differ (§4.1.1.2).",
    "issuer_mismatch": "The issuer is not the subject of the CA, byte for byte (§4.1.2.4).",
    "bad_time": "A time is not UTCTime to 2049, GeneralizedTime later, with seconds, in Z.",
    "empty_validity": "The validity ends before it starts (§4.1.2.5).",
    "outlives_issuer": "The certificate ends after its issuer.",
    "basic_constraints": "basicConstraints must be critical and say CA:FALSE (§4.2.1.9).",
    "key_usage_missing": "keyUsage is missing (§4.2.1.3).",
    "key_usage_not_critical": "keyUsage should be critical (§4.2.1.3).",
    "key_usage_of_a_ca": "keyCertSign and cRLSign belong to CAs (§4.2.1.9).",
    "key_encipherment": "keyEncipherment fits RSA keys only (RFC 8813, RFC 9295).",
    "eku_missing": "extKeyUsage is missing.",
    "any_eku_critical": "anyExtendedKeyUsage should not be critical (§4.2.1.12).",
    "time_stamping": "timeStamping must be critical and alone (RFC 3161 §2.3).",
    "ski": "The subject key identifier must be SHA-1 of the key bits, non-critical (§4.2.1.2).",
    "aki": "The authority key identifier must be the issuer's, non-critical (§4.2.1.1).",
    "san_missing": "A TLS server certificate or an empty subject needs names (§4.2.1.6).",
    "san_criticality": "subjectAltName is critical if and only if the subject is empty.",
    "san_empty": "subjectAltName holds no name (§4.2.1.6).",
    "san_name": "A subjectAltName value is not in issued form.",
    "common_name_not_in_san": "The host in the common name is not among the names.",
    "common_name_length": "A common name has at most 64 characters (appendix A.1).",
    "crl_points": "cRLDistributionPoints must hold URLs and not be critical (§4.2.1.13).",
    "access": "authorityInfoAccess must hold URLs and not be critical (§4.2.2.1).",
    "https_pointer": "A CRL, OCSP or CA URL with https can loop (§8).",
    "must_staple_without_ocsp": "Must-staple needs an OCSP URL.",
    "tls_feature_critical": "The TLS feature extension should not be critical (RFC 7633 §4).",
    "no_rev_avail": "noRevAvail excludes CRL and OCSP addresses and CAs (RFC 9608 §2).",
    "unknown_critical": "A critical extension is not one that is issued here.",
}
_WARNINGS = frozenset(
    {"common_name_not_in_san", "https_pointer", "key_usage_not_critical", "any_eku_critical"}
)
_FINDINGS = {
    code: Finding(
        code=code,
        severity=Severity.WARNING if code in _WARNINGS else Severity.ERROR,
        text=text,
    )
    for code, text in _TEXTS.items()
}
_KNOWN = frozenset(
    {"2.5.29.14", "2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.31", "2.5.29.35", "2.5.29.37",
     "2.5.29.56", "1.3.6.1.5.5.7.1.1", "1.3.6.1.5.5.7.1.24"}
)  # fmt: skip
_NO_REV_AVAIL = "2.5.29.56"
_UTC_TIME_BYTES = 13
_GENERALIZED_TIME_BYTES = 15
_UTC_TIME_ENDS = datetime(2050, 1, 1, tzinfo=UTC)
_MAX_KNOWN = 1024
_known: dict[Shape, tuple[Finding, ...]] = {}
"""What was found of certificates of a shape: CAs issue many of each."""


def lint_leaf(cert: x509.Certificate, *, issuer: x509.Certificate) -> tuple[Finding, ...]:
    """Check a finished end-entity certificate against RFC 5280 and its companions.

    Args:
        cert: The certificate.
        issuer: The CA certificate that signed it; the signature itself is
            ``chain.verify_issued``'s.

    Returns:
        Findings in the order of the fields; empty for a clean certificate.
    """
    try:
        shape = usual_shape(cert, issuer)
    except ValueError:  # DERError is one
        shape = None
    found = None if shape is None else _known.get(shape)
    if found is None:
        found = _look(cert, issuer)
        if shape is not None and _FINDINGS["unreadable"] not in found:
            if len(_known) >= _MAX_KNOWN:
                _known.clear()
            _known[shape] = found
    return found


def _look(cert: x509.Certificate, issuer: x509.Certificate) -> tuple[Finding, ...]:
    try:
        codes = dict.fromkeys(_fields(cert, issuer))
        extensions = {e.oid.dotted_string: e for e in cert.extensions}
        codes |= dict.fromkeys(_identity(cert, issuer, extensions))
        codes |= dict.fromkeys(_usage(cert, extensions))
        codes |= dict.fromkeys(_names(cert, extensions))
        codes |= dict.fromkeys(_pointers(extensions))
    except LIBRARY_ERRORS:  # DERError is a ValueError
        return (_FINDINGS["unreadable"],)
    return tuple(_FINDINGS[code] for code in codes)


def require_clean(cert: x509.Certificate, *, issuer: x509.Certificate) -> tuple[Finding, ...]:
    """Run ``lint_leaf`` and give its warnings.

    Raises:
        LintFailed: There is a finding of severity ``error``.
    """
    findings = lint_leaf(cert, issuer=issuer)
    errors = errors_of(findings)
    if errors:
        raise LintFailed(findings, codes=", ".join(finding.code for finding in errors))
    return findings


_Extensions = dict[str, x509.Extension[x509.ExtensionType]]


def _fields(cert: x509.Certificate, issuer: x509.Certificate) -> Iterator[str]:
    if cert.version is not x509.Version.v3:
        yield "not_version_3"
    tbs = cert.tbs_certificate_bytes
    at, end = _der.whole(tbs, _der.SEQUENCE)
    tag, _, after = _der.element(tbs, at, end)
    if tag == 0xA0:  # noqa: PLR2004 - [0] EXPLICIT Version
        at = after
    serial_start, serial_stop = _der.expect(tbs, at, end, _der.INTEGER)
    serial = int.from_bytes(tbs[serial_start:serial_stop], signed=True)
    if serial <= 0 or serial.bit_length() > MAX_SERIAL_BITS:
        yield "bad_serial"
    _, algorithm_stop = _der.expect(tbs, serial_stop, end, _der.SEQUENCE)
    if tbs[serial_stop:algorithm_stop] != _outer_algorithm(cert, len(tbs)):
        yield "algorithms_differ"
    _, issuer_stop = _der.expect(tbs, algorithm_stop, end, _der.SEQUENCE)
    if tbs[algorithm_stop:issuer_stop] != issuer.subject.public_bytes():
        yield "issuer_mismatch"
    not_before, not_after = cert.not_valid_before_utc, cert.not_valid_after_utc
    at, validity_end = _der.expect(tbs, issuer_stop, end, _der.SEQUENCE)
    for moment in (not_before, not_after):
        tag, start, stop = _der.element(tbs, at, validity_end)
        at = stop
        if not _is_good_time(tag, stop - start, moment):
            yield "bad_time"
    if not_after < not_before:
        yield "empty_validity"
    if not_after > issuer.not_valid_after_utc:
        yield "outlives_issuer"


def _is_good_time(tag: int, length: int, moment: datetime) -> bool:
    if moment < _UTC_TIME_ENDS:
        return tag == _der.UTC_TIME and length == _UTC_TIME_BYTES
    return tag == _der.GENERALIZED_TIME and length == _GENERALIZED_TIME_BYTES


def _outer_algorithm(cert: x509.Certificate, tbs_length: int) -> bytes:
    der = cert.public_bytes(Encoding.DER)
    start, stop = _der.whole(der, _der.SEQUENCE)
    at = start + tbs_length
    _, end = _der.expect(der, at, stop, _der.SEQUENCE)
    return der[at:end]


def _identity(
    cert: x509.Certificate, issuer: x509.Certificate, extensions: _Extensions
) -> Iterator[str]:
    basic = extensions.get("2.5.29.19")
    if basic is None or not basic.critical or _value(basic, x509.BasicConstraints).ca:
        yield "basic_constraints"
    ski = extensions.get("2.5.29.14")
    if (
        ski is None
        or ski.critical
        or _value(ski, x509.SubjectKeyIdentifier).digest != keys.ski(cert.public_key())
    ):
        yield "ski"
    aki = extensions.get("2.5.29.35")
    if (
        aki is None
        or aki.critical
        or _value(aki, x509.AuthorityKeyIdentifier).key_identifier != issuer_key_id(issuer)
    ):
        yield "aki"
    if any(e.critical and oid not in _KNOWN for oid, e in extensions.items()):
        yield "unknown_critical"


def _usage(cert: x509.Certificate, extensions: _Extensions) -> Iterator[str]:
    found = extensions.get("2.5.29.15")
    if found is None:
        yield "key_usage_missing"
    else:
        usage = _value(found, x509.KeyUsage)
        if not found.critical:
            yield "key_usage_not_critical"
        if usage.key_cert_sign or usage.crl_sign:
            yield "key_usage_of_a_ca"
        if usage.key_encipherment and not isinstance(cert.public_key(), RSAPublicKey):
            yield "key_encipherment"
    found = extensions.get("2.5.29.37")
    if found is None:
        yield "eku_missing"
        return
    ekus = {oid.dotted_string for oid in _value(found, x509.ExtendedKeyUsage)}
    if found.critical and EKU_OIDS["anyExtendedKeyUsage"] in ekus:
        yield "any_eku_critical"
    if EKU_OIDS["timeStamping"] in ekus and not (found.critical and len(ekus) == 1):
        yield "time_stamping"


def _names(cert: x509.Certificate, extensions: _Extensions) -> Iterator[str]:
    subject = cert.subject
    found = extensions.get("2.5.29.17")
    if found is None:
        eku = extensions.get("2.5.29.37")
        ekus = {oid.dotted_string for oid in _value(eku, x509.ExtendedKeyUsage)} if eku else set()
        if not subject.rdns or EKU_OIDS["serverAuth"] in ekus:
            yield "san_missing"
        values: list[x509.GeneralName] = []
    else:
        values = list(_value(found, x509.SubjectAlternativeName))
        if found.critical == bool(subject.rdns):
            yield "san_criticality"
        if not values:
            yield "san_empty"
        if not _all_in_issued_form(values):
            yield "san_name"
    yield from _common_names(subject, values)


def _all_in_issued_form(values: list[x509.GeneralName]) -> bool:
    try:
        return names.from_x509(values, strict=True) == names.from_x509(values)
    except NameRejected:
        return False


def _common_names(subject: x509.Name, values: list[x509.GeneralName]) -> Iterator[str]:
    present = {str(value.value) for value in values}
    for attribute in subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME):
        common_name = str(attribute.value)
        if len(common_name) > MAX_COMMON_NAME:
            yield "common_name_length"
        if present and "." in common_name and common_name not in present:
            host = names.common_name_as_san(common_name)
            if host is not None and host.value not in present:
                yield "common_name_not_in_san"


def _pointers(extensions: _Extensions) -> Iterator[str]:
    urls: list[str] = []
    points = extensions.get("2.5.29.31")
    if points is not None:
        found = [
            [n.value for n in p.full_name or () if isinstance(n, x509.UniformResourceIdentifier)]
            for p in _value(points, x509.CRLDistributionPoints)
        ]
        if points.critical or not found or not all(found):
            yield "crl_points"
        urls += [url for group in found for url in group]
    access = extensions.get("1.3.6.1.5.5.7.1.1")
    has_ocsp = False
    if access is not None:
        entries = list(_value(access, x509.AuthorityInformationAccess))
        locations = [entry.access_location for entry in entries]
        if (
            access.critical
            or not entries
            or not all(isinstance(name, x509.UniformResourceIdentifier) for name in locations)
        ):
            yield "access"
        urls += [str(name.value) for name in locations]
        has_ocsp = any(e.access_method.dotted_string == "1.3.6.1.5.5.7.48.1" for e in entries)
    if any(url.startswith("https:") for url in urls):
        yield "https_pointer"
    feature = extensions.get("1.3.6.1.5.5.7.1.24")
    if feature is not None:
        if feature.critical:
            yield "tls_feature_critical"
        if not has_ocsp:
            yield "must_staple_without_ocsp"
    revocation_off = extensions.get(_NO_REV_AVAIL)
    if revocation_off is not None and (
        revocation_off.critical
        or points is not None
        or has_ocsp
        or revocation_off.value.public_bytes() != b"\x05\x00"
    ):
        yield "no_rev_avail"


_T = TypeVar("_T", bound=x509.ExtensionType)


def _value(extension: x509.Extension[x509.ExtensionType], kind: type[_T]) -> _T:
    value = extension.value
    if not isinstance(value, kind):
        # The library chose another class for this OID: nothing that is issued here.
        raise _der.DERError
    return value
