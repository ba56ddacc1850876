"""The first steps of an installation: what stops them, and what is not lost when they stop."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from certctl_core import Core, Settings
from certctl_core.lifecycle.authorities import CAMaterialError
from certctl_core.testing.factories import make_csr


def _settings(folder: Path, **members: object) -> Settings:
    broken = folder / "ca.pem"
    broken.write_text("no certificate\n", encoding="ascii")
    key = folder / "ca.key"
    key.write_text("no key\n", encoding="ascii")
    key.chmod(0o600)
    return Settings.for_directory(
        folder / "data", ca_cert_path=str(broken), ca_key_path=str(key), **members
    )


@pytest.mark.spec("02/CA-4")
def test_a_broken_ca_stops_the_start_and_no_key_is_made_in_vain(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    with Core.open(settings, boot=False, role="serve") as core, pytest.raises(CAMaterialError):
        core.boot()
    with Core.open(settings, boot=False, role="serve") as core:
        assert core.call("api_keys.list").data == []


def test_with_warn_the_rest_works_without_the_ca(tmp_path: Path) -> None:
    with Core.open(_settings(tmp_path, ca_preflight="warn")) as core:
        assert core.call("certificates.list").data == []
        with pytest.raises(Exception, match="CA") as caught:
            core.issue(make_csr("web.example.test"))

    assert getattr(caught.value, "kind", None) is not None, "a typed error"


def test_nobody_else_may_read_what_an_embedded_installation_makes(tmp_path: Path) -> None:
    """Whatever the umask says."""
    before = os.umask(0)
    try:
        with Core.open(tmp_path / "data") as core:
            core.issue(make_csr("web.example.test"))
            found = {
                path.name: stat.S_IMODE(path.stat().st_mode)
                for path in (tmp_path / "data").iterdir()
                if path.is_file()
            }
    finally:
        os.umask(before)
    assert {"certctl.db", "certctl.db-wal", "keyring"} <= found.keys()
    assert {name: mode for name, mode in found.items() if mode & 0o077} == {}
