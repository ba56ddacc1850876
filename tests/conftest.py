"""What every test of the repository gets.

The fixtures for databases and the clock come from the shipped plugin
(``certctl_core/testing/pytest_plugin.py``); here is only what plugin authors do not need.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import coverage
import pytest
from hypothesis import settings

from tests.softhsm import SoftHSM, softhsm_module

# A shared machine pauses when it likes, so an example's time says nothing about the code.
settings.register_profile("certctl", deadline=None, print_blob=True)
settings.load_profile("certctl")

# pytest itself writes this one while a test runs.
_ALLOWED = {"PYTEST_CURRENT_TEST", "SOFTHSM2_CONF"}
_SPEC_ID = re.compile(r"\d\d/[A-Z][A-Z0-9]*-\d+[a-z]?")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a whole run keep its CA keys in a token."""
    parser.addoption(
        "--signer",
        choices=("file", "pkcs11"),
        default="file",
        help="Where installations under test keep the keys of CAs and OCSP responders.",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse a spec marker that names nothing: ``@pytest.mark.spec("02/CRL-2")``.

    Tests of key files are left out where ``--signer`` keeps the keys elsewhere.
    """
    if config.getoption("--signer") != "file":
        about_files = [item for item in items if item.get_closest_marker("key_files")]
        config.hook.pytest_deselected(items=about_files)
        items[:] = [item for item in items if item not in about_files]
    for item in items:
        for mark in item.iter_markers("spec"):
            odd = [name for name in mark.args if not _SPEC_ID.fullmatch(str(name))]
            if odd or not mark.args:
                message = f"{item.nodeid}: spec ids look like 02/CRL-2, not {mark.args!r}"
                raise pytest.UsageError(message)


def pytest_sessionfinish() -> None:
    """Write down what was covered: a worker that takes more than ten seconds to end is killed."""
    measured = coverage.Coverage.current()
    if measured is not None:
        measured.save()


@pytest.fixture(autouse=True)
def _environment_is_left_alone() -> Iterator[None]:
    """Fail a test that changes the environment for those after it (use ``monkeypatch``)."""
    before = dict(os.environ)
    yield
    after = dict(os.environ)
    changed = {
        name
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name) and name not in _ALLOWED
    }
    if changed:
        os.environ.clear()
        os.environ.update(before)
        pytest.fail(f"the test changed the environment: {', '.join(sorted(changed))}")


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """Find a program of the machine: ``openssl = tool("openssl")`` gives its path.

    Without the program the test is skipped, and the report says so; where
    ``CERTCTL_TEST_REQUIRE_TOOLS`` is set, as in CI, it fails.
    """

    def find(name: str) -> str:
        path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        return path or missing(f"this test needs the program {name}")

    return find


def missing(message: str) -> NoReturn:
    """Skip a test for want of something; in CI nothing may be missing."""
    if os.environ.get("CERTCTL_TEST_REQUIRE_TOOLS"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def softhsm(
    tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SoftHSM]:
    """A SoftHSM token that all tests of a run share: their keys have names of their own."""
    tool("softhsm2-util")
    tool("pkcs11-tool")
    module = softhsm_module() or missing("this test needs the library of softhsm2")
    hsm = SoftHSM(module, tmp_path_factory.mktemp("softhsm") / "hsm")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(hsm.config_file)  # read by the library in this process
    yield hsm
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


@pytest.fixture
def core_settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Installations under test keep their CA keys where ``--signer`` says."""
    if request.config.getoption("--signer") == "file":
        return {}
    hsm: SoftHSM = request.getfixturevalue("softhsm")
    return {
        "signer_ca": "pkcs11",
        "pkcs11_module": hsm.module,
        "pkcs11_token": hsm.label,
        "pkcs11_pin": hsm.pin,
    }
