"""Building certificates (02 §6, CA-3, RSP-1), with OpenSSL and the library's builder as judges."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from certctl_core.pki import keys, names, serials
from certctl_core.pki import x509 as pki_x509
from certctl_core.pki.errors import (
    CannotBuild,
    EmptyValidity,
    MalformedName,
    MustStapleNeedsOCSP,
    NaiveTime,
    NameConstraintViolation,
    NoSubject,
    TimeStampingNotAlone,
    UnknownEKU,
    UnsafeName,
)
from certctl_core.pki.keys import KeyAlgorithm
from certctl_core.pki.names import parse_general_name
from tests.core.pki.support import FAST, NOW, POST_QUANTUM, make_spec, sign_with

OCSP = "http://pki.example.com/ocsp/iss-1"
CRL = "http://pki.example.com/crl/iss-1"
CA_ISSUERS = "http://pki.example.com/ca/iss-1"


def leaf(ca, key, *san, **changes):
    return pki_x509.build_leaf(
        make_spec(key.public_key(), *san, **changes), issuer=ca.cert, key=ca.key
    )


@pytest.mark.spec("02/A-2")
@pytest.mark.parametrize("algorithm", FAST)
def test_openssl_accepts_the_leaf_strictly(ca_of, key_of, openssl, algorithm):
    ca = ca_of(algorithm)
    cert = leaf(
        ca,
        key_of(algorithm),
        "www.example.com",
        "localhost",
        "10.0.0.1",
        "2001:db8::1",
        "web@example.com",
        "spiffe://example.test/web",
        ocsp_urls=(OCSP,),
        crl_urls=(CRL,),
        ca_issuer_urls=(CA_ISSUERS,),
        must_staple=True,
    )
    openssl("verify", "-x509_strict", "-CAfile", "ca", "leaf", ca=ca.cert, leaf=cert)
    text = openssl("x509", "-in", "leaf", "-noout", "-text")
    for expected in (
        "DNS:www.example.com, DNS:localhost, IP Address:10.0.0.1, IP Address:2001:DB8:0:0:0:0:0:1",
        "email:web@example.com, URI:spiffe://example.test/web",
        f"OCSP - URI:{OCSP}",
        f"CA Issuers - URI:{CA_ISSUERS}",
        f"URI:{CRL}",
        "CA:FALSE",
        "status_request",
        "TLS Web Server Authentication",
    ):
        assert expected in text
    shown = openssl("x509", "-in", "leaf", "-noout", "-ext", "subjectKeyIdentifier")
    assert keys.ca_key_id(cert.public_key()) in shown.lower().replace(":", "")


@pytest.mark.parametrize("algorithm", POST_QUANTUM)
def test_post_quantum_certificates_verify(ca_of, key_of, algorithm):
    ca = ca_of(algorithm)
    cert = leaf(ca, key_of(algorithm))
    cert.verify_directly_issued_by(ca.cert)
    assert pki_x509.describe(cert).signature_algorithm == algorithm.value


def reference(spec, ca):
    """The same certificate by the library's builder, in the same order of extensions."""
    rsa = spec.public_key.__class__.__name__.startswith("RSA")
    tls = not spec.ekus or {"serverAuth", "clientAuth"} & set(spec.ekus)
    builder = (
        x509.CertificateBuilder()
        .serial_number(spec.serial)
        .issuer_name(ca.cert.subject)
        .subject_name(
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, spec.common_name)])
            if spec.common_name
            else x509.Name([])
        )
        .not_valid_before(spec.not_before)
        .not_valid_after(min(spec.not_after, ca.cert.not_valid_after_utc))
        .public_key(spec.public_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                True, "emailProtection" in spec.ekus, bool(rsa and tls),
                False, False, False, False, False, False,
            ),
            critical=True,
        )
        .add_extension(
            x509.ExtendedKeyUsage(
                [
                    x509.ObjectIdentifier(pki_x509.eku_oid(eku))
                    for eku in spec.ekus or ("serverAuth", "clientAuth")
                ]
            ),
            critical="timeStamping" in spec.ekus,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(spec.public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.cert.public_key()),
            critical=False,
        )
    )  # fmt: skip
    if spec.names:
        builder = builder.add_extension(
            names.to_x509(spec.names), critical=spec.common_name is None
        )
    access = [
        x509.AccessDescription(method, x509.UniformResourceIdentifier(url))
        for method, urls in (
            (AuthorityInformationAccessOID.OCSP, () if spec.no_rev_avail else spec.ocsp_urls),
            (AuthorityInformationAccessOID.CA_ISSUERS, spec.ca_issuer_urls),
        )
        for url in urls
    ]
    if access:
        builder = builder.add_extension(x509.AuthorityInformationAccess(access), critical=False)
    if spec.crl_urls and not spec.no_rev_avail:
        points = [
            x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
            for url in spec.crl_urls
        ]
        builder = builder.add_extension(x509.CRLDistributionPoints(points), critical=False)
    if spec.must_staple:
        builder = builder.add_extension(
            x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=False
        )
    if spec.no_rev_avail:
        builder = builder.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.56"), b"\x05\x00"),
            critical=False,
        )
    return builder.sign(*sign_with(ca.key))


