"""What the rooms about people and the audit log answer."""

from __future__ import annotations

from typing import Any, TypedDict


class APIKey(TypedDict):
    """An API key; its value is never shown again."""

    id: str
    name: str
    source: str
    roles: list[str]
    created_by: str
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None


class NewAPIKey(APIKey):
    """A key that was just made or rotated, with its value: shown this once."""

    key_value: str


class Effective(TypedDict):
    """One permission that the caller holds."""

    permission: str
    scope_type: str
    scope_id: str | None


class Me(TypedDict):
    """Who the caller is and what it may do."""

    actor_id: str
    actor_type: str
    label: str
    admin: bool
    roles: list[str]
    effective_permissions: list[Effective]
    session_id: str | None


class Role(TypedDict):
    """A role."""

    id: str
    name: str
    description: str
    is_system: bool
    permissions: list[str]
    created_at: str


class Session(TypedDict):
    """A browser session."""

    id: str
    actor_id: str
    actor_type: str
    ip_address: str
    user_agent: str
    auth_method: str
    created_at: str
    last_seen_at: str
    idle_expires_at: str
    absolute_expires_at: str
    current: bool


class AuditEvent(TypedDict):
    """One event."""

    id: str
    seq: int | None
    timestamp: str
    actor: str
    actor_type: str
    action: str
    event_category: str
    resource_type: str
    resource_id: str
    details: dict[str, Any]
    redacted_keys: list[str]
    request_id: str


class VerifyReport(TypedDict):
    """What a verification found."""

    ok: bool
    tree_size: int
    root_hash: str
    from_index: int
    is_full: bool
    reason: str | None
    first_bad_index: int | None
    first_bad_event_id: str | None
    checked_at: str


class Checkpoint(TypedDict):
    """The newest checkpoint."""

    note: str
    origin: str
    tree_size: int
    root_hash: str
    created_at: str
    key: str
    last_verification: VerifyReport | None
