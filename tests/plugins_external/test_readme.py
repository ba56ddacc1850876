"""The command of the README, on a fresh clone: it installs, starts, serves and stops."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.machine import free_port
from tests.plugins_external.conftest import ROOT, give_up, outside


def start_command() -> str:
    printed = subprocess.run(
        [sys.executable, ".ci/readme_command.py", "start"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return printed.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that a commit of this moment would hold."""
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "-c", "-o", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listing.split("\0")):
        target = tmp_path / "clone" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError, IsADirectoryError):  # gone since it was listed
            shutil.copyfile(ROOT / name, target)
    return tmp_path / "clone"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def started(clone: Path, port: int) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The command, running; and the file with what it prints."""
    log = clone / "start.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-euc", start_command()],
            cwd=clone,
            env={**outside(), "CERTCTL_SERVER_PORT": str(port), "PIP_NO_COMPILE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    yield process, log
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def await_line(log: Path, text: str, process: subprocess.Popen[bytes] | None = None) -> None:
    """Until the log holds it, five minutes at most; gives up when the process ends before."""
    for _ in range(3000):
        if text in log.read_text(errors="replace"):
            return
        if process is not None and process.poll() is not None:
            break
        time.sleep(0.1)
    give_up(log.read_text(errors="replace"))


@pytest.mark.timeout(700)
def test_the_start_command_installs_and_starts_it(started, clone: Path, port: int) -> None:
    process, log = started
    await_line(log, "certctl is ready", process)

    trust = ssl.create_default_context(cafile=str(clone / "data" / "ca.crt"))
    with urlopen(f"https://127.0.0.1:{port}/ready", context=trust, timeout=20) as answer:
        assert answer.status == 200
    os.killpg(process.pid, signal.SIGTERM)
    # The shell around it ends at once; the server finishes what it has begun.
    await_line(log, "server.stopped")
    assert (clone / "data" / "client.toml").stat().st_mode & 0o777 == 0o600