LABEL = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?\Z").filter(lambda t: t[2:4] != "--")
NAME = st.one_of(
    LABEL.map("{}.example.com".format),
    LABEL.map("*.{}.example.com".format),
    st.ip_addresses().map(str),
    LABEL.map("{}@example.com".format),
    LABEL.map("spiffe://example.test/{}".format),
)


@given(data=st.data())
def test_bytes_equal_the_builder(ca_of, key_of, data):
    ca = ca_of(KeyAlgorithm.ED25519)
    algorithm = data.draw(st.sampled_from([KeyAlgorithm.RSA_2048, KeyAlgorithm.ECDSA_P256]))
    ekus = st.sampled_from(
        [(), ("serverAuth",), ("clientAuth", "emailProtection"), ("timeStamping",),
         ("codeSigning", "1.2.3.4.99999"), ("anyExtendedKeyUsage",)]
    )  # fmt: skip
    start = data.draw(st.datetimes(datetime(1970, 1, 1), datetime(2030, 12, 31)))
    no_rev_avail = data.draw(st.booleans())
    spec = pki_x509.LeafSpec(
        public_key=key_of(algorithm).public_key(),
        common_name=data.draw(st.none() | st.text("abc é日", min_size=1, max_size=64)),
        names=names.sort_names(
            parse_general_name(text) for text in data.draw(st.lists(NAME, min_size=1, max_size=40))
        ),
        ekus=data.draw(ekus),
        not_before=start.replace(tzinfo=UTC, microsecond=0),
        not_after=datetime(2060, 1, 1, tzinfo=UTC),
        serial=data.draw(st.integers(1, (1 << 159) - 1)),
        no_rev_avail=no_rev_avail,
        must_staple=not no_rev_avail and data.draw(st.booleans()),
        ocsp_urls=(OCSP,),
        crl_urls=data.draw(st.sampled_from([(), (CRL,), (CRL, CRL + "/2")])),
        ca_issuer_urls=data.draw(st.sampled_from([(), (CA_ISSUERS,)])),
    )
    built = pki_x509.build_leaf(spec, issuer=ca.cert, key=ca.key)
    der = serialization.Encoding.DER
    assert built.public_bytes(der) == reference(spec, ca).public_bytes(der)


