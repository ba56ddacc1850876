"""Failures of the policies room."""

from __future__ import annotations

from certctl_core.kernel.errors import Conflict, NotFound


class RenewalPolicyNotFound(NotFound):
    """No renewal policy has this id."""

    code = "renewal_policy_not_found"
    text = "There is no renewal policy {renewal_policy_id}."


class RenewalPolicyNameTaken(Conflict):
    """Another renewal policy has this name or id."""

    code = "renewal_policy_name_taken"
    text = "A renewal policy with this name or id exists already."


class RenewalPolicyInUse(Conflict):
    """Certificates still refer to the policy."""

    code = "renewal_policy_in_use"
    text = "The renewal policy is used by {certificates} certificate(s)."
    hint = "Move them to another policy first."
    members = ("certificates",)
