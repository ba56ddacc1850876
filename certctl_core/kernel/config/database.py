"""The database: where it is, how many connections, how long to wait."""

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

from certctl_core.kernel.config.fields import OFF, ON, Section, setting
from certctl_core.kernel.config.values import DatabaseURL, Duration, Flag, Integer, choice
from certctl_core.kernel.secrets import Secret


class Pooler(StrEnum):
    """What stands between us and PostgreSQL."""

    NONE = "none"
    TRANSACTION = "transaction"


_SECOND = timedelta(seconds=1)
_HOUR = timedelta(hours=1)
# Compose and Kubernetes name their own database so; its link does not leave the host or cluster.
_LOCAL_HOSTS = frozenset({"", "localhost", "127.0.0.1", "::1", "postgres", "certctl-postgres"})
_ENCRYPTED = frozenset({"require", "verify-ca", "verify-full"})


class DatabaseSettings(Section):
    """``settings.database``."""

    url: DatabaseURL = setting(
        "DATABASE_URL",
        Secret("sqlite:////var/lib/certctl/certctl.db"),
        "The database: sqlite:////absolute/path or postgresql://user@host:5432/name?sslmode=…",
        derived="sqlite:///<DATA_DIR>/certctl.db",
        example="postgresql://certctl@db.example.com/certctl?sslmode=verify-full",
    )
    password: Secret | None = setting(
        "DATABASE_PASSWORD",
        None,
        "Password for CERTCTL_DATABASE_URL, so that the URL needs none.",
    )
    max_conns: Integer = setting(
        "DATABASE_MAX_CONNS",
        50,
        "Most connections that one process opens.",
        ge=1,
        le=10_000,
        example="100",
    )
    connect_timeout: Duration = setting(
        "DATABASE_CONNECT_TIMEOUT",
        timedelta(seconds=60),
        "How long the start waits for the database to answer.",
        ge=_SECOND,
        le=_HOUR,
        example="5m",
    )
    statement_timeout: Duration = setting(
        "DATABASE_STATEMENT_TIMEOUT",
        timedelta(seconds=60),
        "Longest run of one statement (PostgreSQL).",
        ge=_SECOND,
        le=_HOUR,
        example="30s",
    )
    lock_timeout: Duration = setting(
        "DATABASE_LOCK_TIMEOUT",
        timedelta(seconds=5),
        "Longest wait for a lock.",
        ge=timedelta(milliseconds=10),
        le=_HOUR,
        example="2s",
    )
    allow_plaintext: Flag = setting(
        "DATABASE_ALLOW_PLAINTEXT",
        OFF,
        "Accept a link to a PostgreSQL on another host that may be unencrypted.",
        example="true",
    )
    pooler: Annotated[Pooler, choice(Pooler)] = setting(
        "DATABASE_POOLER",
        Pooler.NONE,
        "transaction: a pooler in transaction mode stands in front; prepared statements are off.",
        example="transaction",
    )
    migration_url: DatabaseURL | None = setting(
        "DATABASE_MIGRATION_URL",
        None,
        "The direct URL that migrations use where CERTCTL_DATABASE_URL goes through a pooler.",
        example="postgresql://certctl@db.example.com:5432/certctl?sslmode=verify-full",
    )
    migrate_on_start: Flag = setting(
        "MIGRATE_ON_START",
        ON,
        "Bring the schema up to date at the start; false only checks that it is.",
        example="false",
    )

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a SQLite file."""
        return self.url.reveal().startswith("sqlite:")

    @property
    def sqlite_path(self) -> Path | None:
        """The database file, or None for PostgreSQL."""
        return Path(self.url.reveal().removeprefix("sqlite:///")) if self.is_sqlite else None

    @property
    def dsn(self) -> Secret:
        """The URL to connect with: ``url`` with ``password`` filled in. SQLAlchemy form."""
        return _with_password(self.url, self.password)

    @property
    def migration_dsn(self) -> Secret:
        """The URL that migrations connect with: ``migration_url``, else ``url``."""
        return _with_password(self.migration_url or self.url, self.password)


def url_password(url: Secret) -> str | None:
    """The password inside a database URL, still percent-encoded, or None."""
    return urlsplit(url.reveal()).password


def is_plaintext_to_elsewhere(url: Secret) -> bool:
    """Whether the URL leads to PostgreSQL on another host without demanding encryption."""
    text = url.reveal()
    if text.startswith("sqlite:"):
        return False
    parts = urlsplit(text)
    query = parse_qs(parts.query)
    # libpq lets `host` in the query win; a host that is a path is a local socket.
    hosts = query["host"][-1].split(",") if "host" in query else [parts.hostname or ""]
    local = all(
        host in _LOCAL_HOSTS or host.startswith("/") or host.endswith(".svc.cluster.local")
        for host in hosts
    )
    # libpq's own default is "prefer", which falls back to clear text.
    return not local and query.get("sslmode", ["prefer"])[-1] not in _ENCRYPTED


def _with_password(url: Secret, password: Secret | None) -> Secret:
    text = url.reveal()
    if password is None or text.startswith("sqlite:"):
        return url
    parts = urlsplit(text)
    if parts.password is not None:
        return url
    userinfo, at, hosts = parts.netloc.rpartition("@")
    netloc = f"{userinfo}:{quote(password.reveal(), safe='')}@{hosts}" if at else parts.netloc
    return Secret(urlunsplit(parts._replace(netloc=netloc)))