@pytest.mark.spec("02/CERT-9")
@pytest.mark.parametrize(
    ("algorithm", "ekus", "expected"),
    [
        (KeyAlgorithm.RSA_2048, ("serverAuth",), ("digitalSignature", "keyEncipherment")),
        (KeyAlgorithm.RSA_2048, ("clientAuth",), ("digitalSignature", "keyEncipherment")),
        (KeyAlgorithm.RSA_2048, (), ("digitalSignature", "keyEncipherment")),
        (KeyAlgorithm.RSA_2048, ("codeSigning",), ("digitalSignature",)),
        (KeyAlgorithm.RSA_2048, ("emailProtection",), ("digitalSignature", "nonRepudiation")),
        (KeyAlgorithm.ECDSA_P256, ("serverAuth",), ("digitalSignature",)),
        (KeyAlgorithm.ED25519, ("serverAuth",), ("digitalSignature",)),
        (KeyAlgorithm.ML_DSA_44, ("serverAuth",), ("digitalSignature",)),
        (
            KeyAlgorithm.ECDSA_P256,
            ("clientAuth", "emailProtection"),
            ("digitalSignature", "nonRepudiation"),
        ),
    ],
)
def test_key_usage_follows_key_and_purpose(ca_of, key_of, algorithm, ekus, expected):
    cert = leaf(ca_of(), key_of(algorithm), ekus=ekus)
    assert pki_x509.describe(cert).key_usages == expected
    assert cert.extensions.get_extension_for_class(x509.KeyUsage).critical


@pytest.mark.spec("02/CERT-8")
class TestEKU:
    def test_names_are_the_table_of_the_specification(self):
        assert dict(pki_x509.EKU_OIDS) == {
            "serverAuth": "1.3.6.1.5.5.7.3.1",
            "clientAuth": "1.3.6.1.5.5.7.3.2",
            "codeSigning": "1.3.6.1.5.5.7.3.3",
            "emailProtection": "1.3.6.1.5.5.7.3.4",
            "timeStamping": "1.3.6.1.5.5.7.3.8",
            "ocspSigning": "1.3.6.1.5.5.7.3.9",
            "smartCardLogon": "1.3.6.1.4.1.311.20.2.2",
            "ipsecIKE": "1.3.6.1.5.5.7.3.17",
            "kerberosClientAuth": "1.3.6.1.5.2.3.4",
            "documentSigning": "1.3.6.1.4.1.311.10.3.12",
            "anyExtendedKeyUsage": "2.5.29.37.0",
        }

    @pytest.mark.parametrize("name", list(pki_x509.EKU_OIDS))
    def test_each_name_is_issued(self, ca_of, key_of, name):
        info = pki_x509.describe(leaf(ca_of(), key_of(), ekus=(name,)))
        assert info.ekus == (name,)

    def test_empty_means_tls(self, ca_of, key_of):
        info = pki_x509.describe(leaf(ca_of(), key_of(), ekus=()))
        assert info.ekus == ("serverAuth", "clientAuth")

    def test_dotted_and_named_duplicates_collapse(self, ca_of, key_of):
        info = pki_x509.describe(
            leaf(ca_of(), key_of(), ekus=("serverAuth", "1.3.6.1.5.5.7.3.1", "1.2.3.4"))
        )
        assert info.ekus == ("serverAuth", "1.2.3.4")

    @pytest.mark.parametrize("bad", ["", "tls", "ServerAuth", "1", "1.", "1.2.", "3.1", "1.40", "1.2.3 ",
                                     "1.2." + "9" * 200, "1.2.-3", "1.02"])  # fmt: skip
    def test_unknown_names_are_refused(self, ca_of, key_of, bad):
        with pytest.raises(UnknownEKU):
            leaf(ca_of(), key_of(), ekus=("serverAuth", bad))

    def test_time_stamping_stands_alone_and_is_critical(self, ca_of, key_of):
        cert = leaf(ca_of(), key_of(), ekus=("timeStamping",))
        assert cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).critical
        with pytest.raises(TimeStampingNotAlone):
            leaf(ca_of(), key_of(), ekus=("timeStamping", "codeSigning"))


