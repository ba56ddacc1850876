"""The use cases of the targets room, as data."""

from __future__ import annotations

from typing import cast

from certctl_core.contracts.options import ConfigInvalid, SecretNeedsReentry
from certctl_core.fleet.agents import AgentUnusable
from certctl_core.fleet.targets.errors import (
    SingleHolder,
    TargetInUse,
    TargetNameTaken,
    TargetNotFound,
    TargetNotLinked,
    TargetUnusable,
    UnknownTargetKind,
)
from certctl_core.fleet.targets.schemas import (
    CreateTarget,
    DeleteTargetQuery,
    LinkedTargetView,
    LinkQuery,
    LinkTarget,
    PatchTarget,
    TargetBody,
    TargetKindsView,
    TargetQuery,
    TargetView,
    TestStarted,
)
from certctl_core.fleet.targets.service import SORTS, TargetService
from certctl_core.kernel.db import Uow
from certctl_core.kernel.errors import PreconditionFailed
from certctl_core.kernel.operations import Call, Operation, Resource, Transaction
from certctl_core.lifecycle.certificates import (
    CertificateNotFound,
    CertificateService,
    CertificateView,
    WrongState,
)


def operations(
    *, service: TargetService, certificates: CertificateService
) -> tuple[Operation, ...]:
    """Declare targets, their tests, and their links to certificates."""

    def uow(call: Call) -> Uow:
        return cast("Uow", call.uow)

    def key(call: Call) -> str:
        return call.path["target_id"]

    def certificate(call: Call) -> str:
        return call.path["certificate_id"]

    def scope(call: Call) -> Resource:
        return certificates.resource(uow(call), certificate(call))

    body_errors = (ConfigInvalid, SecretNeedsReentry, TargetNameTaken)
    return (
        Operation(
            name="target_types.list",
            method="GET",
            path="/target-types",
            summary="List the installed kinds of targets",
            permission="target.read",
            output=TargetKindsView,
            transaction=Transaction.READ,
            run=lambda _call: service.kinds(),
        ),
        Operation(
            name="targets.list",
            method="GET",
            path="/targets",
            summary="List deployment targets",
            permission="target.read",
            query=TargetQuery,
            output=TargetView,
            is_list=True,
            collection="targets",
            sorts=SORTS,
            transaction=Transaction.READ,
            run=lambda call: service.page(uow(call), cast("TargetQuery", call.query)),
        ),
        Operation(
            name="targets.create",
            method="POST",
            path="/targets",
            summary="Create a deployment target",
            permission="target.edit",
            body=CreateTarget,
            output=TargetView,
            status=201,
            errors=(UnknownTargetKind, ConfigInvalid, TargetNameTaken, AgentUnusable),
            run=lambda call: service.create(uow(call), cast("CreateTarget", call.body)),
        ),
        Operation(
            name="targets.get",
            method="GET",
            path="/targets/{target_id}",
            summary="Show a deployment target",
            permission="target.read",
            output=TargetView,
            errors=(TargetNotFound,),
            transaction=Transaction.READ,
            run=lambda call: service.get(uow(call), key(call)),
        ),
        Operation(
            name="targets.replace",
            method="PUT",
            path="/targets/{target_id}",
            summary="Replace a deployment target",
            permission="target.edit",
            body=TargetBody,
            output=TargetView,
            errors=(TargetNotFound, TargetUnusable, PreconditionFailed, *body_errors),
            run=lambda call: service.replace(
                uow(call), key(call), cast("TargetBody", call.body), if_match=call.if_match
            ),
        ),
        Operation(
            name="targets.update",
            method="PATCH",
            path="/targets/{target_id}",
            summary="Change members of a deployment target",
            permission="target.edit",
            body=PatchTarget,
            output=TargetView,
            errors=(TargetNotFound, TargetUnusable, PreconditionFailed, *body_errors),
            run=lambda call: service.patch(
                uow(call), key(call), cast("PatchTarget", call.body), if_match=call.if_match
            ),
        ),
        Operation(
            name="targets.delete",
            method="DELETE",
            path="/targets/{target_id}",
            summary="Delete a deployment target",
            permission="target.delete",
            query=DeleteTargetQuery,
            status=204,
            is_destructive=True,
            errors=(TargetNotFound, TargetInUse, PreconditionFailed),
            run=lambda call: service.delete(
                uow(call),
                key(call),
                force=cast("DeleteTargetQuery", call.query).force,
                if_match=call.if_match,
            ),
        ),
        Operation(
            name="targets.test",
            method="POST",
            path="/targets/{target_id}/test",
            summary="Have the agent test a target",
            permission="target.edit",
            output=TestStarted,
            status=202,
            errors=(TargetNotFound, TargetUnusable),
            run=lambda call: service.request_test(uow(call), key(call)),
        ),
        Operation(
            name="targets.certificates",
            method="GET",
            path="/targets/{target_id}/certificates",
            summary="List the certificates that are deployed to a target",
            permission="certificate.read",
            query=LinkQuery,
            output=CertificateView,
            is_list=True,
            collection="targets",
            sorts=("linked_at",),
            errors=(TargetNotFound,),
            transaction=Transaction.READ,
            run=lambda call: service.certificate_page(
                uow(call), key(call), cast("LinkQuery", call.query)
            ),
        ),
        Operation(
            name="certificates.targets",
            method="GET",
            path="/certificates/{certificate_id}/targets",
            summary="List the targets of a certificate",
            permission="certificate.read",
            resource=scope,
            query=LinkQuery,
            output=LinkedTargetView,
            is_list=True,
            collection="targets",
            sorts=("linked_at", "name"),
            errors=(CertificateNotFound,),
            transaction=Transaction.READ,
            run=lambda call: service.linked_page(
                uow(call), certificate(call), cast("LinkQuery", call.query)
            ),
        ),
        Operation(
            name="certificates.link_target",
            method="PUT",
            path="/certificates/{certificate_id}/targets/{target_id}",
            summary="Deploy a certificate to a target from now on",
            permission="certificate.edit",
            resource=scope,
            body=LinkTarget,
            body_required=False,
            status=204,
            errors=(
                CertificateNotFound,
                TargetNotFound,
                TargetUnusable,
                WrongState,
                SingleHolder,
            ),
            run=lambda call: service.link(
                uow(call), certificate(call), key(call), cast("LinkTarget", call.body)
            ),
        ),
        Operation(
            name="certificates.unlink_target",
            method="DELETE",
            path="/certificates/{certificate_id}/targets/{target_id}",
            summary="Stop deploying a certificate to a target",
            permission="certificate.edit",
            resource=scope,
            status=204,
            is_destructive=True,
            errors=(CertificateNotFound, TargetNotFound, TargetNotLinked),
            run=lambda call: service.unlink(uow(call), certificate(call), key(call)),
        ),
    )
