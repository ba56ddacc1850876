"""Failures of the profiles room."""

from __future__ import annotations

from certctl_core.kernel.errors import Conflict, NotFound, Unprocessable


class ProfileNotFound(NotFound):
    """No profile has this id."""

    code = "profile_not_found"
    text = "There is no profile {profile_id}."
    hint = "'certctl profiles list' shows the profiles."


class ProfileNameTaken(Conflict):
    """Another profile has this name or id."""

    code = "profile_name_taken"
    text = "A profile with this name or id exists already."


class ProfileInUse(Conflict):
    """Certificates still refer to the profile."""

    code = "profile_in_use"
    text = "The profile is used by {certificates} certificate(s)."
    hint = "Move them to another profile first."
    members = ("certificates",)


class DefaultProfileStays(Conflict):
    """The default profile governs certificates that name none."""

    code = "default_profile_stays"
    text = "The default profile cannot be deleted."
    hint = "Change it, or disable it: then nothing is issued under it."


class ProfileDisabled(Unprocessable):
    """The profile is switched off: nothing is issued under it."""

    code = "profile_disabled"
    text = "The profile {profile_id} is disabled."
    hint = "Enable it, or choose another profile."
