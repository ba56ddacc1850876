"""A CA that is made here: once, kept, the same after every restart (02 §5)."""

from __future__ import annotations

import stat
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from certctl_core.lifecycle.authorities import (
    AuthorityUnavailable,
    CAKeyState,
    CAMaterialError,
    LocalConfig,
    UnknownAuthority,
)
from certctl_core.pki.keys import KeyAlgorithm, ca_key_id, describe_key

if TYPE_CHECKING:
    from tests.core.authorities.conftest import Room


@pytest.mark.spec("02/CA-2")
def test_the_first_start_makes_a_ca_and_the_next_ones_find_it(room: Room) -> None:
    first = room.authorities.boot()
    again = room.restart().authorities.boot()
    assert again.certificate == first.certificate
    assert again.key.public_key() == first.key.public_key()
    assert room.tags() == ["ca_key.loaded"]


@pytest.mark.spec("02/CA-2", "02/SIGN-4")
@pytest.mark.parametrize("signer_kind", ["file"])
def test_the_key_lies_in_the_data_directory_for_the_owner_only(room: Room) -> None:
    room.authorities.boot()
    (key_file,) = (room.data_dir / "ca").iterdir()
    assert key_file.name.startswith("iss-local-")
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(key_file.parent.stat().st_mode) == 0o700


@pytest.mark.spec("02/CA-3")
def test_the_certificate_is_a_proper_ca(room: Room, openssl: str, tmp_path: Path) -> None:
    key = room.authorities.boot()
    certificate = key.certificate
    extensions = certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    ski = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert constraints.critical
    assert constraints.value.ca
    assert usage.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    assert not usage.value.digital_signature
    assert ski.digest.hex() == key.ca_key_id == ca_key_id(certificate.public_key())
    assert describe_key(certificate.public_key()).name == KeyAlgorithm.ECDSA_P256
    assert certificate.serial_number > 1 << 64
    path = tmp_path / "ca.pem"
    path.write_text(key.certificate_pem)
    subprocess.run([openssl, "verify", "-x509_strict", "-CAfile", path, path], check=True)


@pytest.mark.spec("02/CA-3")
def test_direct_ocsp_signing_puts_the_bit_into_the_certificate(room: Room) -> None:
    key = room.restart(ocsp_direct_signing=True).authorities.boot()
    assert key.may_sign_ocsp
    assert key.may_sign_crls


@pytest.mark.spec("02/CA-2")
def test_another_configuration_does_not_touch_a_ca_that_exists(room: Room) -> None:
    first = room.authorities.boot()
    config = LocalConfig(ca_common_name="Other CA", ca_key_algorithm=KeyAlgorithm.RSA_2048)
    again = room.authorities.ensure("iss-local", config)
    assert again.certificate == first.certificate


def test_each_issuer_has_a_ca_of_its_own(room: Room) -> None:
    one = room.authorities.boot()
    room.clock.advance(timedelta(seconds=1))
    config = LocalConfig(ca_common_name="Second CA", ca_key_algorithm=KeyAlgorithm.ED25519)
    two = room.authorities.ensure("iss-second", config)
    assert one.ca_key_id != two.ca_key_id
    assert two.certificate.subject.rfc4514_string() == "CN=Second CA"
    assert describe_key(two.certificate.public_key()).name == "Ed25519"
    assert room.authorities.signing_key("iss-local").ca_key_id == one.ca_key_id
    assert [key.issuer_id for key in room.authorities.authority_keys()] == [
        "iss-local",
        "iss-second",
    ]


def test_two_processes_that_start_together_make_one_ca(room: Room) -> None:
    other = room.restart()
    one, two = room.authorities.boot(), other.authorities.boot()
    assert one.certificate == two.certificate
    if room.settings.signer == "file":
        assert len(list((room.data_dir / "ca").iterdir())) == 1


def test_another_process_sees_a_new_ca_after_the_wake_up(room: Room) -> None:
    other = room.restart()
    with pytest.raises(AuthorityUnavailable):
        other.authorities.signing_key("iss-local")
    made = room.authorities.boot()
    other.authorities.look_again()
    assert other.authorities.signing_key("iss-local").ca_key_id == made.ca_key_id


@pytest.mark.spec("02/CA-5")
@pytest.mark.parametrize("signer_kind", ["file"])
def test_a_lost_key_file_stops_the_start_and_says_which(room: Room) -> None:
    key = room.authorities.boot()
    assert key.key_ref is not None
    (room.data_dir / key.key_ref).unlink()
    with pytest.raises(CAMaterialError) as caught:
        room.restart().authorities.boot()
    assert caught.value.code == "ca_file_unreadable"
    assert caught.value.data["path"] == key.key_ref


