"""What a reader can copy out of a page works; ``pages.py`` has the convention."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.pages import (
    PATIENCE_SECONDS,
    ROOT,
    SHELLS,
    blocks,
    name,
    needs,
    pages,
    run,
    sessions,
    with_ports,
)
from tests.machine import free_port

_BIN = Path(sys.executable).parent


_SESSIONS = sessions()


def _environment(home: Path) -> dict[str, str]:
    """What a reader's shell has: our commands on the path, nothing set for certctl."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CERTCTL_")}
    places = (str(_BIN), os.environ["PATH"], "/usr/sbin", "/sbin")
    return {**kept, "PATH": os.pathsep.join(places), "HOME": str(home)}


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_block_says_what_it_is(page: Path) -> None:
    known = {"test", "command"}
    for block in blocks(page):
        assert block.language, f"{block.where}: the fence names no language"
        if block.language in SHELLS:
            proven = any(block.tag(key) for key in known) or "illustrative" in block.tags
            assert proven, f"{block.where}: tag it test=NAME or illustrative"
        if block.tag("command"):
            assert name(page) == "README.md", f"{block.where}: command= is for the README"


@pytest.mark.parametrize("page", pages(), ids=name)
def test_excerpts_are_what_stands_in_the_file(page: Path) -> None:
    for block in blocks(page):
        if (source := block.tag("from")) is not None:
            # An excerpt stands further left than in its file, and breaks its lines elsewhere.
            text = "".join((ROOT / source).read_text(encoding="utf-8").split())
            assert "".join(block.text.split()) in text, f"{block.where}: {source} has changed"


@pytest.mark.timeout(PATIENCE_SECONDS + 30)
@pytest.mark.parametrize("session", _SESSIONS)
def test_the_commands_of_a_page_work(
    session: str, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    for need in needs(_SESSIONS[session]):
        if need != "root":
            tool(need)
        elif os.geteuid() != 0:
            pytest.skip("the policy file of an agent belongs to root")
    ports = {"8443": free_port(), "9443": free_port()}
    environment = {**_environment(tmp_path), "CERTCTL_SERVER_PORT": str(ports["8443"])}
    run(with_ports(_SESSIONS[session], ports), tmp_path, environment)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    ran = subprocess.run(
        [sys.executable, ".ci/readme_command.py", "tests"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert "readme_command.py tests" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert ran.strip().endswith("tox")
