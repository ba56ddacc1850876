"""An installation whose certificates carry addresses, under the real time (OpenSSL judges)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from certctl_core.app import Core
from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.config import Settings
from certctl_core.kernel.secrets import generate_keyring
from certctl_core.testing.fakes import FakeClock
from tests.core.hierarchy.support import OpenSSL, Tree


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(SystemClock().now().replace(microsecond=0))


@pytest.fixture
def settings(database_url: str, tmp_path: Path, core_settings: dict[str, Any]) -> Settings:
    return Settings.for_directory(
        tmp_path / "data",
        database_url=database_url,
        config_encryption_keys=generate_keyring(),
        pki_base_url="http://pki.example.com",
        **core_settings,
    )


@pytest.fixture
def core(settings: Settings, clock: FakeClock) -> Iterator[Core]:
    with Core.open(settings, clock=clock) as opened:
        yield opened


@pytest.fixture
def tree(core: Core) -> Tree:
    return Tree(core)


@pytest.fixture
def openssl(tool: Callable[[str], str], tmp_path: Path) -> OpenSSL:
    return OpenSSL(tool("openssl"), tmp_path)
