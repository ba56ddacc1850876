"""Files stay small enough to be read in one sitting (STYLE 4)."""

from __future__ import annotations

import pytest

from tests.architecture.tree import ROOT, relative, tracked_files

_LIMIT = 600
_PLUGIN_LIMIT = 400


def _lines(name: str) -> int:
    return len((ROOT / name).read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("suffix", [".py", ".html", ".css", ".js"])
def test_no_file_is_longer_than_the_limit(suffix: str) -> None:
    names = [
        relative(path)
        for path in tracked_files()
        if path.suffix == suffix
        and "vendor" not in path.parts
        and ".min." not in path.name
        and path.parent.name != "versions"  # a migration spells out every table it makes
    ]

    assert {name: _lines(name) for name in names if _lines(name) > _LIMIT} == {}


def test_a_plugin_that_outgrows_its_file_is_a_package() -> None:
    names = [
        relative(path)
        for path in tracked_files()
        if path.suffix == ".py" and path.parent.parent == ROOT / "plugins"
    ]

    assert {name: _lines(name) for name in names if _lines(name) > _PLUGIN_LIMIT} == {}
