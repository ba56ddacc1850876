"""Token buckets in memory: one limiter before authentication, one after it (01 API-18)."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from certctl_core.kernel.clock import Clock
from certctl_core.kernel.errors import RateLimited
from certctl_core.kernel.observability import count_limited

_MAX_KEYS = 100_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class TokenBuckets:
    """One bucket a key: ``rate`` tokens a second, at most ``burst``.

    Args:
        name: What the limit is called in the metric.
        rate: Tokens a second; 0 or less switches the limiter off.
        burst: Size of a bucket.
        ttl_seconds: An idle bucket is forgotten after this.
        clock: The time.
    """

    def __init__(
        self, name: str, *, rate: float, burst: float, ttl_seconds: float, clock: Clock
    ) -> None:
        self._name = name
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._ttl = ttl_seconds
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._lock = threading.Lock()
        self._swept = clock.monotonic()

    def take(self, key: str) -> None:
        """Use one token of ``key``.

        Raises:
            RateLimited: The bucket is empty; ``retry_after_seconds`` says when it is not.
        """
        if self._rate <= 0 or not key:
            return
        now = self._clock.monotonic()
        with self._lock:
            bucket = self._buckets.get(key)
            if bucket is None:
                if len(self._buckets) >= _MAX_KEYS or now - self._swept > self._ttl:
                    self._sweep(now)
                bucket = self._buckets[key] = _Bucket(self._burst, now)
            bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)
            bucket.at = now
            if bucket.tokens >= 1:
                bucket.tokens -= 1
                return
            wait = (1 - bucket.tokens) / self._rate
        count_limited(self._name)
        raise RateLimited(retry_after_seconds=max(1, int(wait + 0.999)))

    def _sweep(self, now: float) -> None:
        self._swept = now
        self._buckets = {
            key: bucket for key, bucket in self._buckets.items() if now - bucket.at < self._ttl
        }
        if len(self._buckets) >= _MAX_KEYS:
            self._buckets = {}
