"""The rhythm of the agent's loops (07 §4.3, §4.4)."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from certctl_agent.pacing import Pace
from certctl_client.errors import APIError, ServerUnreachable


def _pace(seed: int = 1, interval: float = 30) -> Pace:
    return Pace(interval, random.Random(seed))


def _refused(status: int, retry_after: float | None = None) -> APIError:
    return APIError(status=status, document={"code": "x"}, retry_after_seconds=retry_after)


_DOWN = ServerUnreachable(url="https://x", reason="refused")


@pytest.mark.spec("07/AGT-20", "07/AGT-31")
def test_a_fleet_that_starts_together_spreads() -> None:
    starts = [_pace(seed, 60).first() for seed in range(200)]
    buckets = Counter(int(start // 5) for start in starts)

    assert max(starts) <= 60
    assert max(buckets.values()) <= 200 * 0.15


@pytest.mark.spec("01/AGP-01")
def test_a_success_waits_one_interval_and_a_tenth() -> None:
    pace = _pace()

    assert all(27 <= pace.succeeded() <= 33 for _ in range(100))


@pytest.mark.spec("07/AGT-32", "01/AGP-01")
def test_failures_wait_longer_and_a_success_forgets_them() -> None:
    pace = _pace()
    delays = [pace.failed(_DOWN) for _ in range(20)]

    for number, delay in enumerate(delays, start=1):
        wait = min(number * 30, 300)
        assert wait * 0.8 <= delay <= wait * 1.2
    pace.succeeded()
    assert pace.failed(_DOWN) <= 36


@pytest.mark.spec("07/AGT-32")
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_says_when(status: int) -> None:
    assert _pace().failed(_refused(status, 120)) == 120


@pytest.mark.spec("07/AGT-33")
def test_five_refusals_in_a_row_slow_the_agent_down() -> None:
    pace = _pace()
    assert all(pace.failed(_refused(401)) < 300 for _ in range(4))
    assert not pace.is_refused
    said = [(pace.failed(_refused(401)), pace.is_refused) for _ in range(3)]

    assert said == [(300, True), (300, False), (300, False)]
