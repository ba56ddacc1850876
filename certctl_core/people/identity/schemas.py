"""Bodies and answers of the identity room."""

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints

from certctl_core.kernel.operations import Input, ListQuery, View

KeyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_WEEK_SECONDS = 7 * 86400


class CreateAPIKey(Input):
    """A new API key."""

    name: KeyName = Field(description="Letters, digits, - and _; unique among live keys.")
    role_ids: list[str] = Field(
        default_factory=lambda: ["r-viewer"], min_length=1, max_length=16, description="Its roles."
    )
    expires_at: AwareDatetime | None = Field(None, description="When it stops working.")
    no_expiry: bool = Field(default=False, description="Never; must be said.")


class RotateAPIKey(Input):
    """How to replace a key's value."""

    overlap_seconds: int = Field(
        86400, ge=0, le=_WEEK_SECONDS, description="How long the old value still works."
    )


class APIKeyView(View):
    """An API key; its value is never shown again."""

    id: str
    name: str
    source: str
    roles: list[str]
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class NewAPIKeyView(APIKeyView):
    """A key that was just made or rotated, with its value: shown this once."""

    key_value: str


class APIKeyQuery(ListQuery):
    """Filters of the key list."""

    include_revoked: bool = False


class SessionView(View):
    """A browser session."""

    id: str
    actor_id: str
    actor_type: str
    ip_address: str
    user_agent: str
    auth_method: str
    created_at: datetime
    last_seen_at: datetime
    idle_expires_at: datetime
    absolute_expires_at: datetime
    current: bool


class SessionQuery(ListQuery):
    """Filters of the session list."""

    all: bool = Field(default=False, description="Of every actor, not only your own.")


class Bootstrap(Input):
    """Use the bootstrap token."""

    token: str = Field(min_length=1, max_length=512)
    actor_name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{2,63}$")]


class BootstrapState(View):
    """Whether the bootstrap path is open."""

    available: bool


class BootstrapView(View):
    """The first administrator's key."""

    actor_id: str
    api_key_id: str
    key_value: str
    created_at: datetime
    message: str


class AuthInfoView(View):
    """What a sign-in page needs to know."""

    auth_type: str
    providers: list[str] = Field(default_factory=list)
    breakglass_enabled: bool = False
