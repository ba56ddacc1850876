"""The drawing of the house shows the rooms that are there, and marks those that are not."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT, blocks

_CORE = ROOT / "certctl_core"
_FLOORS = ("insight", "enrollment", "fleet", "lifecycle", "people")


def _drawing() -> str:
    page = ROOT / "docs" / "architecture.md"
    return next(block.text for block in blocks(page) if "testing" in block.text.split())


def _drawn(floor: str) -> str:
    """What the drawing says of a floor: its line, and the ones below it that are indented."""
    found = re.search(rf"^{floor} +(.*(?:\n +.*)*)", _drawing(), re.MULTILINE)
    assert found, f"{floor} is not in the drawing"
    return found[1]


def _rooms(floor: str) -> set[str]:
    return {path.parent.name.replace("_", " ") for path in (_CORE / floor).glob("*/__init__.py")}


@pytest.mark.parametrize("floor", _FLOORS)
def test_rooms_of_a_floor_are_drawn(floor: str) -> None:
    planned = " ".join(re.findall(r"\(([^)]*)\)", _drawn(floor))).lower()
    built = re.sub(r"\([^)]*\)", "", _drawn(floor))

    assert [room for room in _rooms(floor) if not re.search(rf"\b{room}\b", built)] == []
    assert [room for room in _rooms(floor) if re.search(rf"\b{room}\b", planned)] == []


def test_every_floor_is_drawn_from_top_to_bottom() -> None:
    floors = {path.parent.name for path in _CORE.glob("*/__init__.py")}
    floors |= {path.stem for path in _CORE.glob("*.py")} - {"__init__"}
    drawn = re.findall(r"^([a-z]+) ", _drawing(), re.MULTILINE)
    rules = (ROOT / ".importlinter").read_text(encoding="utf-8")
    layers = re.search(r"containers = certctl_core\nlayers =\n((?: +\w+\n)+)", rules)

    assert set(drawn) == floors
    assert layers is not None
    assert drawn == layers[1].split()
