"""Reading a bundle, and holding what was read: one reference that is swapped (04 TB-1 … TB-6)."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from certctl_core.enrollment.trust_bundles.errors import (
    BundleEmpty,
    BundleExpired,
    BundleMissing,
    BundleNotReadable,
    BundlePathEmpty,
    BundleTooLarge,
    BundleUnparsable,
)
from certctl_core.enrollment.trust_bundles.types import TrustAnchor, TrustSnapshot
from certctl_core.kernel.clock import Clock
from certctl_core.pki.errors import PKIError
from certctl_core.pki.x509 import describe, parse_certificate

MAX_BYTES = 1024 * 1024
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_CERTIFICATE = "CERTIFICATE"


def load_bundle(name: str, path: Path | None, *, clock: Clock) -> TrustSnapshot:
    """Read a whole bundle.

    Raises:
        TrustBundleError: A leaf that says what is wrong with the file (04 TB-5).
    """
    if path is None or str(path) in {"", "."}:
        raise BundlePathEmpty(name=name)
    text = _read(path)
    anchors: dict[str, TrustAnchor] = {}
    warnings = []
    number = 0
    for match in _BLOCK.finditer(text):
        kind = match[1]
        if "PRIVATE KEY" in kind:
            warnings.append("A private key in the file was skipped; it does not belong there.")
            continue
        if kind != _CERTIFICATE:
            continue
        number += 1
        anchor = _anchor(match[0], path, number)
        if anchor.not_after <= clock.now():
            raise BundleExpired(
                path=str(path),
                subject=anchor.subject or "a certificate without a name",
                not_after=anchor.not_after.isoformat(),
            )
        anchors[anchor.fingerprint_sha256] = anchor
    if not anchors:
        raise BundleEmpty(path=str(path))
    return TrustSnapshot(
        name=name,
        path=path,
        anchors=tuple(anchors.values()),
        loaded_at=clock.now(),
        warnings=tuple(dict.fromkeys(warnings)),
    )


class TrustHolder:
    """Holds the newest good snapshot of one bundle. Safe for threads.

    Raises:
        TrustBundleError: The file is not usable now: at a start nothing else may be done.
    """

    def __init__(self, name: str, path: Path | None, *, clock: Clock) -> None:
        self.name = name
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._snapshot = load_bundle(name, path, clock=clock)

    def get(self) -> TrustSnapshot:
        """What is in force; a request takes it once and keeps it to its end (04 TB-3)."""
        return self._snapshot

    def reload(self) -> TrustSnapshot:
        """Read the file again and put it in force, whole or not at all.

        Raises:
            TrustBundleError: As ``load_bundle``; what was in force stays.
        """
        with self._lock:
            found = load_bundle(self.name, self.path, clock=self._clock)
            self._snapshot = found
        return found


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise BundleMissing(path=str(path)) from error
    except OSError as error:
        reason = (error.strerror or "unknown").lower()
        raise BundleNotReadable(path=str(path), reason=reason) from error
    if len(data) > MAX_BYTES:
        raise BundleTooLarge(path=str(path))
    return data.decode("latin-1")


def _anchor(text: str, path: Path, number: int) -> TrustAnchor:
    try:
        certificate = parse_certificate(text)
        info = describe(certificate)
    except PKIError as error:
        raise BundleUnparsable(path=str(path), block=number) from error
    return TrustAnchor(
        certificate=certificate,
        pem=text.strip() + "\n",
        subject=info.subject,
        not_after=info.not_after,
        fingerprint_sha256=info.fingerprint_sha256,
    )
