"""Pages with generated parts are what the program would generate now."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.docs.pages import PATIENCE_SECONDS, ROOT, name, pages

_GENERATED = [page for page in pages() if "[[[cog" in page.read_text(encoding="utf-8")]


@pytest.mark.timeout(PATIENCE_SECONDS)
def test_generated_parts_are_current() -> None:
    # -P: the blocks print what belongs into the page.
    done = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", "-P", *map(name, _GENERATED)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, f"run: python docs/generate.py\n{done.stdout}{done.stderr}"


def test_every_reference_page_is_generated() -> None:
    reference = [page for page in pages() if page.parent == ROOT / "docs" / "reference"]

    assert len(reference) >= 8
    assert [name(page) for page in reference if page not in _GENERATED] == []
