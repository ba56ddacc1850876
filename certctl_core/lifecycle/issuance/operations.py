"""The use cases of the issuance room, as data."""

from __future__ import annotations

from typing import cast

from certctl_core.kernel.db import Uow
from certctl_core.kernel.operations import Call, Operation, Resource, Transaction
from certctl_core.lifecycle.certificates import (
    BadName,
    CertificateNameTaken,
    CreateCertificate,
    IssuedView,
)
from certctl_core.lifecycle.certificates.schemas import CertificateCreated
from certctl_core.lifecycle.issuance.errors import (
    ApprovalRequired,
    CommonNameMissing,
    CSRRejected,
    IssuancePending,
    IssuedCertificateRejected,
)
from certctl_core.lifecycle.issuance.preview import ProfilePreviewer
from certctl_core.lifecycle.issuance.results import IssuedCertificate
from certctl_core.lifecycle.issuance.schemas import (
    OrderQuery,
    OrderView,
    PreviewProfile,
    ProfilePreview,
)
from certctl_core.lifecycle.issuance.service import OrderNotFound, OrderService
from certctl_core.lifecycle.issuance.workflow import IssuanceWorkflow
from certctl_core.lifecycle.issuers import IssuerNotFound

REFUSALS = (
    CSRRejected,
    ApprovalRequired,
    IssuancePending,
    IssuedCertificateRejected,
)
"""What an issuing operation may answer beside success."""


def issued_view(issued: IssuedCertificate) -> IssuedView:
    """The wire form of what was issued."""
    return IssuedView.model_construct(  # of views that are valid
        certificate=issued.certificate,
        version=issued.version,
        certificate_pem=issued.certificate_pem,
        chain_pem=issued.chain_pem,
    )


def operations(
    *,
    workflow: IssuanceWorkflow,
    orders: OrderService,
    previewer: ProfilePreviewer,
) -> tuple[Operation, ...]:
    """Declare creation (with or without a CSR) and the orders."""

    def create(call: Call) -> CertificateCreated:
        body = cast("CreateCertificate", call.body)
        if body.csr_pem is None:
            view = workflow.create(body, actor=call.actor, request_id=call.request_id)
            return CertificateCreated(**view.model_dump())
        issued = workflow.create_and_issue(
            body,
            body.csr_pem,
            actor=call.actor,
            request_id=call.request_id,
            repeat_key=call.repeat_key,
        )
        return CertificateCreated.model_construct(
            issued=issued_view(issued), **issued.certificate.__dict__
        )

    def scope(call: Call) -> Resource:
        body = cast("CreateCertificate", call.body)
        return Resource(
            profile_id=body.certificate_profile_id, issuer_id=body.issuer_id or "iss-local"
        )

    def of_order(call: Call) -> Resource:
        order = orders.get(cast("Uow", call.uow), call.path["order_id"])
        return Resource(issuer_id=order.issuer_id)

    return (
        Operation(
            name="certificates.create",
            method="POST",
            path="/certificates",
            summary="Create a managed certificate; with a CSR it is issued at once",
            permission="certificate.issue",
            resource=scope,
            body=CreateCertificate,
            output=CertificateCreated,
            status=201,
            errors=(CertificateNameTaken, CommonNameMissing, *REFUSALS),
            transaction=Transaction.NONE,
            run=create,
        ),
        Operation(
            name="profiles.preview",
            method="POST",
            path="/profiles/preview",
            summary="Explain a profile and show a sample of what it leads to",
            permission="profile.read",
            is_scoped=True,
            body=PreviewProfile,
            output=ProfilePreview,
            errors=(BadName, IssuerNotFound),
            transaction=Transaction.NONE,
            run=lambda call: previewer.preview(cast("PreviewProfile", call.body)),
        ),
        Operation(
            name="issuer_orders.list",
            method="GET",
            path="/issuer-orders",
            summary="List issuer orders with their decision records",
            permission="issuer.read",
            query=OrderQuery,
            output=OrderView,
            is_list=True,
            is_scoped=True,
            sorts=("created_at", "updated_at"),
            transaction=Transaction.READ,
            run=lambda call: orders.page(
                cast("Uow", call.uow), cast("OrderQuery", call.query), scopes=call.scopes
            ),
        ),
        Operation(
            name="issuer_orders.get",
            method="GET",
            path="/issuer-orders/{order_id}",
            summary="Show an issuer order",
            permission="issuer.read",
            resource=of_order,
            output=OrderView,
            errors=(OrderNotFound,),
            transaction=Transaction.READ,
            run=lambda call: orders.get(cast("Uow", call.uow), call.path["order_id"]),
        ),
    )
