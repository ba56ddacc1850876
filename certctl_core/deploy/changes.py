"""What a deployment changes, file by file (stage COMPARE)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from certctl_core.contracts.targets import File
from certctl_core.deploy.files import FileState, Rights
from certctl_core.deploy.pairs import leaf_fingerprint
from certctl_core.deploy.rights import has_rights, wanted_rights
from certctl_core.kernel.events import JSON
from certctl_core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One file: as it is, and as it shall be.

    Attributes:
        file: What the target wants.
        data: The bytes it shall hold.
        present: What is there; None if nothing.
        rights: The rights it shall have.
        different: Whether bytes or rights differ.
    """

    file: File
    data: bytes = field(repr=False)
    present: FileState | None
    rights: Rights
    different: bool


def compare(
    file: File, present: FileState | None, default_owners: Sequence[str]
) -> tuple[Change, str]:
    """Work out one change.

    Returns:
        The change, and a warning about the present rights or an empty text.

    Raises:
        PathRefused: The rights cannot be given.
    """
    rights, warning = wanted_rights(file, present, default_owners)
    old = None if present is None else present.data
    data = file.data if isinstance(file.data, bytes) else file.data(old)
    same = old is not None and (old == data if file.same is None else file.same(old))
    different = not same or present is None or not has_rights(present, rights)
    change = Change(file=file, data=data, present=present, rights=rights, different=different)
    return change, warning


def describe(change: Change) -> dict[str, JSON]:
    """A change for the report: path, what happens, fingerprints and modes; no contents."""
    action = "keep"
    if change.different:
        action = "create" if change.present is None else "replace"
    return {
        "path": change.file.path,
        "action": action,
        "old_fingerprint": "" if change.present is None else leaf_fingerprint(change.present.data),
        "new_fingerprint": leaf_fingerprint(change.data),
        "old_mode": "" if change.present is None else f"{change.present.mode:04o}",
        "new_mode": f"{change.rights.mode:04o}",
    }
