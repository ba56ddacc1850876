"""The job that tells a foreign issuer about a revocation (06 §5)."""

from __future__ import annotations

from typing import Any

from certctl_core.contracts.issuers import Cap, CertRef, RevokePending
from certctl_core.kernel.db import UnitOfWorkFactory
from certctl_core.kernel.events import JSON
from certctl_core.kernel.jobs import JobContext, JobKind
from certctl_core.lifecycle.certificates import CertificateService, VersionView
from certctl_core.lifecycle.issuers import IssuerService
from certctl_core.lifecycle.revocation.errors import RevocationPending
from certctl_core.lifecycle.revocation.service import NOTICE_JOB, RevocationService
from certctl_core.pki.reasons import CRLReason
from certctl_core.pki.x509 import split_pem, to_pem


def notice_kind(
    *,
    units: UnitOfWorkFactory,
    service: RevocationService,
    certificates: CertificateService,
    issuers: IssuerService,
) -> JobKind:
    """The job kind: each open revocation of a certificate is passed on, then marked."""

    def next_notice(certificate_id: str) -> tuple[VersionView, str, CRLReason] | None:
        with units.read() as uow:
            for version_id, reason in service.unnotified(uow, certificate_id):
                version = certificates.version(uow, certificate_id, version_id)
                return version, certificates.vendor_ref(uow, version_id), reason
        return None

    def handle(context: JobContext[Any]) -> dict[str, JSON]:
        certificate_id = context.job.certificate_id or ""
        notified = 0
        # Read again after each: what was on hold may have got its final reason meanwhile, and no
        # other job is queued while this one is open.
        while waiting := next_notice(certificate_id):
            version, vendor_ref, reason = waiting
            issuer = issuers.instance(version.issuer_id)
            if Cap.REVOKE not in issuer.capabilities:
                return {"notified": 0, "reason": "the issuer offers no revocation"}
            leaf = split_pem(version.pem_chain)[0]
            outcome = issuer.revoke(
                CertRef(
                    serial=version.serial_number,
                    certificate_pem=to_pem(leaf),
                    issuer_dn=leaf.issuer.rfc4514_string(),
                    vendor_ref=vendor_ref,
                    certificate_id=certificate_id,
                ),
                reason,
            )
            if isinstance(outcome, RevokePending):
                raise RevocationPending(issuer_id=version.issuer_id)
            with units.begin(context.actor, request_id=context.job.request_id) as uow:
                service.mark_notified(uow, certificate_id, version.serial_number, reason)
            notified += 1
        return {"notified": notified}

    return JobKind(type=NOTICE_JOB, handler=handle)
