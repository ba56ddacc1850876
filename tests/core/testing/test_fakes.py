"""FakeClock keeps the contract of the real clock (STYLE: fakes are held to it)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from certctl_core.kernel.clock import Clock, SystemClock
from certctl_core.testing.fakes import EPOCH, FakeClock


@pytest.mark.parametrize("made", [FakeClock(), SystemClock()], ids=["fake", "system"])
def test_clock_shows_aware_utc_and_never_runs_backwards(made: Clock) -> None:
    assert made.now().utcoffset() == timedelta()
    assert made.monotonic() <= made.monotonic()


def test_clock_stands_still_until_moved(clock: FakeClock) -> None:
    assert clock.now() == clock.now() == EPOCH


def test_advance_moves_both_hands(clock: FakeClock) -> None:
    before = clock.monotonic()

    assert clock.advance(timedelta(minutes=2)) == EPOCH + timedelta(minutes=2)
    assert clock.monotonic() - before == 120


def test_set_moves_only_the_wall_clock_and_may_go_back(clock: FakeClock) -> None:
    before = clock.monotonic()

    clock.set(datetime(2020, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))))

    assert clock.now() == datetime(2020, 1, 1, tzinfo=UTC)
    assert clock.monotonic() == before


def test_a_clock_never_advances_backwards(clock: FakeClock) -> None:
    with pytest.raises(ValueError, match="only goes forward"):
        clock.advance(timedelta(seconds=-1))


def test_a_naive_time_is_refused(clock: FakeClock) -> None:
    naive = datetime(2026, 1, 1)
    with pytest.raises(ValueError, match="without a zone"):
        clock.set(naive)
    with pytest.raises(ValueError, match="without a zone"):
        FakeClock(naive)
