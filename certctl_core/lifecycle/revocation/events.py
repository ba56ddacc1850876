"""What happens to revocations, CRLs and responders."""

from __future__ import annotations

from certctl_core.kernel.events import Category, Event, Severity
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class CertificateRevoked(Event):
    """Versions of a certificate were revoked."""

    tag = "certificate.revoked"
    category = Category.CERT_LIFECYCLE
    resource_type = "certificate"
    severity = Severity.WARNING
    common_name: str
    issuer_id: str
    serials: tuple[str, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class CertificateUnheld(Event):
    """A certificateHold was released."""

    tag = "certificate.unheld"
    category = Category.CERT_LIFECYCLE
    resource_type = "certificate"
    serials: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CRLRegenerated(Event):
    """An operator asked for a new CRL."""

    tag = "crl.regenerated"
    category = Category.CONFIG
    resource_type = "issuer"
    ca_key_id: str
    crl_number: int


@dataclass(frozen=True, kw_only=True)
class OCSPCachePurged(Event):
    """An operator had stored OCSP answers deleted."""

    tag = "ocsp_cache.purged"
    category = Category.CONFIG
    resource_type = "issuer"
    serial_number: str | None
    purged: int


@dataclass(frozen=True, kw_only=True)
class ResponderRotated(Event):
    """An OCSP responder got a new key and certificate."""

    tag = "ocsp_responder.rotated"
    category = Category.CONFIG
    resource_type = "issuer"
    ca_key_id: str
    serial_number: str
    rotated_from: str | None
    cause: str
