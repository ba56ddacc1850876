"""Failures of the access room."""

from __future__ import annotations

from certctl_core.kernel.errors import Conflict, Forbidden, Invalid, NotFound


class PermissionDenied(Forbidden):
    """The actor lacks the permission, or lacks it on this object."""

    code = "forbidden"
    text = "This needs the permission {permission}."
    hint = "Ask an administrator for a role that holds it."
    members = ("permission",)


class RoleNotFound(NotFound):
    """No role has this id."""

    code = "role_not_found"
    text = "There is no role {role_id}."


class BadScope(Invalid):
    """Scope type and id do not belong together."""

    code = "bad_scope"
    text = "A global grant has no scope id; any other needs one."


class ScopeNotFound(Invalid):
    """A grant is limited to something that does not exist; data: ``scope_type``, ``scope_id``."""

    code = "scope_not_found"
    text = "There is no {scope_type} {scope_id} to limit a grant to."


class EscalationRefused(Forbidden):
    """The caller would hand out more than it holds (spec 05 RBAC-21)."""

    code = "escalation"
    text = "You cannot hand out permissions that you do not hold."
    members = ("missing",)


class LastAdmin(Conflict):
    """The last administrator would lose its access (spec 05 RBAC-22)."""

    code = "last_admin"
    text = "This would remove the last administrator."
    hint = "Give another actor the role r-admin first."
