"""One count of everybody who was told to wait (05 RL-4, 08 RL-4)."""

from __future__ import annotations

from certctl_core.kernel.observability.metrics import counter

_LIMITED = counter(
    "certctl_rate_limited_total",
    "Requests that a limit refused, by the limit.",
    ("limiter",),
)


def count_limited(limiter: str) -> None:
    """Count one refused request.

    Args:
        limiter: Which limit refused it: a fixed word of the code.
    """
    _LIMITED.labels(limiter).inc()
