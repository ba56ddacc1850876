"""Lint of finished certificates (02 CERT-20): one defect each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from hypothesis import given

from certctl_core.pki import keys, lint
from certctl_core.pki import x509 as pki_x509
from certctl_core.pki._library import LIBRARY_ERRORS
from certctl_core.pki.errors import LintFailed
from certctl_core.pki.findings import Severity
from certctl_core.pki.keys import KeyAlgorithm
from certctl_core.pki.names import parse_general_name
from tests.core.pki.support import (
    FAST,
    MUTATIONS,
    NOW,
    POST_QUANTUM,
    make_spec,
    mutate,
    sign_with,
)

OCSP = "http://pki.example.com/ocsp"
CRL = "http://pki.example.com/crl"
DER = serialization.Encoding.DER


def look(cert, issuer):
    """What is found, which does not depend on what was looked at before."""
    found = lint.lint_leaf(cert, issuer=issuer)
    assert lint.lint_leaf(cert, issuer=issuer) == found
    assert lint._look(cert, issuer) == found
    return found


def codes(cert, ca):
    return [finding.code for finding in look(cert, ca.cert)]


@pytest.mark.spec("02/CERT-20")
@pytest.mark.parametrize("algorithm", [*FAST, *POST_QUANTUM])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ekus": ()},
        {"ekus": ("timeStamping",)},
        {"ekus": ("clientAuth", "emailProtection")},
        {"common_name": None},
        {"must_staple": True, "ocsp_urls": (OCSP,), "crl_urls": (CRL,)},
        {"no_rev_avail": True, "ca_issuer_urls": (CRL,)},
        {"not_after": NOW + timedelta(days=9000)},
    ],
    ids=lambda changes: ",".join(changes) or "plain",
)
def test_what_we_build_is_clean(ca_of, key_of, algorithm, changes):
    ca = ca_of(algorithm)
    spec = make_spec(
        key_of(algorithm).public_key(),
        "www.example.com",
        "10.0.0.1",
        "a@example.com",
        "spiffe://a.test/b",
        **changes,
    )
    cert = pki_x509.build_leaf(spec, issuer=ca.cert, key=ca.key)
    assert look(cert, ca.cert) == ()
    assert lint.require_clean(cert, issuer=ca.cert) == ()


def san(*names):
    return x509.SubjectAlternativeName(names)


def usage(**bits):
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
             "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
    return x509.KeyUsage(**{name: name in bits for name in names})


HOST = x509.DNSName("www.example.com")
EKU = x509.ExtendedKeyUsage
POINTS = x509.CRLDistributionPoints
ACCESS = x509.AuthorityInformationAccess
URI = x509.UniformResourceIdentifier
OCSP_METHOD = AuthorityInformationAccessOID.OCSP


def access(url):
    return ACCESS([x509.AccessDescription(OCSP_METHOD, url)])


def points(url):
    return POINTS([x509.DistributionPoint([url], None, None, None)])


NO_REV_AVAIL = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.56"), b"\x05\x00")
STAPLE = x509.TLSFeature([x509.TLSFeatureType.status_request])

DEFECTS: dict[str, list[dict[str, Any]]] = {
    "basic_constraints": [
        {"basic": None},
        {"basic": (x509.BasicConstraints(ca=False, path_length=None), False)},
        {"basic": (x509.BasicConstraints(ca=True, path_length=None), True)},
    ],
    "key_usage_missing": [{"usage": None}],
    "key_usage_not_critical": [{"usage": (usage(digital_signature=1), False)}],
    "key_usage_of_a_ca": [
        {"usage": (usage(key_cert_sign=1), True)},
        {"usage": (usage(crl_sign=1), True)},
    ],
    "key_encipherment": [{"usage": (usage(digital_signature=1, key_encipherment=1), True)}],
    "eku_missing": [{"eku": None}],
    "any_eku_critical": [{"eku": (EKU([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), True)}],
    "time_stamping": [
        {"eku": (EKU([ExtendedKeyUsageOID.TIME_STAMPING]), False)},
        {
            "eku": (
                EKU([ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING]),
                True,
            )
        },
    ],
    "ski": [{"ski": None}, {"ski": (x509.SubjectKeyIdentifier(b"1234"), False)}],
    "aki": [
        {"aki": None},
        {"aki": (x509.AuthorityKeyIdentifier(b"1" * 20, None, None), False)},
    ],
    "san_missing": [{"san": None}],
    "san_criticality": [{"san": (san(HOST), True)}],
    "san_empty": [{"san": (san(), False)}],
    "san_name": [
        {"san": (san(HOST, x509.DNSName("a_b.test")), False)},
        {"san": (san(HOST, x509.DNSName("A.test")), False)},
        {"san": (san(HOST, x509.RFC822Name("nobody")), False)},
        {"san": (san(HOST, x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))), False)},
    ],
    "common_name_not_in_san": [{"san": (san(x509.DNSName("other.example.com")), False)}],
    "crl_points": [
        {"points": (points(URI(CRL)), True)},
        {"points": (points(x509.DNSName("a.test")), False)},
    ],
    "access": [
        {"access": (access(URI(OCSP)), True)},
        {"access": (access(x509.DNSName("a.test")), False)},
    ],
    "https_pointer": [
        {"points": (points(URI("https://a.test/crl")), False)},
        {"access": (access(URI("https://a.test/ocsp")), False)},
    ],
    "must_staple_without_ocsp": [{"extra": (STAPLE, False)}],
    "tls_feature_critical": [{"extra": (STAPLE, True), "access": (access(URI(OCSP)), False)}],
    "no_rev_avail": [
        {"extra": (NO_REV_AVAIL, True)},
        {"extra": (NO_REV_AVAIL, False), "points": (points(URI(CRL)), False)},
        {"extra": (NO_REV_AVAIL, False), "access": (access(URI(OCSP)), False)},
    ],
    "unknown_critical": [
        {"extra": (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), True)}
    ],
    "outlives_issuer": [{"not_after": NOW + timedelta(days=9000)}],
    "issuer_mismatch": [{"issuer": x509.Name([])}],
}


def defective(ca, key, changes):
    public_key = key.public_key()
    values = {
        "basic": (x509.BasicConstraints(ca=False, path_length=None), True),
        "usage": (usage(digital_signature=1), True),
        "eku": (EKU([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        "ski": (x509.SubjectKeyIdentifier(keys.ski(public_key)), False),
        "aki": (x509.AuthorityKeyIdentifier(keys.ski(ca.key.public_key()), None, None), False),
        "san": (san(HOST), False),
    } | changes
    not_after = values.pop("not_after", NOW + timedelta(days=1))
    builder = (
        x509.CertificateBuilder()
        .subject_name(pki_x509.subject_name("www.example.com"))
        .issuer_name(values.pop("issuer", ca.cert.subject))
        .public_key(public_key)
        .serial_number(12345)
        .not_valid_before(NOW)
        .not_valid_after(not_after)
    )
    for value in values.values():
        if value is not None:
            builder = builder.add_extension(value[0], critical=value[1])
    return builder.sign(*sign_with(ca.key))


@pytest.mark.parametrize(
    ("code", "changes"),
    [(code, changes) for code, cases in DEFECTS.items() for changes in cases],
    ids=[f"{code}-{n}" for code, cases in DEFECTS.items() for n in range(len(cases))],
)
def test_each_defect_is_found_alone(ca_of, key_of, code, changes):
    ca = ca_of()
    assert look(defective(ca, key_of(), {}), ca.cert) == ()  # one without defect came before
    cert = defective(ca, key_of(), changes)
    found = look(cert, ca.cert)
    assert [finding.code for finding in found] == [code]
    if found[0].severity is Severity.ERROR:
        with pytest.raises(LintFailed, match=code) as caught:
            lint.require_clean(cert, issuer=ca.cert)
        assert caught.value.findings == found
    else:
        assert lint.require_clean(cert, issuer=ca.cert) == found


def test_the_reference_without_defect_is_clean(ca_of, key_of):
    assert codes(defective(ca_of(), key_of(), {}), ca_of()) == []


@pytest.mark.spec("02/CERT-20")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"serial": 1},
        {"common_name": None},
        {"common_name": "other.example.com"},
        {"common_name": "Department of Examples"},
        {"subject_attributes": (("O", "Example"),)},
        {"not_before": NOW - timedelta(days=3), "not_after": NOW + timedelta(days=9000)},
        {"crl_urls": ("https://pki.example.com/crl",)},
        {"ekus": ("clientAuth",)},
        {"names": ()},
        {"names": ("a.example.com", "*.example.com", "xn--fiqs8s.example")},
        {"names": ("a.example.com", "10.0.0.1")},
    ],
    ids=lambda changes: ",".join(changes) or "plain",
)
def test_one_of_another_shape_before_changes_nothing(ca_of, key_of, changes):
    ca = ca_of()
    if "names" in changes:
        changes = {"names": tuple(map(parse_general_name, changes["names"]))}
    without: dict[str, Any] = {}
    for more in (without, changes):
        spec = make_spec(key_of().public_key(), **more)
        look(pki_x509.build_leaf(spec, issuer=ca.cert, key=ca.key), ca.cert)


@pytest.fixture(scope="module")
def usual(ca_of, key_of):
    ca = ca_of()
    spec = make_spec(key_of().public_key(), crl_urls=(CRL,), ocsp_urls=(OCSP,))
    return pki_x509.build_leaf(spec, issuer=ca.cert, key=ca.key), ca.cert


@pytest.mark.filterwarnings("ignore")
@given(MUTATIONS)
def test_broken_bytes_are_judged_alike(usual, mutations):
    cert, issuer = usual
    assert look(cert, issuer) == ()
    try:
        broken = x509.load_der_x509_certificate(mutate(cert.public_bytes(DER), mutations))
        broken.public_key()
    except LIBRARY_ERRORS:
        return
    look(broken, issuer)


def rewritten(cert, old: bytes, new: bytes):
    der = cert.public_bytes(DER)
    assert der.count(old) >= 1
    assert len(old) == len(new)
    return x509.load_der_x509_certificate(der.replace(old, new, 1))


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_defects_that_no_builder_makes(ca_of, key_of):
    ca = ca_of()
    serial = int("7f" * 20, 16) >> 1
    spec = make_spec(key_of().public_key(), serial=serial, common_name="a" * 64)
    cert = pki_x509.build_leaf(spec, issuer=ca.cert, key=ca.key)
    raw = serial.to_bytes(20)
    assert codes(rewritten(cert, raw, b"\x40" + b"\x01" * 19), ca) == []
    assert codes(rewritten(cert, raw, b"\x7f" + b"\x01" * 19), ca) == []
    assert codes(rewritten(cert, raw, b"\x80" + b"\x01" * 19), ca) == ["bad_serial"]
    ecdsa_sha256, ecdsa_sha384 = (
        b"\x2a\x86\x48\xce\x3d\x04\x03\x02",
        b"\x2a\x86\x48\xce\x3d\x04\x03\x03",
    )
    assert codes(rewritten(cert, ecdsa_sha256, ecdsa_sha384), ca) == ["algorithms_differ"]


@pytest.mark.filterwarnings("ignore:Attribute's length")
def test_long_common_name(ca_of, key_of):
    ca = ca_of()
    spec = make_spec(key_of().public_key(), common_name="a" * 65)
    assert "common_name_length" in codes(pki_x509.build_leaf(spec, issuer=ca.cert, key=ca.key), ca)


def test_time_forms(ca_of, key_of):
    root = pki_x509.build_root(
        "Far", ca_of().key, serial=1, not_before=NOW, not_after=datetime(2070, 1, 1, tzinfo=UTC)
    )
    made = {}
    for year in (2049, 2050, 2060):
        spec = make_spec(key_of().public_key(), not_after=datetime(year, 6, 1, tzinfo=UTC))
        made[year] = pki_x509.build_leaf(spec, issuer=root, key=ca_of().key)
        assert look(made[year], root) == ()
    early = rewritten(made[2060], b"\x18\x0f20600601", b"\x18\x0f20400601")
    assert [f.code for f in look(early, root)] == ["bad_time"]


def test_rsa_may_have_key_encipherment(ca_of, key_of):
    cert = defective(
        ca_of(),
        key_of(KeyAlgorithm.RSA_2048),
        {"usage": (usage(digital_signature=1, key_encipherment=1), True)},
    )
    assert codes(cert, ca_of()) == []


def test_openssl_leaf_with_defects_is_described_in_sentences(ca_of, key_of):
    cert = defective(ca_of(), key_of(), {"basic": None, "ski": None, "eku": None})
    found = look(cert, ca_of().cert)
    assert [f.code for f in found] == ["basic_constraints", "ski", "eku_missing"]
    assert all(f.text.endswith(".") for f in found)
