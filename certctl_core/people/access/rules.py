"""Pure decision: grant scope ∩ role scope (spec 05 RBAC-11)."""

from __future__ import annotations

from certctl_core.people.access.types import Effective, ScopeType


def intersect(
    permission: str, grant: tuple[ScopeType, str], role: tuple[ScopeType, str]
) -> Effective | None:
    """What a grant at one scope makes of a role's permission at another; None for nothing."""
    grant_type, grant_id = grant
    role_type, role_id = role
    if grant_type is ScopeType.GLOBAL:
        return Effective(permission=permission, scope_type=role_type, scope_id=role_id or None)
    if role_type is ScopeType.GLOBAL or role == grant:
        return Effective(permission=permission, scope_type=grant_type, scope_id=grant_id)
    return None
