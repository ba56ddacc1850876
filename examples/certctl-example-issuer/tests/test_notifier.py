"""The example notifier against the contract suite, and what is special about it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from certctl_example_issuer.notifier import ExampleFile

from certctl_core.contracts.errors import UpstreamUnavailable
from certctl_core.contracts.options import validate_config
from certctl_core.testing.notifier import MESSAGE, NotifierContract
from certctl_core.testing.plugin_fakes import fake_context


class TestExampleFile(NotifierContract):
    plugin = ExampleFile
    uses_http = False

    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "messages.jsonl"

    @pytest.fixture
    def raw_config(self, path):
        return {"path": str(path)}

    @pytest.fixture(autouse=True)
    def _remember(self, path):
        self.path: Path = path

    def delivered(self, http):
        return len(self.path.read_text().splitlines()) if self.path.exists() else 0


def test_each_message_is_one_line_that_only_the_owner_reads(tmp_path):
    path = tmp_path / "messages.jsonl"
    notifier = ExampleFile(validate_config(ExampleFile.Config, {"path": str(path)}), fake_context())
    notifier.send(MESSAGE)
    notifier.resolve("key", MESSAGE)
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert (first["event"], first["state"]) == ("certificate.expiring", "firing")
    assert (second["dedup_key"], second["state"]) == ("key", "resolved")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_unwritable_place_is_a_temporary_failure(tmp_path):
    raw = {"path": str(tmp_path / "nowhere" / "messages.jsonl")}
    notifier = ExampleFile(validate_config(ExampleFile.Config, raw), fake_context())
    assert not notifier.test(send=True).ok
    with pytest.raises(UpstreamUnavailable):
        notifier.send(MESSAGE)
