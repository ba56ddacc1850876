"""What the command line offers on the server's machine, as plain functions.

Importing this module loads nothing; each function loads what it needs. All are called alike:
``function(overrides, *, config_file, environ, …)`` with

* ``overrides``: what the command line gave, by setting name without ``CERTCTL_``, and ``LISTEN``;
* ``config_file``: the TOML file; None for ``/etc/certctl/certctl.toml``, where that exists;
* ``environ``: the process environment; variables that hold secrets are removed from it.

They return an exit code (:class:`certctl_server.exits.Exit`), print results on stdout (JSON with
``is_json``) and problems on stderr, one line each.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from certctl_server.admin import Admin

Overrides = Mapping[str, str]
Environ = MutableMapping[str, str]


def serve(  # noqa: D417 - the module says what all have in common
    overrides: Overrides,
    *,
    config_file: Path | None,
    environ: Environ,
    check: bool = False,
    migrate_only: bool = False,
) -> int:
    """Run the control plane until a signal ends it.

    Args:
        check: Only look whether it would start; write nothing (BOOT-1).
        migrate_only: Only bring the database up to date (BOOT-2).
    """
    if check:
        return _admin(overrides, config_file, environ).check()
    if migrate_only:
        return db_upgrade(overrides, config_file=config_file, environ=environ)
    gc.disable()  # from the first import on; the server says where it is of use again
    with _without_rich():
        from certctl_server import serve as module

    return module.serve(overrides, config_file=config_file, environ=environ)


def worker(overrides: Overrides, *, config_file: Path | None, environ: Environ) -> int:
    """Run loops and jobs alone until a signal ends it."""
    gc.disable()
    with _without_rich():
        from certctl_server import serve as module

    return module.work(overrides, config_file=config_file, environ=environ)


def db_upgrade(
    overrides: Overrides, *, config_file: Path | None, environ: Environ, revision: str = "head"
) -> int:
    """Bring the schema up to a revision; needs the database and log settings only."""
    return _admin(overrides, config_file, environ).upgrade(revision)


def db_downgrade(
    overrides: Overrides, *, config_file: Path | None, environ: Environ, revision: str
) -> int:
    """Take the schema back to an older revision."""
    return _admin(overrides, config_file, environ).downgrade(revision)


def db_check(overrides: Overrides, *, config_file: Path | None, environ: Environ) -> int:
    """Verify that the schema is this release's; 4 when it is not."""
    return _admin(overrides, config_file, environ).check_schema()


def db_current(
    overrides: Overrides, *, config_file: Path | None, environ: Environ, is_json: bool = False
) -> int:
    """Print the revision of the database and the newest one."""
    return _admin(overrides, config_file, environ, is_json=is_json).current()


def db_heads(
    overrides: Overrides, *, config_file: Path | None, environ: Environ, is_json: bool = False
) -> int:
    """Print the newest revision of this release; asks no database."""
    return _admin(overrides, config_file, environ, is_json=is_json).heads()


def db_plan(  # noqa: D417 - the module says what all have in common
    overrides: Overrides,
    *,
    config_file: Path | None,
    environ: Environ,
    revision: str = "head",
    is_json: bool = False,
) -> int:
    """Print what an upgrade would do, without doing it.

    Args:
        revision: Up to this one.
    """
    return _admin(overrides, config_file, environ, is_json=is_json).plan(revision)


def create_admin_key(  # noqa: D417 - the module says what all have in common
    overrides: Overrides,
    *,
    config_file: Path | None,
    environ: Environ,
    name: str,
    lifetime: timedelta | None = None,
    is_json: bool = False,
) -> int:
    """Make an administrator's API key straight in the database and print it: the way back in.

    Args:
        name: Its name; letters, digits, ``-`` and ``_``.
        lifetime: When it ends; None for a key without an end.
    """
    admin = _admin(overrides, config_file, environ, is_json=is_json)
    return admin.create_admin_key(name, lifetime=lifetime)


def config_check(overrides: Overrides, *, config_file: Path | None, environ: Environ) -> int:
    """Check all settings; print every problem; 2 when there is one."""
    return _admin(overrides, config_file, environ).config_check()


def config_dump(
    overrides: Overrides, *, config_file: Path | None, environ: Environ, is_json: bool = False
) -> int:
    """Print every setting with its value (secrets masked) and where it came from."""
    return _admin(overrides, config_file, environ, is_json=is_json).config_dump()


def config_explain(
    overrides: Overrides,
    *,
    config_file: Path | None,
    environ: Environ,
    name: str,
    is_json: bool = False,
) -> int:
    """Print all about one setting: meaning, type, bounds, default, value, source."""
    return _admin(overrides, config_file, environ, is_json=is_json).config_explain(name)


def config_schema(overrides: Overrides, *, config_file: Path | None, environ: Environ) -> int:
    """Print all settings as JSON: names, types, defaults, bounds, and the schema of the tree."""
    return _admin(overrides, config_file, environ).config_schema()


