"""What happens to credentials and sessions."""

from __future__ import annotations

from typing import ClassVar

from certctl_core.kernel.events import Category, Event
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class KeyEvent(Event):
    """Common to the events of API keys."""

    category: ClassVar[Category] = Category.AUTH
    resource_type: ClassVar[str] = "api_key"
    key_name: str


@dataclass(frozen=True, kw_only=True)
class APIKeyCreated(KeyEvent):
    """An API key was made."""

    tag = "auth.key.created"
    role_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class APIKeyRotated(KeyEvent):
    """An API key got a new value; the old one works for a while."""

    tag = "auth.key.rotated"
    overlap_seconds: int


@dataclass(frozen=True, kw_only=True)
class APIKeyRevoked(KeyEvent):
    """An API key no longer works."""

    tag = "auth.key.revoked"


@dataclass(frozen=True, kw_only=True)
class FirstStart(Event):
    """The first administrator key was made at the first start."""

    tag = "bootstrap.first_start"
    category = Category.AUTH
    resource_type = "api_key"
    role_id: str


@dataclass(frozen=True, kw_only=True)
class BootstrapConsumed(Event):
    """The bootstrap token made the first administrator key."""

    tag = "bootstrap.consumed"
    category = Category.AUTH
    resource_type = "api_key"
    actor_name: str
    role_id: str


@dataclass(frozen=True, kw_only=True)
class SessionCreated(Event):
    """Somebody signed in."""

    tag = "auth.session_created"
    category = Category.AUTH
    resource_type = "session"
    actor_id: str
    auth_method: str


@dataclass(frozen=True, kw_only=True)
class CSRFRotated(Event):
    """A session got a new CSRF token: its actor signed out elsewhere, or its roles changed."""

    tag = "auth.session_csrf_rotated"
    category = Category.AUTH
    resource_type = "session"
    target_actor_id: str


@dataclass(frozen=True, kw_only=True)
class SessionRevoked(Event):
    """A session was ended."""

    tag = "auth.session_revoked"
    category = Category.AUTH
    resource_type = "session"
    target_actor_id: str
    by_self: bool


@dataclass(frozen=True, kw_only=True)
class SigningKeyMade(Event):
    """The first session signing key was made."""

    tag = "auth.session_signing_key_bootstrap"
    category = Category.AUTH
    resource_type = "session_signing_key"


@dataclass(frozen=True, kw_only=True)
class SigningKeyRotated(Event):
    """The session signing key was replaced."""

    tag = "auth.session_signing_key_rotated"
    category = Category.AUTH
    resource_type = "session_signing_key"
