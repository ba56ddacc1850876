"""The ``local`` issuer: what it signs, and what it refuses (02 §6)."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from certctl_core.contracts.host.guard import Guard
from certctl_core.contracts.host.guarded import GuardedIssuer
from certctl_core.contracts.host.registry import manifest_fault
from certctl_core.contracts.issuers import Cap, CertRef, Issued, Issuer, Reason
from certctl_core.lifecycle.authorities import (
    AuthorityService,
    AuthorityUnavailable,
    LeafNotPossible,
    LintRefused,
    Local,
    MustStapleNeedsOCSPURL,
    NameConstraintViolated,
    SelfCheckFailed,
)
from certctl_core.pki.keys import KeyAlgorithm, generate, private_key_pem, ski
from certctl_core.pki.serials import canonical
from certctl_core.pki.x509 import LeafDraft, build_sub_ca, subject_name, to_pem
from certctl_core.testing.fakes import EPOCH
from tests.core.authorities.orders import request

if TYPE_CHECKING:
    from tests.core.authorities.conftest import Room

NAMES = x509.SubjectAlternativeName

pytestmark = pytest.mark.parametrize("database_engine", ["sqlite"])  # signing asks no database


def leaf_of(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.leaf.encode())


def raw(leaf: x509.Certificate, oid: str) -> x509.Extension[x509.ExtensionType]:
    return leaf.extensions.get_extension_for_oid(x509.ObjectIdentifier(oid))


def has(leaf: x509.Certificate, oid: str) -> bool:
    return oid in {extension.oid.dotted_string for extension in leaf.extensions}


def test_the_manifest_is_a_good_plugin(room: Room) -> None:
    assert manifest_fault(type(room.issuer()), Issuer) is None
    assert Local.kind == "local"
    assert "GenericCA" in Local.aliases


@pytest.mark.spec("02/CERT-3")
def test_a_certificate_comes_at_once_with_its_reference(room: Room) -> None:
    issued = room.issuer().submit(request())
    leaf = leaf_of(issued)
    authority = room.authorities.signing_key("iss-local")
    assert issued.vendor_ref == f"local-{canonical(leaf.serial_number)}"
    assert issued.chain == (authority.certificate_pem,)
    assert leaf.issuer == authority.certificate.subject
    assert leaf.subject.rfc4514_string() == "CN=web.example.test"


@pytest.mark.parametrize(
    "algorithm",
    [
        KeyAlgorithm.RSA_2048,
        KeyAlgorithm.ECDSA_P256,
        KeyAlgorithm.ECDSA_P384,
        KeyAlgorithm.ED25519,
    ],
)
def test_openssl_accepts_it_strictly(
    room: Room, openssl: str, tmp_path: Path, algorithm: KeyAlgorithm
) -> None:
    issued = room.issuer().submit(request(generate(algorithm)))
    (tmp_path / "ca.pem").write_text(issued.chain[0])
    (tmp_path / "leaf.pem").write_text(issued.leaf)
    at = str(int(EPOCH.timestamp()))
    subprocess.run(
        [openssl, "verify", "-x509_strict", "-attime", at, "-purpose", "sslserver",
         "-verify_hostname", "web.example.test",
         "-CAfile", tmp_path / "ca.pem", tmp_path / "leaf.pem"],
        check=True,
    )  # fmt: skip


@pytest.mark.spec("02/CERT-8", "02/CERT-11", "02/CERT-12", "02/CERT-13", "02/CERT-14")
def test_it_says_what_a_leaf_must_say(room: Room) -> None:
    key = generate(KeyAlgorithm.ECDSA_P256)
    leaf = leaf_of(room.issuer().submit(request(key)))
    authority = room.authorities.signing_key("iss-local")
    get = leaf.extensions.get_extension_for_class
    assert get(x509.SubjectKeyIdentifier).value.digest == ski(key.public_key())
    assert get(x509.AuthorityKeyIdentifier).value.key_identifier == bytes.fromhex(
        authority.ca_key_id
    )
    assert get(x509.BasicConstraints).critical
    assert not get(x509.BasicConstraints).value.ca
    assert list(get(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    (point,) = get(x509.CRLDistributionPoints).value
    assert point.full_name is not None
    assert point.full_name[0].value == authority.urls.crl[0]
    access = {item.access_method._name: item.access_location.value
              for item in get(x509.AuthorityInformationAccess).value}  # fmt: skip
    assert access == {
        "OCSP": authority.urls.ocsp[0],
        "caIssuers": authority.urls.ca_issuers[0],
    }


@pytest.mark.spec("02/CERT-9")
@pytest.mark.parametrize(
    ("algorithm", "enciphers"),
    [(KeyAlgorithm.RSA_2048, True), (KeyAlgorithm.ECDSA_P256, False)],
)
def test_only_rsa_keys_encipher(room: Room, algorithm: KeyAlgorithm, *, enciphers: bool) -> None:
    leaf = leaf_of(room.issuer().submit(request(generate(algorithm))))
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.key_encipherment is enciphers


@pytest.mark.spec("02/CERT-5", "02/CERT-6")
def test_names_are_exactly_those_of_the_request_in_one_order(room: Room) -> None:
    wanted = request(
        dns_names=("web.example.test", "localhost", "*.example.test", "web.example.test"),
        ip_addresses=("2001:db8::1", "192.0.2.7"),
        emails=("ops@example.test",),
        uris=("spiffe://example.test/web",),
    )
    leaf = leaf_of(room.issuer().submit(wanted))
    names = leaf.extensions.get_extension_for_class(NAMES).value
    assert [str(name.value) for name in names] == [
        "*.example.test",
        "localhost",
        "web.example.test",
        "192.0.2.7",
        "2001:db8::1",
        "ops@example.test",
        "spiffe://example.test/web",
    ]


def test_a_subject_brings_its_other_attributes_before_the_common_name(room: Room) -> None:
    wanted = request(subject="CN=web.example.test,O=Example\\, Inc.,C=DE")
    leaf = leaf_of(room.issuer().submit(wanted))
    assert leaf.subject.rfc4514_string() == "CN=web.example.test,O=Example\\, Inc.,C=DE"
    assert leaf.subject.get_attributes_for_oid(x509.NameOID.COUNTRY_NAME)[0].value == "DE"


def test_a_certificate_without_common_name_has_critical_names(room: Room) -> None:
    leaf = leaf_of(room.issuer().submit(request(common_name="")))
    assert leaf.subject.rfc4514_string() == ""
    assert leaf.extensions.get_extension_for_class(NAMES).critical


class TestLifetime:
    @pytest.mark.spec("02/CERT-10")
    def test_starts_a_minute_ago_and_ends_by_the_configuration(self, room: Room) -> None:
        leaf = leaf_of(room.issuer(validity_days=30).submit(request()))
        assert leaf.not_valid_before_utc == EPOCH - timedelta(seconds=60)
        assert leaf.not_valid_after_utc == EPOCH + timedelta(days=30)

    @pytest.mark.spec("02/CERT-10", "06/ISS-1")
    @pytest.mark.parametrize(
        ("changes", "days"),
        [
            ({"max_ttl": timedelta(days=7)}, 7),
            ({"max_ttl": timedelta(days=400)}, 90),
            ({"not_after": EPOCH + timedelta(days=3)}, 3),
            ({"not_after": EPOCH + timedelta(days=300), "max_ttl": timedelta(days=20)}, 20),
        ],
        ids=["profile_shortens", "profile_cannot_lengthen", "end_given", "the_earliest_wins"],
    )
    def test_the_request_can_only_shorten(
        self, room: Room, changes: dict[str, Any], days: int
    ) -> None:
        leaf = leaf_of(room.issuer().submit(request(**changes)))
        assert leaf.not_valid_after_utc == EPOCH + timedelta(days=days)

    @pytest.mark.spec("02/CERT-10")
    def test_never_outlives_the_ca(self, room: Room) -> None:
        issuer = room.issuer(ca_validity_days=5)
        leaf = leaf_of(issuer.submit(request()))
        authority = room.authorities.signing_key("iss-local")
        assert leaf.not_valid_after_utc == authority.not_after

    @pytest.mark.spec("02/CA-5")
    def test_an_expired_ca_signs_nothing(self, room: Room) -> None:
        issuer = room.issuer(ca_validity_days=5)
        issuer.submit(request())
        room.clock.advance(timedelta(days=6))
        with pytest.raises(AuthorityUnavailable):
            issuer.submit(request())


class TestExtensions:
    @pytest.mark.spec("02/CERT-16")
    def test_must_staple_has_the_exact_bytes(self, room: Room) -> None:
        leaf = leaf_of(room.issuer().submit(request(must_staple=True)))
        extension = raw(leaf, "1.3.6.1.5.5.7.1.24")
        assert not extension.critical
        assert extension.value.public_bytes() == bytes.fromhex("3003020105")

    @pytest.mark.spec("02/CERT-16")
    @pytest.mark.parametrize(
        "changes", [{}, {"include_aia": False}, {"short_lived": True}],
        ids=["no_public_address", "profile_leaves_aia_out", "short_lived"],
    )  # fmt: skip
    def test_must_staple_needs_an_ocsp_address(self, room: Room, changes: dict[str, Any]) -> None:
        other = room.restart(public_base="" if not changes else "http://pki.example.com")
        with pytest.raises(MustStapleNeedsOCSPURL) as caught:
            other.issuer().submit(request(must_staple=True, **changes))
        assert caught.value.code == "must_staple_needs_ocsp_url"
        assert [field.field for field in caught.value.fields] == ["must_staple"]

    @pytest.mark.spec("02/CERT-17")
    def test_short_lived_says_that_there_is_no_revocation(self, room: Room) -> None:
        wanted = request(short_lived=True, max_ttl=timedelta(minutes=5))
        leaf = leaf_of(room.issuer().submit(wanted))
        assert leaf.not_valid_after_utc == EPOCH + timedelta(minutes=5)
        assert not has(leaf, "2.5.29.31")
        value = raw(leaf, "2.5.29.56").value
        assert isinstance(value, x509.UnrecognizedExtension)
        assert value.value == bytes.fromhex("0500")
        access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        assert [item.access_method._name for item in access] == ["caIssuers"]

    def test_a_profile_may_leave_the_pointers_out(self, room: Room) -> None:
        leaf = leaf_of(room.issuer().submit(request(include_aia=False, include_cdp=False)))
        assert not has(leaf, "2.5.29.31")
        assert not has(leaf, "1.3.6.1.5.5.7.1.1")

    @pytest.mark.spec("02/CERT-13", "02/CERT-14")
    def test_without_a_public_address_there_is_no_empty_extension(self, room: Room) -> None:
        other = room.restart(public_base="")
        leaf = leaf_of(other.issuer().submit(request()))
        assert not has(leaf, "2.5.29.31")
        assert not has(leaf, "1.3.6.1.5.5.7.1.1")
        assert {Cap.CRL_URL, Cap.OCSP_URL}.isdisjoint(other.issuer().effective_capabilities())


class TestRefusals:
    @pytest.mark.spec("02/CERT-8")
    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"ekus": ("serverAuth", "noSuchUsage")}, "request"),
            ({"ekus": ("timeStamping", "serverAuth")}, "request"),
            ({"subject": "no name="}, "subject"),
            ({"other_names": (("1.3.6.1.4.1.311.20.2.3", b"\x0c\x01a"),)}, "other_names"),
            ({"key_usages": ("keyCertSign",)}, "key_usages"),
            ({"common_name": "", "dns_names": ()}, "request"),
            ({"max_ttl": timedelta(minutes=-5)}, "request"),
        ],
        ids=[
            "unknown_eku",
            "time_stamping_not_alone",
            "subject_garbage",
            "other_name",
            "ca_key_usage",
            "no_name_at_all",
            "no_lifetime_left",
        ],
    )
    def test_what_cannot_be_certified(
        self, room: Room, changes: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(LeafNotPossible) as caught:
            room.issuer().submit(request(**changes))
        assert [item.field for item in caught.value.fields] == [field]

    @pytest.mark.spec("02/CERT-18")
    def test_names_outside_the_constraints_of_the_ca(self, room: Room, tmp_path: Path) -> None:
        top = room.authorities.boot()
        key = generate(KeyAlgorithm.ECDSA_P256)
        sub = build_sub_ca(
            subject_name("Constrained CA"),
            public_key=key.public_key(),
            issuer=top.certificate,
            key=top.key,
            serial=5,
            not_before=EPOCH - timedelta(days=1),
            not_after=EPOCH + timedelta(days=300),
            name_constraints=x509.NameConstraints([x509.DNSName("example.test")], None),
        )
        (tmp_path / "ca.crt").write_text(to_pem(sub) + top.certificate_pem)
        (tmp_path / "ca.key").write_bytes(private_key_pem(key))
        (tmp_path / "ca.key").chmod(0o600)
        issuer = room.issuer(
            "iss-sub", ca_cert_path=str(tmp_path / "ca.crt"), ca_key_path=str(tmp_path / "ca.key")
        )
        issued = issuer.submit(request())
        assert issued.chain == (to_pem(sub), top.certificate_pem)
        with pytest.raises(NameConstraintViolated) as caught:
            issuer.submit(request(common_name="", dns_names=("web.example.com",)))
        assert caught.value.code == "name_constraint_violation"
        said = "The CA may not certify this name: The name 'web.example.com' lies outside"
        assert caught.value.detail.startswith(said)

    @pytest.mark.spec("02/CERT-20")
    def test_a_bad_result_is_discarded(self, room: Room) -> None:
        # The core checks names before; one that slips through fails our lint, not the client.
        with pytest.raises(LeafNotPossible):
            room.issuer().submit(request(dns_names=("under_score.example.test", "UPPER.test")))

    @pytest.mark.spec("02/CERT-20")
    def test_a_signature_that_went_wrong_leaves_nothing_behind(
        self, room: Room, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        issuer = room.issuer()
        issuer.submit(request())
        other = generate(KeyAlgorithm.ECDSA_P256)  # as if the token had mixed up its keys
        sign = LeafDraft.signed
        monkeypatch.setattr(LeafDraft, "signed", lambda draft, _key: sign(draft, other))

        with pytest.raises(SelfCheckFailed):
            issuer.submit(request())

    @pytest.mark.spec("02/CERT-20")
    def test_what_would_break_a_rule_never_reaches_the_ca_key(
        self, room: Room, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        issuer = room.issuer()
        issuer.submit(request())
        signed: list[object] = []
        monkeypatch.setattr(LeafDraft, "signed", lambda *_args: signed.append(1))
        monkeypatch.setattr(type(issuer), "linters", (lambda _draft: ["a.rule"],))

        with pytest.raises(LintRefused) as caught:
            issuer.submit(request())

        assert "a.rule" in caught.value.detail
        assert signed == []


@pytest.mark.spec("02/CERT-2")
def test_a_stuck_random_source_does_not_sign_a_serial_twice(room: Room) -> None:
    draws = iter([4242, 4242, 4242, 4243])
    room.authorities = AuthorityService(
        units=room.units,
        clock=room.clock,
        loader=room.authorities._loader,
        draw_serial=lambda: next(draws),
    )
    issuer = room.issuer()
    serials = [leaf_of(issuer.submit(request())).serial_number for _ in range(2)]
    assert serials == [4242, 4243]


def test_a_trial_start_leaves_nothing_behind(room: Room) -> None:
    issuer = room.issuer("iss-trial")
    issuer.open()
    report = issuer.test()
    assert report.ok
    assert not (room.data_dir / "ca").exists()
    assert room.authorities.find_current("iss-trial") is None
    assert room.tags() == []


@pytest.mark.spec("02/CA-6")
def test_the_default_configuration_passes_its_test(room: Room) -> None:
    issuer = room.issuer()
    issuer.submit(request())
    assert issuer.test().ok


@pytest.mark.spec("02/CA-4")
def test_the_test_names_what_is_wrong_with_the_files(room: Room, tmp_path: Path) -> None:
    missing = str(tmp_path / "absent.crt")
    issuer = room.issuer(ca_cert_path=missing, ca_key_path=str(tmp_path / "absent.key"))
    report = issuer.test()
    assert not report.ok
    assert missing in report.checks[0].detail
    assert report.checks[0].hint


def test_revocation_is_ours_so_the_issuer_only_agrees(room: Room) -> None:
    issuer = room.issuer()
    issued = issuer.submit(request())
    cert = CertRef(serial="01", certificate_pem=issued.leaf, issuer_dn="CN=x")
    assert issuer.revoke(cert, Reason.KEY_COMPROMISE).already is False
    issuer.unhold(cert)


def test_the_ca_chain_makes_the_ca_ready(room: Room) -> None:
    chain = room.issuer("iss-new").ca_chain()
    assert chain == [room.authorities.signing_key("iss-new").certificate_pem]


def test_it_works_behind_its_guard(room: Room) -> None:
    issuer = room.issuer()
    guarded = GuardedIssuer(issuer, Guard("local", clock=room.clock, inline=True))
    assert isinstance(guarded.submit(request()), Issued)
    with pytest.raises(MustStapleNeedsOCSPURL):
        guarded.submit(request(must_staple=True, include_aia=False))
