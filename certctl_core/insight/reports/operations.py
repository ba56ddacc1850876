"""The use cases of the reports room, as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from pydantic import BaseModel

from certctl_core.insight.reports.schemas import (
    Days,
    StatusCountsView,
    SummaryView,
    TimelineView,
)
from certctl_core.insight.reports.service import ReportService
from certctl_core.kernel.db import Uow
from certctl_core.kernel.operations import Call, Operation, Transaction


def operations(service: ReportService) -> tuple[Operation, ...]:
    """Declare the figures."""

    def uow(call: Call) -> Uow:
        return cast("Uow", call.uow)

    def days(call: Call) -> int:
        return cast("Days", call.query).days

    def figure(  # noqa: PLR0917 - one shape, written as a table below
        name: str,
        path: str,
        summary: str,
        output: type[BaseModel],
        run: Callable[[Call], object],
        query: type[BaseModel] | None = None,
    ) -> Operation:
        return Operation(
            name=name,
            method="GET",
            path=path,
            summary=summary,
            permission="stats.read",
            query=query,
            output=output,
            transaction=Transaction.READ,
            run=run,
            tags=("stats",),
        )

    return (
        figure(
            "stats.summary",
            "/stats/summary",
            "Show the installation in numbers",
            SummaryView,
            lambda call: service.summary(uow(call)),
        ),
        figure(
            "stats.by_status",
            "/stats/certificates-by-status",
            "Count certificates by state",
            StatusCountsView,
            lambda call: service.by_status(uow(call)),
        ),
        figure(
            "stats.expirations",
            "/stats/expiration-timeline",
            "Count expirations by day",
            TimelineView,
            lambda call: service.expirations(uow(call), days(call)),
            Days,
        ),
        figure(
            "stats.issuance",
            "/stats/issuance-rate",
            "Count issued certificates by day",
            TimelineView,
            lambda call: service.issuance(uow(call), days(call)),
            Days,
        ),
    )
