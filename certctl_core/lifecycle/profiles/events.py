"""What happens to profiles."""

from __future__ import annotations

from certctl_core.kernel.events import Category, Event
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class ProfileCreated(Event):
    """A profile was created."""

    tag = "profile.created"
    category = Category.CONFIG
    resource_type = "profile"
    profile_name: str


@dataclass(frozen=True, kw_only=True)
class ProfileUpdated(Event):
    """A profile was changed; ``changes`` maps field → [before, after]."""

    tag = "profile.updated"
    category = Category.CONFIG
    resource_type = "profile"
    changes: dict[str, list[object]]


@dataclass(frozen=True, kw_only=True)
class ProfileDeleted(Event):
    """A profile was deleted."""

    tag = "profile.deleted"
    category = Category.CONFIG
    resource_type = "profile"
    profile_name: str
