"""Run Alembic from Python, under a lock.

Alembic is imported only where something has to be done: a server that finds its schema as it
should be starts without it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from certctl_core.kernel.db import Database
from certctl_core.kernel.errors import Internal

if TYPE_CHECKING:
    from alembic.config import Config

_LOCK_ID = 0x63657274_63746C
_HERE = Path(__file__).parent


class DatabaseNewerThanCode(Internal):
    """The schema was made by a newer release."""

    code = "database_newer_than_code"
    text = "The database is at revision {current}; this release knows up to {head}."
    hint = "Run the newer release, or restore a backup made by this one."


class DatabaseNotMigrated(Internal):
    """The schema is older than the code, and migrating is switched off."""

    code = "database_not_migrated"
    text = "The database is at revision {current}; this release needs {head}."
    hint = "Run 'certctl db upgrade', or start with CERTCTL_MIGRATE_ON_START=true."


@dataclass(frozen=True, slots=True, kw_only=True)
class Revisions:
    """Where a database is (None: empty) and where the code wants it."""

    current: str | None
    head: str


def revisions(database: Database) -> Revisions:
    """Compare a database with the code; changes nothing."""
    with database.read() as connection:
        current = None
        if sa.inspect(connection).has_table("alembic_version"):
            current = connection.execute(
                sa.text("SELECT version_num FROM alembic_version")
            ).scalar()
    return Revisions(current=current, head=known_revisions()[-1])


def known_revisions() -> tuple[str, ...]:
    """The revisions of this release, oldest first: the leading numbers of their files' names."""
    names = sorted(path.name for path in (_HERE / "versions").glob("[0-9]*_*.py"))
    return tuple(name.partition("_")[0] for name in names)


def check(database: Database) -> Revisions:
    """Verify that the schema is the code's.

    Raises:
        DatabaseNewerThanCode, DatabaseNotMigrated: It is not.
    """
    found = revisions(database)
    _refuse_newer(found)
    if found.current != found.head:
        raise DatabaseNotMigrated(current=found.current or "empty", head=found.head)
    return found


def upgrade(
    database: Database | str,
    *,
    seed: Callable[[], None] | None = None,
    revision: str = "head",
    lock_file: Path | None = None,
) -> Revisions:
    """Bring the schema to ``revision`` and run ``seed``, both under one lock.

    Args:
        database: Which; a URL opens it for this call only.
        seed: Idempotent seeding, after the schema is there.
        revision: Alembic revision; ``head`` for the newest.
        lock_file: SQLite: the file that serialises processes (default: beside the database).

    Raises:
        DatabaseNewerThanCode: The schema is from a newer release; nothing was changed.
    """
    if isinstance(database, str):
        opened = Database(database)
        try:
            return upgrade(opened, seed=seed, revision=revision, lock_file=lock_file)
        finally:
            opened.close()
    before = revisions(database)
    if before.current == before.head and revision == "head" and seed is None:
        return before
    with _locked(database, lock_file):
        before = revisions(database)
        _refuse_newer(before)
        if before.current != before.head or revision != "head":
            with database.writer.connect() as connection:
                _run(connection, "upgrade", revision)
        if seed is not None:
            seed()
    return before


def downgrade(database: Database, revision: str, *, lock_file: Path | None = None) -> None:
    """Take the schema back to an older revision (each revision says whether it can)."""
    with _locked(database, lock_file), database.writer.connect() as connection:
        _run(connection, "downgrade", revision)


def _run(connection: Connection, action: str, revision: str) -> None:
    from alembic import command

    config = alembic_config()
    config.attributes["connection"] = connection
    getattr(command, action)(config, revision)


def alembic_config() -> Config:
    """Alembic's configuration of this history; there is no ini file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    return config


def _refuse_newer(found: Revisions) -> None:
    if found.current is not None and found.current not in known_revisions():
        raise DatabaseNewerThanCode(current=found.current, head=found.head)


@contextmanager
def _locked(database: Database, lock_file: Path | None) -> Iterator[None]:
    if database.is_postgres:
        with database.writer.connect() as connection:
            connection.execute(sa.text("SET lock_timeout = 0"))
            connection.execute(sa.text("SELECT pg_advisory_lock(:id)"), {"id": _LOCK_ID})
            connection.commit()
            try:
                yield
            finally:
                connection.execute(sa.text("SELECT pg_advisory_unlock(:id)"), {"id": _LOCK_ID})
                connection.execute(sa.text("RESET lock_timeout"))
                connection.commit()
        return
    path = lock_file or Path(f"{database.sqlite_path}.migrate.lock")
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
