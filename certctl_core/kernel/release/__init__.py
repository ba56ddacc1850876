"""Which build of the product this is: the one source of version, commit and build time.

A wheel is stamped when it is built. A source tree and an editable installation are not builds: they
have the version that is installed and know nothing else. ``certctl --version`` reads this too, so it
imports next to nothing.
"""

from __future__ import annotations

import os
import sys

from certctl_core.kernel.release import _stamp

__all__ = ["BUILD_TIME", "COMMIT", "IS_MODIFIED", "VERSION", "described", "facts"]

_PREFIX, _SUFFIX = "certctl-", ".dist-info"


def _installed_version() -> str:
    # The folder name of the installed metadata says it: certctl-0.1.0.dist-info. To ask
    # importlib.metadata costs more than all the rest of `certctl --version`.
    for place in sys.path:
        try:
            names = os.listdir(place or ".")  # noqa: PTH208 - pathlib would double the time
        except OSError:
            continue
        found = [name for name in names if name.startswith(_PREFIX) and name.endswith(_SUFFIX)]
        if found:
            return max(found).removeprefix(_PREFIX).removesuffix(_SUFFIX)
    return "0"


VERSION: str = _stamp.VERSION or _installed_version()
"""The version; ``0`` in a bare tree that is not installed."""
COMMIT: str | None = _stamp.COMMIT
"""The commit that was built, in full; None where it is not known."""
IS_MODIFIED: bool | None = _stamp.IS_MODIFIED
"""Whether files differed from that commit; None where it is not known."""
BUILD_TIME: str | None = _stamp.BUILD_TIME
"""When it was built: RFC 3339, in UTC, to the second; None where it is not known."""


def facts() -> dict[str, str | bool | None]:
    """All of it, by the names that the version endpoint uses."""
    return {
        "version": VERSION,
        "commit": COMMIT,
        "modified": IS_MODIFIED,
        "build_time": BUILD_TIME,
    }


def described(
    version: str = VERSION,
    *,
    commit: str | None = COMMIT,
    is_modified: bool | None = IS_MODIFIED,
    build_time: str | None = BUILD_TIME,
) -> str:
    """A release in one line: the version, and what else is known of the build in brackets."""
    known = []
    if commit:
        known.append(f"commit {commit[:12]}{', modified' if is_modified else ''}")
    if build_time:
        known.append(f"built {build_time}")
    return f"{version} ({', '.join(known)})" if known else version
