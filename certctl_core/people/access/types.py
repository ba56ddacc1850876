"""Values of the access room."""

from __future__ import annotations

from enum import StrEnum

from certctl_core.values import dataclass


class ScopeType(StrEnum):
    """What a grant is limited to."""

    GLOBAL = "global"
    PROFILE = "profile"
    ISSUER = "issuer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """One permission that an actor effectively holds, at one scope."""

    permission: str
    scope_type: ScopeType
    scope_id: str | None = None
