"""What people do to loops."""

from __future__ import annotations

from certctl_core.kernel.events import Category, Event
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class LoopRequested(Event):
    """Somebody asked for a run outside the schedule."""

    tag = "loop.requested"
    category = Category.CONFIG
    resource_type = "loop"
