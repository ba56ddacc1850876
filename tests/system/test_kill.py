"""``kill -9``: whatever was answered is known afterwards, and nothing is half done."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from certctl_core.app import Core
from certctl_core.kernel.config import Settings
from certctl_core.kernel.secrets import generate_keyring
from certctl_core.testing.factories import issue
from tests.machine import PATIENCE_SECONDS, eventually, free_port
from tests.system import crashing
from tests.system.conftest import database_settings
from tests.system.installed import (
    Served,
    counted_status,
    launch,
    listed_status,
    request_for,
    rows,
)

pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("system")]

_STEPS = (
    "while recording (3)",
    "recorded (3)",
    "signed (4)",
    "verified (5)",
    "while storing (6)",
    "stored (6)",
)


_LEASE_SECONDS = 200
"""Where other processes may live, an order is abandoned when its lease has ended."""
_LEDGER = "SELECT serial_number FROM ca_issued_certificates WHERE certificate_id IS NOT NULL"


def _scalar(connection: sa.Connection, text: str) -> int:
    return int(connection.execute(sa.text(text)).scalar_one())


def assert_whole(url: str) -> None:
    """Ledger and versions name the same serials, once each; nothing is under way."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        in_ledger = connection.execute(sa.text(_LEDGER)).all()
        versions = connection.execute(
            sa.text("SELECT serial_number FROM certificate_versions")
        ).all()
        assert sorted(row[0] for row in in_ledger) == sorted(row[0] for row in versions)
        assert len({row[0] for row in versions}) == len(versions)
        submitting = "SELECT count(*) FROM issuer_orders WHERE state = 'submitting'"
        assert _scalar(connection, submitting) == 0
        unpointed = (
            "SELECT count(*) FROM certificate_versions v WHERE is_current AND NOT EXISTS ("
            "SELECT 1 FROM managed_certificates c WHERE c.current_version_id = v.id)"
        )
        assert _scalar(connection, unpointed) == 0
        states = connection.execute(
            sa.text("SELECT status, count(*) FROM managed_certificates GROUP BY status")
        ).all()
        counted = connection.execute(
            sa.text(
                "SELECT name, sum(value) FROM counters WHERE name LIKE 'certificates.status.%' "
                "GROUP BY name"
            )
        ).all()
    engine.dispose()
    by_row = {row[0]: int(row[1]) for row in states}
    by_counter = {row[0].rpartition(".")[2]: int(row[1]) for row in counted if row[1]}
    assert by_counter == by_row
    assert "RenewalInProgress" not in by_row
    assert "Pending" not in by_row


@pytest.mark.parametrize(
    "step",
    [
        *_STEPS,
        *(f"renewal: {step}" for step in _STEPS),
        *(f"at once: {step}" for step in _STEPS if step != "recorded (3)"),
    ],
)
def test_a_death_between_two_steps_is_settled(database_url: str, tmp_path: Path, step: str) -> None:
    keyring = generate_keyring()
    settings = Settings.for_directory(
        tmp_path / "data", database_url=database_url, config_encryption_keys=keyring
    )
    done = subprocess.run(
        [
            sys.executable,
            crashing.__file__,
            database_url,
            tmp_path / "data",
            step,
            "a.example.test",
        ],
        env={**os.environ, "KEYRING": keyring},
        timeout=4 * PATIENCE_SECONDS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == crashing.DIED, done.stderr

    with Core.open(settings) as core:
        core.rooms.issuance.recover(everything=True)
        assert_whole(database_url)
        found = core.call("certificates.list").data
        is_renewal, is_stored = step.startswith("renewal"), "stored (6)" in step
        is_recorded = "while recording" not in step and not step.startswith("at once")
        expected = {"Active"} if is_renewal or is_stored else {"Failed"} if is_recorded else set()
        assert {row.status for row in found} == expected
        for row in found:
            path = {"certificate_id": row.id}
            versions = core.call("certificates.versions", path=path).data
            assert len(versions) == is_renewal + is_stored
        # And the world goes on.
        assert issue(core, "b.example.test").certificate.status == "Active"
        assert core.rooms.issuance.recover(everything=True) == 0


@dataclass(slots=True)
class Notes:
    """What eight clients were told before the line went dead."""

    issued: dict[str, str] = field(default_factory=dict)
    serials: set[str] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)
    unanswered: dict[str, dict[str, Any]] = field(default_factory=dict)

    def has(self, count: int) -> bool:
        """Whether so many certificates were handed out."""
        return len(self.issued) >= count


