"""Committed events get their leaf, once, in one clean log (spec 05 §12)."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from certctl_core.kernel.audit import (
    AuditLog,
    AuditLogBroken,
    AuditLogEmpty,
    SealerFenced,
)
from certctl_core.kernel.audit.workflow import SEAL_BATCH
from certctl_core.kernel.db import Leases
from tests.core.kernel.audit.conftest import OPERATOR, LanternLit, b64, event
from tests.machine import PATIENCE_SECONDS as PATIENCE

HOUR = timedelta(hours=1)


@pytest.mark.spec("05/AUD-22", "05/AUD-25", "01/AUD-03")
def test_events_get_their_place_and_a_checkpoint(audit, units, write, signer):
    first = write("lan-1", "lan-2")
    assert audit.seal(units) == 2
    (third,) = write("lan-3")
    assert audit.seal(units) == 1
    assert audit.seal(units) == 0
    assert [event(units, audit, event_id).seq for event_id in (*first, third)] == [0, 1, 2]
    with units.read() as uow:
        view = audit.checkpoint(uow)
    assert (view.tree_size, view.origin, view.key) == (3, "certctl/test", audit.vkey)
    point = signer.verifier.checkpoint(view.note)
    assert (point.tree_size, point.root_hash) == (3, b64(view.root_hash))


def test_an_empty_log_has_no_checkpoint(audit, units):
    assert audit.seal(units) == 0
    with units.read() as uow, pytest.raises(AuditLogEmpty):
        audit.checkpoint(uow)


@pytest.mark.spec("05/AUD-22")
def test_a_late_commit_is_not_skipped(audit, units, write, clock):
    with units.begin(OPERATOR) as uow:
        late = LanternLit(resource_id="lan-late")
        envelope = uow.emit(late)
        if uow.is_postgres:
            clock.advance(timedelta(seconds=90))
            write("lan-1", "lan-2")
            assert audit.seal(units) == 2
    clock.advance(timedelta(seconds=15))  # older ones are looked for four times a minute
    assert audit.seal(units) == 1
    assert event(units, audit, envelope.id).seq is not None


def test_more_than_one_batch(audit, units, write):
    for part in range(3):
        write(*(f"lan-{part}-{number}" for number in range(SEAL_BATCH // 2)))
    assert audit.seal(units) == 1500
    with units.read() as uow:
        assert audit.checkpoint(uow).tree_size == 1500
    assert audit.verify(units, full=True).tree_size == 1500


def test_what_comes_meanwhile_waits_for_the_next_tick(audit, units, write):
    """Else a busy log would be sealed for ever, a handful of events at a time."""
    turns = iter(range(5))

    def one_more_comes() -> bool:
        write(f"lan-{next(turns)}")
        return False

    assert audit.seal(units, is_over=one_more_comes) == 1
    write("lan-later")
    assert audit.seal(units) == 1
    assert audit.verify(units, full=True).tree_size == 2


@pytest.mark.spec("05/AUD-23")
def test_a_second_sealer_cannot_fork_the_log(audit, units, write, signer):
    other = AuditLog(signer=signer)
    for number in range(40):
        write(*(f"lan-{number}-{part}" for part in range(5)))
    start = threading.Barrier(4)
    fenced = []

    def work(log):
        start.wait()
        for _ in range(20):
            try:
                if not log.seal(units):
                    return
            except SealerFenced:
                fenced.append(1)

    threads = [
        threading.Thread(target=work, args=(log,))
        for log in (audit, other, AuditLog(signer=signer), AuditLog(signer=signer))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    report = audit.verify(units, full=True)
    assert (report.ok, report.tree_size) == (True, 200)


@pytest.mark.spec("05/AUD-23", "08/HA-2")
def test_a_sealer_with_an_old_fence_writes_nothing(audit, units, write):
    leases = Leases()
    with units.begin() as uow:
        old = leases.acquire(uow, "loop:audit_seal", holder="replica-1", ttl=HOUR)
        assert old is not None
        leases.release(uow, old)
        leases.acquire(uow, "loop:audit_seal", holder="replica-2", ttl=HOUR)
    write("lan-1")
    with pytest.raises(SealerFenced):
        audit.seal(units, lease=old)
    with units.read() as uow:
        assert audit.stats(uow).log_size == 0


def test_nothing_is_sealed_on_a_broken_log(audit, units, write, attacker):
    write("lan-1", "lan-2")
    audit.seal(units)
    with attacker() as connection:
        connection.exec_driver_sql("DELETE FROM audit_leaves WHERE leaf_index = 1")
    write("lan-3")
    with pytest.raises(AuditLogBroken):
        audit.seal(units)


@pytest.mark.spec("05/AUD-22", "01/TST-02", "08/RET-3")
def test_fifty_parallel_writers_make_one_clean_log(audit, units):
    stop = threading.Event()

    def write(number):
        for turn in range(4):
            with units.begin(OPERATOR, request_id=f"req-{number}") as uow:
                for part in range(2):
                    uow.emit(LanternLit(resource_id=f"lan-{number}-{turn}-{part}"))

    def seal():
        while not stop.is_set():
            audit.seal(units)
            stop.wait(0.01)

    sealer = threading.Thread(target=seal)
    writers = [threading.Thread(target=write, args=(number,)) for number in range(50)]
    for thread in (sealer, *writers):
        thread.start()
    for thread in writers:
        thread.join(PATIENCE)
    stop.set()
    sealer.join(PATIENCE)
    audit.seal(units)
    report = audit.verify(units, full=True)
    assert (report.ok, report.tree_size) == (True, 400)


@pytest.mark.spec("05/AUD-27")
def test_figures_for_metrics(audit, units, write, clock):
    write("lan-1")
    clock.advance(timedelta(seconds=3))
    with units.read() as uow:
        before = audit.stats(uow)
    assert (before.log_size, before.unsealed, before.seal_lag_seconds) == (0, 1, 3.0)
    audit.seal(units)
    audit.verify(units)
    audit.seal(units)
    with units.read() as uow:
        after = audit.stats(uow)
    assert (after.log_size, after.unsealed) == (2, 0)
    assert after.last_checkpoint_at == after.last_verified_at == clock.now()
