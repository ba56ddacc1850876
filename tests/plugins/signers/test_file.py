"""Key files (spec 02 SIGN-3 … SIGN-5)."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
import warnings
from pathlib import Path

import pytest
from certctl_signers.file import KeyFiles

from certctl_core.contracts.options import ConfigInvalid, Secret, validate_config
from certctl_core.contracts.signers import (
    KeyAlgorithm,
    KeyNotFound,
    KeyRefInvalid,
    KeyRefTaken,
    KeyRejectedBySigner,
    KeyUnsafe,
    SignerUnavailable,
)
from certctl_core.pki.keys import spki_der
from certctl_core.testing.plugin_fakes import fake_context
from certctl_core.testing.signer import SignerContract

PHRASE = "a passphrase for tests"


class TestContract(SignerContract):
    plugin = KeyFiles

    @pytest.fixture
    def raw_config(self, tmp_path):
        return {"key_root": str(tmp_path / "keys")}


class TestContractEncrypted(SignerContract):
    plugin = KeyFiles

    @pytest.fixture
    def raw_config(self, tmp_path):
        return {"key_root": str(tmp_path / "keys"), "passphrase": PHRASE}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "keys"


def signer_of(root, **extra):
    return KeyFiles(
        validate_config(KeyFiles.Config, {"key_root": str(root), **extra}), fake_context()
    )


@pytest.fixture
def signer(root):
    return signer_of(root)


@pytest.fixture
def made(signer):
    return signer.generate(KeyAlgorithm.ECDSA_P256, "ca/iss-local")


def as_somebody(work, group, more_groups):
    """What ``work`` gives in a process of user 65534 with these groups."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside other threads
        child = os.fork()
    if not child:
        try:
            os.setgroups(more_groups)
            os.setgid(group)
            os.setuid(65534)
            os.write(writing, work())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        found = pipe.read()
    os.waitpid(child, 0)
    return found


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def openssl(*arguments, **options):
    return subprocess.run(
        ["openssl", *arguments], check=True, capture_output=True, text=True, **options
    ).stdout


