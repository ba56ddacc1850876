"""The use cases of the profiles room, as data."""

from __future__ import annotations

from typing import cast

from certctl_core.kernel.db import Uow
from certctl_core.kernel.errors import PreconditionFailed
from certctl_core.kernel.operations import Call, Operation, Resource, Transaction, merge_patch
from certctl_core.lifecycle.profiles.errors import (
    DefaultProfileStays,
    ProfileInUse,
    ProfileNameTaken,
    ProfileNotFound,
)
from certctl_core.lifecycle.profiles.schemas import (
    CreateProfile,
    PatchProfile,
    ProfileBody,
    ProfileQuery,
    ProfileView,
)
from certctl_core.lifecycle.profiles.service import SORTS, ProfileService


def operations(service: ProfileService) -> tuple[Operation, ...]:
    """Declare list, get, create, replace, patch and delete."""

    def uow(call: Call) -> Uow:
        return cast("Uow", call.uow)

    def scope(call: Call) -> Resource:
        return Resource(profile_id=call.path["profile_id"])

    def patch(call: Call) -> ProfileView:
        current = service.get(uow(call), call.path["profile_id"])
        assert call.body is not None  # noqa: S101 - the dispatcher has validated it
        body = merge_patch(ProfileBody, current, call.body)
        return service.update(uow(call), call.path["profile_id"], body, if_match=call.if_match)

    return (
        Operation(
            name="profiles.list",
            method="GET",
            path="/profiles",
            summary="List certificate profiles",
            permission="profile.read",
            query=ProfileQuery,
            output=ProfileView,
            is_list=True,
            is_scoped=True,
            collection="profiles",
            sorts=tuple(SORTS),
            transaction=Transaction.READ,
            run=lambda call: service.page(
                uow(call),
                cast("ProfileQuery", call.query),
                scopes=None if call.scopes is None else list(call.scopes),
            ),
        ),
        Operation(
            name="profiles.create",
            method="POST",
            path="/profiles",
            summary="Create a certificate profile",
            permission="profile.edit",
            body=CreateProfile,
            output=ProfileView,
            status=201,
            errors=(ProfileNameTaken,),
            run=lambda call: service.create(uow(call), cast("CreateProfile", call.body)),
        ),
        Operation(
            name="profiles.get",
            method="GET",
            path="/profiles/{profile_id}",
            summary="Show a certificate profile",
            permission="profile.read",
            resource=scope,
            output=ProfileView,
            errors=(ProfileNotFound,),
            transaction=Transaction.READ,
            run=lambda call: service.get(uow(call), call.path["profile_id"]),
        ),
        Operation(
            name="profiles.replace",
            method="PUT",
            path="/profiles/{profile_id}",
            summary="Replace a certificate profile",
            permission="profile.edit",
            resource=scope,
            body=ProfileBody,
            output=ProfileView,
            errors=(ProfileNotFound, ProfileNameTaken, PreconditionFailed),
            run=lambda call: service.update(
                uow(call),
                call.path["profile_id"],
                cast("ProfileBody", call.body),
                if_match=call.if_match,
            ),
        ),
        Operation(
            name="profiles.update",
            method="PATCH",
            path="/profiles/{profile_id}",
            summary="Change members of a certificate profile",
            permission="profile.edit",
            resource=scope,
            body=PatchProfile,
            output=ProfileView,
            errors=(ProfileNotFound, ProfileNameTaken, PreconditionFailed),
            run=patch,
        ),
        Operation(
            name="profiles.delete",
            method="DELETE",
            path="/profiles/{profile_id}",
            summary="Delete an unused certificate profile",
            permission="profile.delete",
            resource=scope,
            status=204,
            is_destructive=True,
            errors=(ProfileNotFound, ProfileInUse, DefaultProfileStays),
            run=lambda call: service.delete(uow(call), call.path["profile_id"]),
        ),
    )
