"""The operator's own CA files: preflight, rotation, former keys (02 CA-4, ROT-1, ROT-2)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from certctl_core.kernel.secrets import Secret
from certctl_core.lifecycle.authorities import (
    AuthorityUnavailable,
    CAKeyState,
    CAMaterialError,
    CAOrigin,
    LocalConfig,
)
from certctl_core.pki.keys import (
    KeyAlgorithm,
    SigningKey,
    ca_key_id,
    generate,
    private_key_pem,
)
from certctl_core.pki.x509 import build_root, build_sub_ca, subject_name, to_pem
from certctl_core.testing.fakes import EPOCH
from tests.core.authorities.orders import request

if TYPE_CHECKING:
    from tests.core.authorities.conftest import Room

pytestmark = pytest.mark.parametrize("signer_kind", ["file"])

DAY = timedelta(days=1)


class Files:
    """The two files of an operator's CA."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self.cert = folder / "ca.crt"
        self.key = folder / "ca.key"

    @property
    def settings(self) -> dict[str, Path]:
        return {"ca_cert_path": self.cert, "ca_key_path": self.key}

    def write(self, *chain: x509.Certificate, key: SigningKey, password: str = "") -> None:
        self.cert.write_text("".join(map(to_pem, chain)))
        self.key.unlink(missing_ok=True)
        self.key.write_bytes(private_key_pem(key, password=password.encode() or None))
        self.key.chmod(0o600)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "operator")


def root(
    name: str = "Operator CA", *, start: datetime = EPOCH - DAY, days: int = 3650
) -> tuple[x509.Certificate, SigningKey]:
    key = generate(KeyAlgorithm.ECDSA_P256)
    certificate = build_root(
        name, key, serial=7, not_before=start, not_after=start + timedelta(days=days)
    )
    return certificate, key


def special(key: SigningKey, *extensions: tuple[x509.ExtensionType, bool]) -> x509.Certificate:
    """A self-signed certificate with exactly these extensions."""
    name = subject_name("Special CA")
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(9)
        .not_valid_before(EPOCH - DAY)
        .not_valid_after(EPOCH + 365 * DAY)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, hashes.SHA256())


