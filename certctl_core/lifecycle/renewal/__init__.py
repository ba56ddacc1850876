"""Renewal: certificates renew by themselves, in time."""

from certctl_core.lifecycle.renewal.errors import NoKeyHolder, RenewalInProgress
from certctl_core.lifecycle.renewal.events import RenewalJobCreated, RenewalRequested
from certctl_core.lifecycle.renewal.loops import run_pressing, run_renewals
from certctl_core.lifecycle.renewal.service import RenewalService
from certctl_core.lifecycle.renewal.workflow import RenewalWorkflow

__all__ = [
    "NoKeyHolder",
    "RenewalInProgress",
    "RenewalJobCreated",
    "RenewalRequested",
    "RenewalService",
    "RenewalWorkflow",
    "run_pressing",
    "run_renewals",
]
