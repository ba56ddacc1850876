"""The page of blocked keys shows every list of weak keys, and deletes one (02 PROF-3)."""

from __future__ import annotations

from typing import Any

import pytest

from certctl_core.app import Core
from tests.frontends.flask.browsing import Reader, words

pytestmark = pytest.mark.spec("02/PROF-3", "02/OPS-4")
MANY = 205
PAGE = "/ui/blocked-keys"


@pytest.fixture
def core_settings() -> dict[str, Any]:
    return {"rate_limit_enabled": False}


def test_every_list_is_there_and_can_be_deleted(core: Core) -> None:
    for number in range(MANY):
        body = {"name": f"list-{number:03}", "mark": "openssl-blacklist"}
        core.call("blocked_key_lists.create", body=body)
    reader = Reader(core)
    shown = words(reader.open(PAGE))
    assert all(f"list-{number:03}" in shown for number in range(MANY))

    reader.post("/ui/blocked-key-lists/list-204/delete")

    assert core.call("blocked_key_lists.list").total == MANY - 1
