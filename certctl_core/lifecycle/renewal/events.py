"""What happens around renewals."""

from __future__ import annotations

from certctl_core.kernel.events import Category, Event
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class RenewalRequested(Event):
    """A person or program asked for a renewal."""

    tag = "renewal.requested"
    category = Category.CERT_LIFECYCLE
    resource_type = "certificate"
    force: bool


@dataclass(frozen=True, kw_only=True)
class RenewalJobCreated(Event):
    """A job waits for the key holder's CSR."""

    tag = "renewal.job_created"
    category = Category.CERT_LIFECYCLE
    resource_type = "certificate"
    job_id: str
    agent_id: str
    trigger: str
