"""Values of the identity room."""

from __future__ import annotations

from datetime import datetime

from certctl_core.kernel.actors import Actor
from certctl_core.kernel.secrets import Secret
from certctl_core.values import dataclass

SESSION_COOKIE = "__Host-certctl_session"
CSRF_COOKIE = "__Host-certctl_csrf"
KEY_PREFIX = "ctl_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An authenticated browser session.

    Attributes:
        actor: Who; carries the session id.
        id: ``ses-…``.
        csrf_token: What unsafe requests must send back.
        absolute_expires_at: When it ends whatever happens.
    """

    actor: Actor
    id: str
    csrf_token: str
    absolute_expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A session that was just made: its cookie is shown to the browser only."""

    session: Session
    cookie: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredKey:
    """An API key from the settings (05 KEY-6)."""

    name: str
    key: Secret
    role_id: str
