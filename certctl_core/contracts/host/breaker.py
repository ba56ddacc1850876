"""Limits around the calls of one instance: circuit breaker and token bucket (spec 06 NET-10)."""

from __future__ import annotations

import threading
from datetime import timedelta
from enum import StrEnum

from certctl_core.contracts.errors import BreakerOpen, UpstreamRateLimited
from certctl_core.kernel.clock import Clock

FAILURES = 5
WINDOW = timedelta(minutes=2)
FIRST_PAUSE = timedelta(seconds=60)
LONGEST_PAUSE = timedelta(minutes=15)


class BreakerState(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    OPEN = "open"
    TRIAL = "trial"


class Breaker:
    """Opens after 5 failures in a row within 2 minutes, for 60 s doubling to 15 min.

    When the pause is over one trial call goes through; its success closes the breaker, its failure
    opens it again for twice as long. Safe for threads.

    Args:
        clock: Its monotonic hand is used.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: list[float] = []
        self._pause = FIRST_PAUSE
        self._open_until: float | None = None
        self._trial_since: float | None = None

    @property
    def state(self) -> BreakerState:
        """How it stands now."""
        with self._lock:
            if self._open_until is None:
                return BreakerState.CLOSED
            if self._trial_since is not None or self._clock.monotonic() >= self._open_until:
                return BreakerState.TRIAL
            return BreakerState.OPEN

    def admit(self) -> None:
        """Let a call through.

        Raises:
            BreakerOpen: It does not; ``retry_after`` says when a trial is due.
        """
        with self._lock:
            if self._open_until is None:
                return
            now = self._clock.monotonic()
            # A trial whose call never came back must not keep the breaker open for ever.
            lost = (
                self._trial_since is not None and now - self._trial_since > WINDOW.total_seconds()
            )
            if now >= self._open_until and (self._trial_since is None or lost):
                self._trial_since = now
                return
            wait = timedelta(seconds=max(1.0, self._open_until - now))
        raise BreakerOpen(reason="it failed several times in a row", retry_after=wait)

    def succeeded(self) -> None:
        """Note a call that reached the other side."""
        with self._lock:
            self._failures.clear()
            self._pause = FIRST_PAUSE
            self._open_until = None
            self._trial_since = None

    def failed(self) -> None:
        """Note a call that did not."""
        with self._lock:
            now = self._clock.monotonic()
            if self._trial_since is not None:
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
                self._open_until = now + self._pause.total_seconds()
                self._trial_since = None
                return
            self._failures = [at for at in self._failures if now - at <= WINDOW.total_seconds()]
            self._failures.append(now)
            if len(self._failures) >= FAILURES and self._open_until is None:
                self._failures.clear()
                self._open_until = now + self._pause.total_seconds()


class TokenBucket:
    """Admits ``rate`` calls a second on average, ``burst`` at once. Safe for threads.

    Args:
        clock: Its monotonic hand is used.
        rate: Calls per second, above 0.
        burst: Most calls at once, at least 1.
    """

    def __init__(self, clock: Clock, *, rate: float, burst: int) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = clock.monotonic()
        self._lock = threading.Lock()

    def admit(self) -> None:
        """Take a token.

        Raises:
            UpstreamRateLimited: There is none; ``retry_after`` says when there is.
        """
        with self._lock:
            now = self._clock.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
            self._at = now
            if self._tokens >= 1:
                self._tokens -= 1
                return
            wait = timedelta(seconds=(1 - self._tokens) / self._rate)
        raise UpstreamRateLimited(reason="our own limit for this instance", retry_after=wait)
