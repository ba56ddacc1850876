"""The events of CRLs: one for each attempt, and never in its way (02 CRL-7)."""

from __future__ import annotations

import pytest

from certctl_core.app import Core
from tests.core.revocation.support import Web, make, revoke, sql

pytestmark = pytest.mark.spec("02/CRL-7")
_STATEMENT = (
    "SELECT part, succeeded, revoked_count, crl_number, duration_ms FROM crl_generation_events "
    "ORDER BY id"
)


def break_events(core: Core) -> None:
    """From here on no event can be written."""
    if core.database.is_postgres:
        broken = "ADD CONSTRAINT broken CHECK (crl_number < 0) NOT VALID"
        sql(core, f"ALTER TABLE crl_generation_events {broken}")
    else:
        broken = "BEGIN SELECT RAISE(ABORT, 'broken'); END"
        sql(core, f"CREATE TRIGGER broken BEFORE INSERT ON crl_generation_events {broken}")


def mend_events(core: Core) -> None:
    if core.database.is_postgres:
        sql(core, "ALTER TABLE crl_generation_events DROP CONSTRAINT broken")
    else:
        sql(core, "DROP TRIGGER broken")


def test_an_attempt_leaves_one_event_with_duration_and_count(core: Core, web: Web) -> None:
    assert web.listed() == {}
    before = sql(core, _STATEMENT)
    made = [make(core, f"host{number}.example.test") for number in range(3)]
    for one in made:
        revoke(core, one.certificate_id)

    assert len(web.listed()) == 3

    (row,) = sql(core, _STATEMENT)[len(before) :]
    number = web.crl().extensions[1].value
    assert (row[0], bool(row[1]), row[2]) == ("", True, 3)
    assert str(row[3]) in str(number)
    assert row[4] >= 0


def test_an_event_that_cannot_be_written_stops_no_list(core: Core, web: Web) -> None:
    first, second = make(core), make(core, "other.example.test")
    assert web.listed() == {}
    break_events(core)
    before = sql(core, _STATEMENT)

    revoke(core, first.certificate_id)

    assert set(web.listed()) == {first.serial.lstrip("0")}
    assert web.status(first.serial) == "revoked"
    assert sql(core, _STATEMENT) == before

    mend_events(core)
    revoke(core, second.certificate_id)
    assert len(web.listed()) == 2
    assert len(sql(core, _STATEMENT)) == len(before) + 1
