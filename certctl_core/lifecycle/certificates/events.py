"""What happens to certificates."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from certctl_core.kernel.events import Category, Event, Severity
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class CertificateEvent(Event):
    """Common to all events of one managed certificate."""

    category: ClassVar[Category] = Category.CERT_LIFECYCLE
    resource_type: ClassVar[str] = "certificate"


@dataclass(frozen=True, kw_only=True)
class CertificateCreated(CertificateEvent):
    """A managed certificate was recorded; nothing is issued yet."""

    tag = "certificate.created"
    common_name: str
    issuer_id: str
    source: str


@dataclass(frozen=True, kw_only=True)
class CertificateUpdated(CertificateEvent):
    """Its mutable part was changed; ``changes`` maps field → [before, after]."""

    tag = "certificate.updated"
    changes: dict[str, list[object]]


@dataclass(frozen=True, kw_only=True)
class CertificateArchived(CertificateEvent):
    """It was archived: hidden, its open jobs cancelled, its revocation data kept."""

    tag = "certificate.archived"
    common_name: str


@dataclass(frozen=True, kw_only=True)
class CertificateIssued(CertificateEvent):
    """A version was issued and stored."""

    tag = "certificate.issued"
    version_id: str
    serial_number: str
    issuer_id: str
    ca_key_id: str | None
    common_name: str
    not_after: datetime
    renewal: bool
    agent_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class RenewalSucceeded(CertificateEvent):
    """A newer version replaced an older one."""

    tag = "renewal.succeeded"
    version_id: str
    serial_number: str
    not_after: datetime


@dataclass(frozen=True, kw_only=True)
class RenewalFailed(CertificateEvent):
    """An issuance or renewal ended without a certificate."""

    tag = "renewal.failed"
    severity = Severity.WARNING
    error_code: str
    message: str
    job_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class CertificateExpired(CertificateEvent):
    """Its current version's validity is over."""

    tag = "certificate.expired"
    severity = Severity.CRITICAL
    common_name: str
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class CertificateRetrieved(CertificateEvent):
    """A certificate was exported."""

    tag = "certificate.exported"
    format: str
    serial_number: str
    with_key: bool = False
