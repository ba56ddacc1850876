"""Databases for tests: a fresh, migrated one for each test on SQLite and on a real PostgreSQL.

Migrating takes a second and a copy takes milliseconds, so each session migrates one template per
engine and every test gets a copy: a copied file on SQLite, ``CREATE DATABASE … TEMPLATE`` on
PostgreSQL. The PostgreSQL server is started for the session (``pgserver`` brings the binaries) or
named by the caller.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

_TEMPLATE = "certctl_template"
_BLANK = "template0"

# What a throw-away server need not promise: a test never survives the power cut that fsync is for.
# Its write-ahead log stays small, since it may lie in memory.
_FAST: tuple[LiteralString, ...] = (
    "ALTER SYSTEM SET fsync = off",
    "ALTER SYSTEM SET full_page_writes = off",
    "ALTER SYSTEM SET synchronous_commit = off",
    "ALTER SYSTEM SET autovacuum = off",
    "ALTER SYSTEM SET max_wal_size = '128MB'",
)

# Linux keeps these files in memory. A new database is ten megabytes: a second on a busy disk.
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder in it is made by mkdtemp
_ROOM = 2 << 30
"""Bytes that must be free there; a container may give it 64 MiB."""


class PostgresUnavailable(RuntimeError):
    """No PostgreSQL server could be had; the message says why and what to install."""


def quick_folder(prefix: str) -> Path:
    """Make a folder for what does not outlive a test: in memory where there is room, else on disk."""
    try:
        in_memory = shutil.disk_usage(_IN_MEMORY).free >= _ROOM and os.access(_IN_MEMORY, os.W_OK)
    except OSError:
        in_memory = False
    return Path(tempfile.mkdtemp(prefix=prefix, dir=_IN_MEMORY if in_memory else None))


def migrate(url: str) -> None:
    """Bring the database at ``url`` to the newest schema."""
    # Late: the schema brings every room along, and a run without databases stays light.
    from certctl_migrations import upgrade

    upgrade(url)


@contextlib.contextmanager
def throwaway_postgres() -> Iterator[str]:
    """Run a PostgreSQL server of our own and yield the URL of its ``postgres`` database.

    It listens on a Unix socket only and leaves nothing behind.

    Raises:
        PostgresUnavailable: ``pgserver`` is not installed or its server does not start.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # it warns of a missing XDG_RUNTIME_DIR
            import pgserver
    except ImportError as error:
        message = (
            "PostgreSQL tests need pgserver (pip install 'certctl[test]') or --postgres-url=URL"
        )
        raise PostgresUnavailable(message) from error
    # Not under pytest's own folder: as root the server runs as another user who must reach it.
    folder = quick_folder("certctl-pg-")
    folder.chmod(0o755)
    try:
        with _one_at_a_time():
            server = pgserver.get_server(  # type: ignore[attr-defined] # it exports by accident
                folder / "data", cleanup_mode="stop"
            )
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        message = f"the PostgreSQL server did not start: {error}"
        raise PostgresUnavailable(message) from error
    try:
        url = str(server.get_uri())
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in _FAST:
                connection.execute(statement)
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep parallel test workers from creating the server's system user at the same moment."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Windows has no such user to create
        yield
        return
    with (Path(tempfile.gettempdir()) / "certctl-pg.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class PostgresDatabases:
    """Makes and drops databases on one server.

    Args:
        admin_url: URL of a database whose user may create others (``postgresql://…``).
    """

    def __init__(self, admin_url: str) -> None:
        self._admin_url = admin_url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._numbers = itertools.count(1)
        self._run = secrets.token_hex(4)
        self._template: str | None = None

    def template(self) -> str:
        """The name of the migrated template database, made on first use."""
        if self._template is None:
            name = f"{_TEMPLATE}_{self._run}"
            self._create(name, _BLANK)
            migrate(self._url(name))
            self._template = name
        return self._template

    @contextlib.contextmanager
    def fresh(self, *, migrated: bool = True) -> Iterator[str]:
        """Yield the URL of a new database (migrated, or empty) and drop it afterwards."""
        name = f"certctl_{self._run}_{next(self._numbers)}"
        self._create(name, self.template() if migrated else _BLANK)
        try:
            yield self._url(name)
        finally:
            self._drop(name)

    def close(self) -> None:
        """Drop the template."""
        if self._template is not None:
            self._drop(self._template)
            self._template = None

    def _url(self, database: str) -> str:
        url = make_url(self._admin_url).set(drivername="postgresql+psycopg", database=database)
        return url.render_as_string(hide_password=False)

    def _create(self, name: str, template: str) -> None:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._execute(statement.format(sql.Identifier(name), sql.Identifier(template)))

    def _drop(self, name: str) -> None:
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        self._execute(statement.format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._admin_url, autocommit=True) as connection:
            connection.execute(statement)


class SQLiteDatabases:
    """Makes SQLite database files from one migrated template file.

    Args:
        folder: Where the template lies.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template: Path | None = None

    def template(self) -> Path:
        """The migrated template file, made on first use; nothing has it open."""
        if self._template is None:
            path = self._folder / "template.db"
            migrate(f"sqlite:///{path}")
            self._template = path
        return self._template

    @contextlib.contextmanager
    def fresh(self, *, migrated: bool = True) -> Iterator[str]:
        """Yield the URL of a new database (migrated, or not there yet) and delete it afterwards."""
        folder = quick_folder("certctl-sqlite-")
        try:
            path = folder / "certctl.db"
            if migrated:
                shutil.copyfile(self.template(), path)
            yield f"sqlite:///{path}"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
