"""Keys as PEM files in a directory of their own (spec 02 SIGN-3 … SIGN-5).

Reads PKCS#8 (plain or encrypted), PKCS#1 and SEC 1; writes PKCS#8. A reference is a path below the
key directory, so the directory may move; an absolute path is taken, too, if it leads there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from pathlib import Path

from typing_extensions import override

from certctl_core.contracts.options import AbsPath, PluginConfig, Secret, option, secret
from certctl_core.contracts.plugin import hookimpl
from certctl_core.contracts.signers import (
    GeneratedKey,
    KeyAlgorithm,
    KeyNotFound,
    KeyRefInvalid,
    KeyRefTaken,
    KeyRejectedBySigner,
    KeyUnsafe,
    SignerProvider,
    SignerUnavailable,
    SigningKey,
    check_private,
)
from certctl_core.kernel.secrets import Credential, open_private_key
from certctl_core.pki.errors import PKIError
from certctl_core.pki.keys import ca_key_id, generate, private_key_pem

MAX_KEY_FILE = 65_536
"""Bytes; the largest RSA key with comments has a tenth of it."""

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class FileConfig(PluginConfig):
    """Where the keys lie."""

    key_root: AbsPath = option(
        title="Key directory",
        help="Keys are read and made below it only. It is made with mode 0700.",
        example="/var/lib/certctl/keys",
    )
    passphrase: Secret | None = secret(
        None,
        title="Passphrase",
        help="Encrypts the keys that are made here and opens encrypted ones.",
    )


class KeyFiles(SignerProvider):
    """Loads and makes key files; keeps nothing open."""

    kind = "file"
    title = "Key files"
    api_version = 1
    summary = "PEM files, mode 0600, in a directory that only the service may enter."
    Config = FileConfig
    config: FileConfig

    @override
    def load(self, ref: str) -> SigningKey:
        data = self._read(self._existing(ref), ref)
        passphrase = self.config.passphrase if b"ENCRYPTED" in data else None
        try:
            return open_private_key(Credential(data), passphrase=passphrase)
        except PKIError as error:
            raise KeyRejectedBySigner(ref=ref, reason=error.detail.rstrip(".")) from None

    @override
    def generate(self, algorithm: KeyAlgorithm, ref_hint: str) -> GeneratedKey:
        segments = ref_hint.split("/")
        if not all(_SEGMENT.fullmatch(segment) and ".." not in segment for segment in segments):
            raise KeyRefInvalid(reason="a hint has words of A-Z a-z 0-9 . _ - with / between")
        try:
            key = generate(algorithm)
        except PKIError as error:
            raise KeyRejectedBySigner(ref=algorithm.value, reason=error.detail) from None
        # The key's own id makes the name unique and says later which key a file holds.
        segments[-1] = f"{segments[-1]}-{ca_key_id(key.public_key())[:16]}.key"
        ref = "/".join(segments)
        try:
            folder = self._safe_folder(segments[:-1])
            _write_once(folder / segments[-1], self._pem(key), ref)
        except OSError as error:
            raise SignerUnavailable(reason=f"writing {ref}: {error.strerror}") from None
        return GeneratedKey(key=key, ref=ref)

    @property
    def _root(self) -> Path:
        return Path(self.config.key_root)

    def _pem(self, key: SigningKey) -> bytes:
        if self.config.passphrase is None:
            return private_key_pem(key)
        passphrase = Credential(self.config.passphrase)
        return passphrase.use(lambda password: private_key_pem(key, password=password))

    def _existing(self, ref: str) -> Path:
        """The real path of a reference, surely below the key directory."""
        if not ref or "\0" in ref:
            raise KeyRefInvalid(reason="it is empty or holds NUL")
        if ".." in ref.split("/"):
            raise KeyRefInvalid(reason="it holds '..'")
        root = Path(os.path.realpath(self._root))
        path = Path(os.path.realpath(root / ref))  # an absolute ref replaces root
        named = Path(os.path.normpath(self._root / ref))
        if path == root:
            raise KeyRefInvalid(reason="it names the key directory itself")
        if not path.is_relative_to(root):
            # A path outside and a link that leads outside are two different mistakes.
            if named.is_relative_to(self._root) or named.is_relative_to(root):
                raise KeyUnsafe(ref=ref, reason="it is a link that leads out of the key directory")
            raise KeyRefInvalid(reason="it leads out of the key directory")
        return path

    @staticmethod
    def _read(path: Path, ref: str) -> bytes:
        try:
            # O_NOFOLLOW: the path is resolved; a link that appears now is an attack.
            # O_NONBLOCK: a pipe must not hold us up.
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise KeyNotFound(ref=ref) from None
        except OSError as error:
            raise KeyUnsafe(ref=ref, reason=f"it cannot be opened: {error.strerror}") from None
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise KeyUnsafe(ref=ref, reason="it is not a regular file")
            check_private(status, ref)
            with os.fdopen(handle, "rb", closefd=False) as file:
                data = file.read(MAX_KEY_FILE + 1)
        finally:
            os.close(handle)
        if len(data) > MAX_KEY_FILE:
            raise KeyRejectedBySigner(ref=ref, reason=f"it is larger than {MAX_KEY_FILE} bytes")
        return data

    def _safe_folder(self, segments: list[str]) -> Path:
        """The directory of a new key: made 0700, or tightened to it, from the root down."""
        folder = self._root
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _own_only(folder)
        for segment in segments:
            folder /= segment
            _own_only(folder)
        return folder


def _own_only(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise KeyUnsafe(ref=str(folder), reason="it is not a directory")
    if stat.S_IMODE(status.st_mode) & _OTHERS:
        try:
            folder.chmod(0o700)
        except OSError as error:
            reason = f"its mode cannot be changed to 0700: {error.strerror}"
            raise KeyUnsafe(ref=str(folder), reason=reason) from None


def _write_once(path: Path, data: bytes, ref: str) -> None:
    """Write a file that appears complete and durable under its name, or not at all."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _give_name(temporary, path, ref)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _give_name(temporary: Path, path: Path, ref: str) -> None:
    try:
        # Unlike a rename, a link never replaces a file that is there.
        path.hardlink_to(temporary)
    except FileExistsError:
        raise KeyRefTaken(ref=ref) from None
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}:
            raise
        if path.exists():  # A file system without links.
            raise KeyRefTaken(ref=ref) from None
        temporary.rename(path)


@hookimpl
def certctl_signers() -> list[type[SignerProvider]]:
    """Offer the file signer."""
    return [KeyFiles]
