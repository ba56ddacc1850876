"""The TLS pair of the main listener: what it must be, and whether it changed (spec 08 TLS-3, 15)."""

from __future__ import annotations

import hashlib
import os
import ssl
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from certctl_core.values import dataclass

if TYPE_CHECKING:
    from certctl_core.kernel.config import Settings

OWN_PAIR = "server.pem"
"""Key, certificate and chain in one file: a reader can never see halves of two pairs."""

_KEY_READABLE_BY_OTHERS = 0o137
"""Bits that a key file must not have: at most 0640."""


class TLSPairUnusable(Exception):
    """The pair cannot be served; the message says why and names the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSPair:
    """Where certificate chain and key are; both may be one file.

    Attributes:
        certificate: PEM, the server certificate first.
        key: PEM.
        is_own: Issued by the built-in CA and looked after by us.
    """

    certificate: Path
    key: Path
    is_own: bool

    @classmethod
    def of(cls, settings: Settings) -> TLSPair:
        """The pair that the settings name, or our own."""
        server = settings.server
        if server.tls_cert_path is not None and server.tls_key_path is not None:
            return cls(certificate=server.tls_cert_path, key=server.tls_key_path, is_own=False)
        own = settings.data_dir / OWN_PAIR
        return cls(certificate=own, key=own, is_own=True)

    def stamp(self) -> tuple[object, ...]:
        """Modification time, size and inode of both files, symlinks followed; cheap."""
        return (*_stamp(self.certificate), *_stamp(self.key))

    def digest(self) -> str:
        """SHA-256 over both contents; empty where one cannot be read."""
        try:
            return _digest(self.certificate.read_bytes(), self.key.read_bytes())
        except OSError:
            return ""


class HeldPair:
    """The bytes of a pair that was found good, as files in memory.

    Workers that start later get the pair that was checked, whatever lies in the files by then.
    Children inherit the descriptors, so the paths mean the same to them.
    """

    def __init__(self, certificate: bytes, key: bytes, *, is_own: bool) -> None:
        self.digest = _digest(certificate, key)
        self._descriptors = [_in_memory("certificate", certificate), _in_memory("key", key)]
        paths = [Path(f"/proc/self/fd/{item}") for item in self._descriptors]
        self.pair = TLSPair(certificate=paths[0], key=paths[1], is_own=is_own)

    @classmethod
    def read(cls, files: TLSPair) -> Self:
        """Read the files.

        Raises:
            OSError: One cannot be read.
        """
        return cls(files.certificate.read_bytes(), files.key.read_bytes(), is_own=files.is_own)

    def close(self) -> None:
        """Forget the bytes; children keep their own view of them."""
        for item in self._descriptors:
            os.close(item)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPair:
    """What was found in a usable pair.

    Attributes:
        serial_number: Lower-case hex of the server certificate.
        not_before: Start of its validity, UTC.
        not_after: End of its validity, UTC.
    """

    serial_number: str
    not_before: datetime
    not_after: datetime


def check_pair(pair: TLSPair, *, now: datetime) -> CheckedPair:
    """Check a pair the way that the start and every reload do.

    Raises:
        TLSPairUnusable: A file is missing, empty, unreadable, no PEM, or open to others; the
            certificate is expired; or the key belongs to another certificate.
    """
    from certctl_core.pki.errors import PKIError
    from certctl_core.pki.x509 import split_pem

    text = _read(pair.certificate, "certificate")
    _read(pair.key, "key")
    mode = pair.key.stat().st_mode
    if mode & _KEY_READABLE_BY_OTHERS:
        message = f"the key file {pair.key} has mode {mode & 0o777:04o}; it may have 0640 at most"
        raise TLSPairUnusable(message)
    try:
        leaf = split_pem(text)[0]
    except PKIError as error:
        message = f"{pair.certificate} holds no usable certificate ({error})"
        raise TLSPairUnusable(message) from error
    if leaf.not_valid_after_utc <= now:
        message = f"the certificate in {pair.certificate} expired on {leaf.not_valid_after_utc:%F}"
        raise TLSPairUnusable(message)
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key, password=_no_passphrase)
    except (OSError, ValueError) as error:
        message = (
            f"the key in {pair.key} cannot be used with the certificate in {pair.certificate}"
            f" ({_reason(error)})"
        )
        raise TLSPairUnusable(message) from error
    return CheckedPair(
        serial_number=f"{leaf.serial_number:x}",
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
    )


def _no_passphrase() -> str:
    message = "the key is encrypted with a passphrase"
    raise ValueError(message)


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).lower().replace("_", " ") if reason else str(error)


def _read(path: Path, what: str) -> str:
    try:
        text = path.read_text()
    except OSError as error:
        message = f"the {what} file {path} cannot be read: {error.strerror}"
        raise TLSPairUnusable(message) from error
    except UnicodeDecodeError as error:
        message = f"the {what} file {path} is not PEM"
        raise TLSPairUnusable(message) from error
    if not text.strip():
        message = f"the {what} file {path} is empty"
        raise TLSPairUnusable(message)
    return text


def _digest(certificate: bytes, key: bytes) -> str:
    return hashlib.sha256(certificate + b"\0" + key).hexdigest()


def _in_memory(name: str, data: bytes) -> int:
    descriptor = os.memfd_create(f"certctl-{name}")
    os.fchmod(descriptor, 0o600)
    with os.fdopen(descriptor, "wb", closefd=False) as handle:
        handle.write(data)
    return descriptor


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)
