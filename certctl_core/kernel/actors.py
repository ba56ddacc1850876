"""Who does something: the authenticated principal that audit, access and jobs speak of."""

from __future__ import annotations

from enum import StrEnum

from certctl_core.values import dataclass


class ActorType(StrEnum):
    """What sort of principal an actor is (spec 05 §1)."""

    USER = "user"
    API_KEY = "api_key"
    AGENT = "agent"
    SYSTEM = "system"
    ANONYMOUS = "anonymous"
    ACME_ACCOUNT = "acme_account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """One principal.

    Attributes:
        type: Its sort.
        id: Its id (``ak-…``, ``u-…``, ``ag-…``) or the name of a system actor.
        label: A human name for display; never used for a decision.
        session_id: The browser session it came through, if any.
    """

    type: ActorType
    id: str
    label: str = ""
    session_id: str | None = None


SYSTEM = Actor(type=ActorType.SYSTEM, id="system")
ANONYMOUS = Actor(type=ActorType.ANONYMOUS, id="anonymous")


def system_actor(name: str) -> Actor:
    """A named part of the system, e.g. ``scheduler:renewal``."""
    return Actor(type=ActorType.SYSTEM, id=name)
