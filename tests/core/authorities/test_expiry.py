"""Warnings before a CA ends (02 CA-7)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certctl_core.kernel.actors import system_actor
from certctl_core.lifecycle.authorities import CAKeyExpiring, LocalConfig, NewCA, run_ca_expiry
from tests.core.authorities.conftest import Room

THRESHOLDS = (365, 180, 90, 30)


def told(room: Room) -> list[tuple[int, int]]:
    """(threshold, days left) of every warning so far."""
    events = [emitted.event for emitted in room.events]
    return [
        (event.threshold_days, event.days_left)
        for event in events
        if isinstance(event, CAKeyExpiring)
    ]


@pytest.mark.spec("02/CA-7")
def test_each_threshold_is_told_once(room: Room) -> None:
    start = room.clock.now()
    room.authorities.ensure("iss-local", LocalConfig(ca_validity_days=400))
    for day in (0, 30, 36, 36, 250, 311, 371, 399, 401):
        room.clock.set(start + timedelta(days=day))
        run_ca_expiry(room.units, THRESHOLDS)
    assert told(room) == [(365, 364), (180, 150), (90, 89), (30, 29)]


@pytest.mark.spec("02/CA-7")
def test_only_the_nearest_threshold_is_told_of_a_ca_that_is_late(room: Room) -> None:
    room.authorities.ensure("iss-local", LocalConfig(ca_validity_days=20))
    assert run_ca_expiry(room.units, THRESHOLDS) == 1
    assert told(room) == [(30, 20)]
    assert run_ca_expiry(room.units, ()) == 0


@pytest.mark.spec("02/CA-7")
def test_a_former_ca_may_end_in_silence(room: Room) -> None:
    room.authorities.ensure("iss-local", LocalConfig(ca_validity_days=20))
    room.authorities.rotation.rotate(
        "iss-local",
        LocalConfig(),
        NewCA(),
        actor=system_actor("test"),
        request_id="",
    )
    assert run_ca_expiry(room.units, THRESHOLDS) == 0
