"""The words of the dashboard: what is counted by date is not called like the state (01 STAT-01)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certctl_core.app import Core
from certctl_core.testing.factories import issue
from certctl_core.testing.fakes import FakeClock
from tests.frontends.flask.browsing import Reader, words


@pytest.mark.spec("01/STAT-01")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_only_the_state_is_called_expiring(core: Core, clock: FakeClock) -> None:
    issue(core, "soon.example.com")
    clock.advance(timedelta(days=65))
    core.background.scheduler.run_once("renewal")

    tiles, found, states = words(Reader(core).open("/ui/")).partition("By status")

    assert found
    assert "End within 30 days 1" in tiles
    assert "Expiring" not in tiles
    assert "Expiring" in states
