from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.frontends.client.live import Live, live_installation


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One installation for all tests of this folder."""
    with live_installation(tmp_path_factory.mktemp("live")) as found:
        yield found
