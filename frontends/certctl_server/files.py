"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

DRILL_FILE = "last-drill.json"
"""In the data directory: when a restore was last rehearsed, and how it went."""


def write_atomically(path: Path, text: str, *, mode: int) -> None:
    """Replace a file durably; readers see the old or the new content, never a part.

    Args:
        path: The file; its directory exists.
        text: New content, UTF-8.
        mode: Permission bits of the new file.

    Raises:
        OSError: It cannot be written; the old file is untouched.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
    try:
        os.fchmod(descriptor, mode)  # whatever the umask says
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
