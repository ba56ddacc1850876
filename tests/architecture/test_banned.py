"""What imports cannot guard: interfaces that only named places may use (ruff TID251)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, product_files, pyproject, relative

_RUFF = Path(sys.executable).parent / "ruff"
# Where a banned interface is allowed, and why. The same list stands in pyproject.toml.
_PLACES = {
    "certctl_core/kernel/clock.py": "reads the machine's clock for everybody",
    "certctl_core/kernel/config/*": "reads the environment for everybody",
    "certctl_core/deploy/commands.py": "runs the commands of deployments",
    "certctl_core/pki/keys.py": "loads private keys",
    "frontends/certctl_cli/parts.py": "hands the environment to the server's commands",
    "frontends/certctl_server/__main__.py": "hands the environment to the server's commands",
}
_SAMPLES = {
    "datetime.datetime.now": "from datetime import UTC, datetime\n\ndatetime.now(UTC)\n",
    "time.time": "import time\n\ntime.time()\n",
    "os.environ": "import os\n\nos.environ['HOME']\n",
    "os.getenv": "import os\n\nos.getenv('HOME')\n",
    "subprocess": "import subprocess\n",
    "os.system": "import os\n\nos.system('true')\n",
    "load_pem_private_key": (
        "from cryptography.hazmat.primitives.serialization import load_pem_private_key\n"
    ),
    "requests": "import requests\n",
}


def _check(file: str, source: str) -> str:
    return subprocess.run(
        [_RUFF, "check", "--select", "TID251", "--no-cache", "--stdin-filename", file, "-"],
        cwd=ROOT,
        input=source,
        check=False,
        capture_output=True,
        text=True,
    ).stdout


@pytest.mark.parametrize("name", _SAMPLES)
@pytest.mark.parametrize(
    "file", ["certctl_core/lifecycle/certificates/service.py", "plugins/certctl_issuers/some.py"]
)
def test_a_banned_interface_is_refused(file: str, name: str) -> None:
    assert "TID251" in _check(file, _SAMPLES[name])


def test_the_named_places_exist_and_have_a_reason() -> None:
    allowances = pyproject()["tool"]["ruff"]["lint"]["per-file-ignores"]
    places = [
        pattern
        for pattern, rules in allowances.items()
        if "TID251" in rules and pattern.startswith(("certctl_core/", "plugins/", "frontends/"))
    ]

    assert sorted(places) == sorted(_PLACES)
    assert [pattern for pattern in places if not list(ROOT.glob(pattern))] == []


def test_no_module_excuses_itself() -> None:
    excuses = [
        f"{relative(path)}:{number}"
        for path in product_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if "noqa" in line and "TID251" in line
    ]

    assert excuses == [], "name the place in pyproject.toml instead"
