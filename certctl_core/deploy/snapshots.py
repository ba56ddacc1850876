"""Backups of what was there, outside of the service's directories (spec 07 DEP-08, DEP-09)."""

import hashlib
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from certctl_core.deploy.errors import WriteFailed
from certctl_core.deploy.files import FileState, private_directory, write_private
from certctl_core.values import dataclass

_MANIFEST = "manifest.json"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    resolved: str
    is_link: bool
    file: str | None = None
    """The name of the copy; None: there was nothing."""
    sha256: str = ""
    mode: int = 0
    uid: int = 0
    gid: int = 0


class _Manifest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    target_id: str
    version_id: str
    taken_at: datetime
    entries: tuple[_Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """One file as it was; ``state`` is None where there was nothing.

    Attributes:
        path: As configured.
        resolved: What it led to; this is what is restored.
        state: Bytes and rights.
    """

    path: str
    resolved: str
    state: FileState | None


class Snapshots:
    """The backups below one directory, ``<target>/<utc>-<version>/``, newest last by name."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def take(self, target_id: str, version_id: str, at: datetime, files: Sequence[Saved]) -> Path:
        """Store copies of files, private and durable.

        Raises:
            WriteFailed: The file system refuses.
        """
        folder = private_directory(self._directory) / target_id
        stem = f"{at:%Y%m%dT%H%M%S.%fZ}-{version_id}"
        place = folder / stem
        try:
            private_directory(folder)
            place.mkdir(mode=0o700)
            entries = [_save(place, number, saved) for number, saved in enumerate(files)]
            manifest = _Manifest(
                target_id=target_id, version_id=version_id, taken_at=at, entries=tuple(entries)
            )
            write_private(place / _MANIFEST, manifest.model_dump_json(indent=1).encode())
        except OSError as error:
            shutil.rmtree(place, ignore_errors=True)
            raise WriteFailed(path=str(place), reason=error.strerror or "?") from error
        return place

    def load(self, place: Path) -> list[Saved]:
        """Read a backup.

        Raises:
            WriteFailed: It is not readable or was changed.
        """
        try:
            manifest = _Manifest.model_validate_json((place / _MANIFEST).read_bytes())
            return [_load(place, entry) for entry in manifest.entries]
        except (OSError, ValidationError) as error:
            raise WriteFailed(path=str(place), reason="the backup cannot be read") from error

    def drop(self, place: Path) -> None:
        """Remove a backup; absent is fine."""
        shutil.rmtree(place, ignore_errors=True)

    def prune(self, target_id: str, keep: int) -> None:
        """Remove all but the newest backups of a target."""
        folder = self._directory / target_id
        places = sorted(folder.iterdir()) if folder.is_dir() else []
        for place in places[: max(0, len(places) - keep)]:
            self.drop(place)


def _save(place: Path, number: int, saved: Saved) -> _Entry:
    is_link = Path(saved.path).is_symlink()
    state = saved.state
    if state is None:
        return _Entry(path=saved.path, resolved=saved.resolved, is_link=is_link)
    name = f"{number}.bin"
    write_private(place / name, state.data)
    return _Entry(
        path=saved.path,
        resolved=saved.resolved,
        is_link=is_link,
        file=name,
        sha256=hashlib.sha256(state.data).hexdigest(),
        mode=state.mode,
        uid=state.uid,
        gid=state.gid,
    )


def _load(place: Path, entry: _Entry) -> Saved:
    state = None
    if entry.file is not None:
        data = (place / Path(entry.file).name).read_bytes()
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise WriteFailed(path=str(place), reason="the backup is damaged")
        state = FileState(data=data, mode=entry.mode, uid=entry.uid, gid=entry.gid)
    return Saved(path=entry.path, resolved=entry.resolved, state=state)