def keys_generate(overrides: Overrides, *, config_file: Path | None, environ: Environ) -> int:
    """Print a fresh value for CERTCTL_CONFIG_ENCRYPTION_KEYS."""
    return _admin(overrides, config_file, environ).keys_generate()


def plugins_list(
    overrides: Overrides, *, config_file: Path | None, environ: Environ, is_json: bool = False
) -> int:
    """Print the plugins of this environment, with the reason where one cannot be used."""
    return _admin(overrides, config_file, environ, is_json=is_json).plugins_list()


def audit_verify(
    overrides: Overrides,
    *,
    config_file: Path | None,
    environ: Environ,
    full: bool = False,
    is_json: bool = False,
) -> int:
    """Verify the audit log in the database; 1 when it was tampered with."""
    return _admin(overrides, config_file, environ, is_json=is_json).audit_verify(full=full)


def audit_verify_export(  # noqa: D417 - the module says what all have in common
    overrides: Overrides,
    *,
    config_file: Path | None,
    environ: Environ,
    export: Path,
    key: str,
    checkpoint: Path | None = None,
    is_json: bool = False,
) -> int:
    """Verify an exported audit log without any database; 1 when it does not hold.

    Args:
        export: The NDJSON file.
        key: The verifier key of the log.
        checkpoint: A signed checkpoint that was kept elsewhere.
    """
    admin = _admin(overrides, config_file, environ, is_json=is_json)
    return admin.audit_verify_export(export, key=key, checkpoint=checkpoint)


def doctor(  # noqa: D417 - the module says what all have in common
    overrides: Overrides,
    *,
    config_file: Path | None,
    environ: Environ,
    backups: Path | None = None,
    is_strict: bool = False,
    is_json: bool = False,
) -> int:
    """Look whether a disaster could be survived; 1 when something is wrong (DR-17, DR-30).

    Args:
        backups: Where backups of the database lie.
        is_strict: Warnings count, too.
    """
    admin = _admin(overrides, config_file, environ, is_json=is_json)
    return admin.doctor(backups=backups, is_strict=is_strict)


def dr_drill(  # noqa: D417 - the module says what all have in common
    overrides: Overrides,
    *,
    config_file: Path | None,
    environ: Environ,
    backup: Path,
    into: Path,
    files: Path | None = None,
    database_url: str | None = None,
    pg_restore: str | None = None,
    psql: str | None = None,
    name: str | None = None,
    profile_id: str | None = None,
    keeps: bool = False,
    is_json: bool = False,
) -> int:
    """Restore a backup into a fresh place and prove that it works; 1 when it does not (DR-24).

    Args:
        backup: A copy of an SQLite database, or a dump of PostgreSQL.
        into: An empty folder.
        files: The data directory, or its backup, that belongs to the database.
        database_url: An empty database, for a dump of PostgreSQL.
        pg_restore / psql: Where those programs are.
        name / profile_id: Of the certificate that is issued there.
        keeps: Leave the folder there at the end.
    """
    admin = _admin(overrides, config_file, environ, is_json=is_json)
    return admin.drill_from(
        backup=backup.absolute(),
        into=into.absolute(),
        files=files,
        database_url=database_url,
        words={
            option: text
            for option, text in (
                ("pg_restore", pg_restore),
                ("psql", psql),
                ("name", name),
                ("profile_id", profile_id),
            )
            if text
        },
        keeps=keeps,
    )


def healthcheck(  # noqa: D417 - the module says what all have in common
    overrides: Overrides,
    *,
    config_file: Path | None,
    environ: Environ,
    url: str | None = None,
    ca: Path | None = None,
    timeout: timedelta = timedelta(seconds=5),
) -> int:
    """Ask a server whether it is ready, verifying its certificate; 1 when it is not (HLTH-2).

    Args:
        url: Its base URL; this installation's own when None.
        ca: PEM file with what to trust; ``ca.crt`` of the data directory when None and there.
        timeout: For the whole answer.
    """
    return _admin(overrides, config_file, environ).healthcheck(url, ca=ca, timeout=timeout)


def _admin(
    overrides: Overrides, config_file: Path | None, environ: Environ, *, is_json: bool = False
) -> Admin:
    with _without_rich():
        from certctl_server.admin import Admin

    return Admin(overrides, config_file, environ, is_json=is_json)


@contextmanager
def _without_rich() -> Iterator[None]:
    """Structlog loads rich where it finds it, to paint; a server's log is never painted.

    That would be a tenth of the start and some megabytes in every process.
    """
    is_loaded = "rich" in sys.modules
    if not is_loaded:
        sys.modules["rich"] = None  # type: ignore[assignment] # the documented way to hide a module
    try:
        yield
    finally:
        if not is_loaded:
            del sys.modules["rich"]
