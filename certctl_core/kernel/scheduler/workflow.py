"""A loop: what runs, how often, for how long, and whether on one replica only."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import field
from datetime import timedelta
from typing import Any

import structlog

from certctl_core.kernel.actors import Actor, system_actor
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.db import Lease, UnitOfWorkFactory
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.scheduler")


@dataclass(slots=True, kw_only=True)
class LoopContext:
    """What the body of a loop is given. It runs in a thread, outside any transaction.

    Attributes:
        name: The loop's name.
        units: Opens units of work; pass ``actor=ctx.actor``.
        clock: The time.
        lease: The lease of a single-holder loop; check its fence where a repeat would hurt.
    """

    name: str
    units: UnitOfWorkFactory
    clock: Clock
    lease: Lease | None
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def actor(self) -> Actor:
        """``scheduler:<loop>``."""
        return system_actor(f"scheduler:{self.name}")

    @property
    def log(self) -> Any:
        """A logger bound to the loop."""
        return _log.bind(loop=self.name)

    @property
    def is_over(self) -> bool:
        """Whether to stop: the budget is spent, the lease is lost, or the process ends.

        A body that works in batches looks here between two of them.
        """
        return self._over.is_set()

    def end(self) -> None:
        """Tell the body to stop (the scheduler calls it)."""
        self._over.set()


LoopBody = Callable[[LoopContext], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """One loop.

    Attributes:
        name: Its label in metrics and surfaces.
        interval: From start to start, ±10 %; zero switches the schedule off, not the loop.
        run: The body; returns how many things it dealt with.
        at_start: Run soon after the process has started; else after the first interval.
        timeout: The budget of one run.
        single_holder: One replica at a time, under a lease; else every replica runs it.
    """

    name: str
    interval: timedelta
    run: LoopBody
    at_start: bool = True
    timeout: timedelta = timedelta(minutes=5)
    single_holder: bool = True
