"""Certificates: the inventory of managed certificates and their versions."""

from certctl_core.lifecycle.certificates.errors import (
    BadName,
    CertificateNameTaken,
    CertificateNotFound,
    NoVersionYet,
    VersionAlreadyStored,
    VersionNotFound,
    WrongState,
)
from certctl_core.lifecycle.certificates.events import (
    CertificateArchived,
    CertificateCreated,
    CertificateExpired,
    CertificateIssued,
    CertificateRetrieved,
    CertificateUpdated,
    RenewalFailed,
    RenewalSucceeded,
)
from certctl_core.lifecycle.certificates.matching import (
    Matching,
    count_by_status,
    count_held,
    next_ids,
)
from certctl_core.lifecycle.certificates.rules import parse_names
from certctl_core.lifecycle.certificates.schemas import (
    CertificateBody,
    CertificateQuery,
    CertificateView,
    CreateCertificate,
    IssuedView,
    VersionView,
)
from certctl_core.lifecycle.certificates.service import (
    CertificateService,
    DraftCertificate,
    IssuedVersion,
)
from certctl_core.lifecycle.certificates.types import (
    RENEWABLE,
    TRANSITIONS,
    KeyScope,
    KnownVersion,
    Source,
    Status,
)

__all__ = [
    "RENEWABLE",
    "TRANSITIONS",
    "BadName",
    "CertificateArchived",
    "CertificateBody",
    "CertificateCreated",
    "CertificateExpired",
    "CertificateIssued",
    "CertificateNameTaken",
    "CertificateNotFound",
    "CertificateQuery",
    "CertificateRetrieved",
    "CertificateService",
    "CertificateUpdated",
    "CertificateView",
    "CreateCertificate",
    "DraftCertificate",
    "IssuedVersion",
    "IssuedView",
    "KeyScope",
    "KnownVersion",
    "Matching",
    "NoVersionYet",
    "RenewalFailed",
    "RenewalSucceeded",
    "Source",
    "Status",
    "VersionAlreadyStored",
    "VersionNotFound",
    "VersionView",
    "WrongState",
    "count_by_status",
    "count_held",
    "next_ids",
    "parse_names",
]
