"""The use cases of the policies room, as data."""

from __future__ import annotations

from typing import cast

from certctl_core.kernel.db import Uow
from certctl_core.kernel.errors import PreconditionFailed
from certctl_core.kernel.operations import Call, Operation, Transaction, merge_patch
from certctl_core.lifecycle.policies.errors import (
    RenewalPolicyInUse,
    RenewalPolicyNameTaken,
    RenewalPolicyNotFound,
)
from certctl_core.lifecycle.policies.schemas import (
    CreateRenewalPolicy,
    PatchRenewalPolicy,
    RenewalPolicyBody,
    RenewalPolicyQuery,
    RenewalPolicyView,
)
from certctl_core.lifecycle.policies.service import SORTS, RenewalPolicyService

_CHANGE_ERRORS = (RenewalPolicyNotFound, RenewalPolicyNameTaken, PreconditionFailed)


def operations(service: RenewalPolicyService) -> tuple[Operation, ...]:
    """Declare list, get, create, replace, patch and delete of renewal policies."""

    def uow(call: Call) -> Uow:
        return cast("Uow", call.uow)

    def key(call: Call) -> str:
        return call.path["renewal_policy_id"]

    def patch(call: Call) -> RenewalPolicyView:
        current = service.get(uow(call), key(call))
        assert call.body is not None  # noqa: S101 - the dispatcher has validated it
        body = merge_patch(RenewalPolicyBody, current, call.body)
        return service.update(uow(call), key(call), body, if_match=call.if_match)

    return (
        Operation(
            name="renewal_policies.list",
            method="GET",
            path="/renewal-policies",
            summary="List renewal policies",
            permission="policy.read",
            query=RenewalPolicyQuery,
            output=RenewalPolicyView,
            is_list=True,
            collection="renewal_policies",
            sorts=tuple(SORTS),
            transaction=Transaction.READ,
            run=lambda call: service.page(uow(call), cast("RenewalPolicyQuery", call.query)),
        ),
        Operation(
            name="renewal_policies.create",
            method="POST",
            path="/renewal-policies",
            summary="Create a renewal policy",
            permission="policy.edit",
            body=CreateRenewalPolicy,
            output=RenewalPolicyView,
            status=201,
            errors=(RenewalPolicyNameTaken,),
            run=lambda call: service.create(uow(call), cast("CreateRenewalPolicy", call.body)),
        ),
        Operation(
            name="renewal_policies.get",
            method="GET",
            path="/renewal-policies/{renewal_policy_id}",
            summary="Show a renewal policy",
            permission="policy.read",
            output=RenewalPolicyView,
            errors=(RenewalPolicyNotFound,),
            transaction=Transaction.READ,
            run=lambda call: service.get(uow(call), key(call)),
        ),
        Operation(
            name="renewal_policies.replace",
            method="PUT",
            path="/renewal-policies/{renewal_policy_id}",
            summary="Replace a renewal policy",
            permission="policy.edit",
            body=RenewalPolicyBody,
            output=RenewalPolicyView,
            errors=_CHANGE_ERRORS,
            run=lambda call: service.update(
                uow(call), key(call), cast("RenewalPolicyBody", call.body), if_match=call.if_match
            ),
        ),
        Operation(
            name="renewal_policies.update",
            method="PATCH",
            path="/renewal-policies/{renewal_policy_id}",
            summary="Change members of a renewal policy",
            permission="policy.edit",
            body=PatchRenewalPolicy,
            output=RenewalPolicyView,
            errors=_CHANGE_ERRORS,
            run=patch,
        ),
        Operation(
            name="renewal_policies.delete",
            method="DELETE",
            path="/renewal-policies/{renewal_policy_id}",
            summary="Delete an unused renewal policy",
            permission="policy.delete",
            status=204,
            is_destructive=True,
            errors=(RenewalPolicyNotFound, RenewalPolicyInUse),
            run=lambda call: service.delete(uow(call), key(call)),
        ),
    )
