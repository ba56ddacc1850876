"""Profiles (02 §7): kept, checked, and enforced from the next request on."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certctl_core.app import Core
from certctl_core.kernel.errors import CertctlError
from certctl_core.lifecycle.issuance import CSRRejected
from certctl_core.lifecycle.profiles import ProfileView
from certctl_core.pki.keys import KeyAlgorithm, generate
from certctl_core.testing.factories import issue, make_csr
from certctl_core.testing.fakes import FakeClock
from tests.core.certificates.support import create

ONE_ENGINE = pytest.mark.parametrize("database_engine", ["sqlite"])


def profile(core: Core, name: str = "Own", **body: object) -> ProfileView:
    made: ProfileView = core.call("profiles.create", body={"name": name, **body})
    return made


def change(core: Core, profile_id: str, **body: object) -> ProfileView:
    changed: ProfileView = core.call("profiles.update", path={"profile_id": profile_id}, body=body)
    return changed


@pytest.mark.spec("01/PROF-01")
def test_create_change_and_delete(core: Core) -> None:
    made = profile(core, requires_approval=True, reuse_key=True, spiffe_uri_pattern="spiffe://a/*")
    path = {"profile_id": made.id}

    assert core.call("profiles.get", path=path) == made
    assert [(rule.algorithm, rule.min_size) for rule in made.allowed_key_algorithms] == [
        ("ECDSA", 256),
        ("RSA", 2048),
        ("Ed25519", 0),
    ]
    assert made.allowed_ekus == ["serverAuth"]
    patched = change(core, made.id, description="d", requires_approval=None)
    assert (patched.version, patched.requires_approval, patched.reuse_key) == (2, False, True)
    assert change(core, made.id, allowed_key_algorithms=[]).allowed_key_algorithms == (
        made.allowed_key_algorithms
    )
    replaced = core.call("profiles.replace", path=path, body={"name": "Own"})
    assert (replaced.reuse_key, replaced.spiffe_uri_pattern) == (False, "")
    core.call("profiles.delete", path=path)
    with pytest.raises(CertctlError) as caught:
        issue(core, "web.example.test", certificate_profile_id=made.id)
    assert caught.value.code == "profile_not_found"
    actions = {item.action for item in core.call("audit.list").data}
    assert {"profile.created", "profile.updated", "profile.deleted"} <= actions


@pytest.mark.spec("01/PROF-01", "01/PROF-02")
@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "x" * 256},
        {"colour": "red"},
        {"allowed_key_algorithms": [{"algorithm": "RSA", "min_size": 1024}]},
        {"allowed_key_algorithms": [{"algorithm": "ECDSA", "min_size": 224}]},
        {"allowed_key_algorithms": [{"algorithm": "DSA"}]},
        {"allowed_ekus": ["serverauth?"]},
        {"allowed_ekus": ["ocspSigning"]},
        {"allowed_ekus": ["1.3.6.1.5.5.7.3.9"]},
        {"required_san_patterns": ["(unclosed"]},
        {"allow_short_lived": True},
        {"allow_short_lived": True, "max_ttl_seconds": 3600},
        {"max_ttl_seconds": 100, "default_validity_seconds": 101},
        {"max_ttl_seconds": -1},
        {"id": "not an id"},
    ],
)
@ONE_ENGINE
def test_bodies_that_are_refused(core: Core, body: dict[str, object]) -> None:
    with pytest.raises(CertctlError) as caught:
        core.call("profiles.create", body={"name": "Own", **body})

    assert caught.value.code == "validation_error"
    assert core.call("profiles.list").total == 1


@pytest.mark.spec("02/CERT-8", "02/CERT-16")
@pytest.mark.parametrize(
    ("body", "field", "word"),
    [
        ({"allowed_ekus": ["timeStamping", "serverAuth"]}, "allowed_ekus", "the only usage"),
        ({"allowed_ekus": ["clientAuth", "1.3.6.1.5.5.7.3.8"]}, "allowed_ekus", "RFC 3161"),
        ({"must_staple": True, "include_aia": False}, "must_staple", "switch include_aia on"),
        (
            {"must_staple": True, "allow_short_lived": True, "max_ttl_seconds": 600},
            "must_staple",
            "short-lived",
        ),
    ],
)
@ONE_ENGINE
def test_what_could_never_be_issued_is_not_saved(
    core: Core, body: dict[str, object], field: str, word: str
) -> None:
    def faults(name: str, **arguments: object) -> list[tuple[str, bool]]:
        with pytest.raises(CertctlError) as caught:
            core.call(name, **arguments)  # type: ignore[arg-type] # path and body by name
        assert caught.value.code == "validation_error"
        return [(fault.field, word in fault.message) for fault in caught.value.fields]

    path = {"profile_id": profile(core, "Other").id}
    whole = {"name": "Own", **body}
    assert faults("profiles.create", body=whole) == [(field, True)]
    assert faults("profiles.replace", path=path, body=whole) == [(field, True)]
    assert faults("profiles.update", path=path, body=body) == [(field, True)]
    assert core.call("profiles.get", path=path).version == 1
    preview = core.call("profiles.preview", body={"profile": whole})
    assert not preview.would_issue
    profile(core, "Stamps", allowed_ekus=["timeStamping"])


def test_names_uses_and_versions(core: Core) -> None:
    made, other = profile(core, "One"), profile(core, "Two")

    def code(name: str, **arguments: object) -> str:
        with pytest.raises(CertctlError) as caught:
            core.call(name, **arguments)  # type: ignore[arg-type] # path and body by name
        return caught.value.code

    path = {"profile_id": other.id}
    assert code("profiles.create", body={"name": "One"}) == "profile_name_taken"
    assert code("profiles.create", body={"name": "X", "id": made.id}) == "profile_name_taken"
    assert code("profiles.update", path=path, body={"name": "One"}) == "profile_name_taken"
    create(core, "web.example.test", certificate_profile_id=other.id)
    assert code("profiles.delete", path=path) == "profile_in_use"
    default = {"profile_id": "prof-default"}
    assert code("profiles.delete", path=default) == "default_profile_stays"
    with pytest.raises(CertctlError) as caught:
        core.dispatcher.call("profiles.update", path=path, body={"enabled": False}, if_match=9)
    assert caught.value.code == "precondition_failed"


def test_of_many_equal_names_one_is_taken(core: Core) -> None:
    ids = [profile(core, f"P{number}").id for number in range(5)]
    outcomes: list[str] = []

    def rename(profile_id: str) -> None:
        try:
            change(core, profile_id, name="Same")
            outcomes.append("")
        except CertctlError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=rename, args=(item,)) for item in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["", *["profile_name_taken"] * 4]


class TestEnforced:
    """02 PROF-1 … PROF-5, through the choke point."""

    def refusal(self, core: Core, csr: str, profile_id: str) -> str:
        with pytest.raises(CSRRejected) as caught:
            core.issue(csr, certificate_profile_id=profile_id)
        return caught.value.detail

    @pytest.mark.spec("02/PROF-2", "01/PROF-07")
    def test_from_the_next_request_on(self, core: Core) -> None:
        made = profile(core)
        issue(core, "a.example.test", certificate_profile_id=made.id)

        change(core, made.id, enabled=False)
        assert "disabled" in self.refusal(core, make_csr("b.example.test"), made.id)
        change(core, made.id, enabled=True)

        issue(core, "b.example.test", certificate_profile_id=made.id)

    @pytest.mark.spec("02/PROF-3", "01/PROF-03")
    @ONE_ENGINE
    def test_key_algorithms(self, core: Core) -> None:
        made = profile(
            core,
            allowed_key_algorithms=[
                {"algorithm": "ECDSA", "min_size": 384},
                {"algorithm": "Ed25519"},
            ],
        )

        def csr(algorithm: KeyAlgorithm) -> str:
            return make_csr("web.example.test", key=generate(algorithm))

        for algorithm in (KeyAlgorithm.ECDSA_P256, KeyAlgorithm.RSA_2048):
            assert "is not among ECDSA≥384" in self.refusal(core, csr(algorithm), made.id)
        for algorithm in (KeyAlgorithm.ECDSA_P384, KeyAlgorithm.ECDSA_P521):
            core.issue(csr(algorithm), certificate_profile_id=made.id)

    @pytest.mark.spec("02/PROF-4", "01/PROF-03")
    @ONE_ENGINE
    def test_extended_key_usages(self, core: Core) -> None:
        made = profile(core, allowed_ekus=["serverAuth", "clientAuth"])
        key = generate(KeyAlgorithm.ECDSA_P256)

        def csr(*oids: x509.ObjectIdentifier) -> str:
            from cryptography.hazmat.primitives.hashes import SHA256
            from cryptography.hazmat.primitives.serialization import Encoding

            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web.example.test")])
            san = x509.SubjectAlternativeName([x509.DNSName("web.example.test")])
            builder = x509.CertificateSigningRequestBuilder().subject_name(name)
            builder = builder.add_extension(san, critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage(oids), critical=False)
            return builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()

        def issued(pem: str) -> list[str]:
            leaf = x509.load_pem_x509_certificate(pem.encode())
            usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            return [oid._name for oid in usage]

        both = issue(core, "a.example.test", certificate_profile_id=made.id)
        assert issued(both.certificate_pem) == ["serverAuth", "clientAuth"]
        one = core.issue(csr(ExtendedKeyUsageOID.CLIENT_AUTH), certificate_profile_id=made.id)
        assert issued(one.certificate_pem) == ["clientAuth"]
        text = self.refusal(
            core,
            csr(ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING),
            made.id,
        )
        assert "codeSigning" in text

    @pytest.mark.spec("02/PROF-5", "01/PROF-03")
    @ONE_ENGINE
    def test_patterns_match_whole_names(self, core: Core) -> None:
        made = profile(core, required_san_patterns=[r"[a-z]+\.example\.test", r"10\..*"])

        core.issue(make_csr("web.example.test", "10.1.2.3"), certificate_profile_id=made.id)
        for name in ("web.example.test.evil.org", "x.web.example.test", "11.10.1.1"):
            text = self.refusal(core, make_csr(name), made.id)
            assert name in text

    @pytest.mark.spec("02/PROF-5", "01/PROF-03")
    @ONE_ENGINE
    def test_spiffe(self, core: Core) -> None:
        made = profile(core, spiffe_uri_pattern="spiffe://example.test/ns/*/sa/*")

        def csr(*uris: str) -> str:
            return make_csr("web.example.test", *uris)

        core.issue(csr("spiffe://example.test/ns/a/sa/b/c"), certificate_profile_id=made.id)
        for uris in (
            (),
            ("spiffe://example.test/ns/a/b/sa/c",),
            ("spiffe://example.test/ns/a/sa/b", "spiffe://example.test/ns/a/sa/c"),
            ("spiffe://other.test/ns/a/sa/b",),
        ):
            assert "SPIFFE" in self.refusal(core, csr(*uris), made.id)

    @pytest.mark.spec("02/PROF-5")
    @ONE_ENGINE
    @pytest.mark.parametrize(
        "pattern", [r"spiffe://example\.test/.*", "https://example.test/*", "example.test/ns/*"]
    )
    def test_a_spiffe_pattern_that_matches_nothing_is_refused(
        self, core: Core, pattern: str
    ) -> None:
        with pytest.raises(CertctlError) as caught:
            profile(core, spiffe_uri_pattern=pattern)
        (field,) = caught.value.fields
        assert field.field == "spiffe_uri_pattern"
        assert "matches no SPIFFE ID" in field.message

    @pytest.mark.spec("01/PROF-04", "06/ISS-1")
    @ONE_ENGINE
    def test_lifetimes(self, core: Core, clock: FakeClock) -> None:
        def days(**body: object) -> timedelta:
            made = profile(core, f"L{len(body)}{body}", **body)
            issued = issue(core, "web.example.test", certificate_profile_id=made.id)
            return issued.version.not_after - clock.now()

        assert days() == timedelta(days=90)
        assert days(default_validity_seconds=86400) == timedelta(days=1)
        assert days(max_ttl_seconds=300) == timedelta(minutes=5)
        assert days(max_ttl_seconds=86400, default_validity_seconds=60) == timedelta(minutes=1)

    @ONE_ENGINE
    def test_the_key_is_kept_where_the_profile_says_so(self, core: Core) -> None:
        made = profile(core, reuse_key=True)
        key = generate(KeyAlgorithm.RSA_2048)
        csr = make_csr("web.example.test", key=key)
        issued = core.issue(csr, certificate_profile_id=made.id)
        path = {"certificate_id": issued.certificate.id}

        with pytest.raises(CSRRejected, match="keeps the key"):
            core.call(
                "certificates.renew", path=path, body={"csr_pem": make_csr("web.example.test")}
            )
        core.rooms.renewal.set_key_holders(lambda _uow, _id: ["ag-one"])
        again = core.call("certificates.renew", path=path, body={"csr_pem": csr})
        assert again.issued.version.id == issued.version.id, "the same request within a day"

    @ONE_ENGINE
    def test_the_same_request_months_later_is_a_renewal(self, core: Core, clock: FakeClock) -> None:
        made = profile(core, reuse_key=True)
        csr = make_csr("web.example.test", key=generate(KeyAlgorithm.RSA_2048))
        issued = core.issue(csr, certificate_profile_id=made.id)
        clock.advance(timedelta(days=60))

        path = {"certificate_id": issued.certificate.id}
        again = core.call("certificates.renew", path=path, body={"csr_pem": csr})

        assert again.issued.version.serial_number != issued.version.serial_number
        assert again.issued.version.spki_sha256 == issued.version.spki_sha256


def test_the_list(core: Core) -> None:
    profile(core, "Alpha", enabled=False)
    profile(core, "Beta_x")

    def found(**query: object) -> list[str]:
        return [
            row.name for row in core.call("profiles.list", query={"sort": "name", **query}).data
        ]

    assert found() == ["Alpha", "Beta_x", "Default"]
    assert found(enabled=False) == ["Alpha"]
    assert found(q="beta") == ["Beta_x"]
    assert found(q="_") == ["Beta_x"]
