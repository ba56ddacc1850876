"""Identity: who is asking. API keys, browser sessions, the first administrator."""

from certctl_core.people.identity.bootstrap import BootstrapService
from certctl_core.people.identity.errors import (
    APIKeyNameTaken,
    APIKeyNotFound,
    BadCredential,
    BootstrapClosed,
    CSRFFailed,
    ExpiryRequired,
    SessionInvalid,
    SessionNotFound,
)
from certctl_core.people.identity.events import (
    APIKeyCreated,
    APIKeyRevoked,
    APIKeyRotated,
    BootstrapConsumed,
    CSRFRotated,
    FirstStart,
    SessionCreated,
    SessionRevoked,
    SigningKeyMade,
    SigningKeyRotated,
)
from certctl_core.people.identity.keys import KeyService, hash_key
from certctl_core.people.identity.schemas import CreateAPIKey
from certctl_core.people.identity.sessions import SessionRules, SessionService
from certctl_core.people.identity.types import (
    CSRF_COOKIE,
    SESSION_COOKIE,
    ConfiguredKey,
    NewSession,
    Session,
)

__all__ = [
    "CSRF_COOKIE",
    "SESSION_COOKIE",
    "APIKeyCreated",
    "APIKeyNameTaken",
    "APIKeyNotFound",
    "APIKeyRevoked",
    "APIKeyRotated",
    "BadCredential",
    "BootstrapClosed",
    "BootstrapConsumed",
    "BootstrapService",
    "CSRFFailed",
    "CSRFRotated",
    "ConfiguredKey",
    "CreateAPIKey",
    "ExpiryRequired",
    "FirstStart",
    "KeyService",
    "NewSession",
    "Session",
    "SessionCreated",
    "SessionInvalid",
    "SessionNotFound",
    "SessionRevoked",
    "SessionRules",
    "SessionService",
    "SigningKeyMade",
    "SigningKeyRotated",
    "hash_key",
]
