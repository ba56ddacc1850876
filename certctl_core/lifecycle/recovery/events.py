"""What happens in a recovery."""

from __future__ import annotations

from typing import ClassVar

from certctl_core.kernel.events import Category, Event, Severity
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class RecoveryImported(Event):
    """What a restored database lacked was brought back; ``resource_id`` is the CA key id.

    Attributes:
        issuer_id: Whose CA key.
        what: ``crl`` or ``certificates``.
        crl_number: Of the CRL, or 0.
        added: How many revocations or certificates were missing.
        known: How many were there.
    """

    tag: ClassVar[str] = "dr.imported"
    category: ClassVar[Category] = Category.CONFIG
    resource_type: ClassVar[str] = "ca_key"
    severity: ClassVar[Severity] = Severity.WARNING

    issuer_id: str
    what: str
    crl_number: int
    added: int
    known: int


@dataclass(frozen=True, kw_only=True)
class RenewalsPlanned(Event):
    """Every certificate of a CA key is to be renewed now; ``resource_id`` is the CA key id."""

    tag: ClassVar[str] = "ca_key.renewals_planned"
    category: ClassVar[Category] = Category.CERT_LIFECYCLE
    resource_type: ClassVar[str] = "ca_key"
    severity: ClassVar[Severity] = Severity.WARNING

    issuer_id: str
    affected: int
    planned: int