@pytest.mark.spec("02/SIGN-3", "08/GUARD-13")
@pytest.mark.parametrize("signer_kind", ["file"])
def test_a_key_file_that_others_may_read_stops_the_start(room: Room) -> None:
    key = room.authorities.boot()
    assert key.key_ref is not None
    (room.data_dir / key.key_ref).chmod(0o644)
    with pytest.raises(CAMaterialError) as caught:
        room.restart().authorities.boot()
    assert caught.value.code == "ca_key_permissions"
    assert "0644" in str(caught.value)


@pytest.mark.spec("02/CA-5")
def test_an_expired_ca_starts_but_never_signs_a_leaf(room: Room) -> None:
    config = LocalConfig(ca_validity_days=30)
    room.authorities.ensure("iss-local", config)
    room.clock.advance(timedelta(days=31))
    again = room.restart()
    key = again.authorities.boot()
    assert key.private_key is not None
    assert again.authorities.find_current("iss-local") is not None
    with pytest.raises(AuthorityUnavailable):
        again.authorities.signing_key("iss-local")


@pytest.mark.spec("02/CA-2")
def test_an_ephemeral_ca_ends_with_its_process(room: Room) -> None:
    config = LocalConfig(ephemeral=True)
    one = room.authorities.ensure("iss-test", config)
    assert room.authorities.ensure("iss-test", config).ca_key_id == one.ca_key_id
    other = room.restart()
    two = other.authorities.ensure("iss-test", config)
    assert two.ca_key_id != one.ca_key_id
    assert other.authorities.authority_key(one.ca_key_id).state is CAKeyState.PREVIOUS
    assert other.authorities.authority_key(one.ca_key_id).private_key is None
    assert not (room.data_dir / "ca").exists()


@pytest.mark.parametrize("issuer_id", ["..x", "-leading", "i" * 128])
def test_every_legal_issuer_id_can_have_a_ca(room: Room, issuer_id: str) -> None:
    assert room.authorities.ensure(issuer_id, LocalConfig()).issuer_id == issuer_id


@pytest.mark.parametrize("signer_kind", ["file"])
def test_a_signer_that_cannot_make_a_key_is_named(room: Room) -> None:
    (room.data_dir).mkdir()
    (room.data_dir / "ca").write_text("a file where the directory should be")
    with pytest.raises(CAMaterialError) as caught:
        room.authorities.boot()
    assert caught.value.code == "ca_key_unavailable"
    assert str(caught.value.data["path"]).startswith("file:ca/iss-local-")
    assert room.authorities.find_current("iss-local") is None


def test_an_unknown_key_id_is_not_found(room: Room) -> None:
    room.authorities.boot()
    with pytest.raises(UnknownAuthority):
        room.authorities.authority_key("00" * 20)


@pytest.mark.spec("02/CERT-13", "02/CERT-14")
def test_the_view_shows_place_dates_and_addresses_and_no_key(room: Room) -> None:
    key = room.authorities.boot()
    (view,) = room.authorities.keys("iss-local")
    assert view.ca_key_id == key.ca_key_id
    assert view.crl_urls == [
        f"http://pki.example.com/.well-known/pki/crl/iss-local/{key.ca_key_id}"
    ]
    assert view.ocsp_urls == ["http://pki.example.com/.well-known/pki/ocsp/iss-local"]
    assert view.ca_issuer_urls == [
        f"http://pki.example.com/.well-known/pki/ca/iss-local/{key.ca_key_id}"
    ]
    assert view.can_sign
    assert "PRIVATE" not in view.model_dump_json()
    assert "PrivateKey" not in repr(key)


def test_settings_without_a_public_address_leave_the_pointers_out(room: Room) -> None:
    other = room.restart(public_base="")
    urls = other.authorities.boot().urls
    assert (urls.crl, urls.ocsp, urls.ca_issuers) == ((), (), ())


def test_configured_addresses_replace_the_derived_ones(room: Room) -> None:
    config = LocalConfig.model_validate(
        {"crl_distribution_point_urls": ["http://crl.example.com/ca.crl"]}
    )
    urls = room.authorities.ensure("iss-local", config).urls
    assert urls.crl == ("http://crl.example.com/ca.crl",)
    assert urls.ocsp == ("http://pki.example.com/.well-known/pki/ocsp/iss-local",)
