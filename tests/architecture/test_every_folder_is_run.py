"""A folder of tests that no environment of tox runs would be green for ever."""

from __future__ import annotations

import configparser
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_tox_alone_runs_every_folder_of_tests() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    run = {"testenv", *(f"testenv:{name.strip()}" for name in tox["tox"]["env_list"].split(","))}
    texts = [tox["folders"][key] for key in tox["folders"]]
    texts += [tox[name]["commands"] for name in run if name in tox]
    named = " ".join(texts).replace("{/}", "/")

    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    tops = {folder.relative_to(ROOT).parts[1] for folder in folders if folder != ROOT / "tests"}
    assert [top for top in sorted(tops) if f"tests/{top}" not in named] == []
    assert {"testenv:system", "testenv:py3"} <= run, "both halves of the folders are run"
