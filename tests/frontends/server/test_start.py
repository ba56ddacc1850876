"""What a server loads before its first answer: names, since times say more about the machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.frontends.server.running import Running, environment, started
from tests.machine import eventually, free_port

pytestmark = pytest.mark.xdist_group("server")

NEEDED = {
    "annotated_types", "blinker", "click", "cryptography", "flask", "granian", "idna",
    "itsdangerous", "jinja2", "markupsafe", "pluggy", "psycopg", "psycopg_binary", "pydantic",
    "pydantic_core", "sqlalchemy", "structlog", "typing_inspection", "waitress", "werkzeug",
}  # fmt: skip
"""The packages that every start pays for. One more is one more for everybody, at each start."""
IF_THERE = {"anyio", "colorama", "dotenv", "greenlet", "psycopg_c"}
"""Taken by one of the needed ones where it happens to be installed."""
LATER = {
    "alembic", "certctl_agent", "certctl_client", "certctl_migrations", "certctl_core.testing",
    "prometheus_client", "sqlalchemy.orm", "unittest", "xml",
}  # fmt: skip
_HOOK = """
import os, sys, threading
_out = os.open({path!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def _note(event, args):
    if event == "import":
        thread = threading.current_thread().name
        os.write(_out, f"{{os.getpid()}}\\t{{thread}}\\t{{args[0]}}\\n".encode())
sys.addaudithook(_note)
"""
BY_TIME = {"certctl-metrics"}
"""Threads that do their work some seconds after a start, also where no answer was given yet."""


@pytest.fixture(scope="module")
def imports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[str, str]]]:
    """Process and module of every import up to the first answer of a second start."""
    folder = tmp_path_factory.mktemp("imports")
    directory = folder / "data"
    with started(directory) as first:
        first.stop()
    (folder / "sitecustomize.py").write_text(_HOOK.format(path=str(folder / "imports")))
    port = free_port()
    environ = environment(directory, port)
    environ["PYTHONPATH"] = ":".join(filter(None, [str(folder), environ.get("PYTHONPATH", "")]))
    script = "import sys; from certctl_cli.main import main; sys.exit(main(['serve']))"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", script], env=environ, stderr=log)
    server = Running(directory, port, process, folder / "log")
    try:
        eventually(server.is_ready, what="the first answer")
        yield _read(folder / "imports")
        server.stop()
    finally:
        process.kill()
        process.wait()


def _read(path: Path) -> list[tuple[str, str]]:
    lines = [line.split("\t", 2) for line in path.read_text().splitlines()]
    return [(process, module) for process, thread, module in lines if thread not in BY_TIME]


def _is_in(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def test_only_what_is_needed_is_loaded(imports: list[tuple[str, str]]) -> None:
    # An attempt to import what is not there is an import, too: only packages with parts count.
    packages = {module.partition(".")[0] for _, module in imports if "." in module}
    foreign = {name for name in packages & packages_distributions().keys() if name[0] != "_"}
    ours = {name for name in foreign if name.startswith("certctl")}

    assert foreign - ours - NEEDED - IF_THERE == set()


def test_what_can_wait_is_not_loaded(imports: list[tuple[str, str]]) -> None:
    assert {module for _, module in imports if _is_in(module, LATER)} == set()


def test_nothing_is_loaded_twice(imports: list[tuple[str, str]]) -> None:
    """Children find it in memory that they share with the process that they come from."""
    ours = {module.partition(".")[0] for _, module in imports if module.startswith("certctl")}
    by_module: dict[str, set[str]] = {}
    for process, module in imports:
        if _is_in(module, ours | NEEDED):
            by_module.setdefault(module, set()).add(process)

    assert [module for module, processes in by_module.items() if len(processes) > 1] == []
