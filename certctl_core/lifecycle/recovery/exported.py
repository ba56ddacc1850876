"""Copies of CRLs outside the database that know more than a restored one (02 DR-25)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import structlog

from certctl_core.pki.crl import inspect_crl
from certctl_core.pki.errors import PKIError
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.recovery")

_NAME = re.compile(r"(?P<issuer>.+)\.(?P<key>[0-9a-f]{40})(?:\.[A-Za-z0-9-]+)?\.crl")
_KEPT = "before-restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class AheadCRL:
    """A copy with a higher number than anything that the database remembers.

    Attributes:
        path: The copy that is kept.
        issuer_id / ca_key_id: Whose list.
        number: Its cRLNumber.
        last_number: The highest one in the database, 0 for none.
    """

    path: Path
    issuer_id: str
    ca_key_id: str
    number: int
    last_number: int


def copies_ahead(
    folder: Path | None, last_numbers: Mapping[tuple[str, str], int]
) -> Iterator[AheadCRL]:
    """Find copies of lists that the database does not remember to have issued.

    Args:
        folder: ``CERTCTL_CRL_EXPORT_DIR``, or None.
        last_numbers: (issuer id, CA key id) → the highest cRLNumber in the database.
    """
    if folder is None or not folder.is_dir():
        return
    for path in sorted(folder.glob("*.crl")):
        found = _NAME.fullmatch(path.name)
        if found is None or path.name.startswith("."):
            continue
        try:
            info = inspect_crl(path.read_bytes())
        except (OSError, PKIError) as error:
            _log.warning("crl.copy_unreadable", path=str(path), cause=str(error))
            continue
        last = last_numbers.get((found["issuer"], found["key"]), 0)
        if info.number > last and info.base_number is None:
            yield AheadCRL(
                path=path,
                issuer_id=found["issuer"],
                ca_key_id=found["key"],
                number=info.number,
                last_number=last,
            )


def keep(crl: AheadCRL) -> Path:
    """Put a copy aside, since the next list of the key takes its place; the copy's path."""
    kept = crl.path.with_name(f"{crl.path.stem}.{_KEPT}-{crl.number}.crl")
    if not kept.exists():
        shutil.copy2(crl.path, kept)
    return kept


def warn(folder: Path | None, last_numbers: Mapping[tuple[str, str], int]) -> None:
    """At start: keep what the database has lost, and say how it comes back."""
    for crl in copies_ahead(folder, last_numbers):
        try:
            kept = keep(crl)
        except OSError as error:
            _log.error("crl.copy_not_kept", path=str(crl.path), cause=str(error))
            kept = crl.path
        _log.warning(
            "crl.copy_ahead",
            issuer_id=crl.issuer_id,
            ca_key_id=crl.ca_key_id,
            number=crl.number,
            database_number=crl.last_number,
            path=str(kept),
            detail="The database was restored to an older state and may lack revocations.",
            hint=f"certctl dr import-crl {kept}",
        )
