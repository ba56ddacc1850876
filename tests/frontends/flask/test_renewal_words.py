"""The page of a certificate promises a renewal only where an agent can make one (01 CERT-10)."""

from __future__ import annotations

from typing import Any

import pytest

from certctl_core.app import Core
from certctl_core.testing.factories import issue
from certctl_core.testing.fakes import FakeClock
from tests.core.agents.fleet import Fleet
from tests.frontends.flask.browsing import Reader, words

pytestmark = pytest.mark.parametrize("database_engine", ["sqlite"])


@pytest.fixture
def core_settings() -> dict[str, Any]:
    return {"rate_limit_enabled": False}


def test_who_renews(core: Core, clock: FakeClock) -> None:
    fleet = Fleet(core=core, clock=clock)
    alone = issue(core, "alone.example.test").certificate.id
    _, linked, _, _ = fleet.deployed()
    reader = Reader(core)

    said = words(reader.open(f"/ui/certificates/{alone}"))
    assert "Renewal by hand: no agent holds the key" in said
    assert "renews in" not in said

    said = words(reader.open(f"/ui/certificates/{linked}"))
    assert "Renewal automatic" in said
    assert "renews in" in said