def usage(*, cert_sign: bool, crl_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


CA_TRUE = (x509.BasicConstraints(ca=True, path_length=None), True)


def found_id(certificate: x509.Certificate) -> str:
    ski = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return ski.digest.hex()


def encrypt(files: Files) -> None:
    certificate, key = root()
    files.write(certificate, key=key, password="a passphrase nobody gave")


_EXPIRED = root(start=EPOCH - 20 * DAY, days=10)
_FUTURE = root(start=EPOCH + DAY)


def expired() -> tuple[x509.Certificate, SigningKey]:
    return _EXPIRED


def future() -> tuple[x509.Certificate, SigningKey]:
    return _FUTURE


def leaf(files: Files) -> None:
    key = generate(KeyAlgorithm.ECDSA_P256)
    constraints = (x509.BasicConstraints(ca=False, path_length=None), True)
    files.write(special(key, constraints), key=key)


def no_cert_sign(files: Files) -> None:
    key = generate(KeyAlgorithm.ECDSA_P256)
    files.write(special(key, CA_TRUE, (usage(cert_sign=False, crl_sign=True), True)), key=key)


def foreign_chain(files: Files) -> None:
    certificate, key = root()
    files.write(certificate, root("Stranger")[0], key=key)


def short_rsa(files: Files) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the defect
    files.write(special(key, CA_TRUE), key=key)


class TestPreflight:
    @pytest.mark.spec("02/CA-1", "02/CA-4")
    def test_files_named_by_the_settings_are_the_ca(self, room: Room, files: Files) -> None:
        certificate, key = root()
        files.write(certificate, key=key)
        found = room.restart(**files.settings).authorities.boot()
        assert found.certificate == certificate
        assert found.origin is CAOrigin.FILE
        assert found.key_ref == str(files.key)

    @pytest.mark.spec("02/DR-11")
    def test_a_ca_without_key_usage_is_taken_with_a_warning(
        self, room: Room, files: Files, openssl: str
    ) -> None:
        def run(*words: str | Path) -> None:
            subprocess.run([openssl, *words], check=True, capture_output=True)

        run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", files.key)
        run("req", "-x509", "-new", "-key", files.key, "-sha256", "-days", "3650", "-subj",
            "/CN=Runbook CA", "-out", files.cert)  # fmt: skip
        files.key.chmod(0o600)
        made = x509.load_pem_x509_certificate(files.cert.read_bytes())
        room.clock.set(made.not_valid_before_utc + timedelta(hours=1))
        found = room.restart(**files.settings).authorities.boot()
        assert found.may_sign_crls
        assert any("keyUsage" in text for text in found.warnings)

    @pytest.mark.spec("02/CA-4")
    def test_a_ca_without_crl_sign_publishes_no_crl_address(self, room: Room, files: Files) -> None:
        key = generate(KeyAlgorithm.ECDSA_P256)
        files.write(special(key, CA_TRUE, (usage(cert_sign=True, crl_sign=False), True)), key=key)
        other = room.restart(**files.settings, public_base="http://pki.example.com")
        found = other.authorities.boot()
        assert not found.may_sign_crls
        assert found.urls.crl == ()
        assert found.urls.ocsp
        assert any("CRL" in text for text in found.warnings)

    @pytest.mark.spec("02/CA-4", "02/DR-14")
    def test_a_sub_ca_brings_its_chain(self, room: Room, files: Files) -> None:
        top, top_key = root("Root CA")
        key = generate(KeyAlgorithm.ECDSA_P256)
        sub = build_sub_ca(
            subject_name("Sub CA"),
            public_key=key.public_key(),
            issuer=top,
            key=top_key,
            serial=11,
            not_before=EPOCH - DAY,
            not_after=EPOCH + 300 * DAY,
        )
        files.write(sub, top, key=key)
        found = room.restart(**files.settings).authorities.boot()
        assert found.chain_pem == to_pem(sub)
        assert found.root_pem == to_pem(top)
        assert found.above == (top,)

    @pytest.mark.spec("02/CERT-19")
    def test_the_root_is_served_when_asked_for(self, room: Room, files: Files) -> None:
        certificate, key = root()
        files.write(certificate, key=key)
        other = room.restart(**files.settings)
        assert other.authorities.boot().chain_pem == ""
        config = LocalConfig(include_root_in_chain=True)
        assert other.authorities.ensure("iss-local", config).chain_pem == to_pem(certificate)

    def test_a_ca_with_a_key_identifier_of_another_method_is_found_by_its_leaves(
        self, room: Room, files: Files
    ) -> None:
        key = generate(KeyAlgorithm.ECDSA_P256)
        odd = x509.SubjectKeyIdentifier(b"made by another method")
        files.write(special(key, CA_TRUE, (odd, False)), key=key)
        other = room.restart(**files.settings)
        other.authorities.boot()
        issued = other.issuer().submit(request())
        leaf = x509.load_pem_x509_certificate(issued.leaf.encode())
        found = other.authorities.authority_of("iss-local", leaf)
        assert found is not None
        assert found.ca_key_id == ca_key_id(key.public_key())
        assert other.authorities.authority_of("iss-other", leaf) is None

    def test_an_encrypted_key_opens_with_its_passphrase(self, room: Room, files: Files) -> None:
        certificate, key = root()
        files.write(certificate, key=key, password="correct horse battery")
        secret = Secret("correct horse battery")
        found = room.restart(**files.settings, ca_key_passphrase=secret).authorities.boot()
        assert found.key.public_key() == key.public_key()

    @pytest.mark.spec("02/CA-4", "02/DR-13")
    @pytest.mark.parametrize(
        ("spoil", "code", "culprit"),
        [
            (lambda f: f.cert.unlink(), "ca_file_unreadable", "cert"),
            (lambda f: f.cert.write_bytes(b""), "ca_file_unreadable", "cert"),
            (lambda f: f.cert.write_bytes(b"\n" * 300_000), "ca_file_unreadable", "cert"),
            (lambda f: f.cert.write_text("no PEM"), "ca_certificate_malformed", "cert"),
            (lambda f: f.cert.write_bytes(f.key.read_bytes()), "ca_certificate_malformed", "cert"),
            (lambda f: f.key.unlink(), "ca_file_unreadable", "key"),
            (lambda f: f.key.write_text("no PEM"), "ca_key_malformed", "key"),
            (lambda f: f.key.chmod(0o644), "ca_key_permissions", "key"),
            (lambda f: f.write(root()[0], key=root()[1]), "ca_key_mismatch", "key"),
            (encrypt, "ca_key_malformed", "key"),
            (lambda f: f.write(*expired()[:1], key=expired()[1]), "ca_expired", "cert"),
            (lambda f: f.write(*future()[:1], key=future()[1]), "ca_not_yet_valid", "cert"),
            (leaf, "not_a_ca_certificate", "cert"),
            (no_cert_sign, "ca_key_usage_forbids_signing", "cert"),
            (foreign_chain, "ca_chain_broken", "cert"),
            (short_rsa, "ca_key_unsupported", "cert"),
        ],
        ids=[
            "certificate_missing",
            "certificate_empty",
            "certificate_huge",
            "certificate_garbage",
            "certificate_is_a_key",
            "key_missing",
            "key_garbage",
            "key_readable_by_others",
            "key_of_another_ca",
            "key_encrypted_without_passphrase",
            "expired",
            "not_yet_valid",
            "ca_false",
            "usage_without_cert_sign",
            "chain_of_strangers",
            "rsa_1024",
        ],
    )
    @pytest.mark.parametrize("database_engine", ["sqlite"])
    def test_each_defect_has_its_error_that_names_the_file(
        self, room: Room, files: Files, spoil: Callable[[Files], None], code: str, culprit: str
    ) -> None:
        certificate, key = root()
        files.write(certificate, key=key)
        spoil(files)
        other = room.restart(**files.settings)
        with pytest.raises(CAMaterialError) as caught:
            other.authorities.boot()
        assert caught.value.code == code
        assert caught.value.data["path"] == str(getattr(files, culprit))
        assert str(getattr(files, culprit)) in str(caught.value)
        assert other.authorities.find_current("iss-local") is None
        assert room.tags() == []

    @pytest.mark.spec("02/CA-1")
    @pytest.mark.parametrize("one", ["ca_cert_path", "ca_key_path"])
    def test_one_path_without_the_other_is_refused(self, room: Room, one: str) -> None:
        with pytest.raises(CAMaterialError) as caught:
            room.restart(**{one: Path("/etc/certctl/ca.pem")}).authorities.boot()
        assert caught.value.code == "ca_paths_incomplete"

    @pytest.mark.spec("02/DR-13")
    def test_old_files_put_back_start_again(self, room: Room, files: Files) -> None:
        certificate, key = root()
        files.write(certificate, key=key)
        first = room.restart(**files.settings).authorities.boot()
        files.write(root()[0], key=root()[1])
        with pytest.raises(CAMaterialError):
            room.restart(**files.settings).authorities.boot()
        files.write(certificate, key=key)
        assert room.restart(**files.settings).authorities.boot().ca_key_id == first.ca_key_id


class TestRotation:
    @pytest.mark.spec("02/ROT-1")
    def test_another_key_at_the_path_issues_and_the_former_is_previous(
        self, room: Room, files: Files
    ) -> None:
        old, old_key = root("Same Name")
        files.write(old, key=old_key)
        before = room.restart(**files.settings).authorities.boot()
        new, new_key = root("Same Name")
        files.write(new, key=new_key)
        other = room.restart(**files.settings)
        after = other.authorities.boot()
        assert after.certificate == new
        assert other.authorities.signing_key("iss-local").ca_key_id == after.ca_key_id
        former = other.authorities.authority_key(before.ca_key_id)
        assert former.state is CAKeyState.PREVIOUS
        assert former.certificate == old
        changed = room.events[-1].event
        assert room.tags() == ["ca_key.loaded", "ca_key.loaded", "ca_key.changed"]
        assert (changed.old_ca_key_id, changed.new_ca_key_id) == (  # type: ignore[attr-defined]
            before.ca_key_id,
            after.ca_key_id,
        )

    @pytest.mark.spec("02/ROT-1")
    def test_a_reload_switches_the_running_process(self, room: Room, files: Files) -> None:
        old, old_key = root()
        files.write(old, key=old_key)
        running = room.restart(**files.settings)
        running.authorities.boot()
        new, new_key = root()
        files.write(new, key=new_key)
        running.authorities.reload()
        assert running.authorities.signing_key("iss-local").certificate == new

    @pytest.mark.spec("02/ROT-1")
    def test_a_reload_of_bad_files_keeps_the_old_key(self, room: Room, files: Files) -> None:
        certificate, key = root()
        files.write(certificate, key=key)
        running = room.restart(**files.settings)
        running.authorities.boot()
        files.cert.write_text("half a f")
        with pytest.raises(CAMaterialError):
            running.authorities.reload()
        assert running.authorities.signing_key("iss-local").certificate == certificate

    @pytest.mark.spec("02/ROT-2")
    def test_renamed_files_keep_the_former_key_at_hand(self, room: Room, files: Files) -> None:
        old, old_key = root()
        files.write(old, key=old_key)
        before = room.restart(**files.settings).authorities.boot()
        files.cert.rename(f"{files.cert}.old-rotated-2026-01-15")
        files.key.rename(f"{files.key}.old-rotated-2026-01-15")
        new, new_key = root()
        files.write(new, key=new_key)
        other = room.restart(**files.settings)
        other.authorities.boot()
        former = other.authorities.authority_key(before.ca_key_id)
        assert former.state is CAKeyState.PREVIOUS
        assert former.key.public_key() == old_key.public_key()
        assert other.authorities.trust_anchors("iss-local") == (to_pem(new), to_pem(old))

    @pytest.mark.spec("02/ROT-2")
    def test_an_expired_former_ca_is_still_taken(self, room: Room, files: Files) -> None:
        old, old_key = root(start=EPOCH - 20 * DAY, days=10)
        files.write(old, key=old_key)
        files.cert.rename(f"{files.cert}.old-rotated-1")
        files.key.rename(f"{files.key}.old-rotated-1")
        new, new_key = root()
        files.write(new, key=new_key)
        other = room.restart(**files.settings)
        other.authorities.boot()
        states = {key.state for key in other.authorities.authority_keys("iss-local")}
        assert states == {CAKeyState.CURRENT, CAKeyState.PREVIOUS}

    @pytest.mark.spec("02/ROT-2")
    @pytest.mark.parametrize("present", ["cert", "both_but_broken"])
    def test_a_bad_former_pair_does_not_stop_the_start(
        self, room: Room, files: Files, present: str
    ) -> None:
        new, new_key = root()
        files.write(new, key=new_key)
        Path(f"{files.cert}.old-rotated-1").write_text(to_pem(root()[0]))
        if present == "both_but_broken":
            Path(f"{files.key}.old-rotated-1").write_text("not a key")
        other = room.restart(**files.settings)
        assert other.authorities.boot().certificate == new
        assert len(other.authorities.authority_keys()) == 1

    def test_a_copy_of_the_key_that_issues_is_not_a_former_one(
        self, room: Room, files: Files
    ) -> None:
        certificate, key = root()
        files.write(certificate, key=key)
        for path in (files.cert, files.key):
            copy = Path(f"{path}.old-rotated-1")
            copy.write_bytes(path.read_bytes())
            copy.chmod(0o600)
        found = room.restart(**files.settings).authorities.boot()
        assert found.state is CAKeyState.CURRENT
        assert found.key_ref == str(files.key)

    @pytest.mark.spec("02/ROT-8")
    def test_a_new_certificate_for_the_same_key_is_no_rotation(
        self, room: Room, files: Files
    ) -> None:
        key = generate(KeyAlgorithm.ECDSA_P256)
        for serial, days in ((1, 30), (2, 300)):
            certificate = build_root(
                "CA", key, serial=serial, not_before=EPOCH - DAY, not_after=EPOCH + days * DAY
            )
            files.write(certificate, key=key)
            found = room.restart(**files.settings).authorities.boot()
            assert found.certificate == certificate
        assert room.tags() == ["ca_key.loaded", "ca_key.recertified"]

    @pytest.mark.spec("02/ROT-1", "02/CA-1")
    def test_from_made_here_to_files_and_back(self, room: Room, files: Files) -> None:
        made = room.authorities.boot()
        certificate, key = root()
        files.write(certificate, key=key)
        other = room.restart(**files.settings)
        assert other.authorities.boot().certificate == certificate
        former = other.authorities.authority_key(made.ca_key_id)
        assert former.state is CAKeyState.PREVIOUS
        assert former.key.public_key() == made.key.public_key()
        back = room.restart(public_base="")
        assert back.authorities.ensure("iss-local", LocalConfig()).ca_key_id == made.ca_key_id
        assert back.authorities.authority_key(found_id(certificate)).state is CAKeyState.PREVIOUS

    def test_configured_files_of_another_issuer(self, room: Room, files: Files) -> None:
        certificate, key = root()
        files.write(certificate, key=key)
        config = LocalConfig(ca_cert_path=str(files.cert), ca_key_path=str(files.key))  # type: ignore[arg-type]
        assert room.authorities.ensure("iss-corp", config).certificate == certificate
        room.authorities.boot()
        assert room.authorities.signing_key("iss-local").certificate != certificate
        # At the next start, before the configuration is read, what issued goes on.
        other = room.restart(public_base="")
        assert other.authorities.boot("iss-corp").certificate == certificate

    def test_a_key_that_is_not_at_hand_does_not_sign(self, room: Room, files: Files) -> None:
        certificate, key = root()
        files.write(certificate, key=key)
        room.restart(**files.settings).authorities.boot()
        files.key.unlink()
        other = room.restart(**files.settings)
        with pytest.raises(AuthorityUnavailable):
            other.authorities.signing_key("iss-local")
        with pytest.raises(CAMaterialError) as caught:
            _ = other.authorities.authority_keys("iss-local")[0].key
        assert caught.value.code == "ca_key_unavailable"
