"""What a person sees: tables, colors and questions on a terminal (spec 01 §13)."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import pytest

from tests.frontends.client.live import Live
from tests.machine import PATIENCE_SECONDS

_SCRIPT = "import sys; from certctl_cli.main import main; sys.exit(main())"
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def _on_terminal(
    live: Live, *arguments: str, answer: str = "", width: int = 100
) -> tuple[int, str]:
    """Run a command on a terminal of its own; gives the exit code and what stood there."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, "--data-dir", str(live.data_dir), *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        close_fds=True,
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        seen += part
        if answer and b"[y/N]" in seen:
            os.write(ours, answer.encode())
            answer = ""
    os.close(ours)
    return process.wait(timeout=PATIENCE_SECONDS), seen.decode()


@pytest.fixture(scope="module")
def name(live: Live) -> str:
    """A certificate of this module's own."""
    with live.client() as client:
        client.certificates.create(common_name="terminal.example.test", environment="blue")
    return "terminal.example.test"


def test_a_list_is_a_table_that_fits(live: Live, name: str) -> None:
    code, seen = _on_terminal(live, "certificates", "list", "-q", name)
    plain = _ESCAPE.sub("", seen)

    assert code == 0
    assert "─" in plain
    assert "Pending" in plain
    assert "\x1b[33m" in seen
    assert all(len(line) <= 100 for line in plain.splitlines())


def test_a_narrow_terminal_keeps_names_whole(live: Live, name: str) -> None:
    long = "www.terminal.example.test"
    with live.client() as client:
        made = client.certificates.create(common_name=long)
    code, seen = _on_terminal(live, "certificates", "list", "-q", "terminal.example", width=60)
    lines = _ESCAPE.sub("", seen).splitlines()

    assert code == 0
    assert all(len(line) <= 60 for line in lines)
    assert [sum(one in line.split() for line in lines) for one in (name, "Pending")] == [1, 2]
    assert any(long in line.split() for line in lines)
    folded = "".join(line.split()[0] for line in lines if line.strip() and line[0] != " ")
    assert made["id"] in folded


def test_a_wide_terminal_shows_more(live: Live, name: str) -> None:
    _, narrow = _on_terminal(live, "certificates", "list", "-q", name, width=90)
    _, wide = _on_terminal(live, "certificates", "list", "-q", name, width=160)

    assert "Common name" not in narrow
    assert "Common name" in wide


def test_a_form_is_shown_in_color_and_json_is_not(live: Live, name: str) -> None:
    _, form = _on_terminal(live, "certificates", "show", name)
    _, document = _on_terminal(live, "certificates", "show", name, "--json")

    assert "\x1b[" in form
    assert "blue" in form
    assert "\x1b" not in document


@pytest.mark.parametrize(("answer", "code", "status"), [("n\n", 130, 0), ("y\n", 0, 1)])
def test_a_question_is_asked_and_heeded(live: Live, answer: str, code: int, status: int) -> None:
    with live.client() as client:
        made = client.certificates.create(common_name="asked.example.test")
    ended, seen = _on_terminal(live, "certificates", "archive", made["id"], answer=answer)

    assert ended == code
    assert "Archive" in seen
    with live.client() as client:
        archived = client.certificates.get(made["id"])["status"] == "Archived"
    assert archived == bool(status)


def test_a_taken_name_is_offered_for_renewal(live: Live, tmp_path: Path) -> None:
    arguments = ("issue", "offer.example.test", "--out")
    first = _on_terminal(live, *arguments, str(tmp_path / "a"))
    second = _on_terminal(live, *arguments, str(tmp_path / "b"), answer="y\n")

    assert first[0] == second[0] == 0
    assert "Renew it?" in second[1]
    with live.client() as client:
        found = client.certificates.find("offer.example.test")
        assert found is not None
        assert client.certificates.versions(found["id"]).total == 2


def test_a_reader_that_leaves_early_is_no_failure(live: Live) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, "--data-dir", str(live.data_dir), "audit", "list", "--all"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=PATIENCE_SECONDS)

    assert b"Traceback" not in errors
    assert b"BrokenPipe" not in errors
