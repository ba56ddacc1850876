"""A restored database that knows less than the copies of its CRLs (02 DR-25)."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from certctl_core.app import Core
from certctl_core.kernel.config import Settings
from certctl_core.kernel.secrets import generate_keyring
from certctl_core.pki.crl import inspect_crl
from tests.core.revocation.support import Web, make, revoke, sql


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings.for_directory(
        tmp_path / "data",
        database_url=database_url,
        config_encryption_keys=generate_keyring(),
        crl_export_dir=str(tmp_path / "copies"),
    )


@pytest.mark.spec("02/DR-25")
def test_the_start_keeps_the_copy_and_says_how_it_comes_back(
    settings: Settings, tmp_path: Path
) -> None:
    with Core.open(settings) as core:
        made = make(core, "revoked.example.test")
        revoke(core, made.certificate_id)
        last = Web(core).get("crl/iss-local").body
    (copy,) = (tmp_path / "copies").glob("*.crl")
    assert copy.read_bytes() == last
    with capture_logs() as quiet:
        Core.open(settings).close()
    assert [line for line in quiet if line["event"] == "crl.copy_ahead"] == []

    with Core.open(settings, boot=False) as core:
        # What a restore to a moment before the revocation leaves behind.
        sql(core, "DELETE FROM certificate_revocations")
        sql(core, "DELETE FROM crl_cache")
        sql(core, "UPDATE crl_numbers SET last_number = 1")
    with capture_logs() as logs:
        core = Core.open(settings)
    with core:
        (warning,) = [line for line in logs if line["event"] == "crl.copy_ahead"]
        number = inspect_crl(last).number
        assert (warning["number"], warning["database_number"]) == (number, 1)
        kept = Path(warning["path"])
        assert warning["hint"] == f"certctl dr import-crl {kept}"
        assert kept.name.endswith(f".before-restore-{number}.crl")
        # The next list takes the place of the copy; what was lost is in the one that was kept.
        web = Web(core)
        assert len(web.listed()) == 0
        assert copy.read_bytes() == web.get("crl/iss-local").body != last
        assert kept.read_bytes() == last
        with core.units.read() as uow:
            assert core.rooms.recovery.copies_ahead(uow, tmp_path / "copies") == []
        answer = core.call(
            "dr.import_crl", body={"crl": base64.b64encode(kept.read_bytes()).decode()}
        )
        assert answer.added == 1
        assert web.status(made.serial) == "revoked"


def test_other_files_in_the_folder_are_left_alone(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    (folder / "readme.crl").write_text("not a list")
    (folder / f"iss-local.{'0' * 40}.crl").write_text("not a list")
    with capture_logs() as logs, Core.open(settings) as core, core.units.read() as uow:
        assert core.rooms.recovery.copies_ahead(uow, folder) == []
    assert [line["event"] for line in logs].count("crl.copy_unreadable") == 2
    assert len(list(folder.iterdir())) == 2
