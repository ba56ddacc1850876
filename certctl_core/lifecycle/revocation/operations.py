"""The use cases of the revocation room, as data."""

from __future__ import annotations

from typing import cast

from certctl_core.kernel.db import Uow
from certctl_core.kernel.operations import Call, Operation, Resource, Transaction
from certctl_core.lifecycle.certificates import (
    CertificateNotFound,
    CertificateService,
    NoVersionYet,
    VersionNotFound,
)
from certctl_core.lifecycle.revocation.admin import PublishingAdmin
from certctl_core.lifecycle.revocation.crl_check import CRLChecker
from certctl_core.lifecycle.revocation.errors import (
    AlreadyRevoked,
    BadRevocationReason,
    CANotTrusted,
    CRLNotPublished,
    CRLSigningForbidden,
    CRLUnavailable,
    HeldKeyBlocked,
    NoPublishing,
    NotOnHold,
    NotRevocable,
    PKIIssuerNotFound,
    ResponderKeyUnusable,
    ResponderNotConfigured,
)
from certctl_core.lifecycle.revocation.ocsp_admin import OCSPAdmin
from certctl_core.lifecycle.revocation.schemas import (
    CRLCacheView,
    CRLCheckView,
    OCSPCheckView,
    OCSPStateView,
    PurgedView,
    PurgeOCSPCache,
    RegeneratedView,
    RevocationView,
    RevokeCertificate,
    RotatedView,
    UnholdView,
)
from certctl_core.lifecycle.revocation.service import RevocationService


def operations(
    *,
    service: RevocationService,
    admin: PublishingAdmin,
    crls: CRLChecker,
    ocsp: OCSPAdmin,
    certificates: CertificateService,
) -> tuple[Operation, ...]:
    """Declare revoke, unhold and the publishing admin."""

    def uow(call: Call) -> Uow:
        return cast("Uow", call.uow)

    def scope(call: Call) -> Resource:
        return certificates.resource(uow(call), call.path["certificate_id"])

    def issuer_scope(call: Call) -> Resource:
        return Resource(issuer_id=call.path["issuer_id"])

    def purge_scope(call: Call) -> Resource:
        body = cast("PurgeOCSPCache", call.body)
        return Resource(issuer_id=body.issuer_id)

    def purge(call: Call) -> PurgedView:
        body = cast("PurgeOCSPCache", call.body)
        return ocsp.purge(uow(call), issuer_id=body.issuer_id, serial=body.serial)

    def revoke(call: Call) -> RevocationView:
        body = cast("RevokeCertificate", call.body)
        return service.revoke(
            uow(call),
            certificate_id=call.path["certificate_id"],
            reason=body.reason,
            scope=body.scope,
            serial=body.serial,
            invalidity_date=body.invalidity_date,
            scopes=call.scopes,
        )

    return (
        Operation(
            name="certificates.revoke",
            method="POST",
            path="/certificates/{certificate_id}/revoke",
            summary="Revoke a certificate",
            permission="certificate.revoke",
            resource=scope,
            body=RevokeCertificate,
            body_required=False,
            output=RevocationView,
            is_destructive=True,
            errors=(
                CertificateNotFound,
                VersionNotFound,
                BadRevocationReason,
                AlreadyRevoked,
                NotRevocable,
            ),
            run=revoke,
        ),
        Operation(
            name="certificates.unhold",
            method="POST",
            path="/certificates/{certificate_id}/unhold",
            summary="Release a certificate from hold",
            permission="certificate.revoke",
            resource=scope,
            output=UnholdView,
            errors=(CertificateNotFound, NotOnHold, HeldKeyBlocked),
            run=lambda call: service.unhold(uow(call), call.path["certificate_id"]),
        ),
        Operation(
            name="crl.state",
            method="GET",
            path="/admin/crl/cache",
            summary="Show the CRLs and their last generations",
            permission="crl.admin",
            output=CRLCacheView,
            transaction=Transaction.READ,
            run=lambda call: admin.crl_state(uow(call)),
            tags=("admin",),
        ),
        Operation(
            name="crl.regenerate",
            method="POST",
            path="/admin/crl/{issuer_id}/regenerate",
            summary="Generate the CRLs of an issuer now",
            permission="crl.admin",
            resource=issuer_scope,
            output=RegeneratedView,
            errors=(PKIIssuerNotFound, CRLSigningForbidden),
            transaction=Transaction.NONE,
            run=lambda call: admin.regenerate(
                call.path["issuer_id"], actor=call.actor, request_id=call.request_id
            ),
            tags=("admin",),
        ),
        Operation(
            name="crl.check",
            method="GET",
            path="/certificates/{certificate_id}/crl",
            summary="Show what the published CRL says of a certificate",
            permission="certificate.read",
            resource=scope,
            output=CRLCheckView,
            errors=(
                CertificateNotFound,
                NoVersionYet,
                NoPublishing,
                CANotTrusted,
                CRLNotPublished,
                CRLSigningForbidden,
                CRLUnavailable,
            ),
            transaction=Transaction.READ,
            run=lambda call: crls.check(uow(call), call.path["certificate_id"]),
        ),
        Operation(
            name="ocsp.state",
            method="GET",
            path="/admin/ocsp",
            summary="Show the OCSP responders and the stored answers",
            permission="crl.admin",
            output=OCSPStateView,
            transaction=Transaction.READ,
            run=lambda call: ocsp.state(uow(call)),
            tags=("admin",),
        ),
        Operation(
            name="ocsp.rotate",
            method="POST",
            path="/admin/ocsp/{issuer_id}/rotate",
            summary="Replace the OCSP responders of an issuer",
            permission="crl.admin",
            resource=issuer_scope,
            output=RotatedView,
            errors=(PKIIssuerNotFound, ResponderNotConfigured),
            transaction=Transaction.NONE,
            run=lambda call: ocsp.rotate(
                call.path["issuer_id"], actor=call.actor, request_id=call.request_id
            ),
            tags=("admin",),
        ),
        Operation(
            name="ocsp.purge",
            method="POST",
            path="/admin/ocsp/cache/purge",
            summary="Delete stored OCSP answers",
            permission="crl.admin",
            resource=purge_scope,
            body=PurgeOCSPCache,
            body_required=False,
            output=PurgedView,
            run=purge,
            tags=("admin",),
        ),
        Operation(
            name="ocsp.check",
            method="GET",
            path="/certificates/{certificate_id}/ocsp",
            summary="Show what OCSP says of a certificate",
            permission="certificate.read",
            resource=scope,
            output=OCSPCheckView,
            errors=(
                CertificateNotFound,
                NoVersionYet,
                NoPublishing,
                ResponderNotConfigured,
                ResponderKeyUnusable,
            ),
            transaction=Transaction.READ,
            run=lambda call: ocsp.check(uow(call), call.path["certificate_id"]),
        ),
    )