class TestValidity:
    @pytest.mark.spec("02/CERT-10")
    def test_end_is_capped_at_the_issuer(self, ca_of, key_of):
        cert = leaf(ca_of(), key_of(), not_after=NOW + timedelta(days=9000))
        assert cert.not_valid_after_utc == ca_of().cert.not_valid_after_utc

    def test_fractions_and_zones_are_removed(self, ca_of, key_of):
        zone = timezone(timedelta(hours=5, minutes=30))
        start = NOW.astimezone(zone).replace(microsecond=999_999)
        cert = leaf(ca_of(), key_of(), not_before=start)
        assert cert.not_valid_before_utc == NOW

    def test_years_from_2050_are_generalized_time(self, ca_of, key_of):
        ca = ca_of()
        far = pki_x509.build_root(
            "Far", ca.key, serial=1, not_before=NOW, not_after=datetime(2070, 1, 1, tzinfo=UTC)
        )
        cert = pki_x509.build_leaf(
            make_spec(key_of().public_key(), not_after=datetime(2050, 1, 1, tzinfo=UTC)),
            issuer=far,
            key=ca.key,
        )
        assert cert.not_valid_after_utc == datetime(2050, 1, 1, tzinfo=UTC)
        assert b"\x18\x0f20500101000000Z" in cert.tbs_certificate_bytes

    def test_empty_span_is_refused(self, ca_of, key_of):
        with pytest.raises(EmptyValidity):
            leaf(ca_of(), key_of(), not_after=NOW - timedelta(days=1))

    def test_naive_time_is_refused(self, ca_of, key_of):
        naive = NOW.replace(tzinfo=None)
        spec = make_spec(key_of().public_key(), not_before=naive, not_after=naive)
        with pytest.raises(NaiveTime):
            pki_x509.build_leaf(spec, issuer=ca_of().cert, key=ca_of().key)


@pytest.mark.spec("02/CERT-16")
def test_must_staple_bytes_and_its_need_of_ocsp(ca_of, key_of):
    cert = leaf(ca_of(), key_of(), must_staple=True, ocsp_urls=(OCSP,))
    extension = cert.extensions.get_extension_for_class(x509.TLSFeature)
    assert not extension.critical
    assert bytes.fromhex("06082b0601050507011804053003020105") in cert.tbs_certificate_bytes
    with pytest.raises(MustStapleNeedsOCSP):
        leaf(ca_of(), key_of(), must_staple=True)
    with pytest.raises(MustStapleNeedsOCSP):
        leaf(ca_of(), key_of(), must_staple=True, ocsp_urls=(OCSP,), no_rev_avail=True)


@pytest.mark.spec("02/CERT-17")
def test_no_rev_avail_leaves_revocation_addresses_out(ca_of, key_of):
    cert = leaf(
        ca_of(), key_of(), no_rev_avail=True, ocsp_urls=(OCSP,), crl_urls=(CRL,),
        ca_issuer_urls=(CA_ISSUERS,),
    )  # fmt: skip
    info = pki_x509.describe(cert)
    assert (info.crl_urls, info.ocsp_urls) == ((), ())
    assert info.ca_issuer_urls == (CA_ISSUERS,)
    found = {e.oid.dotted_string: e for e in cert.extensions}["2.5.29.56"]
    assert not found.critical
    assert found.value.public_bytes() == b"\x05\x00"


@pytest.mark.spec("02/CERT-13")
def test_without_urls_there_are_no_empty_extensions(ca_of, key_of):
    oids = {e.oid.dotted_string for e in leaf(ca_of(), key_of()).extensions}
    assert oids == {"2.5.29.19", "2.5.29.15", "2.5.29.37", "2.5.29.14", "2.5.29.35", "2.5.29.17"}


def test_bad_url_is_refused(ca_of, key_of):
    with pytest.raises(MalformedName):
        leaf(ca_of(), key_of(), crl_urls=("not a url",))


def test_empty_subject_makes_the_names_critical(ca_of, key_of, openssl):
    cert = leaf(ca_of(), key_of(), common_name=None)
    assert cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    openssl("verify", "-x509_strict", "-CAfile", "ca", "leaf", ca=ca_of().cert, leaf=cert)
    with pytest.raises(NoSubject):
        pki_x509.build_leaf(
            replace(make_spec(key_of().public_key()), common_name=None, names=()),
            issuer=ca_of().cert,
            key=ca_of().key,
        )


