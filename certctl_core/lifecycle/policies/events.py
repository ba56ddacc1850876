"""What happens to renewal policies."""

from __future__ import annotations

from certctl_core.kernel.events import Category, Event
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class RenewalPolicyCreated(Event):
    """A renewal policy was created."""

    tag = "renewal_policy.created"
    category = Category.CONFIG
    resource_type = "renewal_policy"
    policy_name: str


@dataclass(frozen=True, kw_only=True)
class RenewalPolicyUpdated(Event):
    """A renewal policy was changed; ``changes`` maps field → [before, after]."""

    tag = "renewal_policy.updated"
    category = Category.CONFIG
    resource_type = "renewal_policy"
    changes: dict[str, list[object]]


@dataclass(frozen=True, kw_only=True)
class RenewalPolicyDeleted(Event):
    """A renewal policy was deleted."""

    tag = "renewal_policy.deleted"
    category = Category.CONFIG
    resource_type = "renewal_policy"
    policy_name: str
