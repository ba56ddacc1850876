"""When to ask again: pure arithmetic (AGT-20, AGT-31, AGT-32, AGT-33)."""

from __future__ import annotations

import random
from dataclasses import dataclass

from certctl_client.errors import APIError

from certctl_agent.server import UNAUTHORIZED

MAX_DELAY = 300.0
REFUSALS_BEFORE_SLOW = 5
_JITTER = 0.1
_FAILURE_JITTER = 0.2
_BUSY = frozenset({429, 503})


@dataclass(slots=True)
class Pace:
    """The rhythm of one loop. Not shared between threads.

    Attributes:
        interval: Seconds between two successes.
    """

    interval: float
    rng: random.Random
    failures: int = 0
    refusals: int = 0

    def first(self) -> float:
        """The delay before the first call: anything up to one interval, so that a fleet spreads."""
        return self.rng.uniform(0, self.interval)

    def succeeded(self) -> float:
        """The delay after a success."""
        self.failures = self.refusals = 0
        return self.interval * self.rng.uniform(1 - _JITTER, 1 + _JITTER)

    def failed(self, error: Exception) -> float:
        """The delay after a failure: it grows with each, and honours ``Retry-After``."""
        self.failures += 1
        is_refusal = isinstance(error, APIError) and error.status == UNAUTHORIZED
        self.refusals = self.refusals + 1 if is_refusal else 0
        if self.refusals >= REFUSALS_BEFORE_SLOW:
            return MAX_DELAY
        delay = min(self.failures * self.interval, MAX_DELAY)
        delay *= self.rng.uniform(1 - _FAILURE_JITTER, 1 + _FAILURE_JITTER)
        if (
            isinstance(error, APIError)
            and error.status in _BUSY
            and error.retry_after_seconds is not None
        ):
            delay = max(delay, error.retry_after_seconds)
        return delay

    @property
    def is_refused(self) -> bool:
        """Whether the credential was refused so often that an operator has to look."""
        return self.refusals == REFUSALS_BEFORE_SLOW
