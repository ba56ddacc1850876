"""Files of this host: read, stage, swap in, restore (spec 07 DEP-06, DEP-07).

Nothing is ever written into a file that exists: new bytes go into a new file beside it, private
until mode and owner are right, and one rename makes them visible.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterable
from dataclasses import field
from datetime import datetime
from pathlib import Path

from certctl_core.deploy.errors import PathRefused, WriteFailed
from certctl_core.values import dataclass

MARK = ".certctl-"
"""In the name of every temporary file; the leading dot keeps directory readers off it."""

MAX_BYTES = 4 * 1024 * 1024
"""A certificate file is some kilobytes, a keystore some more; this is a mistake."""

_PRIVATE = 0o600
_DIRECTORY = 0o755
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """A file as it is: bytes, permission bits, numeric owner and group."""

    data: bytes = field(repr=False)
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """Permission bits, and owner and group where they are to be set (None leaves the agent's)."""

    mode: int
    uid: int | None
    gid: int | None


class LocalFiles:
    """The files of this host."""

    def resolve(self, path: str) -> str:
        """Follow the links of a destination; the result is what will be replaced."""
        return os.path.realpath(path)

    def read(self, path: str) -> FileState | None:
        """Read a resolved path; None if there is nothing.

        Raises:
            PathRefused: Not a regular file, or too large.
            WriteFailed: The file system refuses.
        """
        try:
            descriptor = os.open(path, _READ)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise WriteFailed(path=path, reason=error.strerror or "unreadable") from error
        with os.fdopen(descriptor, "rb") as file:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                raise PathRefused(path=path, reason="something other than a file is there")
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise PathRefused(path=path, reason="the present file is too large")
        return FileState(
            data=data, mode=stat.S_IMODE(state.st_mode), uid=state.st_uid, gid=state.st_gid
        )

    def check_parent(self, path: str, *, create: bool) -> None:
        """Check the directory of a resolved path (DEP-07).

        Args:
            path: The destination.
            create: A missing directory is fine; ``make_parents`` will create it.

        Raises:
            PathRefused: Missing, not a directory, or anybody may replace files in it.
        """
        parent = Path(path).parent
        while create and not parent.exists():
            parent = parent.parent
        try:
            state = parent.stat()
        except OSError as error:
            raise PathRefused(path=path, reason="its directory does not exist") from error
        if not stat.S_ISDIR(state.st_mode):
            raise PathRefused(path=path, reason="its directory is not a directory")
        if state.st_mode & stat.S_IWOTH and not state.st_mode & stat.S_ISVTX:
            raise PathRefused(path=path, reason="everybody may write into its directory")

    def missing_parents(self, path: str) -> list[str]:
        """The directories that ``make_parents`` would create, outermost first."""
        missing: list[str] = []
        for parent in Path(path).parents:
            if parent.exists():
                break
            missing.insert(0, str(parent))
        return missing

    def make_parents(self, directories: Iterable[str]) -> None:
        """Create directories with mode 0755, outermost first; existing ones are fine.

        Raises:
            WriteFailed: The file system refuses.
        """
        for directory in directories:
            try:
                Path(directory).mkdir(exist_ok=True)
                Path(directory).chmod(_DIRECTORY)
            except OSError as error:
                raise WriteFailed(path=directory, reason=error.strerror or "?") from error

    def remove_parents(self, directories: Iterable[str]) -> None:
        """Remove directories that ``make_parents`` created; one that is in use by now stays."""
        for directory in reversed(list(directories)):
            try:
                Path(directory).rmdir()
            except OSError:
                return

    def stage(self, path: str, data: bytes, rights: Rights) -> tuple[str, str]:
        """Write a temporary file beside a resolved destination, complete and durable.

        Returns:
            Its path, and why owner or group could not be set: empty if they could.

        Raises:
            WriteFailed: The file system refuses, or root may not set the owner.
        """
        target = Path(path)
        temporary = str(target.with_name(f".{target.name}{MARK}{secrets.token_hex(8)}"))
        try:
            descriptor = os.open(temporary, _NEW, _PRIVATE)
        except OSError as error:
            raise WriteFailed(path=path, reason=error.strerror or "?") from error
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                # Owner before mode: a group must never see the bytes of another group's turn.
                refused = _set_owner(descriptor, rights)
                os.fchmod(descriptor, rights.mode)
                os.fsync(descriptor)
        except OSError as error:
            self.remove(temporary)
            raise WriteFailed(path=path, reason=error.strerror or "?") from error
        return temporary, refused

    def commit(self, temporary: str, path: str) -> None:
        """Put a staged file into its place: one rename.

        Raises:
            WriteFailed: The file system refuses (another file system, a mount point …).
        """
        try:
            Path(temporary).rename(path)
            self.sync(path)
        except OSError as error:
            raise WriteFailed(path=path, reason=error.strerror or "?") from error

    def remove(self, path: str) -> None:
        """Remove a file; absent is fine.

        Raises:
            WriteFailed: The file system refuses.
        """
        try:
            Path(path).unlink(missing_ok=True)
        except OSError as error:
            raise WriteFailed(path=path, reason=error.strerror or "?") from error

    def sync(self, path: str) -> None:
        """Make the directory entry of a path durable."""
        sync_directory(Path(path).parent)

    def touch(self, path: str) -> None:
        """Renew the modification time of an existing file.

        Raises:
            WriteFailed: It is not there, or the file system refuses.
        """
        try:
            os.utime(path)
        except OSError as error:
            raise WriteFailed(path=path, reason=error.strerror or "?") from error

    def leftovers(self, path: str, *, before: datetime | None = None) -> list[str]:
        """Temporary files beside a resolved destination that a crash left behind.

        Args:
            path: The destination. Without ``before`` only its own temporary files count: its lock
                must be held. With ``before``, those of every file of the directory.
            before: Only files last changed before this time.
        """
        target = Path(path)
        name = re.escape(target.name) if before is None else ".+"
        ours = re.compile(rf"\.{name}{re.escape(MARK)}[0-9a-f]{{16}}", re.DOTALL)
        found: list[str] = []
        try:
            with os.scandir(target.parent) as entries:
                for entry in entries:
                    if not ours.fullmatch(entry.name):
                        continue
                    state = entry.stat(follow_symlinks=False)
                    old = before is None or state.st_mtime < before.timestamp()
                    if stat.S_ISREG(state.st_mode) and old:
                        found.append(entry.path)
        except FileNotFoundError:
            return []
        return found


def _set_owner(descriptor: int, rights: Rights) -> str:
    if rights.uid is None and rights.gid is None:
        return ""
    wanted = (-1 if rights.uid is None else rights.uid, -1 if rights.gid is None else rights.gid)
    try:
        os.fchown(descriptor, *wanted)
    except PermissionError as error:
        if os.geteuid() == 0:
            raise
        return error.strerror or "not permitted"
    return ""


def sync_directory(directory: Path) -> None:
    """Make the entries of a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_private(path: Path, data: bytes) -> None:
    """Write a file of our own (0600) so that a crash leaves the old one or the new one."""
    temporary = path.with_name(f".{path.name}{MARK}{secrets.token_hex(8)}")
    descriptor = os.open(temporary, _NEW, _PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    temporary.rename(path)
    sync_directory(path.parent)


def private_directory(path: Path) -> Path:
    """Create a directory of our own, 0700, with its parents; tighten a looser one."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.chmod(0o700)
    return path
