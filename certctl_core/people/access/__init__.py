"""Access: permissions, roles, grants and the decision."""

from certctl_core.people.access.catalogue import CATALOGUE, ROLES, permissions_of
from certctl_core.people.access.denials import Denials
from certctl_core.people.access.errors import (
    BadScope,
    EscalationRefused,
    LastAdmin,
    PermissionDenied,
    RoleNotFound,
    ScopeNotFound,
)
from certctl_core.people.access.events import AccessDenied, RoleGranted, RoleRevoked
from certctl_core.people.access.service import AccessService
from certctl_core.people.access.types import Effective, ScopeType

__all__ = [
    "CATALOGUE",
    "ROLES",
    "AccessDenied",
    "AccessService",
    "BadScope",
    "Denials",
    "Effective",
    "EscalationRefused",
    "LastAdmin",
    "PermissionDenied",
    "RoleGranted",
    "RoleNotFound",
    "RoleRevoked",
    "ScopeNotFound",
    "ScopeType",
    "permissions_of",
]
