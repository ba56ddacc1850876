"""What happens to roles and grants."""

from __future__ import annotations

from certctl_core.kernel.events import Category, Event
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class RoleGranted(Event):
    """An actor received a role."""

    tag = "auth.role.granted"
    category = Category.AUTH
    resource_type = "grant"
    actor_type: str
    actor_id: str
    role_id: str
    scope_type: str
    scope_id: str | None
    source: str


@dataclass(frozen=True, kw_only=True)
class RoleRevoked(Event):
    """An actor lost a role."""

    tag = "auth.role.revoked"
    category = Category.AUTH
    resource_type = "grant"
    actor_type: str
    actor_id: str
    role_id: str


@dataclass(frozen=True, kw_only=True)
class AccessDenied(Event):
    """An actor was refused; sampled once a minute per actor and permission."""

    tag = "auth.denied"
    category = Category.AUTH
    resource_type = "actor"
    permission: str
    operation: str
