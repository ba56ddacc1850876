"""Private files of the agent: written whole or not at all, readable by its user alone."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from certctl_agent.errors import StateUnusable

_PRIVATE = 0o600
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS = 0o077


def private_directory(path: Path) -> Path:
    """Create a directory with mode 0700, or tighten a looser one of our own.

    Raises:
        StateUnusable: It cannot be made, is no directory, or belongs to somebody else.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = path.stat()
        if state.st_uid != os.geteuid():
            raise StateUnusable(path=str(path), reason="it belongs to another user")
        if stat.S_IMODE(state.st_mode) & _OTHERS:
            path.chmod(0o700)
    except OSError as error:
        raise StateUnusable(path=str(path), reason=error.strerror or "unusable") from error
    return path


def write_private(path: Path, data: bytes) -> None:
    """Write a file with mode 0600: temporary name, fsync, rename, fsync of the directory.

    Raises:
        StateUnusable: The file system refuses.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, _NEW, _PRIVATE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise StateUnusable(path=str(path), reason=error.strerror or "unwritable") from error


def read_private(path: Path) -> bytes | None:
    """Read a regular file, not through a link; None if there is none.

    Raises:
        StateUnusable: Something else is there, or it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateUnusable(path=str(path), reason=error.strerror or "unreadable") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StateUnusable(path=str(path), reason="it is not a plain file")
        return file.read()


def is_private(path: Path) -> bool:
    """Whether a file belongs to us and nobody else may read or write it."""
    state = path.stat(follow_symlinks=False)
    return state.st_uid == os.geteuid() and not stat.S_IMODE(state.st_mode) & _OTHERS


def shred(path: Path) -> None:
    """Overwrite a file with random bytes and remove it (KEY-07)."""
    try:
        with path.open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            file.write(secrets.token_bytes(size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
    except FileNotFoundError:
        return


def sync_directory(path: Path) -> None:
    """Make names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
