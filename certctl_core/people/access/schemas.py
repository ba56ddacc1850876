"""Answers of the access room."""

from datetime import datetime

from certctl_core.kernel.operations import ListQuery, View


class RoleView(View):
    """A role."""

    id: str
    name: str
    description: str
    is_system: bool
    permissions: list[str]
    created_at: datetime


class RoleQuery(ListQuery):
    """Paging of the roles."""


class EffectiveView(View):
    """One permission that the caller holds."""

    permission: str
    scope_type: str
    scope_id: str | None


class MeView(View):
    """Who the caller is and what it may do."""

    actor_id: str
    actor_type: str
    label: str
    admin: bool
    roles: list[str]
    effective_permissions: list[EffectiveView]
    session_id: str | None
