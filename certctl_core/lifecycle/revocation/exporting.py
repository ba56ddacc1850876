"""Copies of CRLs outside the database, for the day on which it is lost (02 DR-25)."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

import structlog

from certctl_core.lifecycle.revocation.types import StoredCRL

_log = structlog.get_logger("certctl.crl")


class CRLExporter:
    """Keeps the newest list of each CA key in a folder, as DER.

    Args:
        folder: Where, or None for nowhere.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def write(self, crl: StoredCRL) -> None:
        """Put a list in place of the older copy, whole or not at all.

        A copy that cannot be written is logged; the list itself is in force all the same.
        """
        if self._folder is None:
            return
        name = ".".join(filter(None, (crl.issuer_id, crl.ca_key_id, crl.part)))
        temporary = None
        try:
            self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=self._folder, prefix=f".{name}.", delete=False) as out:
                temporary = Path(out.name)
                out.writelines(crl.content.pieces)
                out.flush()
                os.fsync(out.fileno())
            temporary.chmod(0o644)
            temporary.replace(self._folder / f"{name}.crl")
        except OSError as error:
            _log.error("crl.export_failed", folder=str(self._folder), cause=str(error))
            if temporary is not None:
                temporary.unlink(missing_ok=True)
