"""Fixtures of the revocation tests.

Their clock starts at the real time, because OpenSSL compares OCSP answers with it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from certctl_core.app import Core
from certctl_core.kernel.clock import SystemClock
from certctl_core.testing.fakes import FakeClock
from tests.core.revocation.support import Web
from tests.machine import PATIENCE_SECONDS


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(SystemClock().now().replace(microsecond=0))


@pytest.fixture
def web(core: Core) -> Web:
    return Web(core)


@pytest.fixture
def openssl(tool: Callable[[str], str], tmp_path: Path) -> Callable[..., str]:
    """Run OpenSSL in a folder of the test; gives what it says on both channels."""
    program = tool("openssl")

    def run(*arguments: str, data: bytes = b"") -> str:
        done = subprocess.run(
            [program, *arguments],
            input=data,
            capture_output=True,
            cwd=tmp_path,
            timeout=PATIENCE_SECONDS,
        )
        return (done.stdout + done.stderr).decode(errors="replace")

    return run
