"""Add up the test counts of all environments and print them as the last line.

Usage: ``count_tests.py DIRECTORY`` with the JUnit files that pytest wrote. Exits 1 when a test failed
or none ran.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET


def count(folder: Path) -> tuple[int, int, int]:
    """Passed, failed (errors included) and skipped tests of every report in ``folder``."""
    passed = failed = skipped = 0
    for report in sorted(folder.glob("*.xml")):
        for suite in ET.parse(report).getroot().iter("testsuite"):  # noqa: S314 - our own files
            bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            left_out = int(suite.get("skipped", 0))
            failed += bad
            skipped += left_out
            passed += int(suite.get("tests", 0)) - bad - left_out
    return passed, failed, skipped


if __name__ == "__main__":
    good, bad, left_out = count(Path(sys.argv[1]))
    print(f"{good} passed, {bad} failed, {left_out} skipped")
    sys.exit(1 if bad or not good else 0)
