"""Two web workers and a background worker on PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from certctl_core.kernel.secrets import generate_keyring
from tests.frontends.server.running import started
from tests.machine import eventually

pytestmark = pytest.mark.xdist_group("server")


@pytest.mark.parametrize("database_engine", ["postgres"])
def test_two_workers_share_the_work(blank_database_url: str, tmp_path: Path) -> None:
    settings = {
        "DATABASE_URL": blank_database_url.replace("postgresql+psycopg", "postgresql"),
        "CONFIG_ENCRYPTION_KEYS": generate_keyring(),
        "SERVER_WORKERS": "2",
    }
    with started(tmp_path / "data", **settings) as running:
        eventually(lambda: len(running.at_work()) == 3, what="three children")
        status, body = running.get("/api/v1/certificates", key=running.key)
        assert (status, len(json.loads(body)["data"])) == (200, 1)

        # One worker is shot; the other one answers meanwhile.
        shot, *_ = running.workers()
        os.kill(shot, signal.SIGKILL)
        for _ in range(20):
            assert running.get("/health")[0] == 200
        eventually(
            lambda: shot not in running.children() and len(running.at_work()) == 3,
            what="the worker is replaced",
        )

        assert _parts(running.process.pid) < 380
        assert running.stop() == 0


def _parts(parent: int) -> int:
    """Proportional memory of a process and its children, in MB."""
    numbers = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    total = 0
    for number in [str(parent), *numbers]:
        for line in Path(f"/proc/{number}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total // 1024
