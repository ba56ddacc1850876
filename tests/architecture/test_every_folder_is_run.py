"""A folder of tests that `tox` alone does not run would be green for ever."""

from __future__ import annotations

import configparser
import re

from tests.architecture.tree import ROOT

_FOLDER = re.compile(r"\btests(?:/|\{/\})(\w+)")


def test_tox_alone_runs_every_folder_of_tests() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    run: set[str] = set()
    for name in tox["tox"]["env_list"].split(","):
        section = f"testenv:{name.strip()}"
        commands = tox[section if section in tox else "testenv"]["commands"]
        for shared, folders in tox["folders"].items():
            commands = commands.replace(f"{{[folders]{shared}}}", folders)
        run |= set(_FOLDER.findall(commands))

    tests = ROOT / "tests"
    there = {path.relative_to(tests).parts[0] for path in tests.rglob("test_*.py")}
    assert there - run == set()
