from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from certctl_cli.main import main

from tests.frontends.client.live import Live, live_installation


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One installation for the tests of a file: others may set up logging between two files."""
    with live_installation(tmp_path_factory.mktemp("live")) as found:
        yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.fixture
def bare(
    capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> Run:
    """Runs a command line in this process, with nothing said about a server."""
    monkeypatch.setattr("certctl_cli.connection.USUAL_PLACES", (f"{tmp_path}/home/certctl",))

    def run(*arguments: str, stdin: str = "") -> Result:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsysbinary.readouterr()
        code = main(list(arguments))
        captured = capsysbinary.readouterr()
        return Result(code=code, out=captured.out.decode(), err=captured.err.decode())

    return run


@pytest.fixture
def certctl(bare: Run, live: Live) -> Run:
    """Runs a command line against the server, as its administrator or with the key of a role."""

    def run(*arguments: str, role: str = "admin", stdin: str = "") -> Result:
        key = [] if role == "admin" else ["--api-key", live.keys[role]]
        return bare("--data-dir", str(live.data_dir), *key, *arguments, stdin=stdin)

    return run
