"""Reading requests and certificates (02 CERT-1, CERT-7, PROF-3)."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from hypothesis import given
from hypothesis import strategies as st

from certctl_core.pki import keys
from certctl_core.pki import x509 as pki_x509
from certctl_core.pki.errors import (
    BadCSRSignature,
    CSRTooLarge,
    MalformedCertificate,
    MalformedCSR,
    MalformedName,
    PKIError,
    UnsafeName,
    UnsupportedKey,
    UnsupportedName,
    WeakKey,
)
from certctl_core.pki.keys import KeyAlgorithm
from certctl_core.pki.names import GeneralName, NameType
from tests.core.pki.support import FAST, MUTATIONS, NOW, POST_QUANTUM, make_spec, mutate, sign_with

PEM = serialization.Encoding.PEM
DER = serialization.Encoding.DER


def make_csr(key, *extensions, cn=("www.example.com",), hash_algorithm=None):
    attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, value) for value in cn]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hash_algorithm or sign_with(key)[1])


def san(*general_names):
    return x509.SubjectAlternativeName(general_names)


@pytest.mark.spec("02/CERT-1")
def test_one_request_is_one_block(key_of):
    pem = make_csr(key_of(KeyAlgorithm.ECDSA_P256)).public_bytes(PEM)

    for more in (pem, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(MalformedCSR, match="more than one PEM block"):
            pki_x509.parse_csr(pem + more)


@pytest.mark.spec("02/CERT-1")
@pytest.mark.parametrize("algorithm", [*FAST, *POST_QUANTUM])
def test_request_is_read_in_every_form(key_of, algorithm):
    key = key_of(algorithm)
    csr = make_csr(
        key,
        san(x509.DNSName("WWW.example.com"), x509.RFC822Name("a@example.com")),
        x509.ExtendedKeyUsage(
            [x509.ObjectIdentifier("1.3.6.1.5.5.7.3.1"), x509.ObjectIdentifier("1.2.3")]
        ),
        x509.TLSFeature([x509.TLSFeatureType.status_request]),
    )
    pem = csr.public_bytes(PEM)
    infos = [
        pki_x509.parse_csr(form)
        for form in (pem, pem.decode(), csr.public_bytes(DER), b"text before\n" + pem)
    ]
    for info in infos:
        assert info.der == csr.public_bytes(DER)
        assert info.pem == pem.decode()
        assert info.common_name == "www.example.com"
        assert info.subject == "CN=www.example.com"
        assert info.names == (
            GeneralName(type=NameType.DNS, value="www.example.com"),
            GeneralName(type=NameType.EMAIL, value="a@example.com"),
        )
        assert info.ekus == ("serverAuth", "1.2.3")
        assert info.must_staple
        assert info.key.name == algorithm.value
        assert info.spki_sha256 == keys.spki_sha256(key.public_key())


def test_openssl_request_is_read(openssl, tmp_path):
    openssl(
        "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-out", "csr",
        "-subj", "/C=DE/O=Example/CN=www.example.com",
        "-addext", "subjectAltName=DNS:www.example.com,IP:10.0.0.1,URI:spiffe://example.test/a",
        "-addext", "extendedKeyUsage=clientAuth",
    )  # fmt: skip
    info = pki_x509.parse_csr((tmp_path / "csr").read_bytes())
    assert info.common_name == "www.example.com"
    assert [name.value for name in info.names] == [
        "www.example.com", "10.0.0.1", "spiffe://example.test/a",
    ]  # fmt: skip
    assert info.ekus == ("clientAuth",)
    assert not info.must_staple


def test_request_without_anything(key_of):
    info = pki_x509.parse_csr(make_csr(key_of(), cn=()).public_bytes(DER))
    assert (info.common_name, info.subject, info.names, info.ekus) == (None, "", (), ())


class TestRefusals:
    def test_too_large_is_refused_before_parsing(self):
        with pytest.raises(CSRTooLarge):
            pki_x509.parse_csr(b"-----BEGIN" + b"A" * 16384)

    def test_not_a_request(self, ca_of):
        certificate = pki_x509.to_pem(ca_of().cert)
        for data in (b"", "", "text", b"\x30\x00", certificate, certificate.encode()):
            with pytest.raises(MalformedCSR):
                pki_x509.parse_csr(data)

    def test_trailing_bytes(self, key_of):
        with pytest.raises(MalformedCSR):
            pki_x509.parse_csr(make_csr(key_of()).public_bytes(DER) + b"\x00")

    def test_changed_signature(self, key_of):
        der = bytearray(make_csr(key_of(KeyAlgorithm.RSA_2048)).public_bytes(DER))
        der[-1] ^= 1
        with pytest.raises(BadCSRSignature):
            pki_x509.parse_csr(bytes(der))

    def test_changed_name(self, key_of):
        der = make_csr(key_of()).public_bytes(DER)
        with pytest.raises(BadCSRSignature):
            pki_x509.parse_csr(der.replace(b"www.example.com", b"wwx.example.com"))

    def test_two_common_names(self, key_of):
        with pytest.raises(MalformedCSR):
            pki_x509.parse_csr(make_csr(key_of(), cn=("a.test", "b.test")).public_bytes(DER))

    @pytest.mark.parametrize(
        ("name", "error"),
        [
            (x509.DNSName("a_b.example.com"), MalformedName),
            (x509.DNSName("www.*.example.com"), MalformedName),
            (x509.UniformResourceIdentifier("relative"), MalformedName),
            (x509.RFC822Name("nobody"), MalformedName),
            (x509.DNSName("xn--bcher-kva.example.com"), UnsafeName),
            (x509.RegisteredID(x509.ObjectIdentifier("1.2.3")), UnsupportedName),
            (x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x0c\x01a"), UnsupportedName),
            (x509.DirectoryName(x509.Name([])), UnsupportedName),
        ],
    )
    @pytest.mark.spec("02/CERT-7")
    def test_bad_names(self, key_of, name, error):
        with pytest.raises(error):
            pki_x509.parse_csr(make_csr(key_of(), san(name)).public_bytes(DER))

    @pytest.mark.parametrize("cn", ["a\u202eb", "pаypal.test", "a\u200bb"])
    def test_unsafe_common_name(self, key_of, cn):
        with pytest.raises(UnsafeName):
            pki_x509.parse_csr(make_csr(key_of(), cn=(cn,)).public_bytes(DER))

    @pytest.mark.spec("02/PROF-3")
    def test_weak_keys(self):
        exponent_3 = rsa.generate_private_key(3, 2048)
        with pytest.raises(WeakKey):
            pki_x509.parse_csr(make_csr(exponent_3).public_bytes(DER))
        p224 = ec.generate_private_key(ec.SECP224R1())
        csr = make_csr(p224, hash_algorithm=hashes.SHA256())
        with pytest.raises(UnsupportedKey):
            pki_x509.parse_csr(csr.public_bytes(DER))

    def test_unsupported_key(self):
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        csr = builder.sign(ed448.Ed448PrivateKey.generate(), None)
        with pytest.raises(UnsupportedKey):
            pki_x509.parse_csr(csr.public_bytes(DER))


@given(MUTATIONS)
def test_mutated_requests_never_escape_the_error_tree(key_of, mutations):
    der = make_csr(key_of(), san(x509.DNSName("a.test"))).public_bytes(DER)
    with contextlib.suppress(PKIError):
        pki_x509.parse_csr(mutate(der, mutations))


@given(st.binary(max_size=400) | st.text(max_size=400))
def test_garbage_never_escapes_the_error_tree(body):
    with pytest.raises(PKIError):
        pki_x509.parse_csr(body)
    with pytest.raises(PKIError):
        pki_x509.parse_certificate(body)
    if isinstance(body, str):
        with pytest.raises(PKIError):
            pki_x509.split_pem(body)


@given(MUTATIONS)
def test_mutated_certificates_never_escape_the_error_tree(ca_of, key_of, mutations):
    cert = pki_x509.build_leaf(
        make_spec(key_of().public_key(), crl_urls=("http://a.test/c",), must_staple=True,
                  ocsp_urls=("http://a.test/o",)),
        issuer=ca_of().cert,
        key=ca_of().key,
    )  # fmt: skip
    with contextlib.suppress(PKIError):
        pki_x509.describe(pki_x509.parse_certificate(mutate(cert.public_bytes(DER), mutations)))


class TestDescribe:
    def test_all_fields(self, ca_of, key_of, openssl):
        ca = ca_of()
        spec = make_spec(
            key_of(KeyAlgorithm.RSA_2048).public_key(),
            "www.example.com",
            "10.0.0.1",
            ekus=("serverAuth", "1.2.3"),
            crl_urls=("http://pki.example.com/crl",),
            ocsp_urls=("http://pki.example.com/ocsp",),
            ca_issuer_urls=("http://pki.example.com/ca",),
            must_staple=True,
        )
        cert = pki_x509.build_leaf(spec, issuer=ca.cert, key=ca.key)
        info = pki_x509.describe(cert)
        assert info.subject == "CN=www.example.com"
        assert info.common_name == "www.example.com"
        assert info.issuer_dn == "CN=Example ECDSA-P256 Root"
        assert (info.not_before, info.not_after) == (spec.not_before, spec.not_after)
        assert info.names == spec.names
        assert info.key.name == "RSA-2048"
        assert info.signature_algorithm == "ECDSA-SHA256"
        assert info.ekus == ("serverAuth", "1.2.3")
        assert info.crl_urls == spec.crl_urls
        assert info.ocsp_urls == spec.ocsp_urls
        assert info.ca_issuer_urls == spec.ca_issuer_urls
        assert info.must_staple
        assert not info.is_ca
        assert not info.is_self_issued
        assert info.path_length is None
        shown = openssl("x509", "-noout", "-serial", "-fingerprint", "-sha256", "-in", "c", c=cert)
        lines = dict(line.split("=", 1) for line in shown.strip().splitlines())
        assert lines["serial"].lower() == info.serial
        fingerprint = next(v for k, v in lines.items() if "ingerprint" in k)
        assert fingerprint.replace(":", "").lower() == info.fingerprint_sha256
        texts = {e.name: (e.critical, e.text) for e in info.extensions}
        assert texts["basicConstraints"] == (True, "CA:FALSE")
        assert texts["keyUsage"] == (True, "digitalSignature, keyEncipherment")
        assert texts["extKeyUsage"] == (False, "serverAuth, 1.2.3")
        assert texts["subjectAltName"] == (False, "DNS:www.example.com, IP:10.0.0.1")
        assert texts["tlsFeature"] == (False, "status_request")
        assert texts["authorityInfoAccess"][1] == (
            "OCSP URI:http://pki.example.com/ocsp, caIssuers URI:http://pki.example.com/ca"
        )
        assert texts["cRLDistributionPoints"][1] == "URI:http://pki.example.com/crl"

    def test_rare_extensions_have_texts(self, key_of):
        key = key_of()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(x509.Name([]))
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(NOW)
            .not_valid_after(NOW + timedelta(days=1))
        )
        values = [
            x509.NameConstraints([x509.DNSName("a.test")], [x509.DNSName("b.a.test")]),
            x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2"), None)]),
            x509.InhibitAnyPolicy(0),
            x509.PolicyConstraints(0, None),
            x509.OCSPNoCheck(),
            x509.IssuerAlternativeName(
                [
                    x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"),
                    x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
                    x509.DirectoryName(x509.Name([])),
                ]
            ),
            x509.AuthorityKeyIdentifier(b"ab", [x509.DNSName("a.test")], 255),
            x509.KeyUsage(False, False, False, False, True, False, False, True, False),
            x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x04" * 100),
        ]
        for value in values:
            builder = builder.add_extension(value, critical=False)
        info = pki_x509.describe(builder.sign(key, hashes.SHA256()))
        texts = {e.name: e.text for e in info.extensions}
        assert texts["nameConstraints"] == "permitted DNS:a.test, excluded DNS:b.a.test"
        assert texts["certificatePolicies"] == "1.2"
        assert texts["inhibitAnyPolicy"] == "skip 0"
        assert texts["policyConstraints"]
        assert texts["ocspNoCheck"] == "present"
        assert texts["issuerAltName"] == "otherName:1.2.3, RID:1.2.3, DirName:"
        assert texts["authorityKeyIdentifier"] == "61:62, DNS:a.test, serial ff"
        assert texts["keyUsage"] == "keyAgreement, encipherOnly"
        assert texts["1.2.3.4"].endswith("… (100 bytes)")


class TestPEM:
    def test_bundle_keeps_its_order(self, ca_of):
        certs = [ca_of(algorithm).cert for algorithm in FAST]
        text = "# comment\n" + "\n".join(pki_x509.to_pem(cert) for cert in certs)
        assert pki_x509.split_pem(text) == certs

    def test_other_blocks_are_passed_over(self, ca_of):
        ca = ca_of()
        text = keys.private_key_pem(ca.key).decode()
        assert pki_x509.split_pem(text + pki_x509.to_pem(ca.cert)) == [ca.cert]
        with pytest.raises(MalformedCertificate):
            pki_x509.split_pem(text)

    def test_broken_block_refuses_the_bundle(self, ca_of):
        pem = pki_x509.to_pem(ca_of().cert)
        broken = pem.replace("MII", "AAA", 1) if "MII" in pem else pem[:100] + "!" + pem[101:]
        for text in (broken, pem + broken, pem[: len(pem) // 2], ""):
            with pytest.raises(MalformedCertificate):
                pki_x509.split_pem(text)

    def test_one_certificate_in_either_form(self, ca_of):
        cert = ca_of().cert
        for form in (pki_x509.to_pem(cert), pki_x509.to_pem(cert).encode(), cert.public_bytes(DER)):
            assert pki_x509.parse_certificate(form) == cert

    def test_giants_are_refused(self):
        with pytest.raises(MalformedCertificate):
            pki_x509.split_pem("A" * 5_000_000)
        with pytest.raises(MalformedCertificate):
            pki_x509.parse_certificate(b"A" * 200_000)
