"""Bodies and answers: renewal policies (spec 01 §2.7, 06 §8.3)."""

from datetime import datetime

from pydantic import Field

from certctl_core.kernel.operations import Input, ListQuery, View, patch_of


class RenewalPolicyBody(Input):
    """When and how certificates renew."""

    name: str = Field(min_length=1, max_length=255, description="Unique name.")
    renewal_window_days: int = Field(
        30, ge=1, le=365, description="Renew at most this many days before the end."
    )
    renew_at_percent: int = Field(
        67, ge=1, le=99, description="Or once this share of the lifetime is over, if later."
    )
    auto_renew: bool = Field(default=True, description="Off: nothing renews by itself.")
    max_retries: int = Field(3, ge=0, le=10, description="Further attempts after a failure.")
    retry_interval_seconds: int = Field(
        3600, ge=60, le=86400, description="Wait before a renewal that failed for good starts anew."
    )


class CreateRenewalPolicy(RenewalPolicyBody):
    """A new renewal policy."""

    id: str | None = Field(None, max_length=128, description="Chosen id; from the name if absent.")


PatchRenewalPolicy = patch_of(RenewalPolicyBody, "PatchRenewalPolicy")


class RenewalPolicyView(View):
    """A renewal policy as the API shows it."""

    id: str
    name: str
    renewal_window_days: int
    renew_at_percent: int
    auto_renew: bool
    max_retries: int
    retry_interval_seconds: int
    version: int
    created_at: datetime
    updated_at: datetime


class RenewalPolicyQuery(ListQuery):
    """Filters of the renewal policy list."""
