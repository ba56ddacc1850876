"""Values of the deployments room."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

CSR_JOBS = ("Issuance", "Renewal")
DEPLOYMENT = "Deployment"
VALIDATION = "Validation"
TARGET_JOBS = (DEPLOYMENT, VALIDATION)

RETRY_STEPS = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30))
"""Waits after the first, second and later failed attempts (spec 07 §6)."""


class ReportStatus(StrEnum):
    """What an agent may say about a job (JOB-06)."""

    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"


def retry_wait(attempts: int) -> timedelta:
    """How long to wait after so many attempts (≥ 1)."""
    return RETRY_STEPS[min(attempts, len(RETRY_STEPS)) - 1]
