"""The use cases of the access room, as data."""

from __future__ import annotations

from typing import cast

from certctl_core.kernel.db import Uow
from certctl_core.kernel.operations import Access, Operation, Transaction
from certctl_core.people.access.schemas import MeView, RoleQuery, RoleView
from certctl_core.people.access.service import AccessService


def operations(service: AccessService) -> tuple[Operation, ...]:
    """Declare who-am-I and the roles."""
    return (
        Operation(
            name="auth.me",
            method="GET",
            path="/auth/me",
            summary="Show who you are and what you may do",
            access=Access.AUTHENTICATED,
            output=MeView,
            transaction=Transaction.READ,
            run=lambda call: service.me(cast("Uow", call.uow), call.actor),
            tags=("auth",),
        ),
        Operation(
            name="auth.roles",
            method="GET",
            path="/auth/roles",
            summary="List roles and their permissions",
            permission="auth.role.list",
            query=RoleQuery,
            output=RoleView,
            is_list=True,
            collection="roles",
            sorts=("created_at", "name"),
            transaction=Transaction.READ,
            run=lambda call: service.role_page(
                cast("Uow", call.uow), cast("RoleQuery", call.query)
            ),
            tags=("auth",),
        ),
    )
