"""An installation as it is composed: from the commit to the receiver, and over a killed process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certctl_core.app import Core
from certctl_core.kernel.clock import SystemClock
from certctl_core.testing.fakes import FakeClock
from tests.core.notifications.conftest import PATIENCE, Receiver, failed
from tests.machine import PATIENCE_SECONDS

_OTHER_PROCESS = """
import json, sys
from datetime import timedelta
from pathlib import Path
from certctl_core.app import Core
from certctl_core.kernel.config import Settings

given = json.load(sys.stdin)
settings = Settings.for_directory(Path(given.pop("data_dir")), **given)
with Core.open(settings, migrate=False) as core:
    core.background.deliveries.run(wait=timedelta(seconds=60))
"""


def _webhook(core: Core, receiver: Receiver) -> Any:
    config = {"url": receiver.url}
    return core.call("notifiers.create", body={"name": "Hook", "kind": "webhook", "config": config})


@pytest.mark.spec("06/NTF-1", "06/NTF-4", "06/NTF-9")
def test_a_commit_is_told_at_once(core: Core, receiver: Receiver) -> None:
    _webhook(core, receiver)
    core.background.start()
    try:
        with core.begin() as uow:
            uow.emit(failed("mc-web"))
        assert receiver.arrived.acquire(timeout=PATIENCE_SECONDS)
    finally:
        core.background.stop(PATIENCE)
    assert receiver.events() == ["renewal.failed"]
    assert core.call("notifications.list").data[0].state == "sent"
    actions = {item.action for item in core.call("audit.list").data}
    assert {"renewal.failed", "notification.sent"} <= actions


@pytest.mark.spec("06/NTF-5")
def test_a_killed_process_loses_nothing(
    core: Core, clock: FakeClock, receiver: Receiver, tmp_path: Path
) -> None:
    clock.set(SystemClock().now())
    _webhook(core, receiver)
    with core.begin() as uow:
        uow.emit(failed("mc-web"))
    receiver.open.clear()
    keys = core.settings.encryption.keys
    assert keys is not None
    given = {
        "data_dir": str(tmp_path / "data"),
        "database_url": core.settings.database.dsn.reveal(),
        "config_encryption_keys": keys.reveal(),
        "outbound_allow": "127.0.0.1",
    }
    other = subprocess.Popen([sys.executable, "-c", _OTHER_PROCESS], stdin=subprocess.PIPE)
    assert other.stdin is not None
    with other.stdin:
        other.stdin.write(json.dumps(given).encode())
    assert receiver.arrived.acquire(timeout=PATIENCE_SECONDS), "it has claimed and begun to send"
    other.send_signal(signal.SIGKILL)
    other.wait(PATIENCE_SECONDS)
    receiver.open.set()
    core.background.deliveries.run(wait=PATIENCE)
    assert core.call("notification_deliveries.list").data[0].state == "sending"

    clock.set(SystemClock().now() + timedelta(seconds=121))
    core.background.deliveries.run(wait=PATIENCE)

    (delivery,) = core.call("notification_deliveries.list").data
    assert (delivery.state, delivery.attempts) == ("sent", 2)
    assert {item.headers["webhook-id"] for item in receiver.received} == {delivery.id}
