"""One server per SQLite file (spec 08 DB-5, GUARD-12)."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

from certctl_server.exits import Exit, StartFailure

if TYPE_CHECKING:
    from certctl_core.kernel.config import Settings


class SQLiteLock:
    """A locked file beside the database, until :meth:`release` or the end of the process.

    Children that are forked meanwhile hold it, too: a server whose parent was killed keeps others
    out until its last child is gone.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, settings: Settings) -> Self | None:
        """Take the lock of the settings' database; None for PostgreSQL.

        Raises:
            StartFailure: Another process holds it (exit 3), or the directory cannot be used (2).
        """
        database = settings.database.sqlite_path
        if database is None:
            return None
        path = Path(f"{database}.lock")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(path.parent, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise _in_use(database, holder) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(path, descriptor)

    def release(self) -> None:
        """Give the lock up. The file stays: removing it would race with the next holder."""
        os.close(self._descriptor)


def _unusable(directory: Path, error: OSError) -> StartFailure:
    problem = (
        f"CERTCTL_DATA_DIR: {directory} cannot be used: {error.strerror}. "
        "Choose another one with --data-dir, or correct its owner and mode (0700)."
    )
    return StartFailure(Exit.CONFIG, [problem])


def _in_use(database: Path, holder: str) -> StartFailure:
    who = f" (process {holder})" if holder.isdigit() else ""
    problem = (
        f"CERTCTL_DATABASE_URL: {database} is in use by another certctl server{who}. "
        "Stop that one; several servers need PostgreSQL."
    )
    return StartFailure(Exit.DATABASE, [problem])
