"""A plugin of another distribution, installed beside the wheel: used, listed, and harmless."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import run, sessions
from tests.plugins_external.conftest import BROKEN, EXAMPLE, CleanEnvironment

_TUTORIALS = sessions(only="clean")

# The first test builds two wheels and an environment.
pytestmark = pytest.mark.timeout(900)


def listed(clean: CleanEnvironment, distribution: str) -> dict[str, dict[str, object]]:
    return {
        plugin["kind"]: plugin
        for plugin in clean.result["plugins"]
        if plugin["distribution"] == distribution
    }


def verify(tool, folder: Path, ca: str, leaf: str) -> str:
    name = ("-verify_hostname", f"{leaf}.example.test")
    done = subprocess.run(
        [tool("openssl"), "verify", "-CAfile", ca, *name, f"{leaf}.pem"],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def test_nothing_of_the_repository_shines_through(clean):
    assert Path(clean.result["from"]).is_relative_to(clean.folder)
    found = subprocess.run([clean.python, "-c", "import flask"], check=False, capture_output=True)
    assert found.returncode == 1


@pytest.mark.spec("06/PLG-2")
def test_kinds_of_the_example_are_listed_as_usable(clean):
    plugins = listed(clean, "certctl-example-issuer")

    assert set(plugins) == {"example-ca", "example-file"}
    assert all(plugin["available"] and plugin["version"] == "1.0.0" for plugin in plugins.values())
    assert clean.result["issuer"]["options"] == ["common_name", "key_path", "validity"]


@pytest.mark.parametrize("leaf", ["one", "two"], ids=["by_operation", "by_issue"])
def test_certificates_of_the_example_issuer_verify(clean, tool, leaf):
    assert clean.result["issuer"]["status"] == ["Active", "Active"]
    assert clean.result["issuer"]["test"] is True
    assert verify(tool, clean.files, "ca.pem", leaf) == f"{leaf}.pem: OK\n"


def test_certificates_of_the_own_ca_verify_beside_it(clean, tool):
    assert verify(tool, clean.files, "own-ca.pem", "own") == "own.pem: OK\n"
    assert "error" in verify(tool, clean.files, "ca.pem", "own")


def test_the_example_notifier_is_told_of_a_revocation(clean):
    notifier = clean.result["notifier"]

    assert notifier["test"] is True
    assert notifier["told"] == ["test", "certificate.revoked"]
    assert notifier["about"] == [None, notifier["certificate_id"]]


@pytest.mark.spec("06/PLG-4")
def test_broken_plugins_are_listed_with_their_reasons(clean):
    plugins = listed(clean, "certctl-broken")

    assert set(plugins) == {*BROKEN, "absent"}
    assert not any(plugin["available"] for plugin in plugins.values())
    assert "RuntimeError: no licence file found" in str(plugins["raises"]["error"])
    assert "cannot work here" in str(plugins["exits"]["error"])
    assert "did you mean 'certctl_issuers'?" in str(plugins["misspells"]["error"])
    assert "implements no hook" in str(plugins["useless"]["error"])
    assert "ModuleNotFoundError" in str(plugins["absent"]["error"])


def test_the_tests_of_the_example_pass_on_the_installed_wheels(clean, tmp_path):
    # Its folder has the source beside the tests; the copy leaves only the installed one.
    for test in (EXAMPLE / "tests").glob("test_*.py"):
        (tmp_path / test.name).write_text(test.read_text())
    done = subprocess.run(
        [clean.python, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "."],
        cwd=tmp_path,
        env=clean.variables,
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.parametrize("session", _TUTORIALS)
def test_the_tutorial_builds_a_plugin_that_works(clean, tmp_path, session):
    run(_TUTORIALS[session], tmp_path, clean.variables)
