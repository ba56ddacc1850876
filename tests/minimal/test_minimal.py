"""The built wheel with no extra installed: the library is whole, and nothing of the web is needed.

Runs in the environment `minimal` only, away from the repository's folder, so that what is tested is
what was built.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType

import pytest

import certctl_core

_ROOT = Path(__file__).parents[2]
_EXTRAS = ("flask", "werkzeug", "granian", "waitress", "cheroot", "click", "rich", "pgserver")


def _pages() -> ModuleType:
    """The reader of the documentation, loaded from its file: this environment has no test tree."""
    path = _ROOT / "tests" / "docs" / "pages.py"
    spec = importlib.util.spec_from_file_location("pages", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["pages"] = module
    spec.loader.exec_module(module)
    return module


_PAGES = _pages()
_BIN = Path(sys.executable).parent
_ENVIRONMENT = {**os.environ, "PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}"}
_PROGRAMS = _PAGES.sessions(only="minimal")


def _modules() -> list[str]:
    found = pkgutil.walk_packages(certctl_core.__path__, prefix="certctl_core.")
    return [module.name for module in found]


def test_it_is_the_wheel_that_is_tested() -> None:
    assert certctl_core.__file__ is not None
    assert not Path(certctl_core.__file__).is_relative_to(_ROOT / "certctl_core")
    assert [name for name in _EXTRAS if importlib.util.find_spec(name)] == []


@pytest.mark.parametrize("name", _modules())
def test_every_module_of_the_core_imports(name: str) -> None:
    assert importlib.import_module(name).__name__ == name


def test_the_core_loads_no_web_framework() -> None:
    program = (
        "import sys\n"
        "import certctl_core.app, certctl_core.api\n"
        f"print(*sorted({set(_EXTRAS)!r} & set(sys.modules)))\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout

    assert loaded.split() == []


@pytest.mark.parametrize("session", _PROGRAMS)
def test_a_documented_program_runs_on_the_bare_library(session: str, tmp_path: Path) -> None:
    _PAGES.run(_PROGRAMS[session], tmp_path, _ENVIRONMENT)


def test_openssl_agrees_with_the_embedded_ca(tmp_path: Path) -> None:
    session = _PROGRAMS["docs/embedding.md:embed"]
    program = "\n".join(block.text for block in session if block.language == "python")
    assert sum(bool(line) for line in program.splitlines()) <= 25, "the page promises a short one"
    _PAGES.run([block for block in session if block.language == "python"], tmp_path, _ENVIRONMENT)

    def openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = ["openssl", *arguments]
        return subprocess.run(argv, cwd=tmp_path, check=False, capture_output=True, text=True)

    serial = openssl("x509", "-in", "web.pem", "-noout", "-serial").stdout.strip().split("=")[1]
    der = ("-inform", "DER", "-in", "ca.crl")
    crl = openssl("crl", *der, "-CAfile", "ca.pem", "-noout", "-text")
    openssl("crl", *der, "-out", "crl.pem")
    trust = ("-x509_strict", "-CAfile", "ca.pem")
    ocsp = openssl(
        *("ocsp", "-sha256", "-issuer", "ca.pem", "-cert", "web.pem"),
        *("-respin", "web.ocsp", "-CAfile", "ca.pem"),
    )

    assert openssl("verify", *trust, "web.pem").stdout == "web.pem: OK\n"
    assert "verify OK" in crl.stderr
    assert f"Serial Number: {serial}" in crl.stdout
    checked = openssl("verify", *trust, "-crl_check", "-CRLfile", "crl.pem", "web.pem")
    assert "certificate revoked" in checked.stderr
    assert "Response verify OK" in ocsp.stderr
    assert "web.pem: revoked" in ocsp.stdout


def test_the_wheel_carries_its_licence_and_its_types() -> None:
    files = {str(file) for file in distribution("certctl").files or ()}

    assert "certctl_core/py.typed" in files
    assert any(name.endswith("licenses/LICENSE") for name in files)
