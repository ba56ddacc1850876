"""The console script ``certctl``: what must be quick happens here, the rest behind one import."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Run one command line.

    ``--version`` and ``--help`` are answered without loading the command tree: they take little
    more than the start of the interpreter.

    Args:
        arguments: Without the program's name; those of the process when None.

    Returns:
        The exit code; ``certctl --help`` and docs/reference/cli.md list them.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:
        from certctl_core.kernel.release import described

        print(f"certctl {described()}")
        return 0
    if given in ([], ["--help"], ["-h"]):
        from certctl_cli.root_help import TEXT

        print(TEXT, end="")
        return 0 if given else 2
    try:
        from certctl_cli.run import run
    except ModuleNotFoundError as error:
        print(
            f"certctl: the command line needs the package {error.name}\n"
            "  hint: pip install 'certctl[server]'",
            file=sys.stderr,
        )
        return 1
    return run(given)
