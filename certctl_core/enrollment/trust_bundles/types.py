"""Values of the trust-bundles room."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509

from certctl_core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAnchor:
    """One certificate of a bundle.

    Attributes:
        certificate: The certificate.
        pem: The same as PEM.
        subject: RFC 4514.
        not_after: Its end.
        fingerprint_sha256: 64 hex digits.
    """

    certificate: x509.Certificate
    pem: str
    subject: str
    not_after: datetime
    fingerprint_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSnapshot:
    """What a bundle held when it was read; never changes.

    Attributes:
        name: Of the bundle.
        path: The file.
        anchors: Its certificates, without repetitions.
        loaded_at: When it was read.
        warnings: Sentences about what was skipped.
    """

    name: str
    path: Path
    anchors: tuple[TrustAnchor, ...]
    loaded_at: datetime
    warnings: tuple[str, ...]

    def pem_at(self, now: datetime) -> str:
        """The certificates that have not expired meanwhile, in PEM (04 TB-6)."""
        return "".join(anchor.pem for anchor in self.anchors if anchor.not_after > now)

    @property
    def fingerprints(self) -> frozenset[str]:
        """Of all certificates."""
        return frozenset(anchor.fingerprint_sha256 for anchor in self.anchors)