def test_subject_attributes_come_first(ca_of, key_of):
    cert = leaf(
        ca_of(),
        key_of(),
        subject_attributes=(("countryName", "DE"), ("O", "Example"), ("2.5.4.11", "Unit")),
    )
    assert cert.subject.rfc4514_string() == "CN=www.example.com,OU=Unit,O=Example,C=DE"


@pytest.mark.parametrize(
    ("pair", "error"),
    [
        (("countryName", "Germany"), MalformedName),
        (("nonsense", "x"), MalformedName),
        (("organizationName", ""), MalformedName),
        (("organizationName", "a\u202eb"), UnsafeName),
    ],
)
def test_bad_subject_attributes_are_refused(ca_of, key_of, pair, error):
    with pytest.raises(error):
        leaf(ca_of(), key_of(), subject_attributes=(pair,))


def test_unsafe_common_name_is_refused(ca_of, key_of):
    with pytest.raises(UnsafeName):
        leaf(ca_of(), key_of(), common_name="a\u200bb")


def constrained(ca, **trees):
    return pki_x509.build_sub_ca(
        pki_x509.subject_name("Example Constrained CA"),
        public_key=ca.key.public_key(),
        issuer=ca.cert,
        key=ca.key,
        serial=serials.new_serial(),
        not_before=NOW - timedelta(minutes=5),
        not_after=NOW + timedelta(days=365),
        path_length=0,
        name_constraints=x509.NameConstraints(
            trees.get("permitted"), trees.get("excluded")
        ),
        crl_urls=(CRL,),
        ocsp_urls=(OCSP,),
        ca_issuer_urls=(CA_ISSUERS,),
    )  # fmt: skip


@pytest.mark.spec("02/CERT-18")
def test_name_constraints_hold_before_signing(ca_of, key_of, openssl):
    ca = ca_of()
    sub = constrained(
        ca,
        permitted=[x509.DNSName("example.com"), x509.DNSName("example.test")],
        excluded=[x509.DNSName("secret.example.com")],
    )
    public_key = key_of().public_key()
    good = pki_x509.build_leaf(make_spec(public_key, "www.example.com"), issuer=sub, key=ca.key)
    openssl(
        "verify", "-x509_strict", "-CAfile", "ca", "-untrusted", "sub", "leaf",
        ca=ca.cert, sub=sub, leaf=good,
    )  # fmt: skip
    for bad in ("www.example.org", "secret.example.com", "a.secret.example.com", "*.example.com"):
        with pytest.raises(NameConstraintViolation):
            pki_x509.build_leaf(make_spec(public_key, bad), issuer=sub, key=ca.key)
    spec = make_spec(public_key, "10.0.0.1", common_name="www.example.org")
    with pytest.raises(NameConstraintViolation):
        pki_x509.build_leaf(spec, issuer=sub, key=ca.key)


def test_constraints_further_up_hold_through_the_template(ca_of, key_of):
    ca = ca_of()
    upper = constrained(ca, permitted=[x509.DNSName("example.com")])
    template = pki_x509.IssuerTemplate.of(ca.cert, (upper,))
    with pytest.raises(NameConstraintViolation):
        pki_x509.build_leaf(
            make_spec(key_of().public_key(), "www.example.org"), issuer=template, key=ca.key
        )


@pytest.mark.spec("02/CA-3")
@pytest.mark.parametrize("algorithm", FAST)
def test_root_is_a_strict_ca(ca_of, openssl, algorithm):
    root = ca_of(algorithm).cert
    info = pki_x509.describe(root)
    assert info.is_ca
    assert info.key_usages == ("keyCertSign", "cRLSign")
    assert info.ski == info.aki == keys.ca_key_id(root.public_key())
    assert openssl("verify", "-x509_strict", "-CAfile", "ca", "ca", ca=root).strip() == "ca: OK"


def test_root_options(ca_of):
    ca = ca_of()
    root = pki_x509.build_root(
        "Example Root",
        ca.key,
        serial=7,
        not_before=NOW,
        not_after=NOW + timedelta(days=1),
        path_length=1,
        signs_ocsp=True,
        subject_attributes=(("O", "Example"),),
    )
    info = pki_x509.describe(root)
    assert info.path_length == 1
    assert "digitalSignature" in info.key_usages
    assert info.subject == "CN=Example Root,O=Example"


