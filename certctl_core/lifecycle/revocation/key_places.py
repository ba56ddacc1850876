"""Whether all servers of a database share their OCSP responder keys (02 RSP-5).

A mark, a file of random text, lies in the directory of the keys; who finds the same mark looks into the
same directory. Servers that do not would replace each other's responders in turn.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa
import structlog

from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.lifecycle.revocation._tables import ocsp_key_places as t
from certctl_core.lifecycle.revocation.errors import ResponderKeysApart

_log = structlog.get_logger("certctl.ocsp")
_MARK = ".certctl-place"
_FORGET = timedelta(days=1)


class KeyPlaces:
    """Compares the directories of all living servers.

    Args:
        units: Opens the transactions.
        key_dir: The directory of this server; None when keys lie in the database.
        living: Ids and host names of the servers that are alive.
    """

    def __init__(
        self,
        *,
        units: UnitOfWorkFactory,
        key_dir: Path | None,
        living: Callable[[Uow], Mapping[str, str]],
    ) -> None:
        self._units = units
        self._key_dir = key_dir if units.database.is_postgres else None
        self._living = living

    def check(self) -> None:
        """Look before this server starts.

        Raises:
            ResponderKeysApart: A living server uses another directory.
        """
        place = self._place()
        if place is not None:
            with self._units.read() as uow:
                self._compare(uow, place)

    def register(self, replica_id: str) -> None:
        """Look again and say which directory this server uses, one server at a time.

        Raises:
            ResponderKeysApart: A living server uses another directory.
        """
        place = self._place()
        if place is None:
            return
        with self._units.begin() as uow:
            uow.lock_table(t)
            self._compare(uow, place)
            ended = sa.and_(
                t.c.registered_at < uow.now - _FORGET, t.c.replica_id.not_in(self._living(uow))
            )
            uow.execute(sa.delete(t).where(ended))
            statement = uow.insert(t).values(
                replica_id=replica_id, place=place, registered_at=uow.now
            )
            uow.execute(statement.on_conflict_do_nothing())

    def _compare(self, uow: Uow, place: str) -> None:
        living = self._living(uow)
        for row in uow.execute(sa.select(t.c.replica_id, t.c.place).where(t.c.place != place)):
            if row.replica_id in living:
                raise ResponderKeysApart(hostname=living[row.replica_id], path=str(self._key_dir))

    def _place(self) -> str | None:
        """The mark; None where there is nothing to compare.

        A directory that cannot be used is no reason not to start: the first request says so.
        """
        if self._key_dir is None:
            return None
        path = self._key_dir / _MARK
        try:
            self._key_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            staged = path.with_name(f"{_MARK}.{os.urandom(8).hex()}")
            if not path.exists():
                staged.write_text(os.urandom(16).hex() + "\n", encoding="ascii")
                try:
                    os.link(staged, path)  # of two that are first, one is
                except FileExistsError:
                    pass
                finally:
                    staged.unlink()
            return path.read_text(encoding="ascii").strip()[:64]
        except (OSError, UnicodeDecodeError) as error:
            _log.warning("ocsp.key_place_unknown", path=str(path), error=type(error).__name__)
            return None
