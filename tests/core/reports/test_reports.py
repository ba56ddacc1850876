"""Figures about the installation (01 §12): they agree with the lists, on both engines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from certctl_core.app import Core
from certctl_core.kernel.errors import CertctlError
from certctl_core.lifecycle.certificates import Status
from certctl_core.testing.fakes import FakeClock
from tests.core.certificates.support import active, add_version, create, put


def timeline(core: Core, name: str, days: int) -> dict[str, int]:
    page = core.call(f"stats.{name}", query={"days": days}).data
    return {row.date: row.count for row in page}


def test_an_empty_installation(core: Core, clock: FakeClock) -> None:
    summary = core.call("stats.summary")

    counts = summary.model_dump(exclude={"generated_at"})
    assert set(counts.values()) == {0}
    assert summary.generated_at == clock.now()
    assert core.call("stats.by_status").data == []
    assert set(timeline(core, "expirations", 7).values()) == {0}


@pytest.mark.spec("01/STAT-01")
def test_the_summary_counts_as_the_lists_do(core: Core, clock: FakeClock) -> None:
    for status in Status:
        for number in range(2):
            view = active(core, f"{status}{number}.example.test", days=20 + 40 * number)
            put(core, view.id, status)
    core.rooms.renewal.set_key_holders(lambda _uow, _id: ["ag-1"])
    core.call("certificates.renew", path={"certificate_id": create(core, "new.example.test").id})

    summary = core.call("stats.summary")

    assert summary.total_certificates == core.call("certificates.list").total == 15
    assert summary.revoked_certificates == summary.expired_certificates == 2
    assert summary.expiring_certificates == 4  # live, and at its end within 30 days
    assert (summary.pending_jobs, summary.failed_jobs, summary.complete_jobs) == (1, 0, 0)
    by_status = {row.status: row.count for row in core.call("stats.by_status").data}
    assert by_status == {
        status: core.call("certificates.list", query={"status": status}).total for status in Status
    }


@pytest.mark.spec("01/STAT-02")
def test_the_timelines_have_no_gaps_and_know_utc_days(core: Core, clock: FakeClock) -> None:
    clock.set(datetime(2026, 1, 15, 23, 59, 59, tzinfo=UTC))
    first = active(core, "a.example.test", days=3)
    clock.advance(timedelta(seconds=1))  # the next day
    active(core, "b.example.test", days=3)
    add_version(core, first.id, days=10)
    clock.advance(timedelta(days=1))

    issued = timeline(core, "issuance", 4)
    ends = timeline(core, "expirations", 10)

    assert issued == {"2026-01-14": 0, "2026-01-15": 1, "2026-01-16": 2, "2026-01-17": 0}
    assert len(ends) == 10
    assert {day: count for day, count in ends.items() if count} == {
        "2026-01-19": 1,
        "2026-01-26": 1,
    }
    assert next(iter(ends)) == "2026-01-17"


@pytest.mark.parametrize("days", [0, 366, -1, "many"])
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_bad_ranges(core: Core, days: object) -> None:
    with pytest.raises(CertctlError) as caught:
        core.call("stats.issuance", query={"days": days})
    assert caught.value.code == "validation_error"
