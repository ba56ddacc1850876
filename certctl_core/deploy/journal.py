"""The journal: what a deployment is about to do, so that a crash can be finished or undone (DEP-16).

One file per target, there only while a deployment runs. It names everything that recovery needs
without the target's configuration, and holds no secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from certctl_core.contracts.options import Command, Duration
from certctl_core.contracts.targets import Verify
from certctl_core.deploy.files import private_directory, sync_directory, write_private


class Phase(StrEnum):
    """How far a deployment has come, as far as recovery cares."""

    PREPARED = "prepared"
    """Nothing is changed; there may be temporary files."""
    CHANGING = "changing"
    """Files are being swapped, or the service has not been reloaded successfully."""
    RELOADED = "reloaded"
    """The service was reloaded with the new files."""
    ROLLING_BACK = "rolling_back"
    """The old files are being put back."""


class Record(BaseModel):
    """One running deployment.

    Attributes:
        tag: What the caller gave to recognise its job.
        snapshot: Directory of the backup.
        destinations: Resolved paths of the files.
        created: Directories that were created, outermost first.
        built_in: The commands that the target kind allows itself.
        old_fingerprint: Of the certificate that was on disk; empty if none.
        served_before: The endpoint served that certificate before the change.
        baseline_ok: The service's configuration was sound before the change.
        failure_code: Why it is being rolled back; with ``failure_message``, ``failure_stage``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: Phase = Phase.PREPARED
    target_id: str
    kind: str
    certificate_id: str
    version_id: str
    tag: str = ""
    started_at: datetime
    snapshot: str
    destinations: tuple[str, ...]
    created: tuple[str, ...] = ()
    reload_commands: tuple[Command, ...] = ()
    touch: tuple[str, ...] = ()
    built_in: tuple[Command, ...] = ()
    command_timeout: Duration
    verify: Verify
    fingerprint: str
    chain_fingerprints: tuple[str, ...] = ()
    serial: str = ""
    not_after: datetime
    old_fingerprint: str = ""
    served_before: bool = False
    baseline_ok: bool = True
    retention: int = 0
    address: str = ""
    failure_code: str = ""
    failure_message: str = ""
    failure_stage: str = ""


class Journal:
    """The records below one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, record: Record) -> None:
        """Write or replace the record of a target; durable when this returns.

        Raises:
            OSError: The file system refuses.
        """
        private_directory(self._directory)
        write_private(self._path(record.target_id), record.model_dump_json(indent=1).encode())

    def read(self, target_id: str) -> Record | None:
        """The record of a target, or None if there is none that can be read."""
        try:
            return Record.model_validate_json(self._path(target_id).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def remove(self, target_id: str) -> None:
        """Remove the record of a target; absent is fine."""
        self._path(target_id).unlink(missing_ok=True)
        if self._directory.is_dir():
            sync_directory(self._directory)

    def target_ids(self) -> Iterator[str]:
        """The targets with a record, in order."""
        for path in sorted(self._directory.glob("*.json")):
            yield path.name.removesuffix(".json")

    def set_aside(self, target_id: str) -> Path | None:
        """Take a record that cannot be read out of the way; its new path, None if it can be."""
        path = self._path(target_id)
        if not path.exists() or self.read(target_id) is not None:
            return None
        return path.rename(path.with_suffix(".unreadable"))

    def _path(self, target_id: str) -> Path:
        return self._directory / f"{target_id}.json"
