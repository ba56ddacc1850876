"""Files for keys and certificates: whole or not at all, keys for their owner only."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from certctl_cli.failures import FileExists, NotWritable

_PUBLIC = 0o644
_PRIVATE = 0o600
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def write_all(contents: Mapping[Path, str], *, is_replacing: bool) -> None:
    """Write public files (0644), each whole or not at all.

    Args:
        contents: Path → text. Missing directories are made.
        is_replacing: Whether files that exist are replaced.

    Raises:
        FileExists: One exists; then nothing was written.
        NotWritable: The place cannot be written.
    """
    if not is_replacing:
        refuse_existing(contents)
    for path, text in contents.items():
        make_directory(path.parent)
        temporary = _write_beside(path, text.encode(), _PUBLIC)
        _move(temporary, path)


def refuse_existing(paths: Mapping[Path, str] | list[Path]) -> None:
    """Stop before anything happens when a file stands in the way.

    Raises:
        FileExists: The first one that does; a dangling link counts.
    """
    for path in paths:
        if os.path.lexists(path):
            raise FileExists(path=path)


def make_directory(path: Path) -> None:
    """Make a directory with its parents.

    Raises:
        NotWritable: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotWritable(path=path, reason=error.strerror or "unknown") from error


@contextmanager
def directory(path: Path) -> Iterator[None]:
    """Make a directory with its parents; what fails within leaves none of them behind empty.

    Raises:
        NotWritable: It cannot be made.
    """
    new = [place for place in (path, *path.parents) if not os.path.lexists(place)]
    try:
        make_directory(path)
        yield
    except BaseException:
        for place in new:
            with suppress(OSError):  # it holds something, or is not there
                place.rmdir()
        raise


class NewKeyFile:
    """A private key on the disk before the certificate is asked for, so that no crash can lose it.

    The file has mode 0600 from its first moment. A new file takes its own name at once; one that
    replaces another waits beside it until ``keep``.

    Args:
        path: Where the key is to lie.
        pem: PKCS#8.
        is_replacing: Whether a file that exists may be replaced.

    Raises:
        FileExists: There is one and it may not be replaced.
        NotWritable: The directory cannot be written.
    """

    def __init__(self, path: Path, pem: bytes, *, is_replacing: bool) -> None:
        self.path = path
        self._waiting: Path | None = None
        if is_replacing and os.path.lexists(path):
            self._waiting = _write_beside(path, pem, _PRIVATE)
        else:
            _write_new(path, pem, _PRIVATE)

    @property
    def lies_at(self) -> Path:
        """Where the key is now."""
        return self._waiting or self.path

    def keep(self) -> None:
        """The certificate is there: the key takes its place."""
        if self._waiting is not None:
            _move(self._waiting, self.path)
            self._waiting = None

    def drop(self) -> None:
        """No certificate was issued for it: remove it."""
        self.lies_at.unlink(missing_ok=True)


def _write_beside(path: Path, data: bytes, mode: int) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    _write_new(temporary, data, mode)
    return temporary


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, _NEW, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except FileExistsError as error:
        raise FileExists(path=path) from error
    except OSError as error:
        raise NotWritable(path=path, reason=error.strerror or "unknown") from error


def _move(temporary: Path, path: Path) -> None:
    try:
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise NotWritable(path=path, reason=error.strerror or "unknown") from error
