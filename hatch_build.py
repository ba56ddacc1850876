"""Stamps a build with its version, its commit and its time (certctl_core/kernel/release).

A wheel gets a filled-in ``_stamp.py`` in place of the one in the tree; a source distribution carries
the commit along in a file of its own, because whoever builds from it has no git. An editable
installation is not stamped: its files may change at any time. Nothing is written into the tree.
"""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_STAMP = "certctl_core/kernel/release/_stamp.py"
_CARRIED = "build-stamp.json"
_TEXT = '''"""What this build knows of itself; written when it was built."""

from __future__ import annotations

VERSION: str | None = {version!r}
COMMIT: str | None = {commit!r}
IS_MODIFIED: bool | None = {is_modified!r}
BUILD_TIME: str | None = {build_time!r}
'''


class Source(NamedTuple):
    """What is known of the files that are built.

    Attributes:
        commit: The full id of the commit; None without git.
        is_modified: Whether a file differs from it, or is not in it; None without git.
    """

    commit: str | None
    is_modified: bool | None


class StampHook(BuildHookInterface[Any]):
    """The hook that hatchling calls for each build."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Hand the stamp to the build."""
        if version == "editable":
            return
        source = carried(Path(self.root)) or from_git(Path(self.root))
        self._folder = TemporaryDirectory(prefix="certctl-build-")
        stamp = Path(self._folder.name) / "stamp"
        if self.target_name == "sdist":
            stamp.write_text(json.dumps(source._asdict()) + "\n", encoding="utf-8")
            build_data["force_include"][str(stamp)] = _CARRIED
        else:
            text = _TEXT.format(
                version=self.metadata.version, build_time=build_time(), **source._asdict()
            )
            stamp.write_text(text, encoding="utf-8")
            build_data["force_include"][str(stamp)] = _STAMP

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Take the temporary files away."""
        if version != "editable":
            self._folder.cleanup()


def carried(root: Path) -> Source | None:
    """What an unpacked source distribution says; None elsewhere."""
    try:
        text = (root / _CARRIED).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return Source(**json.loads(text))


def from_git(root: Path) -> Source:
    """What git says of the tree.

    A repository that the tree merely lies in is not asked: its commit is another project's.
    """
    if not (root / ".git").exists():
        return Source(None, None)
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    status = _git(root, "status", "--porcelain")
    if commit is None or status is None:
        return Source(None, None)
    return Source(commit, bool(status))


def _git(root: Path, *arguments: str) -> str | None:
    # GIT_DIR and its relatives would point it at another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=root,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def build_time() -> str:
    """Now, or what SOURCE_DATE_EPOCH says, so that a build can be repeated to the byte."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.fromtimestamp(int(given), UTC) if given else datetime.now(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
