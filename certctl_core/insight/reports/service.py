"""Reports: what the other rooms know, added up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta

from certctl_core.insight.reports.schemas import (
    DayCount,
    StatusCount,
    StatusCountsView,
    SummaryView,
    TimelineView,
)
from certctl_core.kernel.db import Uow
from certctl_core.lifecycle.certificates import Status, statistics

_SOON_DAYS = 30
_OPEN = ("Pending", "Running", "AwaitingCSR", "AwaitingApproval", "AwaitingIssuer")

Counts = Callable[[Uow], Mapping[str, int]]


class ReportService:
    """Figures for people.

    Args:
        jobs: Jobs per state.
        agents: Agents per state.
    """

    def __init__(self, *, jobs: Counts, agents: Counts) -> None:
        self._jobs = jobs
        self._agents = agents

    def summary(self, uow: Uow) -> SummaryView:
        """The installation in numbers; archived certificates do not count."""
        states = statistics.by_status(uow)
        jobs = self._jobs(uow)
        agents = self._agents(uow)
        return SummaryView(
            total_certificates=sum(states.values()) - states.get(Status.ARCHIVED, 0),
            expiring_certificates=statistics.expiring_within(uow, _SOON_DAYS),
            expired_certificates=states.get(Status.EXPIRED, 0),
            revoked_certificates=states.get(Status.REVOKED, 0),
            total_agents=sum(agents.values()),
            active_agents=agents.get("Online", 0) + agents.get("Degraded", 0),
            offline_agents=agents.get("Offline", 0),
            pending_jobs=sum(jobs.get(state, 0) for state in _OPEN),
            failed_jobs=jobs.get("Failed", 0),
            complete_jobs=jobs.get("Completed", 0),
            generated_at=uow.now,
        )

    def by_status(self, uow: Uow) -> StatusCountsView:
        """Certificates per state."""
        states = statistics.by_status(uow)
        return StatusCountsView(
            data=[
                StatusCount(status=status.value, count=states.get(status, 0))
                for status in Status
                if states.get(status, 0)
            ]
        )

    def expirations(self, uow: Uow, days: int) -> TimelineView:
        """Certificates that end on each of the next ``days``."""
        found = statistics.expiry_by_day(uow, days)
        return _timeline(uow.now.date(), days, found)

    def issuance(self, uow: Uow, days: int) -> TimelineView:
        """Versions issued on each of the last ``days``, today last."""
        found = statistics.issued_by_day(uow, days)
        return _timeline(uow.now.date() - timedelta(days=days - 1), days, found)


def _timeline(start: date, days: int, found: Mapping[str, int]) -> TimelineView:
    dates = [(start + timedelta(days=offset)).isoformat() for offset in range(days)]
    return TimelineView(data=[DayCount(date=day, count=found.get(day, 0)) for day in dates])
