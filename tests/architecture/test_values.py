"""Frozen dataclasses of what the server loads are those of ``certctl_core.values``: their import is cheap."""

from __future__ import annotations

import re

import pytest

from tests.architecture.tree import ROOT

_LOADED = ("certctl_core", "frontends/certctl_server", "frontends/certctl_flask")
_OTHERS = ("certctl_core/testing/", "certctl_core/values.py")
"""testing is loaded by tests only."""
_THEIRS = re.compile(r"^from dataclasses import .*\bdataclass\b", re.MULTILINE)


@pytest.mark.parametrize("folder", _LOADED)
def test_frozen_dataclasses_are_values(folder: str) -> None:
    slow = {
        name
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not (name := path.relative_to(ROOT).as_posix()).startswith(_OTHERS)
        and "@dataclass(frozen=True" in (text := path.read_text())
        and _THEIRS.search(text)
    }

    assert slow == set(), "import dataclass from certctl_core.values"


def test_models_are_read_without_compiling_text() -> None:
    """pydantic compiles each annotation that is text: a fifth of what the models take to import."""
    models = re.compile(r"^class \w+\((?:Input|View|ListQuery|Group)\)", re.MULTILINE)
    late = {
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "certctl_core").rglob("schemas.py"))
        if models.search(text := path.read_text()) and "import annotations" in text
    }

    assert late == set(), "leave `from __future__ import annotations` out"
