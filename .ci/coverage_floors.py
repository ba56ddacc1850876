"""Hold each part of the tree to its coverage floor.

Usage: ``coverage_floors.py COVERAGE_JSON [--raise]``. ``coverage-floors.toml`` gives each part, named
by its path, the percentage of lines and branches that tests must reach. A part that is not listed
counts towards the nearest listed folder above it. ``--raise`` writes higher floors where there is
room; floors are never lowered by it.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
FLOORS = ROOT / "coverage-floors.toml"
# Rounding and timing move a figure by a hair; a floor is set this much below what was measured.
SLACK = 1.0


@dataclass(slots=True)
class Tally:
    """Covered and all lines and branches of one part."""

    covered: int = 0
    total: int = 0

    @property
    def percent(self) -> float:
        """Coverage in percent; an empty part is covered."""
        return 100.0 * self.covered / self.total if self.total else 100.0


def tally(report: dict[str, object], parts: list[str]) -> dict[str, Tally]:
    """Sum up a coverage report (the JSON of coverage.py) per part; the longest path wins.

    Raises:
        SystemExit: A measured file belongs to no part.
    """
    sums = {part: Tally() for part in parts}
    files = report["files"]
    assert isinstance(files, dict)  # noqa: S101 - the format of coverage.py
    for name, data in files.items():
        path = Path(name)
        path = path.relative_to(ROOT) if path.is_absolute() else path
        owners = [part for part in parts if path.as_posix().startswith(f"{part}/")]
        if not owners:
            sys.exit(f"{path} belongs to no part of {FLOORS.name}")
        summary = data["summary"]
        owner = sums[max(owners, key=len)]
        owner.covered += summary["covered_lines"] + summary.get("covered_branches", 0)
        owner.total += summary["num_statements"] + summary.get("num_branches", 0)
    return sums


def main(arguments: list[str]) -> int:
    """Compare, print a table, and return the exit code."""
    floors: dict[str, float] = tomllib.loads(FLOORS.read_text(encoding="utf-8"))["floors"]
    report = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    sums = tally(report, list(floors))
    below = [part for part, floor in floors.items() if sums[part].percent < floor]
    for part, floor in floors.items():
        mark = "  below its floor" if part in below else ""
        print(f"{sums[part].percent:6.1f} %  (floor {floor:5.1f})  {part}{mark}")
    if "--raise" in arguments[1:]:
        text = FLOORS.read_text(encoding="utf-8")
        for part, floor in floors.items():
            higher = int(sums[part].percent - SLACK)
            if sums[part].total and higher > floor:
                text = re.sub(
                    rf'^"{re.escape(part)}" = .*$', f'"{part}" = {higher}', text, flags=re.MULTILINE
                )
        FLOORS.write_text(text, encoding="utf-8")
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
