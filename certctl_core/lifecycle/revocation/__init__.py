"""Revocation: revoke, CRL, OCSP, and the public paths that tell relying parties."""

from certctl_core.lifecycle.revocation._tables import create_triggers
from certctl_core.lifecycle.revocation.admin import PublishingAdmin
from certctl_core.lifecycle.revocation.ca_certificates import record_ca_revocation
from certctl_core.lifecycle.revocation.crl import CRLService
from certctl_core.lifecycle.revocation.crl_check import CRLChecker
from certctl_core.lifecycle.revocation.errors import (
    AlreadyRevoked,
    BadRevocationReason,
    HeldKeyBlocked,
    NotOnHold,
    NotRevocable,
    PKIIssuerNotFound,
)
from certctl_core.lifecycle.revocation.events import CertificateRevoked, CertificateUnheld
from certctl_core.lifecycle.revocation.handlers import notice_kind
from certctl_core.lifecycle.revocation.key_places import KeyPlaces
from certctl_core.lifecycle.revocation.loops import (
    run_changed_crls,
    run_crl,
    run_ocsp_presign,
    run_ocsp_purge,
)
from certctl_core.lifecycle.revocation.ocsp import OCSPService, OCSPSettings
from certctl_core.lifecycle.revocation.ocsp_admin import OCSPAdmin
from certctl_core.lifecycle.revocation.presigning import Presigner
from certctl_core.lifecycle.revocation.public import PublicPKI
from certctl_core.lifecycle.revocation.responders import ResponderService
from certctl_core.lifecycle.revocation.responses import ResponseCache
from certctl_core.lifecycle.revocation.restoring import RevocationRestorer
from certctl_core.lifecycle.revocation.schemas import RevocationView
from certctl_core.lifecycle.revocation.service import RevocationService
from certctl_core.lifecycle.revocation.types import CRLSettings, Scope, Trigger

__all__ = [
    "AlreadyRevoked",
    "BadRevocationReason",
    "CRLChecker",
    "CRLService",
    "CRLSettings",
    "CertificateRevoked",
    "CertificateUnheld",
    "HeldKeyBlocked",
    "KeyPlaces",
    "NotOnHold",
    "NotRevocable",
    "OCSPAdmin",
    "OCSPService",
    "OCSPSettings",
    "PKIIssuerNotFound",
    "Presigner",
    "PublicPKI",
    "PublishingAdmin",
    "ResponderService",
    "ResponseCache",
    "RevocationRestorer",
    "RevocationService",
    "RevocationView",
    "Scope",
    "Trigger",
    "create_triggers",
    "notice_kind",
    "record_ca_revocation",
    "run_changed_crls",
    "run_crl",
    "run_ocsp_presign",
    "run_ocsp_purge",
]
