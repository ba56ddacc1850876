"""TLS pairs: what is refused, and when the server's own certificate is replaced."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from certctl_server.first_start import FreshDirectory
from certctl_server.own_certificate import RETRY, OwnCertificate, _names_of
from certctl_server.tls import HeldPair, TLSPair, TLSPairUnusable, check_pair

from certctl_core.app import Core
from certctl_core.pki.x509 import split_pem
from certctl_core.testing.fakes import FakeClock
from tests.core.hierarchy.support import Tree

_NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
_CA = trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture
def pair(tmp_path: Path) -> TLSPair:
    """A usable pair of files."""
    leaf = _CA.issue_cert(
        "server.example.test",
        not_before=_NOW - timedelta(days=1),
        not_after=_NOW + timedelta(days=9),
    )
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    certificate.write_bytes(leaf.cert_chain_pems[0].bytes())
    key.touch(0o600)
    key.write_bytes(leaf.private_key_pem.bytes())
    return TLSPair(certificate=certificate, key=key, is_own=False)


def test_a_good_pair_is_described(pair: TLSPair) -> None:
    found = check_pair(pair, now=_NOW)

    assert found.not_after == _NOW + timedelta(days=9)
    assert int(found.serial_number, 16) > 0


def _other_key(pair: TLSPair) -> None:
    pair.key.write_bytes(_CA.issue_cert("other.example.test").private_key_pem.bytes())


def _encrypted(pair: TLSPair) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pair.key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"a passphrase"),
        )
    )


@pytest.mark.spec("08/GUARD-13")
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda pair: pair.certificate.unlink(), "certificate file .* cannot be read"),
        (lambda pair: pair.key.unlink(), "key file .* cannot be read"),
        (lambda pair: pair.certificate.write_text(""), "certificate file .* is empty"),
        (lambda pair: pair.certificate.write_text("nothing"), "no usable certificate"),
        (lambda pair: pair.certificate.write_bytes(b"\xff\xfe"), "is not PEM"),
        (lambda pair: pair.key.write_text("nothing"), "cannot be used with the certificate"),
        (lambda pair: pair.key.chmod(0o644), "mode 0644"),
        (_other_key, "cannot be used with the certificate"),
        (_encrypted, "passphrase"),
    ],
    ids=[
        "no_certificate_file",
        "no_key_file",
        "empty_certificate",
        "no_certificate_in_it",
        "binary_certificate",
        "no_key_in_it",
        "key_open_to_others",
        "key_of_another",
        "encrypted_key",
    ],
)
def test_a_bad_pair_is_refused(pair: TLSPair, spoil: Callable[[TLSPair], None], said: str) -> None:
    spoil(pair)

    with pytest.raises(TLSPairUnusable, match=said):
        check_pair(pair, now=_NOW)


def test_an_expired_pair_is_refused(pair: TLSPair) -> None:
    with pytest.raises(TLSPairUnusable, match="expired on 2026-01-24"):
        check_pair(pair, now=_NOW + timedelta(days=9))


def test_a_held_pair_outlives_its_files(pair: TLSPair) -> None:
    held = HeldPair.read(pair)
    pair.certificate.unlink()
    pair.key.unlink()

    assert check_pair(held.pair, now=_NOW).not_after == _NOW + timedelta(days=9)
    assert pair.digest() == ""
    held.close()


def test_a_replaced_file_has_another_stamp(pair: TLSPair, tmp_path: Path) -> None:
    before = pair.stamp()
    other = tmp_path / "other"
    other.write_bytes(pair.certificate.read_bytes())
    other.replace(pair.certificate)

    assert pair.stamp() != before


@pytest.mark.spec("08/TLS-6")
class TestOwnCertificate:
    def _serial(self, own: OwnCertificate) -> int:
        return split_pem(own.path.read_text())[0].serial_number

    def test_is_replaced_when_two_thirds_of_its_life_are_over(
        self, core: Core, clock: FakeClock
    ) -> None:
        own = OwnCertificate(core)
        due = own.ensure()
        first = self._serial(own)

        clock.advance(due - clock.now() - timedelta(minutes=1))
        assert own.ensure() == due
        assert self._serial(own) == first

        clock.advance(timedelta(minutes=2))
        assert own.ensure() > due
        assert self._serial(own) != first
        with core.units.read() as uow:
            assert core.rooms.certificates.get(uow, "mc-certctl-server").status == "Active"

    def test_is_replaced_when_it_is_damaged_or_somebody_elses(
        self, core: Core, pair: TLSPair
    ) -> None:
        own = OwnCertificate(core)
        own.ensure()
        first = self._serial(own)
        own.path.write_text("damaged")
        own.ensure()
        second = self._serial(own)
        own.path.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
        own.ensure()

        assert len({first, second, self._serial(own)}) == 3

    def test_a_revoked_one_is_followed_by_a_new_certificate(self, core: Core) -> None:
        own = OwnCertificate(core)
        own.ensure()
        core.call(
            "certificates.revoke",
            path={"certificate_id": "mc-certctl-server"},
            body={"reason": "keyCompromise"},
        )
        own.path.unlink()
        own.ensure()

        assert "mc-certctl-server-" in own.path.read_text().splitlines()[0]

    def test_other_names_are_another_certificate(self, core: Core) -> None:
        own = OwnCertificate(core)
        own.ensure()
        server = core.settings.server.model_copy(update={"tls_sans": ("two.example.test",)})
        core.settings = core.settings.model_copy(update={"server": server})
        changed = OwnCertificate(core)
        changed.ensure()

        assert "mc-certctl-server-" in own.path.read_text().splitlines()[0]
        leaf = split_pem(own.path.read_text())[0]
        assert set(_names_of(leaf)) == set(changed.names())
        assert "two.example.test" in changed.names()
        with core.units.read() as uow:
            assert core.rooms.certificates.get(uow, "mc-certctl-server").status == "Archived"

    @pytest.mark.spec("02/HIER-6")
    def test_the_old_one_goes_on_while_no_ca_may_issue(self, core: Core, clock: FakeClock) -> None:
        tree = Tree(core)
        issuing = tree.child(tree.own_root(), "Issuing CA")
        tree.issue_by(issuing)
        own = OwnCertificate(core)
        own.ensure()
        first = self._serial(own)
        tree.revoke(issuing, reason="keyCompromise")
        assert own.ensure() == clock.now() + RETRY
        assert self._serial(own) == first
        tree.issue_by(None)
        own.ensure()
        assert self._serial(own) != first

    def test_the_anchors_verify_it(self, core: Core) -> None:
        own = OwnCertificate(core)
        own.ensure()
        anchors = own.write_anchors()

        assert anchors is not None
        authority = split_pem(anchors.read_text())[0]
        split_pem(own.path.read_text())[-1].verify_directly_issued_by(authority)


class TestFreshDirectory:
    def test_takes_away_what_a_failed_first_start_made(self, tmp_path: Path) -> None:
        directory = tmp_path / "a" / "b"
        fresh = FreshDirectory(directory, undoable=True)
        (directory / "ca").mkdir(parents=True)
        (directory / "ca" / "key.pem").touch()
        (directory / "certctl.db").touch()

        fresh.undo()

        assert list(tmp_path.iterdir()) == []

    def test_leaves_what_was_there(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").touch()
        fresh = FreshDirectory(tmp_path, undoable=True)
        (tmp_path / "certctl.db").touch()

        fresh.undo()

        assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]

    def test_touches_no_installation(self, tmp_path: Path) -> None:
        fresh = FreshDirectory(tmp_path, undoable=False)
        (tmp_path / "certctl.db").touch()

        fresh.undo()

        assert (tmp_path / "certctl.db").exists()
