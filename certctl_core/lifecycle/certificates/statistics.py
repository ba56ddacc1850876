"""Figures about the inventory, for reports and metrics: counters and index ranges, no full scans."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from certctl_core.kernel.db import Uow, day_of
from certctl_core.lifecycle.certificates._tables import certificate_versions as versions
from certctl_core.lifecycle.certificates._tables import managed_certificates as certificates
from certctl_core.lifecycle.certificates.types import Status

_LIVE = (Status.ACTIVE, Status.EXPIRING, Status.RENEWING, Status.FAILED)


def by_status(uow: Uow) -> dict[str, int]:
    """Certificates per state, from the counter rows; states without any are absent."""
    return uow.counters("certificates.status.")


def expiring_within(uow: Uow, days: int) -> int:
    """Live certificates that end within ``days`` from now."""
    c = certificates.c
    return int(
        uow.scalar(
            sa.select(sa.func.count())
            .select_from(certificates)
            .where(
                c.expires_at > uow.now,
                c.expires_at <= uow.now + timedelta(days=days),
                c.status.in_(_LIVE),
            )
        )
    )


def expiry_by_day(uow: Uow, days: int) -> dict[str, int]:
    """Day (``YYYY-MM-DD``) → certificates that end on it, for the next ``days``."""
    c = certificates.c
    day = day_of(c.expires_at, is_postgres=uow.is_postgres).label("day")
    rows = uow.execute(
        sa.select(day, sa.func.count().label("found"))
        .where(
            c.expires_at > uow.now,
            c.expires_at <= uow.now + timedelta(days=days),
            c.status.in_(_LIVE),
        )
        .group_by(day)
    )
    return {row.day: int(row.found) for row in rows}


def issued_by_day(uow: Uow, days: int) -> dict[str, int]:
    """Day → versions issued on it, for the last ``days``."""
    c = versions.c
    day = day_of(c.created_at, is_postgres=uow.is_postgres).label("day")
    rows = uow.execute(
        sa.select(day, sa.func.count().label("found"))
        .where(c.created_at > uow.now - timedelta(days=days))
        .group_by(day)
    )
    return {row.day: int(row.found) for row in rows}
