"""The use cases of the recovery room, as data."""

from __future__ import annotations

from typing import cast

from certctl_core.kernel.db import Uow
from certctl_core.kernel.operations import Call, Operation, Resource, Transaction
from certctl_core.lifecycle.authorities import (
    CAKeyInFiles,
    CAKeyJustChanged,
    CAKeyStateWrong,
    CAKeyStillNeeded,
    UnknownAuthority,
)
from certctl_core.lifecycle.issuers import IssuerNotFound, UnsupportedByIssuer
from certctl_core.lifecycle.recovery.errors import (
    CertificatesForeign,
    CertificatesUnreadable,
    CRLForeign,
    CRLUnreadable,
)
from certctl_core.lifecycle.recovery.schemas import (
    MAX_IMPORT_BYTES,
    CompromisedView,
    ImportCertificates,
    ImportCRL,
    ImportedCertificatesView,
    ImportedCRLView,
    MarkCompromised,
    RenewalsPlannedView,
    RetiredCAView,
    RotateCA,
    RotatedCAView,
)
from certctl_core.lifecycle.recovery.service import RecoveryService
from certctl_core.lifecycle.recovery.workflow import RecoveryWorkflow

_MANAGE = "ca.hierarchy.manage"


def operations(*, workflow: RecoveryWorkflow, service: RecoveryService) -> tuple[Operation, ...]:
    """Declare the life of CA keys, and the imports after a restore."""
    return (*_keys(workflow, service), *_imports(service))


def _uow(call: Call) -> Uow:
    return cast("Uow", call.uow)


def _scope(call: Call) -> Resource:
    return Resource(issuer_id=call.path["issuer_id"])


def _keys(workflow: RecoveryWorkflow, service: RecoveryService) -> tuple[Operation, ...]:
    def rotate(call: Call) -> RotatedCAView:
        return workflow.rotate(
            call.path["issuer_id"],
            cast("RotateCA", call.body),
            actor=call.actor,
            request_id=call.request_id,
        )

    def mark(call: Call) -> CompromisedView:
        return workflow.mark_compromised(
            call.path["issuer_id"],
            call.path["ca_key_id"],
            cast("MarkCompromised", call.body),
            actor=call.actor,
            request_id=call.request_id,
        )

    def retire(call: Call) -> RetiredCAView:
        return service.retire(_uow(call), call.path["issuer_id"], call.path["ca_key_id"])

    return (
        Operation(
            name="ca.rotate",
            method="POST",
            path="/issuers/{issuer_id}/ca/rotate",
            summary="Make a new CA key that issues from now on; the former keeps CRL and OCSP",
            permission=_MANAGE,
            resource=_scope,
            body=RotateCA,
            body_required=False,
            output=RotatedCAView,
            status=201,
            is_destructive=True,
            errors=(IssuerNotFound, UnsupportedByIssuer, CAKeyInFiles, CAKeyJustChanged),
            transaction=Transaction.NONE,
            run=rotate,
            tags=("issuers",),
        ),
        Operation(
            name="ca.mark_compromised",
            method="POST",
            path="/issuers/{issuer_id}/ca/{ca_key_id}/mark-compromised",
            summary="Take a stolen CA key out of service: it signs nothing any more",
            permission=_MANAGE,
            resource=_scope,
            body=MarkCompromised,
            body_required=False,
            output=CompromisedView,
            is_destructive=True,
            errors=(IssuerNotFound, UnsupportedByIssuer, UnknownAuthority, CAKeyStateWrong),
            transaction=Transaction.NONE,
            run=mark,
            tags=("issuers",),
        ),
        Operation(
            name="ca.retire",
            method="POST",
            path="/issuers/{issuer_id}/ca/{ca_key_id}/retire",
            summary="Take a former CA key out of service whose certificates have all expired",
            permission=_MANAGE,
            resource=_scope,
            output=RetiredCAView,
            is_destructive=True,
            errors=(UnknownAuthority, CAKeyStateWrong, CAKeyStillNeeded),
            run=retire,
            tags=("issuers",),
        ),
        Operation(
            name="ca.renew_certificates",
            method="POST",
            path="/issuers/{issuer_id}/ca/{ca_key_id}/renew-certificates",
            summary="Renew every certificate of a CA key, at the scheduler's pace",
            permission=_MANAGE,
            resource=_scope,
            output=RenewalsPlannedView,
            errors=(UnknownAuthority,),
            run=lambda call: service.plan_renewals(
                _uow(call), call.path["issuer_id"], call.path["ca_key_id"]
            ),
            tags=("issuers",),
        ),
    )


def _imports(service: RecoveryService) -> tuple[Operation, ...]:
    def crl(call: Call) -> ImportedCRLView:
        return service.import_crl(_uow(call), cast("ImportCRL", call.body).crl.encode())

    def certificates(call: Call) -> ImportedCertificatesView:
        body = cast("ImportCertificates", call.body)
        return service.import_certificates(_uow(call), body.certificates.encode())

    return (
        Operation(
            name="dr.import_crl",
            method="POST",
            path="/admin/dr/import-crl",
            summary="Add the revocations of a kept CRL that a restored database lacks",
            permission="crl.admin",
            body=ImportCRL,
            output=ImportedCRLView,
            errors=(CRLUnreadable, CRLForeign),
            max_body=MAX_IMPORT_BYTES,
            run=crl,
            tags=("admin",),
        ),
        Operation(
            name="dr.import_certificates",
            method="POST",
            path="/admin/dr/import-certificates",
            summary="Add certificates of ours to a ledger that a restored database lacks",
            permission="crl.admin",
            body=ImportCertificates,
            output=ImportedCertificatesView,
            errors=(CertificatesUnreadable, CertificatesForeign),
            max_body=MAX_IMPORT_BYTES,
            run=certificates,
            tags=("admin",),
        ),
    )
