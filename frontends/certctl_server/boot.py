"""The start up to the point where listeners may open (spec 08 §1, steps 5 to 15).

It runs in a child of its own that ends with it: what only the start needs (migrations, fresh keys) is
not carried by anybody afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import field
from datetime import datetime, timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError

from certctl_core.app import Core
from certctl_core.app.core import open_database, prepare_data_dir
from certctl_core.app.errors import DataDirUnusable, KeyringMissing, KeyringWrong
from certctl_core.enrollment.trust_bundles import TrustBundleError
from certctl_core.kernel.db import Database, DatabaseBusy, DatabaseUnavailable
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.secrets import KeyringMalformed
from certctl_core.lifecycle.authorities import LOCAL_ISSUER_ID, CAMaterialError, LocalConfig
from certctl_core.values import dataclass
from certctl_server.exits import Exit, StartFailure
from certctl_server.first_start import CA_FILE, write_client_file
from certctl_server.own_certificate import NoServerCertificate, OwnCertificate
from certctl_server.tls import CheckedPair, TLSPair, TLSPairUnusable, check_pair

if TYPE_CHECKING:
    from certctl_core.kernel.clock import Clock
    from certctl_core.kernel.config import Settings

_log = structlog.get_logger("certctl.server")
_ONE_TRY = timedelta(seconds=10)
_PAUSE_SECONDS = 0.5
# What no amount of waiting will mend, as PostgreSQL and libpq say it; with what to do.
_HOPELESS = {
    "password authentication failed": (
        "A PostgreSQL data volume keeps the password of its first start: change it in the "
        "database, or set CERTCTL_DATABASE_PASSWORD to the old one."
    ),
    'role "': "Create the role, or correct the user in CERTCTL_DATABASE_URL.",
    'database "': "Create the database, or correct its name in CERTCTL_DATABASE_URL.",
    "no pg_hba.conf entry": "Allow this host in pg_hba.conf, with TLS if it asks for that.",
    "certificate verify failed": "Give sslrootcert the CA that signed the server's certificate.",
    "does not support SSL": "Switch TLS on in PostgreSQL, or lower sslmode on a trusted network.",
}
_TLS_HINT = "Set CERTCTL_SERVER_TLS_CERT_PATH and CERTCTL_SERVER_TLS_KEY_PATH, or let the built-in CA issue."


@dataclass(frozen=True, slots=True, kw_only=True)
class Booted:
    """What the start brought to light.

    Attributes:
        first_admin_key: The administrator key that was just made, or "".
        client_file: Where it lies with URL and CA, or "".
        ca_file: What clients should trust, or "" without a built-in CA.
        renew_at: When our own server certificate is due; None when files are configured.
    """

    first_admin_key: str = field(default="", repr=False)
    client_file: str = ""
    ca_file: str = ""
    renew_at: datetime | None = None

    def to_message(self) -> dict[str, Any]:
        """For the channel to the parent."""
        return {
            "first_admin_key": self.first_admin_key,
            "client_file": self.client_file,
            "ca_file": self.ca_file,
            "renew_at": self.renew_at.isoformat() if self.renew_at else None,
        }

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Booted:
        """What :meth:`to_message` made."""
        renew_at = message["renew_at"]
        return cls(
            first_admin_key=message["first_admin_key"],
            client_file=message["client_file"],
            ca_file=message["ca_file"],
            renew_at=datetime.fromisoformat(renew_at) if renew_at else None,
        )


def boot(
    settings: Settings, *, clock: Clock, pair: TLSPair | None, done: Callable[[Booted], None]
) -> None:
    """Bring database, keyring, seeds, credentials, CA and server certificate in order.

    Args:
        settings: The settings.
        clock: The time.
        pair: The TLS pair to prepare and check; None where nothing is served over TLS.
        done: Gets the result as soon as it is there; nobody has to wait until all is closed.

    Raises:
        StartFailure: A step failed; the exit code says which.
    """
    with failures(settings):
        prepare_data_dir(settings.data_dir)
        database = reach_database(settings, clock=clock, role="boot")
        core, first = _open(settings, database, clock=clock)
    try:
        client_file: Path | None = None
        if first:
            # At once: whatever fails later, this key is shown by nobody again. Who reads it before
            # the server is there must trust no other CA than the one that comes.
            expected = settings.data_dir / CA_FILE if pair is None or pair.is_own else None
            client_file = write_client_file(settings, first, ca_path=expected)
        own = OwnCertificate(core)
        renew_at = None
        if pair is not None:
            renew_at, _ = prepare_pair(own, pair, clock=clock)
        ca_file = own.write_anchors(served=() if pair is None else (pair,))
        trusted = ca_file if pair is None or pair.is_own else None
        client_file = write_client_file(settings, first or None, ca_path=trusted) or client_file
        done(
            Booted(
                first_admin_key=first,
                client_file=str(client_file or ""),
                ca_file=str(ca_file or ""),
                renew_at=renew_at,
            )
        )
    finally:
        core.close()


def prepare_pair(
    own: OwnCertificate, pair: TLSPair, *, clock: Clock
) -> tuple[datetime | None, CheckedPair]:
    """Issue our own pair where it is missing, and check whatever will be served (step 15).

    Returns:
        When our own is due for renewal (None for configured files), and what was found.

    Raises:
        StartFailure: There is no usable pair (exit 8).
    """
    try:
        renew_at = own.ensure() if pair.is_own else None
        return renew_at, check_pair(pair, now=clock.now())
    except (NoServerCertificate, TLSPairUnusable) as error:
        name = "" if pair.is_own else "CERTCTL_SERVER_TLS_CERT_PATH: "
        raise StartFailure(Exit.TLS, [f"{name}{error}. {_TLS_HINT}"]) from error
    except CertctlError as error:
        detail = f"the server certificate was not issued ({error.detail.removesuffix('.')})"
        raise StartFailure(Exit.TLS, [f"{detail}. {_TLS_HINT}"]) from error


def migrate(settings: Settings, *, clock: Clock, revision: str = "head") -> None:
    """Steps 5 and 6 alone: connect, bring the schema up to a revision (BOOT-2).

    Rows that every installation has are seeded by the next start: sealing them takes the keyring,
    which a migration job need not have.

    Raises:
        StartFailure: See :func:`boot`.
    """
    with failures(settings):
        prepare_data_dir(settings.data_dir)
        database = reach_database(settings, clock=clock, role="migrate")
        try:
            with _migration_database(settings, database) as target:
                _migrations().upgrade(target, revision=revision)
        finally:
            database.close()


def check(settings: Settings, *, clock: Clock, pair: TLSPair | None) -> list[str]:
    """Look at everything that a start needs, without writing (BOOT-1).

    Returns:
        What was found, one line each.

    Raises:
        StartFailure: See :func:`boot`.
    """
    path = settings.database.sqlite_path
    if path is not None and not path.exists():
        return [f"database: {path} does not exist yet; the first start makes it"]
    with failures(settings):
        database = reach_database(settings, clock=clock, role="check")
        try:
            found = _migrations().check(database)
            core = Core(settings, clock=clock, database=database, role="check")
        except BaseException:
            database.close()
            raise
        try:
            lines = [f"database: revision {found.current}", "keyring: opens the database"]
            lines += _check_ca(core)
        finally:
            core.close()
    if pair is not None and not (pair.is_own and not pair.certificate.exists()):
        try:
            found_pair = check_pair(pair, now=clock.now())
        except TLSPairUnusable as error:
            raise StartFailure(Exit.TLS, [f"{error}. {_TLS_HINT}"]) from error
        lines.append(f"TLS: certificate until {found_pair.not_after:%Y-%m-%d}")
    return lines


def _check_ca(core: Core) -> list[str]:
    warnings = core.rooms.authorities.preflight(LOCAL_ISSUER_ID, LocalConfig())
    if warnings is None:
        return ["CA: not there yet; the first start makes it"]
    return ["CA: usable", *(f"CA: {warning}" for warning in warnings)]


def reach_database(settings: Settings, *, clock: Clock, role: str) -> Database:
    """Open the database once it answers; wait for at most CERTCTL_DATABASE_CONNECT_TIMEOUT.

    Raises:
        DatabaseUnavailable: It does not, or says why it never will.
    """
    limit = settings.database.connect_timeout
    until = clock.monotonic() + limit.total_seconds()
    database = open_database(settings, role=role, connect_timeout=min(_ONE_TRY, limit))
    pause = threading.Event()
    try:
        while True:
            try:
                database.ping()
            except DatabaseUnavailable as error:
                if not database.is_postgres or _advice(error) or clock.monotonic() >= until:
                    raise
                _log.warning("server.database_unavailable", reason=_cause(error))
                pause.wait(_PAUSE_SECONDS)
            else:
                return database
    except BaseException:
        database.close()
        raise


@contextmanager
def failures(settings: Settings) -> Iterator[None]:
    """Turn what the core raises into a :class:`StartFailure` with the right exit code."""
    try:
        yield
    except DataDirUnusable as error:
        raise StartFailure.of(Exit.CONFIG, error) from error
    except (DatabaseUnavailable, DatabaseBusy) as error:
        advice = _advice(error) or "Start it, or correct CERTCTL_DATABASE_URL."
        text = f"CERTCTL_DATABASE_URL: {error.detail.removesuffix('.')}: {_cause(error)}. {advice}"
        raise StartFailure(Exit.DATABASE, [text]) from error
    except (KeyringMissing, KeyringWrong, KeyringMalformed) as error:
        raise StartFailure.of(Exit.KEYRING, error) from error
    except CAMaterialError as error:
        raise StartFailure(
            Exit.AUTHORITY, [f"{_ca_setting(settings, error)}{error.detail} {error.hint}"]
        ) from error
    except TrustBundleError as error:
        text = (
            f"CERTCTL_OUTBOUND_CA_BUNDLE: {error.detail} Mend the file, or take the setting away."
        )
        raise StartFailure(Exit.CONFIG, [text]) from error
    except CertctlError as error:
        room = type(error).__module__
        code = Exit.CREDENTIALS if ".people." in room else Exit.SCHEMA
        raise StartFailure.of(code, error) from error
    except DBAPIError as error:
        first_line = str(error.orig).splitlines()[0]
        text = f"The schema cannot be brought up to date: {first_line}."
        raise StartFailure(Exit.SCHEMA, [text]) from error


def _open(settings: Settings, database: Database, *, clock: Clock) -> tuple[Core, str]:
    """Migrate, open the core and seed, all under the migration lock (MIG-1)."""
    opened: list[Core] = []
    first: list[str] = []

    def seed() -> None:
        core = Core(settings, clock=clock, database=database, role="boot")
        opened.append(core)
        report = core.boot()
        first.append(report.first_admin_key.reveal() if report.first_admin_key else "")

    try:
        if is_at_head(database):
            seed()
        elif settings.database.migrate_on_start:
            with _migration_database(settings, database) as target:
                _migrations().upgrade(target, seed=seed)
        else:
            _migrations().check(database)
            seed()
    except BaseException:
        for core in opened:
            core.close()
        database.close()
        raise
    return opened[0], first[0]


def is_at_head(database: Database) -> bool:
    """Whether the schema is the newest one known here: one SELECT, without loading Alembic.

    The number in the name of a migration file is its revision, so the last name is the head.
    """
    spec = find_spec("certctl_migrations")
    places = spec.submodule_search_locations if spec is not None else None
    files = [path for place in places or () for path in Path(place).glob("versions/[0-9]*.py")]
    head = max((path.name.partition("_")[0] for path in files), default="")
    with suppress(DBAPIError), database.read() as connection:
        found = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        return bool(found == head)
    return False  # there is no such table yet


def _migrations() -> ModuleType:
    """Alembic takes its time to load; most starts do without."""
    return import_module("certctl_migrations")


@contextmanager
def _migration_database(settings: Settings, database: Database) -> Iterator[Database]:
    """The database as migrations reach it: around a pooler, where one stands in front (DB-3)."""
    if settings.database.migration_url is None:
        yield database
        return
    direct = Database(
        settings.database.migration_dsn.reveal(),
        max_connections=4,
        connect_timeout=_ONE_TRY,
        application_name="certctl-migrate",
    )
    try:
        yield direct
    finally:
        direct.close()


def _cause(error: CertctlError) -> str:
    text = str(error.log.get("cause") or error.log.get("sqlstate") or "no reason given").strip()
    return text.splitlines()[0] if text else "no reason given"


def _advice(error: CertctlError) -> str:
    text = str(error.log.get("cause", ""))
    return next((advice for mark, advice in _HOPELESS.items() if mark in text), "")


def _ca_setting(settings: Settings, error: CAMaterialError) -> str:
    path = str(error.data.get("path", ""))
    for name, known in (
        ("CERTCTL_CA_CERT_PATH", settings.ca.cert_path),
        ("CERTCTL_CA_KEY_PATH", settings.ca.key_path),
    ):
        # Of a URI, errors name the key without the library and the PIN file.
        if known is not None and str(known).partition("?")[0] == path:
            return f"{name}: "
    return ""
