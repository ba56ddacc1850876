"""Print a command line of the README, so that what CI runs is what the README says.

Usage: ``readme_command.py NAME``. The README marks each with ``sh command=NAME`` after the fence.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def command(readme: str, name: str) -> str:
    """The one line of the block tagged ``sh command=<name>``.

    Raises:
        SystemExit: There is no such block, or it is not exactly one line.
    """
    blocks: list[str] = re.findall(
        rf"^```sh command={re.escape(name)}\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL
    )
    lines = [line for block in blocks for line in block.splitlines() if line.strip()]
    if len(lines) != 1:
        sys.exit(f"README.md must have exactly one line in its block `sh command={name}`")
    return lines[0]


if __name__ == "__main__":
    readme_path = Path(__file__).parent.parent / "README.md"
    print(command(readme_path.read_text(encoding="utf-8"), sys.argv[1]))
