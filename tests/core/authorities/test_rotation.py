"""A new CA key in place of the old one, and keys out of service (02 §14)."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from certctl_core.kernel.actors import system_actor
from certctl_core.lifecycle.authorities import (
    AuthorityUnavailable,
    CAKeyInFiles,
    CAKeyState,
    CAKeyStateWrong,
    CAKeyStillNeeded,
    CAMaterialError,
    FormerCA,
    LedgerKind,
    LocalConfig,
    NewCA,
    UnknownAuthority,
)
from certctl_core.pki.keys import KeyAlgorithm
from certctl_core.pki.x509 import describe, to_pem
from tests.core.authorities.conftest import Room
from tests.core.authorities.orders import request
from tests.core.authorities.test_operator_files import Files, root

_ACTOR = system_actor("test")
_ISSUER = "iss-local"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "operator")


def rotate(room: Room, wanted: NewCA | None = None, config: LocalConfig | None = None) -> None:
    room.authorities.rotation.rotate(
        _ISSUER, config or LocalConfig(), wanted or NewCA(), actor=_ACTOR, request_id=""
    )
    room.authorities.look_again()


def issue(room: Room) -> x509.Certificate:
    """One certificate, also in the ledger."""
    issued = room.issuer().submit(request())
    leaf = x509.load_pem_x509_certificate(issued.leaf.encode())
    info = describe(leaf)
    with room.units.begin() as uow:
        room.authorities.record_issued(
            uow,
            issuer_id=_ISSUER,
            ca_key_id=room.authorities.signing_key(_ISSUER).ca_key_id,
            serial=info.serial,
            subject=info.subject,
            not_before=info.not_before,
            not_after=info.not_after,
            fingerprint_sha256=info.fingerprint_sha256,
        )
    return leaf


@pytest.mark.spec("02/ROT-1", "02/OPS-5")
def test_a_rotation_makes_a_ca_that_issues_and_keeps_the_former(room: Room) -> None:
    old = room.authorities.boot()
    rotate(room)
    new = room.authorities.signing_key(_ISSUER)
    assert new.ca_key_id != old.ca_key_id
    assert new.certificate.subject.rfc4514_string() == "CN=certctl Local CA G2"
    issue(room).verify_directly_issued_by(new.certificate)
    former = room.authorities.authority_key(old.ca_key_id)
    assert former.state is CAKeyState.PREVIOUS
    assert former.key.public_key() == old.key.public_key()
    assert room.authorities.trust_anchors(_ISSUER) == (
        to_pem(new.certificate),
        to_pem(old.certificate),
    )
    assert room.tags() == ["ca_key.loaded", "ca_key.loaded", "ca_key.changed"]
    again = room.restart().authorities
    assert again.boot().ca_key_id == new.ca_key_id
    assert again.ensure(_ISSUER, LocalConfig()).ca_key_id == new.ca_key_id


@pytest.mark.spec("02/ROT-1")
def test_name_algorithm_and_lifetime_can_be_chosen(room: Room) -> None:
    room.authorities.boot()
    wanted = NewCA(common_name="Next CA", algorithm=KeyAlgorithm.ED25519, validity_days=30)
    rotate(room, wanted)
    info = describe(room.authorities.signing_key(_ISSUER).certificate)
    assert (info.subject, info.key.name) == ("CN=Next CA", "Ed25519")
    assert info.not_after - room.clock.now() == timedelta(days=30)


def test_each_generation_has_a_name_of_its_own(room: Room) -> None:
    room.authorities.boot()
    rotate(room)
    rotate(room)
    names = {key.certificate.subject.rfc4514_string() for key in room.authorities.authority_keys()}
    assert names == {f"CN=certctl Local CA{end}" for end in ("", " G2", " G3")}


@pytest.mark.spec("02/ROT-1")
def test_who_trusts_either_root_verifies_old_and_new_certificates(
    room: Room, openssl: str, tmp_path: Path
) -> None:
    room.clock.set(room.clock.now().replace(microsecond=0))
    old = room.authorities.boot()
    before = issue(room)
    rotate(room)
    new = room.authorities.signing_key(_ISSUER)
    after = issue(room)
    former = room.authorities.authority_key(old.ca_key_id)
    assert new.cross_pem
    assert new.chain_pem.endswith(new.cross_pem)
    assert former.cross_pem
    assert former.cross_pem not in former.chain_pem
    moment = str(int(room.clock.now().timestamp()))

    def verifies(leaf: x509.Certificate, trusted: x509.Certificate, between: str) -> None:
        for name, text in (("leaf", to_pem(leaf)), ("root", to_pem(trusted)), ("chain", between)):
            (tmp_path / name).write_text(text)
        subprocess.run(
            [openssl, "verify", "-x509_strict", "-attime", moment, "-CAfile", tmp_path / "root",
             "-untrusted", tmp_path / "chain", tmp_path / "leaf"],
            check=True, capture_output=True,
        )  # fmt: skip

    verifies(after, old.certificate, new.chain_pem)
    verifies(after, new.certificate, new.chain_pem)
    verifies(before, new.certificate, former.cross_pem)
    with room.units.read() as uow:
        for signed_by, pem in ((old, new.cross_pem), (new, former.cross_pem)):
            cross = describe(x509.load_pem_x509_certificate(pem.encode()))
            found = room.authorities.find_issued(uow, _ISSUER, cross.serial)
            assert found is not None
            assert (found.kind, found.ca_key_id) == (LedgerKind.SUB_CA, signed_by.ca_key_id)


def test_no_cross_certificate_when_it_is_not_wanted_or_the_name_stays(room: Room) -> None:
    room.authorities.boot()
    rotate(room, NewCA(cross_sign=False))
    assert room.authorities.signing_key(_ISSUER).cross_pem == ""
    name = "certctl Local CA G2"
    rotate(room, NewCA(common_name=name))
    assert room.authorities.signing_key(_ISSUER).cross_pem == ""


@pytest.mark.spec("02/ROT-1")
def test_a_ca_in_files_is_not_rotated_here(room: Room, files: Files) -> None:
    certificate, key = root()
    files.write(certificate, key=key)
    other = room.restart(**files.settings)
    other.authorities.boot()
    with pytest.raises(CAKeyInFiles) as caught:
        rotate(other)
    assert str(files.cert) in str(caught.value)
    assert "old-rotated" in caught.value.hint
    assert len(other.authorities.authority_keys()) == 1


class TestCompromised:
    @pytest.mark.spec("02/ROT-6")
    def test_a_compromised_key_signs_nothing_and_leaves_the_bundle(self, room: Room) -> None:
        old = room.authorities.boot()
        issue(room)
        rotate(room)
        with room.units.begin(_ACTOR) as uow:
            count = room.authorities.rotation.mark_compromised(
                uow, _ISSUER, old.ca_key_id, note="lost laptop"
            )
        room.authorities.look_again()
        assert count == 1
        found = room.authorities.authority_key(old.ca_key_id)
        assert found.state is CAKeyState.COMPROMISED
        with pytest.raises(CAMaterialError):
            _ = found.key
        new = room.authorities.signing_key(_ISSUER)
        assert room.authorities.trust_anchors(_ISSUER) == (to_pem(new.certificate),)
        assert new.chain_pem == new.cross_pem == ""
        event = room.events[-1].event
        assert event.tag == "ca_key.compromised"
        assert (event.note, event.unexpired, event.former_state) == ("lost laptop", 1, "previous")  # type: ignore[attr-defined]

    @pytest.mark.spec("02/ROT-6")
    def test_the_key_that_issues_stops_issuing(self, room: Room) -> None:
        key = room.authorities.boot()
        with room.units.begin(_ACTOR) as uow:
            room.authorities.rotation.mark_compromised(uow, _ISSUER, key.ca_key_id, note="")
        room.authorities.look_again()
        with pytest.raises(AuthorityUnavailable):
            room.authorities.signing_key(_ISSUER)

    @pytest.mark.spec("02/ROT-6")
    def test_its_renamed_files_do_not_bring_it_back(self, room: Room, files: Files) -> None:
        old, old_key = root()
        files.write(old, key=old_key)
        first = room.restart(**files.settings)
        before = first.authorities.boot()
        for path in (files.cert, files.key):
            path.rename(f"{path}.old-rotated-1")
        new, new_key = root()
        files.write(new, key=new_key)
        second = room.restart(**files.settings)
        second.authorities.boot()
        with room.units.begin(_ACTOR) as uow:
            second.authorities.rotation.mark_compromised(uow, _ISSUER, before.ca_key_id, note="")
        third = room.restart(**files.settings)
        assert third.authorities.boot().certificate == new
        assert third.authorities.authority_key(before.ca_key_id).state is CAKeyState.COMPROMISED

    @pytest.mark.spec("02/ROT-6")
    def test_its_files_in_place_stop_the_start(self, room: Room, files: Files) -> None:
        certificate, key = root()
        files.write(certificate, key=key)
        first = room.restart(**files.settings)
        found = first.authorities.boot()
        with room.units.begin(_ACTOR) as uow:
            first.authorities.rotation.mark_compromised(uow, _ISSUER, found.ca_key_id, note="")
        with pytest.raises(CAMaterialError) as caught:
            room.restart(**files.settings).authorities.boot()
        assert caught.value.code == "ca_key_out_of_service"
        assert "compromised" in str(caught.value)

    def test_twice_and_unknown_are_refused(self, room: Room) -> None:
        key = room.authorities.boot()
        rotation = room.authorities.rotation
        with room.units.begin(_ACTOR) as uow:
            rotation.mark_compromised(uow, _ISSUER, key.ca_key_id.upper(), note="")
        for ca_key_id, error in ((key.ca_key_id, CAKeyStateWrong), ("00" * 20, UnknownAuthority)):
            with pytest.raises(error), room.units.begin(_ACTOR) as uow:
                rotation.mark_compromised(uow, _ISSUER, ca_key_id, note="")


class TestRetired:
    @pytest.mark.spec("02/ROT-2")
    def test_only_when_the_last_certificate_has_expired(self, room: Room) -> None:
        old = room.authorities.boot()
        leaf = issue(room)
        rotate(room, NewCA(cross_sign=False))
        rotation = room.authorities.rotation
        with pytest.raises(CAKeyStillNeeded) as caught, room.units.begin(_ACTOR) as uow:
            rotation.retire(uow, _ISSUER, old.ca_key_id)
        assert caught.value.data["unexpired"] == 1
        room.clock.set(leaf.not_valid_after_utc + timedelta(seconds=1))
        with room.units.begin(_ACTOR) as uow:
            rotation.retire(uow, _ISSUER, old.ca_key_id)
        room.authorities.look_again()
        assert room.authorities.authority_key(old.ca_key_id).state is CAKeyState.RETIRED
        assert room.tags()[-1] == "ca_key.retired"

    def test_the_key_that_issues_cannot_be_retired(self, room: Room) -> None:
        key = room.authorities.boot()
        with pytest.raises(CAKeyStateWrong), room.units.begin(_ACTOR) as uow:
            room.authorities.rotation.retire(uow, _ISSUER, key.ca_key_id)


class TestFormerCAsOfTheSettings:
    @pytest.mark.spec("02/ROT-2")
    def test_they_sign_crl_and_ocsp_only(self, room: Room, files: Files, tmp_path: Path) -> None:
        old, old_key = root("Elsewhere CA")
        elsewhere = Files(tmp_path / "elsewhere")
        elsewhere.write(old, key=old_key)
        former = FormerCA(cert_path=elsewhere.cert, key_ref=str(elsewhere.key))
        other = room.restart(ca_previous=(former,))
        made = other.authorities.boot()
        states = {
            key.certificate.subject.rfc4514_string(): key.state
            for key in other.authorities.authority_keys(_ISSUER)
        }
        assert states["CN=Elsewhere CA"] is CAKeyState.PREVIOUS
        assert made.state is CAKeyState.CURRENT
        assert to_pem(old) in other.authorities.trust_anchors(_ISSUER)
        # Also beside files, and known again without being taken in twice.
        certificate, key = root()
        files.write(certificate, key=key)
        both = room.restart(ca_previous=(former,), **files.settings)
        assert both.authorities.boot().certificate == certificate
        assert room.tags().count("ca_key.loaded") == 3

    @pytest.mark.spec("02/ROT-2")
    def test_a_bad_one_is_left_out(self, room: Room, tmp_path: Path) -> None:
        former = FormerCA(cert_path=tmp_path / "none.crt", key_ref="pkcs11:token=gone")
        room.restart(ca_previous=(former,)).authorities.boot()
