"""The fleet-wide enrollment token changes without an agent being lost (02 DR-30)."""

from __future__ import annotations

from pathlib import Path

import pytest

from certctl_core.app import Core
from certctl_core.fleet.agents import EnrollmentTokenInvalid
from certctl_core.kernel.config import Settings
from certctl_core.kernel.secrets import generate_keyring
from certctl_core.testing.fakes import FakeClock

OLD, NEW = "old-token-" + "o" * 40, "new-token-" + "n" * 40


def enroll(core: Core, name: str, token: str) -> str:
    """The key of a new agent."""
    body = {"name": name, "hostname": f"{name}.example.test", "token": token}
    return str(core.call("agents.enroll", body=body).api_key)


@pytest.mark.spec("02/DR-30")
def test_old_and_new_are_good_together_and_nobody_is_lost(
    database_url: str, tmp_path: Path, clock: FakeClock
) -> None:
    fixed = {"database_url": database_url, "config_encryption_keys": generate_keyring()}

    def opened(**tokens: str) -> Core:
        settings = Settings.for_directory(tmp_path / "data", **fixed, **tokens)
        return Core.open(settings, clock=clock)

    with opened(agent_bootstrap_token=OLD) as core:
        first = enroll(core, "web-1", OLD)
        with pytest.raises(EnrollmentTokenInvalid):
            enroll(core, "web-2", NEW)
    with opened(agent_bootstrap_token=NEW, agent_bootstrap_token_previous=OLD) as core:
        second, third = enroll(core, "web-2", OLD), enroll(core, "web-3", NEW)
    with opened(agent_bootstrap_token=NEW) as core:
        with pytest.raises(EnrollmentTokenInvalid):
            enroll(core, "web-4", OLD)
        enroll(core, "web-5", NEW)
        agents = {core.keys.authenticate(key).id for key in (first, second, third)}
        assert len(agents) == 3
