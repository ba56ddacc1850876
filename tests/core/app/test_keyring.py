"""A restored database and the keys that open it (02 DR-19)."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from certctl_core import Core, Settings
from certctl_core.app.errors import KeyringMissing, KeyringWrong
from certctl_core.app.sealed import SEALED_COLUMNS, in_words
from certctl_core.kernel.db import metadata
from certctl_core.kernel.secrets import generate_keyring
from tests.architecture.tree import product_files, relative

_SECRET = "whsec_" + "c2VhbGVk" * 5
_SEALING = {
    "certctl_core/app/keyring.py",
    "certctl_core/kernel/audit/keys.py",
    "certctl_core/kernel/secrets/keyring.py",
    "certctl_core/lifecycle/configured/sealing.py",
    "certctl_core/lifecycle/configured/state.py",
    "certctl_core/lifecycle/revocation/responders.py",
    "certctl_core/people/identity/sessions.py",
}
"""Who seals: each table that they write into stands in ``SEALED_COLUMNS``."""


def settings(url: str, folder: Path, keys: str) -> Settings:
    return Settings.for_directory(folder, database_url=url, config_encryption_keys=keys)


def dump(core: Core) -> dict[str, list[tuple[object, ...]]]:
    """All rows that hold something sealed."""
    with core.units.read() as uow:
        return {
            place.table: [
                tuple(row) for row in uow.execute(sa.select(metadata.tables[place.table])).all()
            ]
            for place in SEALED_COLUMNS
        }


@pytest.fixture
def keys() -> str:
    return generate_keyring()


@pytest.fixture
def used(database_url: str, tmp_path: Path, keys: str) -> dict[str, list[tuple[object, ...]]]:
    """An installation with sealed rows of several kinds; what they hold."""
    with Core.open(settings(database_url, tmp_path / "data", keys)) as core:
        body = {
            "id": "no-hook",
            "name": "hook",
            "kind": "webhook",
            "config": {"url": "https://hooks.example.com/x", "secret": _SECRET},
        }
        core.call("notifiers.create", body=body)
        return dump(core)


@pytest.mark.spec("02/DR-19", "08/GUARD-10")
@pytest.mark.parametrize("name", ["k1", "k2"], ids=["same_name_other_value", "other_name"])
def test_wrong_keys_refuse_and_name_the_rows(
    database_url: str,
    tmp_path: Path,
    keys: str,
    used: dict[str, list[tuple[object, ...]]],
    name: str,
) -> None:
    wrong = name + generate_keyring().removeprefix("k1")
    with pytest.raises(KeyringWrong) as caught:
        Core.open(settings(database_url, tmp_path / "data", wrong))
    text = str(caught.value)
    assert "notifiers no-hook" in text
    assert "session_signing_keys" in text
    assert "audit_keys" in text
    assert _SECRET not in text
    with Core.open(settings(database_url, tmp_path / "data", keys)) as core:
        assert dump(core) == used


@pytest.mark.spec("02/DR-19")
def test_a_key_that_is_left_out_is_missed(
    database_url: str, tmp_path: Path, keys: str, used: object
) -> None:
    del used
    newer = "k2" + generate_keyring().removeprefix("k1")
    both = f"{newer},{keys}"
    folder = tmp_path / "data"
    with Core.open(settings(database_url, folder, both)) as core:
        body = {
            "id": "no-second",
            "name": "second",
            "kind": "webhook",
            "config": {"url": "https://hooks.example.com/y", "secret": _SECRET},
        }
        core.call("notifiers.create", body=body)
    with pytest.raises(KeyringWrong) as caught:
        Core.open(settings(database_url, folder, keys))
    assert "closed stay notifiers no-second)" in str(caught.value)
    Core.open(settings(database_url, folder, both)).close()


@pytest.mark.spec("02/DR-19")
def test_no_key_at_all_names_the_rows(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    Core.open(folder).close()
    (folder / "keyring").unlink()
    with pytest.raises(KeyringMissing) as caught:
        Core.open(folder)
    assert "is needed for audit_keys" in str(caught.value)
    assert not (folder / "keyring").exists()


def test_one_broken_value_does_not_stop_the_start(
    database_url: str, tmp_path: Path, keys: str, used: object
) -> None:
    del used
    place = settings(database_url, tmp_path / "data", keys)
    with Core.open(place) as core, core.begin() as uow:
        table = metadata.tables["notifiers"]
        row = uow.first(sa.select(table.c.secrets))
        assert row is not None
        broken = {name: text[:-4] + "AAAA" for name, text in row.secrets.items()}
        uow.execute(sa.update(table).values(secrets=broken))
    Core.open(place).close()


def test_a_long_list_is_cut() -> None:
    text = in_words([f"issuers iss-{number}" for number in range(30)])
    assert text.endswith("iss-19 and 10 more")


@pytest.mark.spec("05/SEC-1")
def test_every_sealed_column_is_known() -> None:
    """Who seals into a new place names it in ``SEALED_COLUMNS`` and here."""
    found = {
        relative(path)
        for path in product_files()
        if "Purpose." in (text := path.read_text(encoding="utf-8")) and ".seal(" in text
    }
    assert found | {"certctl_core/kernel/secrets/keyring.py"} == _SEALING
    for place in SEALED_COLUMNS:
        assert {place.column, *place.key} <= set(metadata.tables[place.table].c.keys())
