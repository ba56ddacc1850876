"""Answers of the reports room (spec 01 §12)."""

from datetime import datetime

from pydantic import Field

from certctl_core.kernel.operations import Input, View


class Days(Input):
    """How far to look."""

    days: int = Field(30, ge=1, le=365, description="Number of days.")


class SummaryView(View):
    """The installation in numbers."""

    total_certificates: int
    expiring_certificates: int = Field(description="Within 30 days.")
    expired_certificates: int
    revoked_certificates: int
    total_agents: int
    active_agents: int
    offline_agents: int
    pending_jobs: int
    failed_jobs: int
    complete_jobs: int
    generated_at: datetime


class StatusCount(View):
    """How many certificates are in one state."""

    status: str
    count: int


class StatusCountsView(View):
    """Certificates per state, every state that occurs."""

    data: list[StatusCount]


class DayCount(View):
    """How many on one day (``YYYY-MM-DD``, UTC)."""

    date: str
    count: int


class TimelineView(View):
    """A count per day, without gaps."""

    data: list[DayCount]
