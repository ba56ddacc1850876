"""The use cases of CA trees, as data."""

from __future__ import annotations

from typing import cast

from certctl_core.kernel.db import Uow
from certctl_core.kernel.operations import Call, Operation, Resource, Transaction
from certctl_core.lifecycle.authorities import AuthorityUnavailable
from certctl_core.lifecycle.hierarchy.errors import (
    ActiveRootExists,
    CACertificateRejected,
    CAKeyInUse,
    CAKeyRefused,
    CANameTaken,
    CAStateWrong,
    CAStillIssues,
    CASubjectRejected,
    CertificateOfOtherKey,
    ChildrenNotRetired,
    ConstraintsNotAllowed,
    HierarchyRefused,
    IntermediateNotFound,
    ParentNotActive,
    PathLengthNotAllowed,
    RootRejected,
)
from certctl_core.lifecycle.hierarchy.schemas import (
    CreateIntermediate,
    InstallCertificate,
    IntermediatesView,
    IntermediateView,
    RetiredIntermediateView,
    RetireIntermediate,
    RevokedIntermediateView,
    RevokeIntermediate,
)
from certctl_core.lifecycle.hierarchy.service import HierarchyService
from certctl_core.lifecycle.hierarchy.workflow import HierarchyWorkflow
from certctl_core.lifecycle.issuers import IssuerNotFound, UnsupportedByIssuer

_MANAGE = "ca.hierarchy.manage"
_READ = "ca.hierarchy.read"
_RULES = (
    CACertificateRejected,
    CASubjectRejected,
    CertificateOfOtherKey,
    ConstraintsNotAllowed,
    PathLengthNotAllowed,
)


def operations(*, service: HierarchyService, workflow: HierarchyWorkflow) -> tuple[Operation, ...]:
    """Declare the CAs of a tree: create, read, certificate, retire, revoke."""

    def uow(call: Call) -> Uow:
        return cast("Uow", call.uow)

    def of_issuer(call: Call) -> Resource:
        return Resource(issuer_id=call.path["issuer_id"])

    def of_ca(call: Call) -> Resource:
        return service.resource(uow(call), call.path["intermediate_id"])

    def create(call: Call) -> IntermediateView:
        return workflow.create(
            call.path["issuer_id"],
            cast("CreateIntermediate", call.body),
            actor=call.actor,
            request_id=call.request_id,
        )

    def install(call: Call) -> IntermediateView:
        return workflow.install(
            call.path["intermediate_id"],
            cast("InstallCertificate", call.body),
            actor=call.actor,
            request_id=call.request_id,
        )

    def retire(call: Call) -> RetiredIntermediateView:
        body = cast("RetireIntermediate", call.body)
        return service.retire(
            uow(call), call.path["intermediate_id"], note=body.note, confirm=body.confirm
        )

    def revoke(call: Call) -> RevokedIntermediateView:
        body = cast("RevokeIntermediate", call.body)
        return service.revoke(
            uow(call), call.path["intermediate_id"], reason=body.reason, note=body.note
        )

    return (
        Operation(
            name="intermediates.create",
            method="POST",
            path="/issuers/{issuer_id}/intermediates",
            summary="Register a root, or make a CA below another one of the issuer's tree",
            permission=_MANAGE,
            resource=of_issuer,
            body=CreateIntermediate,
            output=IntermediateView,
            status=201,
            errors=(
                *_RULES,
                RootRejected,
                CAKeyRefused,
                IssuerNotFound,
                IntermediateNotFound,
                UnsupportedByIssuer,
                ActiveRootExists,
                CAKeyInUse,
                CANameTaken,
                ParentNotActive,
                AuthorityUnavailable,
            ),
            transaction=Transaction.NONE,
            run=create,
        ),
        Operation(
            name="intermediates.list",
            method="GET",
            path="/issuers/{issuer_id}/intermediates",
            summary="List the CAs of an issuer's tree, oldest first",
            permission=_READ,
            resource=of_issuer,
            output=IntermediatesView,
            errors=(IssuerNotFound, UnsupportedByIssuer),
            transaction=Transaction.READ,
            run=lambda call: IntermediatesView(
                data=service.of_issuer(uow(call), call.path["issuer_id"])
            ),
        ),
        Operation(
            name="intermediates.get",
            method="GET",
            path="/intermediates/{intermediate_id}",
            summary="Show a CA of a tree with its certificate, chain and request",
            permission=_READ,
            resource=of_ca,
            output=IntermediateView,
            errors=(IntermediateNotFound,),
            transaction=Transaction.READ,
            run=lambda call: service.get(uow(call), call.path["intermediate_id"]),
        ),
        Operation(
            name="intermediates.install",
            method="POST",
            path="/intermediates/{intermediate_id}/certificate",
            summary="Give a CA the certificate that another CA signed from its request",
            permission=_MANAGE,
            resource=of_ca,
            body=InstallCertificate,
            output=IntermediateView,
            errors=(*_RULES, IntermediateNotFound, CAStateWrong, ParentNotActive, CAKeyInUse),
            transaction=Transaction.NONE,
            run=install,
        ),
        Operation(
            name="intermediates.retire",
            method="POST",
            path="/intermediates/{intermediate_id}/retire",
            summary="Take a CA out of use: it signs nothing new, and a second call ends it",
            permission=_MANAGE,
            resource=of_ca,
            body=RetireIntermediate,
            body_required=False,
            output=RetiredIntermediateView,
            is_destructive=True,
            errors=(IntermediateNotFound, CAStateWrong, ChildrenNotRetired, CAStillIssues),
            run=retire,
        ),
        Operation(
            name="intermediates.revoke",
            method="POST",
            path="/intermediates/{intermediate_id}/revoke",
            summary="Revoke a CA: its parent's CRL tells it, and nothing below it signs any more",
            permission=_MANAGE,
            resource=of_ca,
            body=RevokeIntermediate,
            body_required=False,
            output=RevokedIntermediateView,
            is_destructive=True,
            errors=(HierarchyRefused, IntermediateNotFound, CAStateWrong),
            run=revoke,
        ),
    )