@pytest.mark.spec("02/SIGN-4")
class TestGenerate:
    def test_key_is_pkcs8_in_a_private_place(self, root, made):
        path = root / made.ref
        assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----")
        assert mode_of(path) == 0o600
        assert mode_of(root) == mode_of(root / "ca") == 0o700
        assert [p.name for p in (root / "ca").iterdir()] == [path.name]

    def test_openssl_reads_it(self, root, made):
        assert "P-256" in openssl("pkey", "-in", str(root / made.ref), "-noout", "-text")

    def test_umask_does_not_matter(self, root):
        before = os.umask(0)
        try:
            made = signer_of(root).generate(KeyAlgorithm.ED25519, "ca/x")
        finally:
            os.umask(before)
        assert mode_of(root / made.ref) == 0o600
        assert mode_of(root) == 0o700

    def test_wider_directory_is_tightened(self, root):
        (root / "ca").mkdir(parents=True)
        root.chmod(0o755)
        (root / "ca").chmod(0o775)
        signer_of(root).generate(KeyAlgorithm.ED25519, "ca/x")
        assert mode_of(root) == mode_of(root / "ca") == 0o700

    def test_directory_that_is_a_link_is_refused(self, root, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        root.mkdir()
        (root / "ca").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(KeyUnsafe):
            signer_of(root).generate(KeyAlgorithm.ED25519, "ca/x")
        assert list((tmp_path / "elsewhere").iterdir()) == []

    @pytest.mark.parametrize("path", ["", ".", "/", "keys", "/a/../b"])
    def test_senseless_roots_are_refused(self, path):
        with pytest.raises(ConfigInvalid):
            validate_config(KeyFiles.Config, {"key_root": path})

    def test_existing_file_is_never_replaced(self, root, made, monkeypatch):
        known = signer_of(root).load(made.ref)
        monkeypatch.setattr("certctl_signers.file.generate", lambda _: known)
        before = (root / made.ref).read_bytes()
        with pytest.raises(KeyRefTaken):
            signer_of(root).generate(KeyAlgorithm.ECDSA_P256, "ca/iss-local")
        assert (root / made.ref).read_bytes() == before
        assert len(list((root / "ca").iterdir())) == 1

    def test_full_disk_leaves_nothing(self, root, monkeypatch):
        signer = signer_of(root)

        def no_space(_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("certctl_signers.file.os.fsync", no_space)
        with pytest.raises(SignerUnavailable) as caught:
            signer.generate(KeyAlgorithm.ED25519, "ca/x")
        assert "No space" in caught.value.detail
        assert list((root / "ca").iterdir()) == []

    def test_encrypted_when_a_passphrase_is_set(self, root):
        signer = signer_of(root, passphrase=PHRASE)
        made = signer.generate(KeyAlgorithm.ECDSA_P384, "ca/x")
        assert "ENCRYPTED" in (root / made.ref).read_text()
        assert PHRASE not in repr(signer.config)
        with pytest.raises(KeyRejectedBySigner):
            signer_of(root).load(made.ref)
        with pytest.raises(KeyRejectedBySigner) as caught:
            signer_of(root, passphrase="another passphrase").load(made.ref)
        assert "passphrase" in caught.value.detail


@pytest.mark.spec("02/SIGN-3")
class TestLoad:
    @pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o601, 0o610, 0o644, 0o666, 0o700 | 0o7])
    def test_wide_mode_is_refused(self, root, signer, made, mode):
        (root / made.ref).chmod(mode)
        status = (root / made.ref).stat()
        if status.st_uid == 0 and mode == 0o640 and status.st_gid == os.getegid():
            assert signer.load(made.ref)  # the one exception of SIGN-3
            return
        with pytest.raises(KeyUnsafe) as caught:
            signer.load(made.ref)
        assert "0600" in caught.value.detail

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
    def test_root_owned_file_of_a_foreign_group_is_refused(self, root, signer, made):
        (root / made.ref).chmod(0o640)
        os.chown(root / made.ref, 0, 54321)
        with pytest.raises(KeyUnsafe):
            signer.load(made.ref)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
    @pytest.mark.parametrize(
        ("group", "more_groups", "is_taken"),
        [(54321, [], True), (65534, [54321], True), (65534, [], False)],
        ids=["own_group", "further_group", "foreign"],
    )
    def test_root_owned_file_is_for_the_group_of_the_service(self, group, more_groups, is_taken):
        """root:service 0640, as packages install it: a service without root's rights reads it."""
        folder = Path(tempfile.mkdtemp())  # pytest's own folders let nobody else in
        try:
            folder.chmod(0o755)
            made = signer_of(folder / "keys").generate(KeyAlgorithm.ECDSA_P256, "ca/x")
            key = folder / "keys" / made.ref
            for place in (key.parent, folder / "keys"):
                place.chmod(0o755)
            os.chown(key, 0, 54321)
            key.chmod(0o640)
            signer = signer_of(folder / "keys")

            def load():
                try:
                    return spki_der(signer.load(made.ref).public_key())
                except KeyUnsafe:
                    return b""

            found = as_somebody(load, group, more_groups)
        finally:
            shutil.rmtree(folder)
        assert found == (spki_der(made.key.public_key()) if is_taken else b"")

    @pytest.mark.parametrize("style", ["pkcs1", "sec1", "pkcs8", "pkcs8_encrypted", "legacy"])
    def test_reads_what_openssl_writes(self, root, style):
        root.mkdir(mode=0o700)
        path = root / "key.pem"
        extra = {}
        if style == "pkcs1":
            openssl("genrsa", "-traditional", "-out", str(path), "2048")
        elif style == "sec1":
            openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(path))
        elif style == "legacy":
            openssl("genrsa", "-traditional", "-aes128", "-passout", "pass:" + PHRASE,
                    "-out", str(path), "2048")  # fmt: skip
            extra = {"passphrase": PHRASE}
        else:
            cipher = [] if style == "pkcs8" else ["-aes256", "-pass", "pass:" + PHRASE]
            openssl("genpkey", "-algorithm", "ED25519", *cipher, "-out", str(path))
            extra = {"passphrase": PHRASE} if cipher else {}
        path.chmod(0o600)
        loaded = signer_of(root, **extra).load("key.pem")
        public = openssl("pkey", "-in", str(path), "-pubout", "-passin", "pass:" + PHRASE)
        assert public.split()[3][:30] in _pem(loaded)

    def test_passphrase_is_not_used_on_plain_keys(self, root, made):
        assert signer_of(root, passphrase=PHRASE).load(made.ref)

    @pytest.mark.parametrize(
        "content",
        [b"", b"\xff\xfe", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"],
        ids=["empty", "binary", "no_key"],
    )
    def test_garbage_is_refused(self, root, signer, content):
        root.mkdir()
        (root / "x.key").write_bytes(content)
        (root / "x.key").chmod(0o600)
        with pytest.raises(KeyRejectedBySigner):
            signer.load("x.key")

    def test_oversized_file_is_refused(self, root, signer, made):
        with (root / made.ref).open("ab") as file:
            file.write(b"\n" * 70_000)
        with pytest.raises(KeyRejectedBySigner):
            signer.load(made.ref)

    def test_weak_key_is_refused_at_load(self, root, signer):
        root.mkdir()
        openssl("genrsa", "-out", str(root / "weak.key"), "1024")
        (root / "weak.key").chmod(0o600)
        with pytest.raises(KeyRejectedBySigner) as caught:
            signer.load("weak.key")
        assert "weak" in caught.value.detail

    def test_neither_pipe_nor_directory_holds_it_up(self, root, signer):
        (root / "folder").mkdir(parents=True)
        os.mkfifo(root / "pipe", 0o600)
        for ref in ("pipe", "folder"):
            with pytest.raises(KeyUnsafe):
                signer.load(ref)


@pytest.mark.spec("02/SIGN-5")
class TestPaths:
    def test_absolute_path_below_the_root_is_taken(self, root, signer, made):
        loaded = signer.load(str(root / made.ref))
        assert spki_der(loaded.public_key()) == spki_der(made.key.public_key())

    def test_directory_may_move(self, root, made, tmp_path):
        root.rename(tmp_path / "moved")
        assert signer_of(tmp_path / "moved").load(made.ref)

    @pytest.mark.parametrize("ref", ["../keysbar/k", "ca/../../keysbar/k", ".", "/", "a\0b", ""])
    def test_path_out_of_the_root_is_refused(self, tmp_path, signer, made, ref):
        (tmp_path / "keysbar").mkdir()
        (tmp_path / "keysbar" / "k").write_bytes(b"x")
        with pytest.raises(KeyRefInvalid):
            signer.load(ref)

    def test_sibling_with_the_same_beginning_is_outside(self, tmp_path, signer, made):
        (tmp_path / "keysbar").mkdir()
        (tmp_path / "keysbar" / "k").write_bytes(b"x")
        with pytest.raises(KeyRefInvalid):
            signer.load(str(tmp_path / "keysbar" / "k"))

    def test_link_inside_is_followed_and_link_outside_refused(self, root, tmp_path, signer, made):
        (root / "current.key").symlink_to(root / made.ref)
        assert signer.load("current.key")
        outside = tmp_path / "outside.key"
        outside.write_bytes((root / made.ref).read_bytes())
        outside.chmod(0o600)
        (root / "escape.key").symlink_to(outside)
        with pytest.raises(KeyUnsafe) as caught:
            signer.load("escape.key")
        assert "link" in caught.value.detail

    def test_absent_key_is_not_found(self, signer, made):
        for ref in ("ca/none.key", f"{made.ref}/below"):
            with pytest.raises(KeyNotFound):
                signer.load(ref)

    def test_root_may_be_reached_through_a_link(self, root, tmp_path, made):
        (tmp_path / "link").symlink_to(root)
        assert signer_of(tmp_path / "link").load(made.ref)
        assert signer_of(tmp_path / "link").load(str(tmp_path / "link" / made.ref))


def test_errors_hold_neither_key_nor_passphrase(root, made):
    text = (root / made.ref).read_text()
    (root / made.ref).write_text(text.replace("MI", "XX"))
    with pytest.raises(KeyRejectedBySigner) as caught:
        signer_of(root, passphrase=PHRASE).load(made.ref)
    assert PHRASE not in str(caught.value)
    assert text.splitlines()[1] not in f"{caught.value}{caught.value.log}"
    assert Secret(PHRASE).reveal() not in repr(caught.value)


def _pem(key):
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
