"""What a first start leaves behind for people: ``ca.crt``, ``client.toml``, and how it cleans up."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Self

from certctl_server.files import write_atomically

if TYPE_CHECKING:
    from certctl_core.kernel.config import Settings

CA_FILE = "ca.crt"
CLIENT_FILE = "client.toml"
_SQLITE_FILES = ("", "-wal", "-shm", ".lock", ".migrate.lock")
_HEAD = (
    "# How the command line reaches this server. Keep it secret: the key is an administrator's.\n"
)
_WILDCARDS = frozenset({"0.0.0.0", "::", ""})


def base_url(settings: Settings) -> str:
    """Where clients on this machine reach the server."""
    server = settings.server
    if server.public_url is not None:
        return str(server.public_url).rstrip("/")
    host = "localhost" if server.host in _WILDCARDS else server.host
    return f"https://[{host}]:{server.port}" if ":" in host else f"https://{host}:{server.port}"


def write_client_file(
    settings: Settings, api_key: str | None, *, ca_path: Path | None
) -> Path | None:
    """Write or refresh ``client.toml`` (0600); its key is kept where no new one is given.

    Args:
        settings: The settings.
        api_key: A key that was just made.
        ca_path: What clients should trust; None where the system's trust does.

    Returns:
        The file, or None where there is no key to keep in it.
    """
    path = settings.data_dir / CLIENT_FILE
    api_key = api_key or _known(path, "api_key")
    if api_key is None:
        return None
    lines = [f"url = {json.dumps(base_url(settings))}", f"api_key = {json.dumps(api_key)}"]
    if ca_path is not None:
        lines.append(f"ca_path = {json.dumps(str(ca_path))}")
    write_atomically(path, _HEAD + "\n".join(lines) + "\n", mode=0o600)
    return path


def served_url(settings: Settings) -> str:
    """Where the last start of this installation served, whatever ``--listen`` it was given."""
    return _known(settings.data_dir / CLIENT_FILE, "url") or base_url(settings)


def _known(path: Path, name: str) -> str | None:
    try:
        value = tomllib.loads(path.read_text()).get(name)
    except (OSError, ValueError):
        return None
    return value if isinstance(value, str) else None


class FreshDirectory:
    """Remembers what a data directory held, so that a failed first start can be undone.

    Only a start that finds no SQLite database may be undone: everything that appears then is
    its own. Of another only directories go that it made and that are empty.
    """

    def __init__(
        self, directory: Path, *, undoable: bool, elsewhere: tuple[Path, ...] = ()
    ) -> None:
        self._directory = directory
        self._elsewhere = elsewhere
        self._undoable = undoable
        self._missing = [
            parent for parent in (directory, *directory.parents) if not parent.exists()
        ]
        self._before = _names(directory)

    @classmethod
    def look(cls, settings: Settings) -> Self:
        """Look at the directory before anything is made."""
        database = settings.database.sqlite_path
        if database is None or database.exists():
            return cls(settings.data_dir, undoable=False)
        files = tuple(Path(f"{database}{suffix}") for suffix in _SQLITE_FILES)
        return cls(settings.data_dir, undoable=True, elsewhere=files)

    def undo(self) -> None:
        """Remove what has appeared since, as far as it is this start's."""
        if self._undoable:
            self._empty()
        for directory in self._missing:
            try:
                directory.rmdir()
            except OSError:
                return

    def _empty(self) -> None:
        for path in self._elsewhere:
            path.unlink(missing_ok=True)
        for name in _names(self._directory) - self._before:
            path = self._directory / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _names(directory: Path) -> frozenset[str]:
    return (
        frozenset(path.name for path in directory.iterdir()) if directory.is_dir() else frozenset()
    )