def test_child_end_is_capped_at_the_parent(ca_of):
    ca = ca_of()
    child = pki_x509.build_sub_ca(
        pki_x509.subject_name("Child"),
        public_key=ca.key.public_key(),
        issuer=ca.cert,
        key=ca.key,
        serial=9,
        not_before=NOW,
        not_after=NOW + timedelta(days=99999),
    )
    assert child.not_valid_after_utc == ca.cert.not_valid_after_utc


@pytest.mark.spec("02/RSP-1")
def test_responder_certificate(ca_of, key_of, openssl):
    ca = ca_of()
    cert = pki_x509.build_responder(
        public_key=key_of().public_key(),
        issuer=ca.cert,
        key=ca.key,
        serial=serials.new_serial(),
        not_before=NOW - timedelta(minutes=5),
        not_after=NOW + timedelta(days=30),
    )
    info = pki_x509.describe(cert)
    assert info.common_name == "OCSP Responder for Example ECDSA-P256 Root"
    assert info.ekus == ("ocspSigning",)
    assert info.key_usages == ("digitalSignature",)
    assert not info.is_ca
    assert info.aki == keys.ca_key_id(ca.cert.public_key())
    nocheck = cert.extensions.get_extension_for_class(x509.OCSPNoCheck)
    assert not nocheck.critical
    assert bytes.fromhex("06092b060105050730010504020500") in cert.tbs_certificate_bytes
    assert (
        cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value[0]
        == ExtendedKeyUsageOID.OCSP_SIGNING
    )
    openssl("verify", "-x509_strict", "-CAfile", "ca", "leaf", ca=ca.cert, leaf=cert)


def test_responder_name_fits_64_characters(key_of):
    key = key_of()
    root = pki_x509.build_root(
        "A" * 64, key, serial=1, not_before=NOW, not_after=NOW + timedelta(days=1)
    )
    cert = pki_x509.build_responder(
        public_key=key.public_key(), issuer=root, key=key, serial=2, not_before=NOW,
        not_after=NOW + timedelta(days=1),
    )  # fmt: skip
    assert len(pki_x509.describe(cert).common_name or "") == 64


class Delegating(ec.EllipticCurvePrivateKey):
    """What a token driver hands in: the library's interface around a key that stays elsewhere."""

    def __init__(self, key):
        self._key = key

    def sign(self, data, signature_algorithm):
        return self._key.sign(data, signature_algorithm)

    def public_key(self):
        return self._key.public_key()

    @property
    def curve(self):
        return self._key.curve

    @property
    def key_size(self):
        return self._key.key_size

    def exchange(self, algorithm, peer_public_key):
        raise AssertionError

    def private_numbers(self):
        raise AssertionError

    def private_bytes(self, encoding, format, encryption_algorithm):  # noqa: A002
        raise AssertionError

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


@pytest.mark.spec("02/SIGN-2")
def test_a_wrapped_key_signs_like_a_raw_one(ca_of, key_of):
    ca = ca_of()
    wrapped = Delegating(ca.key)
    spec = make_spec(key_of().public_key())
    one = pki_x509.build_leaf(spec, issuer=ca.cert, key=wrapped)
    two = pki_x509.build_leaf(spec, issuer=ca.cert, key=ca.key)
    assert one.tbs_certificate_bytes == two.tbs_certificate_bytes
    one.verify_directly_issued_by(ca.cert)
    root = pki_x509.build_root(
        "Wrapped", wrapped, serial=1, not_before=NOW, not_after=NOW + timedelta(days=1)
    )
    root.verify_directly_issued_by(root)


def test_every_refusal_to_build_is_of_one_base():
    for error in (TimeStampingNotAlone, MustStapleNeedsOCSP, EmptyValidity, NoSubject):
        assert issubclass(error, CannotBuild)
        assert error().code != CannotBuild.code