def _work(served: Served, notes: Notes, prefix: str) -> None:
    with served.client() as client, contextlib.suppress(httpx.TransportError):
        for number in range(1000):
            name = f"{prefix}-{number}.example.test"
            body = {"csr_pem": request_for(name)}
            notes.unanswered[name] = body
            answer = client.post("/certificates", json=body, headers={"Idempotency-Key": name})
            if answer.status_code != 201:
                return
            del notes.unanswered[name]
            made = answer.json()
            notes.issued[made["id"]] = name
            notes.serials.add(made["issued"]["version"]["serial_number"])
            path = f"/certificates/{made['id']}"
            if number % 2:
                again = client.post(f"{path}/renew", json={"csr_pem": request_for(name)})
                if again.status_code == 200:
                    notes.serials.add(again.json()["issued"]["version"]["serial_number"])
            if number % 3 == 2 and client.post(f"{path}/revoke", json={}).status_code == 200:
                notes.revoked.add(made["id"])


def _kill(served: Served) -> None:
    children = served.running.children()
    for number in [served.running.process.pid, *children]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    served.running.process.wait()
    eventually(
        lambda: not any(Path(f"/proc/{number}").exists() for number in children), what="all dead"
    )


def _check(served: Served, notes: Notes, url: str) -> None:
    with served.client() as client:
        eventually(
            lambda: rows(client, "/issuer-orders", state="submitting") == [],
            what="orders are settled",
            seconds=_LEASE_SECONDS,
        )
        assert_whole(url)
        assert counted_status(client) == listed_status(client)
        known = {row["id"]: row for row in rows(client, "/certificates")}
        assert notes.issued.keys() <= known.keys()
        assert {known[key]["status"] for key in notes.revoked} <= {"Revoked"}
        for name, body in notes.unanswered.items():
            answer = client.post("/certificates", json=body, headers={"Idempotency-Key": name})
            assert answer.status_code in {201, 409}, answer.text
            found = rows(client, "/certificates", q=name)
            assert len([row for row in found if row["current_version_id"]]) <= 1
        notes.unanswered.clear()
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        ledger = connection.execute(sa.text(_LEDGER)).all()
    engine.dispose()
    assert notes.serials <= {row[0] for row in ledger}


def test_kills_at_any_moment_lose_and_double_nothing(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    directory, dice = tmp_path / "data", random.Random(20260115)
    notes = Notes()
    with database_settings(engine, request) as found:
        settings = {"RATE_LIMIT_ENABLED": "false", "SERVER_WORKERS": "1", **found}
        url = found.get("DATABASE_URL", f"sqlite:///{directory / 'certctl.db'}")
        url = url.replace("postgresql://", "postgresql+psycopg://")
        for number in range(5):
            served = Served(launch(directory, free_port(), **settings), "")
            try:
                if engine == "sqlite":  # alone on its file, it settles at once
                    _check(served, notes, url)
                enough = len(notes.issued) + 4
                threads = [
                    threading.Thread(target=_work, args=(served, notes, f"r{number}-{client}"))
                    for client in range(8)
                ]
                for thread in threads:
                    thread.start()
                eventually(partial(notes.has, enough), what="certificates are issued")
                threading.Event().wait(dice.uniform(0.0, 0.8))
            finally:
                _kill(served)
            for thread in threads:
                thread.join(2 * PATIENCE_SECONDS)
                assert not thread.is_alive()
        served = Served(launch(directory, free_port(), **settings), "")
        try:
            _check(served, notes, url)
            assert len(notes.issued) >= 20
            assert "ok" in served_verify(served, settings).lower()
            assert served.running.stop() == 0
        finally:
            if served.running.process.poll() is None:
                _kill(served)


def served_verify(served: Served, settings: dict[str, str]) -> str:
    """The audit log, from its first entry."""
    served.running.settings = settings
    return served.certctl("audit", "verify", "--local", "--full")
