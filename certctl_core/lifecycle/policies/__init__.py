"""Policies: when certificates renew."""

from certctl_core.lifecycle.policies.errors import (
    RenewalPolicyInUse,
    RenewalPolicyNameTaken,
    RenewalPolicyNotFound,
)
from certctl_core.lifecycle.policies.events import (
    RenewalPolicyCreated,
    RenewalPolicyDeleted,
    RenewalPolicyUpdated,
)
from certctl_core.lifecycle.policies.explanation import (
    PolicySentence,
    explain_policy,
    usual_renewal,
)
from certctl_core.lifecycle.policies.rules import renew_at
from certctl_core.lifecycle.policies.schemas import (
    CreateRenewalPolicy,
    RenewalPolicyBody,
    RenewalPolicyView,
)
from certctl_core.lifecycle.policies.service import RenewalPolicyService
from certctl_core.lifecycle.policies.types import DEFAULT_POLICY_ID

__all__ = [
    "DEFAULT_POLICY_ID",
    "CreateRenewalPolicy",
    "PolicySentence",
    "RenewalPolicyBody",
    "RenewalPolicyCreated",
    "RenewalPolicyDeleted",
    "RenewalPolicyInUse",
    "RenewalPolicyNameTaken",
    "RenewalPolicyNotFound",
    "RenewalPolicyService",
    "RenewalPolicyUpdated",
    "RenewalPolicyView",
    "explain_policy",
    "renew_at",
    "usual_renewal",
]
