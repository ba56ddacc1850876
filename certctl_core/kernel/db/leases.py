"""Leases: N replicas, one holder (spec 08 HA-2)."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from certctl_core.kernel.db import _tables as t
from certctl_core.kernel.db.uow import Uow
from certctl_core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A held lease. ``fence`` grows with each change of holder: pass it to writes that count."""

    name: str
    holder: str
    fence: int
    expires_at: datetime


class Leases:
    """Acquire, renew and release by compare-and-set; each call is one statement in a uow."""

    def acquire(self, uow: Uow, name: str, *, holder: str, ttl: timedelta) -> Lease | None:
        """Take or renew the lease; None while another holder's lease lives.

        The time is the database's on PostgreSQL, so skewed replicas agree.
        """
        stamp = t.leases.c.expires_at.type
        now: sa.ColumnElement[datetime]
        until: sa.ColumnElement[datetime]
        if uow.is_postgres:
            now = sa.func.clock_timestamp(type_=stamp)
            until = sa.type_coerce(now.op("+")(sa.literal(ttl, sa.Interval())), stamp)
        else:
            now = sa.literal(uow.now, stamp)
            until = sa.literal(uow.now + ttl, stamp)
        insert = uow.insert(t.leases).values(name=name, holder=holder, fence=1, expires_at=until)
        c = t.leases.c
        statement = insert.on_conflict_do_update(
            index_elements=[c.name],
            set_={
                "holder": holder,
                "expires_at": until,
                "fence": c.fence + sa.case((c.holder == holder, 0), else_=1),
            },
            where=sa.or_(c.holder == holder, c.expires_at < now),
        ).returning(c.fence, c.expires_at)
        row = uow.first(statement)
        if row is None:
            return None
        return Lease(name=name, holder=holder, fence=row.fence, expires_at=row.expires_at)

    def release(self, uow: Uow, lease: Lease) -> None:
        """Give the lease up at once; harmless when it has already passed on."""
        c = t.leases.c
        uow.execute(
            sa.update(t.leases)
            .where(c.name == lease.name, c.holder == lease.holder, c.fence == lease.fence)
            .values(expires_at=uow.now - timedelta(seconds=1))
        )

    def is_held(self, uow: Uow, lease: Lease) -> bool:
        """Whether the fence is still the newest: check in the transaction that must not fork."""
        c = t.leases.c
        return bool(uow.scalar(sa.select(c.fence).where(c.name == lease.name)) == lease.fence)
