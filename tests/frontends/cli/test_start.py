"""What a start costs: which modules are loaded for what, and the ready-made help."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Container
from pathlib import Path

import pytest
from certctl_cli.docs import root_help
from certctl_cli.root import COMMANDS, root
from certctl_cli.root_help import TEXT
from click import Command, Context, Group, Option

from certctl_core.kernel.release import VERSION

HEAVY = {
    "rich",
    "httpx",
    "httpcore",
    "pydantic",
    "cryptography",
    "sqlalchemy",
    "flask",
    "structlog",
    "asyncio",
    "importlib.metadata",
}
FOREIGN = {"sqlalchemy", "flask", "pydantic", "certctl_server", "certctl_agent", "certctl_flask"}
OWN_AT_START = {"__future__", "certctl_cli", "certctl_cli.main"}
RELEASE = {
    "certctl_core",
    "certctl_core.kernel",
    "certctl_core.kernel.release",
    "certctl_core.kernel.release._stamp",
}
_SCRIPT = "import sys; from certctl_cli.main import main; sys.exit(main())"


def _loaded(*arguments: str, codes: Container[int] = (0, 2)) -> set[str]:
    """The modules that a command line loads, as ``python -X importtime`` tells."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", _SCRIPT, *arguments],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode in codes, done.stderr[-500:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def _is_in(modules: set[str], packages: set[str]) -> set[str]:
    return {
        name
        for name in modules
        if any(name == package or name.startswith(f"{package}.") for package in packages)
    }


@pytest.mark.parametrize(
    ("arguments", "own"),
    [
        (("--help",), {"certctl_cli.root_help"}),
        ((), {"certctl_cli.root_help"}),
        (("--version",), RELEASE),
    ],
    ids=["help", "nothing", "version"],
)
def test_help_and_version_load_next_to_nothing(arguments: tuple[str, ...], own: set[str]) -> None:
    bare = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "pass"],
        check=True,
        capture_output=True,
        text=True,
    )
    before = {line.rpartition("|")[2].strip() for line in bare.stderr.splitlines()}
    loaded = _loaded(*arguments) - before

    # A run that is measured has loaded some of it before.
    assert loaded - {"imported package"} == (OWN_AT_START | own) - before


@pytest.mark.parametrize("name", ["issue", "certificates", "serve", "config", "agents"])
def test_the_help_of_a_command_loads_nothing_heavy(name: str) -> None:
    if name not in COMMANDS:
        pytest.skip("no such command")

    assert _is_in(_loaded(name, "--help"), HEAVY) == set()


def test_a_command_that_asks_a_server_loads_no_server() -> None:
    loaded = _loaded("--server", "http://refused.example.test", "me")

    assert _is_in(loaded, FOREIGN | {"rich", "cryptography", "click.shell_completion"}) == set()


def test_a_command_asks_a_server_with_the_standard_library_alone() -> None:
    with socket.socket() as held:  # bound and not listening: nobody answers at this port
        held.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{held.getsockname()[1]}"
        loaded = _loaded("--server", url, "certificates", "list", codes=(1,))

    assert "certctl_client.wire" in loaded
    slow = HEAVY | {"urllib.request", "certctl_client.types"}
    assert _is_in(loaded, slow) == set()


def test_the_ready_made_help_is_what_click_would_say() -> None:
    assert root_help() == TEXT, "run: python -m certctl_cli.docs"


def test_version_is_that_of_the_distribution() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, "--version"], check=True, capture_output=True, text=True
    )

    assert done.stdout == f"certctl {VERSION}\n"


def _walk(command: Command, path: str) -> dict[str, Command]:
    found = {path: command}
    if isinstance(command, Group):
        context = Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            found |= _walk(below, f"{path} {name}")
    return found


_TREE = _walk(root, "certctl")


@pytest.mark.parametrize("path", _TREE)
def test_every_command_explains_itself(path: str) -> None:
    command = _TREE[path]
    visible = [p for p in command.params if isinstance(p, Option) and not p.hidden]

    assert command.help
    assert command.help.split("\n\n")[0].replace("\n", " ").endswith((".", "!"))
    assert all(p.help for p in visible)


@pytest.mark.parametrize("path", [path for path in _TREE if path != "certctl"])
def test_global_options_stand_at_every_command(path: str) -> None:
    taken = {opt for param in _TREE[path].params for opt in param.opts}

    assert {"--server", "--api-key-file", "--ca-bundle", "--data-dir", "--json"} <= taken


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    (tmp_path / "click").mkdir()
    (tmp_path / "click" / "__init__.py").write_text(
        "raise ModuleNotFoundError('No module named click', name='click')"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {_SCRIPT}",
            "me",
        ],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert "click" in done.stderr
    assert "pip install" in done.stderr
