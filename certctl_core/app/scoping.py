"""What a grant can be limited to, told to the access room, which stands below (05 RBAC-10)."""

from __future__ import annotations

from typing import cast

from certctl_core.kernel.db import Uow
from certctl_core.kernel.errors import NotFound
from certctl_core.kernel.events import Bus, Emitted, Transaction
from certctl_core.lifecycle.issuers import IssuerDeleted, IssuerService
from certctl_core.lifecycle.profiles import ProfileDeleted, ProfileService
from certctl_core.people.access import AccessService, ScopeType


def connect_scopes(
    bus: Bus[Uow], access: AccessService, *, profiles: ProfileService, issuers: IssuerService
) -> None:
    """Let grants name what exists only; what is deleted takes its grants along."""

    def is_profile(uow: Uow, profile_id: str) -> bool:
        try:
            profiles.get(uow, profile_id)
        except NotFound:
            return False
        return True

    def is_issuer(uow: Uow, issuer_id: str) -> bool:
        try:
            issuers.get(uow, issuer_id)
        except NotFound:
            return False
        return True

    def profile_gone(uow: Transaction, emitted: Emitted) -> None:
        access.drop_scope(cast("Uow", uow), ScopeType.PROFILE, emitted.event.resource_id)

    def issuer_gone(uow: Transaction, emitted: Emitted) -> None:
        access.drop_scope(cast("Uow", uow), ScopeType.ISSUER, emitted.event.resource_id)

    access.add_scope(ScopeType.PROFILE, is_profile)
    access.add_scope(ScopeType.ISSUER, is_issuer)
    bus.on_emit(profile_gone, ProfileDeleted)
    bus.on_emit(issuer_gone, IssuerDeleted)
