"""CA keys through the API, and what comes back after a restore (02 ROT-6, DR-25, DR-26, DR-28)."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.app import Core
from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.config import Settings
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.secrets import generate_keyring
from certctl_core.lifecycle.authorities import (
    CAKeyInFiles,
    CAKeyState,
    CAKeyStateWrong,
    CAKeyStillNeeded,
    CAMaterialError,
    UnknownAuthority,
)
from certctl_core.lifecycle.issuers import IssuerNotFound
from certctl_core.lifecycle.recovery import CertificatesForeign, CRLForeign, CRLUnreadable
from certctl_core.pki.crl import build_crl
from certctl_core.pki.keys import KeyAlgorithm, generate, private_key_pem
from certctl_core.pki.ocsp import CertIDHash, build_request, cert_id, inspect_response
from certctl_core.pki.serials import canonical, new_serial
from certctl_core.pki.x509 import build_root, to_pem
from certctl_core.testing.fakes import FakeClock
from tests.core.revocation.support import Web, make, revoke, sql


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(SystemClock().now().replace(microsecond=0))


@pytest.fixture
def web(core: Core) -> Web:
    return Web(core)


def rotate(core: Core, **body: object) -> Any:
    return core.call("ca.rotate", path={"issuer_id": "iss-local"}, body=body)


def mark(core: Core, ca_key_id: str, **body: object) -> Any:
    path = {"issuer_id": "iss-local", "ca_key_id": ca_key_id}
    return core.call("ca.mark_compromised", path=path, body=body)


def status(web: Web, ca: x509.Certificate, serial: str) -> str:
    """What a relying party that knows the CA hears about a serial."""
    reply = web.post(build_request([cert_id(CertIDHash.SHA1, ca, serial)]))
    info = inspect_response(reply.body)
    return (
        info.answers[0].status.value
        if info.answers
        else info.error.name.lower()
        if info.error
        else ""
    )


def actions(core: Core) -> list[str]:
    return [row.action for row in core.call("audit.list").data]


class TestRotate:
    @pytest.mark.spec("02/ROT-1", "02/ROT-3", "02/DR-28")
    def test_old_certificates_keep_crl_and_ocsp_and_new_ones_come_from_the_new_ca(
        self, core: Core, web: Web
    ) -> None:
        good, bad = make(core, "good.example.test"), make(core, "bad.example.test")
        revoke(core, bad.certificate_id)
        old_ca, old_id = web.ca(), web.key().ca_key_id
        answer = rotate(core)
        made = make(core, "new.example.test")
        new_ca = web.ca()

        assert answer.former_ca_key_id == old_id
        assert answer.current.ca_key_id == web.key().ca_key_id != old_id
        x509.load_pem_x509_certificate(made.pem.encode()).verify_directly_issued_by(new_ca)
        assert [status(web, old_ca, item.serial) for item in (good, bad)] == ["good", "revoked"]
        assert status(web, new_ca, made.serial) == "good"
        assert web.crl(f"crl/iss-local/{old_id}").is_signature_valid(old_ca.public_key())  # type: ignore[arg-type]
        assert web.crl().is_signature_valid(new_ca.public_key())  # type: ignore[arg-type]
        roots = x509.load_pem_x509_certificates(web.get("bundle/iss-local").body)
        assert roots == [new_ca, old_ca]
        assert "ca_key.changed" in actions(core)

    def test_only_local_issuers_have_ca_keys(self, core: Core) -> None:
        with pytest.raises(IssuerNotFound):
            core.call("ca.rotate", path={"issuer_id": "iss-none"}, body={})
        with pytest.raises(UnknownAuthority):
            mark(core, "00" * 20)


class TestCompromised:
    @pytest.mark.spec("02/ROT-6")
    def test_the_key_that_issues_is_replaced_and_answers_unauthorized(
        self, core: Core, web: Web
    ) -> None:
        stolen = make(core, "stolen.example.test")
        old_ca, old_id = web.ca(), web.key().ca_key_id
        answer = mark(core, old_id, note="found on a forum")

        assert answer.unexpired == 1
        assert answer.replaced_by == web.key().ca_key_id != old_id
        assert answer.renewals is None
        assert status(web, old_ca, stolen.serial) == "unauthorized"
        make(core, "after.example.test")
        assert to_pem(old_ca).encode() not in web.get("bundle/iss-local").body
        states = {key.ca_key_id: key.state for key in core.rooms.authorities.keys("iss-local")}
        assert states[old_id] is CAKeyState.COMPROMISED
        assert "ca_key.compromised" in actions(core)
        with pytest.raises(CAKeyStateWrong):
            mark(core, old_id)

    @pytest.mark.spec("02/ROT-6")
    def test_the_affected_certificates_are_a_list(self, core: Core, web: Web) -> None:
        hit = [make(core, f"hit{number}.example.test").certificate_id for number in range(3)]
        old_id = web.key().ca_key_id
        rotate(core)
        make(core, "safe.example.test")
        gone = make(core, "gone.example.test")
        query = {"ca_key_id": old_id.upper(), "page_size": 2}
        first = core.call("certificates.list", query=query)
        second = core.call("certificates.list", query={**query, "cursor": first.next_cursor})
        found = {row.id for row in (*first.data, *second.data)}

        assert found == set(hit)
        assert first.total == 3
        assert gone.certificate_id not in found

    @pytest.mark.spec("02/ROT-6")
    def test_bulk_renewal_makes_them_due(self, core: Core, web: Web) -> None:
        managed = make(core, "managed.example.test").certificate_id
        own = make(core, "own.example.test").certificate_id
        core.call(
            "certificates.update", path={"certificate_id": own}, body={"managed_renewal": False}
        )
        old_id = web.key().ca_key_id
        answer = mark(core, old_id, renew=True)

        assert (answer.renewals.affected, answer.renewals.planned) == (2, 1)
        view = core.call("certificates.get", path={"certificate_id": managed})
        assert view.next_renewal_at <= core.clock.now()
        assert core.call("certificates.get", path={"certificate_id": own}).next_renewal_at is None
        path = {"issuer_id": "iss-local", "ca_key_id": old_id}
        assert core.call("ca.renew_certificates", path=path).affected == 2

    @pytest.mark.spec("02/ROT-6")
    def test_the_crls_of_the_other_keys_go_on(self, core: Core, web: Web) -> None:
        first = web.key().ca_key_id
        rotate(core)
        second = web.key().ca_key_id
        mark(core, second)
        assert web.crl(f"crl/iss-local/{first}") is not None


class TestRetire:
    @pytest.mark.spec("02/ROT-2")
    def test_when_nothing_is_left_to_answer_for(
        self, core: Core, web: Web, clock: FakeClock
    ) -> None:
        make(core, "last.example.test")
        old_ca, old_id = web.ca(), web.key().ca_key_id
        rotate(core)
        path = {"issuer_id": "iss-local", "ca_key_id": old_id}
        with pytest.raises(CAKeyStillNeeded):
            core.call("ca.retire", path=path)
        clock.advance(timedelta(days=400))
        assert core.call("ca.retire", path=path).state is CAKeyState.RETIRED
        assert to_pem(old_ca).encode() not in web.get("bundle/iss-local").body


class TestImportCRL:
    def lost(self, core: Core, web: Web) -> tuple[bytes, list[str]]:
        """A CRL of three revocations that the database has forgotten, and the certificates."""
        ids = []
        for name, reason in (("a", "keyCompromise"), ("b", "superseded"), ("c", "unspecified")):
            made = make(core, f"{name}.example.test")
            revoke(core, made.certificate_id, reason=reason)
            ids.append(made.certificate_id)
        crl = web.get("crl/iss-local").body
        # What a restore to a moment before the revocations leaves behind.
        for statement in (
            "DELETE FROM certificate_revocations",
            "DELETE FROM crl_cache",
            "UPDATE crl_numbers SET last_number = 1",
            "UPDATE certificate_versions SET revoked_at = NULL",
            "UPDATE managed_certificates SET status = 'Active', revoked_at = NULL",
            "UPDATE managed_certificates SET revocation_reason = NULL",
        ):
            sql(core, statement)
        core.rooms.pki.forget()
        assert len(web.listed()) == 0
        return crl, ids

    @pytest.mark.spec("02/DR-25", "02/OPS-3")
    def test_lost_revocations_come_back_with_date_and_reason(self, core: Core, web: Web) -> None:
        crl, ids = self.lost(core, web)
        before = {entry.serial_number: entry for entry in x509.load_der_x509_crl(crl)}
        answer = core.call("dr.import_crl", body={"crl": base64.b64encode(crl).decode()})
        assert (answer.entries, answer.added, answer.certificates_revoked) == (3, 3, 3)
        after = {entry.serial_number: entry for entry in web.crl()}
        assert after.keys() == before.keys()
        for serial, entry in after.items():
            assert entry.revocation_date_utc == before[serial].revocation_date_utc
            assert list(entry.extensions) == list(before[serial].extensions)
        number = web.crl().extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        assert number > answer.crl_number
        for certificate_id in ids:
            view = core.call("certificates.get", path={"certificate_id": certificate_id})
            assert view.status == "Revoked"
        assert "dr.imported" in actions(core)
        again = core.call("dr.import_crl", body={"crl": base64.b64encode(crl).decode()})
        assert (again.added, again.certificates_revoked) == (0, 0)

    @pytest.mark.spec("02/DR-25")
    def test_what_the_list_revoked_for_good_is_not_on_hold_any_more(
        self, core: Core, web: Web
    ) -> None:
        made, held = make(core, "a.example.test"), make(core, "b.example.test")
        for item in (made, held):
            revoke(core, item.certificate_id, reason="certificateHold")
        revoke(core, made.certificate_id, reason="keyCompromise")
        crl = base64.b64encode(web.get("crl/iss-local").body).decode()
        # What a restore to a moment before the second step leaves behind.
        for statement in (
            "UPDATE certificate_revocations SET reason = 'certificateHold'",
            "UPDATE managed_certificates SET revocation_reason = 'certificateHold'",
        ):
            sql(core, statement)

        answer = core.call("dr.import_crl", body={"crl": crl})

        assert (answer.added, answer.certificates_revoked) == (1, 0)
        for item, reason in ((made, "keyCompromise"), (held, "certificateHold")):
            view = core.call("certificates.get", path={"certificate_id": item.certificate_id})
            assert view.revocation_reason == reason
        assert core.call("dr.import_crl", body={"crl": crl}).added == 0

    @pytest.mark.spec("02/DR-25")
    def test_pem_and_certificates_that_nobody_knows(self, core: Core, web: Web) -> None:
        crl, _ = self.lost(core, web)
        sql(core, "DELETE FROM certificate_versions")
        pem = x509.load_der_x509_crl(crl).public_bytes(Encoding.PEM).decode()
        answer = core.call("dr.import_crl", body={"crl": pem})
        assert (answer.added, answer.certificates_revoked) == (3, 0)
        serial = canonical(next(iter(web.listed())))
        assert status(web, web.ca(), serial) == "revoked"

    @pytest.mark.spec("02/DR-25")
    def test_the_next_number_is_higher_than_the_kept_one(self, core: Core, web: Web) -> None:
        key = web.key()
        now = core.clock.now()
        der = build_crl(
            issuer_cert=key.certificate,
            key=key.key,
            entries=[],
            number=int(now.timestamp()) + 10**6,
            this_update=now,
            next_update=now + timedelta(days=1),
        )
        web.crl()
        answer = core.call("dr.import_crl", body={"crl": base64.b64encode(der).decode()})
        number = web.crl().extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        assert number == answer.crl_number + 1

    @pytest.mark.spec("02/DR-25")
    @pytest.mark.parametrize("text", ["", "!", "AAAA", "-----BEGIN X509 CRL-----"])
    def test_what_is_no_crl_is_refused(self, core: Core, text: str) -> None:
        with pytest.raises(CertctlError) as caught:
            core.call("dr.import_crl", body={"crl": text})
        assert caught.value.code in {CRLUnreadable.code, "validation_error"}

    @pytest.mark.spec("02/DR-25")
    def test_a_crl_of_a_strange_ca_of_the_same_name_is_refused(self, core: Core, web: Web) -> None:
        now = core.clock.now()
        strange = generate(KeyAlgorithm.ECDSA_P256)
        ca = build_root(
            "certctl Local CA",
            strange,
            serial=new_serial(),
            not_before=now - timedelta(days=1),
            not_after=now + timedelta(days=9),
        )
        der = build_crl(
            issuer_cert=ca,
            key=strange,
            entries=[],
            number=7,
            this_update=now,
            next_update=now + timedelta(days=1),
        )
        with pytest.raises(CRLForeign) as caught:
            core.call("dr.import_crl", body={"crl": base64.b64encode(der).decode()})
        assert "certctl Local CA" in str(caught.value)
        assert "(number 7)" in str(caught.value)


class TestImportCertificates:
    @pytest.mark.spec("02/DR-26")
    def test_certificates_after_the_snapshot_are_known_to_ocsp_again(
        self, core: Core, web: Web
    ) -> None:
        kept, lost = make(core, "kept.example.test"), make(core, "lost.example.test")
        sql(core, "DELETE FROM ca_issued_certificates WHERE serial_number = :it", it=lost.serial)
        core.rooms.pki.forget()
        assert status(web, web.ca(), lost.serial) == "unknown"
        foreign = generate(KeyAlgorithm.ECDSA_P256)
        now = core.clock.now()
        stranger = build_root(
            "Stranger",
            foreign,
            serial=new_serial(),
            not_before=now - timedelta(days=1),
            not_after=now + timedelta(days=9),
        )
        pem = kept.pem + lost.pem + to_pem(stranger)
        answer = core.call("dr.import_certificates", body={"certificates": pem})
        assert (answer.added, answer.known, answer.foreign) == (1, 1, ["CN=Stranger"])
        assert status(web, web.ca(), lost.serial) == "good"
        assert "dr.imported" in actions(core)

    @pytest.mark.spec("02/DR-26")
    def test_only_strangers_are_an_error(self, core: Core) -> None:
        now = core.clock.now()
        key = generate(KeyAlgorithm.ECDSA_P256)
        stranger = build_root(
            "Stranger",
            key,
            serial=new_serial(),
            not_before=now - timedelta(days=1),
            not_after=now + timedelta(days=9),
        )
        with pytest.raises(CertificatesForeign):
            core.call("dr.import_certificates", body={"certificates": to_pem(stranger)})
        with pytest.raises(CertctlError) as caught:
            core.call("dr.import_certificates", body={"certificates": "no PEM"})
        assert caught.value.code == "certificates_unreadable"


class TestCompromisedFiles:
    """The operator's CA was stolen: nothing issues until new files are there."""

    @pytest.fixture
    def settings(self, database_url: str, tmp_path: Path) -> Settings:
        now = SystemClock().now()
        key = generate(KeyAlgorithm.ECDSA_P256)
        ca = build_root(
            "Operator CA",
            key,
            serial=new_serial(),
            not_before=now - timedelta(days=1),
            not_after=now + timedelta(days=900),
        )
        (tmp_path / "ca.crt").write_text(to_pem(ca))
        (tmp_path / "ca.key").write_bytes(private_key_pem(key))
        (tmp_path / "ca.key").chmod(0o600)
        return Settings.for_directory(
            tmp_path / "data",
            database_url=database_url,
            config_encryption_keys=generate_keyring(),
            ca_cert_path=str(tmp_path / "ca.crt"),
            ca_key_path=str(tmp_path / "ca.key"),
        )

    @pytest.mark.spec("02/ROT-6")
    def test_nothing_is_signed_and_what_is_published_says_so(self, settings: Settings) -> None:
        with Core.open(settings) as core:
            web = Web(core)
            made = make(core, "web.example.test")
            ca, key_id = web.ca(), web.key().ca_key_id
            with pytest.raises(CAKeyInFiles):
                rotate(core)
            answer = mark(core, key_id)
            assert answer.replaced_by is None
            with pytest.raises(CertctlError) as caught:
                make(core, "next.example.test")
            assert caught.value.kind.value == "unavailable"
            assert status(web, ca, made.serial) == "unauthorized"
            unauthorized = bytes.fromhex("30030a0106")
            assert web.get(f"ocsp/iss-local/{made.serial}").body == unauthorized
            assert web.get("crl/iss-local").status == 404
            assert web.get("bundle/iss-local").body == b""
            assert web.get(f"ca/iss-local/{key_id}").status == 200
        with pytest.raises(CAMaterialError, match="compromised"):
            Core.open(settings).close()
