"""Profiles: what may be issued, and the rules that say so."""

from certctl_core.lifecycle.profiles.errors import (
    DefaultProfileStays,
    ProfileDisabled,
    ProfileInUse,
    ProfileNameTaken,
    ProfileNotFound,
)
from certctl_core.lifecycle.profiles.events import (
    ProfileCreated,
    ProfileDeleted,
    ProfileUpdated,
)
from certctl_core.lifecycle.profiles.explanation import Level, explain
from certctl_core.lifecycle.profiles.rules import check_request, choose_attributes, validity
from certctl_core.lifecycle.profiles.schemas import (
    CreateProfile,
    KeyRule,
    ProfileBody,
    ProfileView,
)
from certctl_core.lifecycle.profiles.service import ProfileService
from certctl_core.lifecycle.profiles.types import (
    DEFAULT_PROFILE_ID,
    Verdict,
    is_short_lived,
)

__all__ = [
    "DEFAULT_PROFILE_ID",
    "CreateProfile",
    "DefaultProfileStays",
    "KeyRule",
    "Level",
    "ProfileBody",
    "ProfileCreated",
    "ProfileDeleted",
    "ProfileDisabled",
    "ProfileInUse",
    "ProfileNameTaken",
    "ProfileNotFound",
    "ProfileService",
    "ProfileUpdated",
    "ProfileView",
    "Verdict",
    "check_request",
    "choose_attributes",
    "explain",
    "is_short_lived",
    "validity",
]
