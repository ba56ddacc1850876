"""What happens to issuer orders that a person should know of."""

from __future__ import annotations

from certctl_core.kernel.events import Category, Event, Severity
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class CertificateRejected(Event):
    """An issuer returned something that was not asked for."""

    tag = "issuer.certificate_rejected"
    category = Category.CERT_LIFECYCLE
    resource_type = "issuer_order"
    severity = Severity.CRITICAL
    issuer_id: str
    certificate_id: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class OrderInterrupted(Event):
    """A process died while an order was with the issuer; it was settled at the next start."""

    tag = "issuer_order.interrupted"
    category = Category.CERT_LIFECYCLE
    resource_type = "issuer_order"
    severity = Severity.WARNING
    certificate_id: str
    outcome: str
