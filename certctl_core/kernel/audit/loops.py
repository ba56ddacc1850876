"""Loop bodies of the audit log, for the scheduler."""

from __future__ import annotations

from typing import Protocol

from certctl_core.kernel.audit.workflow import AuditLog
from certctl_core.kernel.db import Lease, UnitOfWorkFactory


class Tick(Protocol):
    """What the bodies need of a loop's context."""

    units: UnitOfWorkFactory
    lease: Lease | None

    @property
    def is_over(self) -> bool:
        """Whether to stop."""
        ...


def seal(context: Tick, audit: AuditLog) -> int:
    """Loop ``audit_seal``: give committed events their leaf; returns how many."""
    return audit.seal(context.units, lease=context.lease, is_over=lambda: context.is_over)


def verify(context: Tick, audit: AuditLog) -> int:
    """Loop ``audit_verify``: from the last whole tree on, once a week everything.

    Returns the number of leaves looked at.
    """
    full = audit.is_full_due(context.units)
    report = audit.verify(context.units, full=full, is_over=lambda: context.is_over)
    return max(0, report.tree_size - report.from_index)
