"""Certification paths (02 CA-4, CERT-19, HIER-7); OpenSSL judges every verdict as well."""

from __future__ import annotations

import contextlib
import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given

from certctl_core.pki import chain, keys, serials
from certctl_core.pki import x509 as pki_x509
from certctl_core.pki.errors import ChainError, PKIError
from certctl_core.pki.findings import Severity, errors_of
from certctl_core.pki.keys import KeyAlgorithm, SigningKey
from tests.core.pki.support import FAST, MUTATIONS, NOW, POST_QUANTUM, make_spec, mutate, sign_with

START = NOW - timedelta(minutes=5)
END = NOW + timedelta(days=100)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One certificate of a made-up hierarchy, with whatever defect a test wants."""

    name: str
    algorithm: KeyAlgorithm = KeyAlgorithm.ED25519
    ca: bool | None = True
    path_length: int | None = None
    usage: tuple[str, ...] | None = ("key_cert_sign", "crl_sign")
    constraints: x509.NameConstraints | None = None
    san: tuple[x509.GeneralName, ...] = ()
    ekus: tuple[str, ...] = ()
    not_before: datetime = START
    not_after: datetime = END
    extra: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    subject: x509.Name | None = None
    key: SigningKey | None = None

    @property
    def dn(self) -> x509.Name:
        return self.subject or x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.name)])


USAGES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
          "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip


def build(*layers: Layer) -> list[x509.Certificate]:
    """Make the certificates of a hierarchy, root first; the result is leaf first."""
    issuer, issuer_key = None, None
    made = []
    for layer in layers:
        key = layer.key or keys.generate(layer.algorithm)
        builder = (
            x509.CertificateBuilder()
            .subject_name(layer.dn)
            .issuer_name(issuer.subject if issuer else layer.dn)
            .public_key(key.public_key())
            .serial_number(serials.new_serial())
            .not_valid_before(layer.not_before)
            .not_valid_after(layer.not_after)
            .add_extension(x509.SubjectKeyIdentifier(keys.ski(key.public_key())), critical=False)
        )
        signer = issuer_key or key
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier(keys.ski(signer.public_key()), None, None), critical=False
        )
        if layer.ca is not None:
            basic = x509.BasicConstraints(ca=layer.ca, path_length=layer.path_length)
            builder = builder.add_extension(basic, critical=True)
        if layer.usage is not None:
            bits = {name: name in layer.usage for name in USAGES}
            builder = builder.add_extension(x509.KeyUsage(**bits), critical=True)
        if layer.constraints is not None:
            builder = builder.add_extension(layer.constraints, critical=True)
        if layer.san:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(layer.san), critical=not layer.dn.rdns
            )
        if layer.ekus:
            oids = [x509.ObjectIdentifier(pki_x509.eku_oid(eku)) for eku in layer.ekus]
            builder = builder.add_extension(x509.ExtendedKeyUsage(oids), critical=False)
        for value, critical in layer.extra:
            builder = builder.add_extension(value, critical=critical)
        cert = builder.sign(*sign_with(signer))
        made.append(cert)
        issuer, issuer_key = cert, key
    return made[::-1]


def ca(name, **changes):
    return Layer(name=name, **changes)


def end(*san, **changes):
    values: dict[str, Any] = {"ca": False, "usage": ("digital_signature",), "san": san}
    return Layer(name=changes.pop("name", "end"), **(values | changes))


def dns(*names):
    return [x509.DNSName(name) for name in names]


def constraints(permitted=None, excluded=None):
    return x509.NameConstraints(permitted, excluded)


def dn(*pairs):
    return x509.Name(
        [x509.NameAttribute(x509.ObjectIdentifier(pki_x509.subject_oid(a)), v) for a, v in pairs]
    )


IP = x509.IPAddress
NET = ipaddress.ip_network
ADDRESS = ipaddress.ip_address
EMAIL = x509.RFC822Name
URI = x509.UniformResourceIdentifier
DIR = x509.DirectoryName
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
COM = constraints(dns("example.com"))
ORG = constraints([DIR(dn(("C", "DE"), ("O", "Example")))])

CASES = {
    "root_and_leaf": (True, [ca("r"), end()]),
    "three_levels": (True, [ca("r"), ca("i"), ca("j"), end()]),
    "ca_without_key_usage": (True, [ca("r", usage=None), ca("i", usage=None), end()]),
    "ca_without_cert_sign": (False, [ca("r"), ca("i", usage=("crl_sign",)), end()]),
    "root_without_cert_sign": (False, [ca("r", usage=("crl_sign",)), end()]),
    "intermediate_is_no_ca": (False, [ca("r"), ca("i", ca=False), end()]),
    "intermediate_without_basic_constraints": (False, [ca("r"), ca("i", ca=None), end()]),
    "expired_leaf": (False, [ca("r"), end(not_after=NOW - timedelta(minutes=1))]),
    "future_leaf": (False, [ca("r"), end(not_before=NOW + timedelta(days=1))]),
    "expired_intermediate": (
        False,
        [ca("r"), ca("i", not_after=NOW - timedelta(minutes=1)), end()],
    ),
    "expired_root": (False, [ca("r", not_after=NOW - timedelta(minutes=1)), end()]),
    "unknown_critical_in_leaf": (False, [ca("r"), end(extra=((UNKNOWN, True),))]),
    "unknown_critical_in_ca": (False, [ca("r"), ca("i", extra=((UNKNOWN, True),)), end()]),
    "unknown_not_critical": (True, [ca("r"), end(extra=((UNKNOWN, False),))]),
    "path_length_0_with_leaf": (True, [ca("r", path_length=0), end()]),
    "path_length_0_with_ca": (False, [ca("r", path_length=0), ca("i"), end()]),
    "path_length_0_in_the_middle": (True, [ca("r"), ca("i", path_length=0), end()]),
    "path_length_0_then_ca": (False, [ca("r"), ca("i", path_length=0), ca("j"), end()]),
    "path_length_1_of_2": (False, [ca("r", path_length=1), ca("i"), ca("j"), end()]),
    "path_length_2_of_2": (True, [ca("r", path_length=2), ca("i"), ca("j"), end()]),
    "path_length_wider_below": (
        False,
        [ca("r", path_length=0), ca("i", path_length=5), end()],
    ),
    "path_length_final_ca": (False, [ca("r"), ca("i", path_length=0), ca("j"), ca("end")]),
    "self_issued_does_not_count": (
        True,
        [ca("r"), ca("i", path_length=0), ca("i", path_length=0), end()],
    ),
    "dns_permitted": (True, [ca("r"), ca("i", constraints=COM), end(*dns("a.example.com"))]),
    "dns_permitted_itself": (True, [ca("r"), ca("i", constraints=COM), end(*dns("example.com"))]),
    "dns_permitted_case": (True, [ca("r"), ca("i", constraints=COM), end(*dns("A.Example.COM"))]),
    "dns_outside": (False, [ca("r"), ca("i", constraints=COM), end(*dns("a.example.org"))]),
    "dns_suffix_is_no_subdomain": (
        False,
        [ca("r"), ca("i", constraints=COM), end(*dns("badexample.com"))],
    ),
    "dns_second_name_outside": (
        False,
        [ca("r"), ca("i", constraints=COM), end(*dns("a.example.com", "b.test"))],
    ),
    "dns_wildcard_permitted": (
        True,
        [ca("r"), ca("i", constraints=COM), end(*dns("*.example.com"))],
    ),
    "dns_excluded": (
        False,
        [
            ca("r"),
            ca("i", constraints=constraints(None, dns("example.com"))),
            end(*dns("a.example.com")),
        ],
    ),
    "dns_not_excluded": (
        True,
        [
            ca("r"),
            ca("i", constraints=constraints(None, dns("example.com"))),
            end(*dns("a.example.org")),
        ],
    ),
    "dns_excluded_within_permitted": (
        False,
        [
            ca("r"),
            ca("i", constraints=constraints(dns("example.com"), dns("x.example.com"))),
            end(*dns("x.example.com")),
        ],
    ),
    "dns_constraint_of_root": (False, [ca("r", constraints=COM), end(*dns("a.test"))]),
    "dns_constraint_two_levels_up": (
        False,
        [ca("r"), ca("i", constraints=COM), ca("j"), end(*dns("a.test"))],
    ),
    "dns_both_levels": (
        False,
        [
            ca("r"),
            ca("i", constraints=COM),
            ca("j", constraints=constraints(dns("x.example.com"))),
            end(*dns("y.example.com")),
        ],
    ),
    "common_name_counts_without_dns_names": (
        False,
        [ca("r"), ca("i", constraints=COM), end(name="www.example.org")],
    ),
    "common_name_does_not_count_with_dns_names": (
        True,
        [ca("r"), ca("i", constraints=COM), end(*dns("a.example.com"), name="www.example.org")],
    ),
    "other_types_are_free": (
        True,
        [ca("r"), ca("i", constraints=COM), end(EMAIL("a@example.org"))],
    ),
    "ip_permitted": (
        True,
        [
            ca("r"),
            ca("i", constraints=constraints([IP(NET("10.0.0.0/8"))])),
            end(IP(ADDRESS("10.9.9.9"))),
        ],
    ),
    "ip_outside": (
        False,
        [
            ca("r"),
            ca("i", constraints=constraints([IP(NET("10.0.0.0/8"))])),
            end(IP(ADDRESS("11.0.0.1"))),
        ],
    ),
    "ip_other_version": (
        False,
        [
            ca("r"),
            ca("i", constraints=constraints([IP(NET("10.0.0.0/8"))])),
            end(IP(ADDRESS("2001:db8::1"))),
        ],
    ),
    "ipv6_excluded": (
        False,
        [
            ca("r"),
            ca("i", constraints=constraints(None, [IP(NET("2001:db8::/32"))])),
            end(IP(ADDRESS("2001:db8::1"))),
        ],
    ),
    "email_host": (
        True,
        [
            ca("r"),
            ca("i", constraints=constraints([EMAIL("example.com")])),
            end(EMAIL("a@Example.com")),
        ],
    ),
    "email_host_is_exact": (
        False,
        [
            ca("r"),
            ca("i", constraints=constraints([EMAIL("example.com")])),
            end(EMAIL("a@mail.example.com")),
        ],
    ),
    "email_domain": (
        True,
        [
            ca("r"),
            ca("i", constraints=constraints([EMAIL(".example.com")])),
            end(EMAIL("a@mail.example.com")),
        ],
    ),
    "email_domain_needs_a_subdomain": (
        False,
        [
            ca("r"),
            ca("i", constraints=constraints([EMAIL(".example.com")])),
            end(EMAIL("a@example.com")),
        ],
    ),
    "email_mailbox": (
        False,
        [
            ca("r"),
            ca("i", constraints=constraints([EMAIL("a@example.com")])),
            end(EMAIL("b@example.com")),
        ],
    ),
    "email_in_subject": (
        False,
        [
            ca("r"),
            ca("i", constraints=constraints([EMAIL("example.com")])),
            end(subject=dn(("CN", "end"), ("emailAddress", "a@example.org"))),
        ],
    ),
    "uri_host": (
        True,
        [
            ca("r"),
            ca("i", constraints=constraints([URI("host.example.com")])),
            end(URI("https://host.example.com/x")),
        ],
    ),
    "uri_outside": (
        False,
        [
            ca("r"),
            ca("i", constraints=constraints([URI("host.example.com")])),
            end(URI("https://other.example.com/x")),
        ],
    ),
    "uri_domain": (
        True,
        [
            ca("r"),
            ca("i", constraints=constraints([URI(".example.com")])),
            end(URI("https://other.example.com:8443/x")),
        ],
    ),
    "uri_excluded": (
        False,
        [
            ca("r"),
            ca("i", constraints=constraints(None, [URI(".example.com")])),
            end(URI("https://other.example.com/x")),
        ],
    ),
    "directory_permitted": (
        True,
        [
            ca("r"),
            ca("i", constraints=ORG),
            end(subject=dn(("C", "DE"), ("O", "EXAMPLE"), ("CN", "end"))),
        ],
    ),
    "directory_outside": (
        False,
        [
            ca("r"),
            ca("i", constraints=ORG),
            end(subject=dn(("C", "DE"), ("O", "Other"), ("CN", "end"))),
        ],
    ),
    "directory_holds_for_intermediates": (
        False,
        [
            ca("r"),
            ca("i", constraints=ORG),
            ca("j"),
            end(subject=dn(("C", "DE"), ("O", "Example"), ("CN", "end"))),
        ],
    ),
    "purpose_in_leaf": (True, [ca("r"), end(ekus=("serverAuth",))]),
}


@pytest.mark.spec("02/HIER-7")
@pytest.mark.parametrize("case", CASES)
def test_verdict_is_the_expected_one_and_openssl_agrees(openssl, case):
    valid, layers = CASES[case]
    leaf, *others, root = build(*layers)
    ours = True
    try:
        path = chain.verify_path(leaf, others[::-1], [root], NOW)
    except ChainError:
        ours = False
    else:
        assert path == (leaf, *others, root)
    told = openssl(
        "verify", "-CAfile", "root", "-untrusted", "others", "leaf",
        check=False, root=root, leaf=leaf, others=others or [root],
    )  # fmt: skip
    assert (ours, told.strip().endswith("leaf: OK")) == (valid, valid), told


def test_wildcard_that_covers_an_excluded_name_is_refused():
    # Stricter than OpenSSL, which compares the wildcard literally.
    leaf, middle, root = build(
        ca("r"),
        ca("i", constraints=constraints(None, dns("x.example.com"))),
        end(*dns("*.example.com")),
    )
    with pytest.raises(ChainError):
        chain.verify_path(leaf, [middle], [root], NOW)


def test_purpose_is_nested(openssl):
    leaf, middle, root = build(
        ca("r"), ca("i", ekus=("clientAuth",)), end(ekus=("serverAuth", "clientAuth"))
    )
    chain.verify_path(leaf, [middle], [root], NOW, eku="clientAuth")
    with pytest.raises(ChainError, match="extended key usage"):
        chain.verify_path(leaf, [middle], [root], NOW, eku="serverAuth")
    any_leaf, any_root = build(ca("r"), end(ekus=("anyExtendedKeyUsage",)))
    chain.verify_path(any_leaf, [], [any_root], NOW, eku="serverAuth")


@pytest.mark.parametrize("algorithm", [*FAST, *POST_QUANTUM])
def test_all_algorithms_verify(algorithm):
    leaf, root = build(ca("r", algorithm=algorithm), end(algorithm=algorithm))
    assert chain.verify_path(leaf, [], [root], NOW) == (leaf, root)
    chain.verify_issued(leaf, root)
    chain.verify_signature(leaf, root)


@pytest.mark.spec("02/CERT-20")
@pytest.mark.parametrize("algorithm", [*FAST, *POST_QUANTUM])
def test_a_signature_of_another_key_of_that_name_does_not_verify(algorithm):
    leaf, _ = build(ca("r", algorithm=algorithm), end())
    with pytest.raises(ChainError, match="signature"):
        chain.verify_signature(leaf, build(ca("r", algorithm=algorithm))[0])


class TestPathBuilding:
    def test_the_right_one_of_several_roots_of_one_name_is_found(self):
        leaf, root = build(ca("r"), end())
        decoys = [build(ca("r"))[0] for _ in range(5)]
        assert chain.verify_path(leaf, decoys, [*decoys, root], NOW) == (leaf, root)
        with pytest.raises(ChainError):
            chain.verify_path(leaf, [], decoys, NOW)

    def test_cross_signed_ca_leads_to_either_root(self):
        key = keys.generate(KeyAlgorithm.ED25519)
        one, root_one = build(ca("r1"), ca("i", key=key))
        two, root_two = build(ca("r2"), ca("i", key=key))
        expired, _ = build(ca("r2"), ca("i", key=key, not_after=NOW - timedelta(minutes=1)))
        leaf = build(ca("i", key=key), end())[0]
        pool = [expired, two, one]
        assert chain.verify_path(leaf, pool, [root_one], NOW) == (leaf, one, root_one)
        assert chain.verify_path(leaf, pool, [root_two], NOW) == (leaf, two, root_two)

    def test_loops_end(self):
        key_a, key_b = (keys.generate(KeyAlgorithm.ED25519) for _ in range(2))
        a_by_b = build(ca("b", key=key_b), ca("a", key=key_a))[0]
        b_by_a = build(ca("a", key=key_a), ca("b", key=key_b))[0]
        leaf = build(ca("a", key=key_a), end())[0]
        with pytest.raises(ChainError):
            chain.verify_path(leaf, [a_by_b, b_by_a], [build(ca("z"))[0]], NOW)
        assert chain.order_chain(leaf, [a_by_b, b_by_a]) == ((a_by_b, b_by_a), None)

    def test_ten_certificates_are_the_limit(self):
        certs = build(*(ca(f"c{n}") for n in range(9)), end())
        assert chain.verify_path(certs[0], certs[1:-1], certs[-1:], NOW) == tuple(certs)
        certs = build(*(ca(f"c{n}") for n in range(10)), end())
        with pytest.raises(ChainError):
            chain.verify_path(certs[0], certs[1:-1], certs[-1:], NOW)

    def test_a_trusted_leaf_is_its_own_path(self):
        root = build(ca("r"))[0]
        assert chain.verify_path(root, [], [root], NOW) == (root,)

    def test_changed_leaf_is_refused(self):
        leaf, root = build(ca("r"), end(*dns("a.test")))
        der = leaf.public_bytes(serialization.Encoding.DER).replace(b"a.test", b"b.test")
        with pytest.raises(ChainError, match="signature"):
            chain.verify_path(x509.load_der_x509_certificate(der), [], [root], NOW)


@pytest.mark.spec("02/CERT-19")
class TestOrder:
    def test_any_order_comes_out_right(self):
        leaf, c, b, a = build(ca("a"), ca("b"), ca("c"), end())
        stranger = build(ca("s"))[0]
        for pool in ([a, b, c], [c, stranger, a, b, leaf], [b, a, c, b]):
            assert chain.order_chain(leaf, pool) == ((c, b), a)

    def test_missing_root_and_missing_link(self):
        leaf, c, b, a = build(ca("a"), ca("b"), ca("c"), end())
        assert chain.order_chain(leaf, [b, c]) == ((c, b), None)
        assert chain.order_chain(leaf, [a, b]) == ((), None)
        assert chain.order_chain(a, [b, c]) == ((), a)

    def test_self_signed_root_wins_over_its_cross_certificate(self):
        key = keys.generate(KeyAlgorithm.ED25519)
        root = build(ca("r", key=key))[0]
        cross = build(ca("old"), ca("r", key=key))[0]
        leaf = build(ca("r", key=key), end())[0]
        assert chain.order_chain(leaf, [cross, root]) == ((), root)

    def test_longer_lived_candidate_wins(self):
        key = keys.generate(KeyAlgorithm.ED25519)
        shorter = build(ca("r"), ca("i", key=key, not_after=END - timedelta(days=50)))[0]
        longer = build(ca("r"), ca("i", key=key))[0]
        leaf = build(ca("i", key=key), end())[0]
        assert chain.order_chain(leaf, [shorter, longer])[0] == (longer,)


@pytest.mark.spec("02/CERT-20")
class TestIssued:
    def test_what_we_build_is_accepted(self, ca_of, key_of):
        authority = ca_of()
        leaf = pki_x509.build_leaf(
            make_spec(key_of().public_key()), issuer=authority.cert, key=authority.key
        )
        chain.verify_issued(leaf, authority.cert)

    @pytest.mark.parametrize(
        ("layers", "reason"),
        [
            ([ca("r", ca=False), end()], "not a CA"),
            ([ca("r", usage=("crl_sign",)), end()], "key usage"),
            ([ca("r"), end(not_after=END + timedelta(seconds=1))], "validity"),
        ],
    )
    def test_defects(self, layers, reason):
        leaf, root = build(*layers)
        with pytest.raises(ChainError, match=reason):
            chain.verify_issued(leaf, root)
        if reason != "validity":  # dates are no matter of a signature
            with pytest.raises(ChainError, match=reason):
                chain.verify_signature(leaf, root)

    def test_foreign_issuer(self):
        leaf, _ = build(ca("r"), end())
        with pytest.raises(ChainError, match="authority key"):
            chain.verify_issued(leaf, build(ca("r"))[0])
        with pytest.raises(ChainError, match="issuer name"):
            chain.verify_issued(leaf, build(ca("q"))[0])


@pytest.mark.spec("02/CA-4")
class TestCheckCA:
    def codes(self, cert, public_key=None, at=NOW):
        return {f.code: f.severity for f in chain.check_ca(cert, public_key, at)}

    def test_good_root(self, ca_of):
        for algorithm in [*FAST, *POST_QUANTUM]:
            authority = ca_of(algorithm)
            public_key = authority.key.public_key()
            assert chain.check_ca(authority.cert, public_key, NOW) == ()

    def test_runbook_root_without_key_usage_is_only_warned_about(self, openssl, tmp_path):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key")
        openssl(
            "req", "-x509", "-new", "-key", "ca.key", "-out", "ca.crt", "-days", "365",
            "-subj", "/CN=Example CA",
        )  # fmt: skip
        cert = pki_x509.parse_certificate((tmp_path / "ca.crt").read_bytes())
        key = keys.load_private_key_pem((tmp_path / "ca.key").read_bytes())
        found = chain.check_ca(cert, key.public_key(), cert.not_valid_before_utc)
        assert [(f.code, f.severity) for f in found] == [("no_key_usage", Severity.WARNING)]
        assert errors_of(found) == ()

    def test_defects(self, ca_of, key_of):
        error, warning = Severity.ERROR, Severity.WARNING
        assert self.codes(build(ca("r", ca=False))[0]) == {"not_a_ca": error}
        assert self.codes(build(ca("r", ca=None))[0]) == {"not_a_ca": error}
        assert self.codes(build(ca("r", usage=("crl_sign",)))[0]) == {"no_cert_sign": error}
        assert self.codes(build(ca("r", usage=("key_cert_sign",)))[0]) == {"no_crl_sign": warning}
        assert self.codes(build(ca("r", extra=((UNKNOWN, True),)))[0]) == {
            "unknown_critical_extension": error
        }
        root = ca_of().cert
        assert self.codes(root, key_of().public_key()) == {"key_mismatch": error}
        assert self.codes(root, at=NOW + timedelta(days=9999)) == {"expired": error}
        assert self.codes(root, at=NOW - timedelta(days=9999)) == {"not_yet_valid": error}
        assert self.codes(build(ca("r"), ca("i"))[0]) == {}

    def test_changed_root(self):
        root = build(ca("r", subject=dn(("CN", "aaaa"))))[0]
        der = root.public_bytes(serialization.Encoding.DER).replace(b"aaaa", b"bbbb")
        found = self.codes(x509.load_der_x509_certificate(der))
        assert found == {"bad_self_signature": Severity.ERROR}


@given(MUTATIONS)
def test_mutated_certificates_never_escape_the_error_tree(ca_of, key_of, mutations):
    authority = ca_of()
    leaf = pki_x509.build_leaf(
        make_spec(key_of().public_key()), issuer=authority.cert, key=authority.key
    )
    encoding = serialization.Encoding.DER
    with contextlib.suppress(PKIError):
        bad_leaf = pki_x509.parse_certificate(mutate(leaf.public_bytes(encoding), mutations))
        with contextlib.suppress(PKIError):
            chain.verify_issued(bad_leaf, authority.cert)
        with contextlib.suppress(PKIError):
            chain.verify_path(bad_leaf, [], [authority.cert], NOW)
    with contextlib.suppress(PKIError):
        bad_ca = pki_x509.parse_certificate(
            mutate(authority.cert.public_bytes(encoding), mutations)
        )
        chain.check_ca(bad_ca, authority.key.public_key(), NOW)
        with contextlib.suppress(PKIError):
            chain.order_chain(leaf, [bad_ca])
        with contextlib.suppress(PKIError):
            chain.verify_path(leaf, [], [bad_ca], NOW)
