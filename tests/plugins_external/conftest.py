"""A clean environment with the built wheels in it: what somebody else's plugin meets."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "certctl-example-issuer"
_PROGRAM = Path(__file__).with_name("program.py")
# What pip says when it cannot reach an index; anything else is a fault of ours.
_NO_INDEX = re.compile(
    r"Failed to establish a new connection|Name or service not known|Connection refused"
    r"|Temporary failure in name resolution|Network is unreachable|ProxyError|Read timed out"
)
BROKEN = {
    "raises": "raise RuntimeError('no licence file found')\n",
    "exits": "import sys\nsys.exit('cannot work here')\n",
    "misspells": (
        "from certctl_core.contracts.plugin import hookimpl\n"
        "@hookimpl\ndef certctl_isuers(): return []\n"
    ),
    "useless": "",
}
"""Modules of a distribution where nothing works, by the name of their entry point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanEnvironment:
    """A virtual environment of its own.

    Attributes:
        folder: Where it lies; ``wheels`` beside it holds what was built.
        result: What ``program.py`` found and did there; its files are in ``files``.
    """

    folder: Path
    files: Path
    result: dict[str, Any]

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.folder / "bin" / "python")

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a shell in which it is active."""
        return {**outside(), "PATH": f"{self.folder}/bin{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> CleanEnvironment:
    """The environment, made once a run, whichever worker comes first."""
    base = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent
    place = base / "clean-environment"
    place.mkdir(exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        files = place / "files"
        if not (place / "failed").exists() and not (files / "result.json").exists():
            try:
                _make(place, files)
            except subprocess.CalledProcessError as error:
                (place / "failed").write_text(error.output)
    if (place / "failed").exists():
        give_up((place / "failed").read_text())
    result = json.loads((files / "result.json").read_text())
    return CleanEnvironment(folder=place / "env", files=files, result=result)


def _make(place: Path, files: Path) -> None:
    wheels = place / "wheels"
    build = (sys.executable, "-m", "build", "--wheel", "--outdir", str(wheels))
    with ThreadPoolExecutor() as pool:
        done = [pool.submit(_run, *build, str(source)) for source in (ROOT, EXAMPLE)]
        done.append(pool.submit(_run, sys.executable, "-m", "venv", str(place / "env")))
        for item in done:
            item.result()
    _broken_wheel(wheels)
    python = str(place / "env" / "bin" / "python")
    found = sorted(str(path) for path in wheels.glob("*.whl"))
    _run(python, "-m", "pip", "install", "--quiet", "--no-compile", *found, "pytest>=9.0")
    files.mkdir()
    _run(python, "-W", "error", str(_PROGRAM), str(files), cwd=files)


def _run(*argv: str, cwd: Path | None = None) -> None:
    subprocess.run(
        argv,
        cwd=cwd,
        env=outside(),
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=240,
    )


def outside() -> dict[str, str]:
    """Our variables without those that would let this environment shine through."""
    hidden = ("PYTHON", "VIRTUAL_ENV", "COVERAGE", "COV_", "CERTCTL_", "PYTEST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(hidden)}


def give_up(output: str) -> None:
    """Skip where no package index can be reached, as CI never may; fail for everything else."""
    if _NO_INDEX.search(output) and not os.environ.get("CERTCTL_TEST_REQUIRE_TOOLS"):
        pytest.skip("this test needs a package index, and none can be reached")
    pytest.fail(f"the clean environment cannot be made:\n{output[-4000:]}")


def _broken_wheel(folder: Path) -> None:
    """Write a wheel by hand (PEP 427): a distribution of plugins that all fail differently."""
    info = "certctl_broken-0.9.dist-info"
    points = "".join(f"{name} = certctl_broken.{name}\n" for name in BROKEN)
    contents = {
        "certctl_broken/__init__.py": "",
        **{f"certctl_broken/{name}.py": text for name, text in BROKEN.items()},
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: certctl-broken\nVersion: 0.9\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[certctl.plugins]\n{points}absent = certctl_broken.absent\n",
    }
    record = "".join(
        f"{name},sha256={_digest(text)},{len(text)}\n" for name, text in contents.items()
    )
    with zipfile.ZipFile(folder / "certctl_broken-0.9-py3-none-any.whl", "w") as wheel:
        for name, text in contents.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")


def _digest(text: str) -> str:
    raw = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
