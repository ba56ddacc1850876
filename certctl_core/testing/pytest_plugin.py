"""The pytest plugin that ships with certctl, for its own tests and for those of plugin authors.

Options:
    ``--databases=sqlite,postgres``: which engines ``database_url`` runs on.
    ``--postgres-url=URL``: use this server (its user may create databases) and start none.

Fixtures:
    ``clock``: a ``FakeClock``.
    ``database_engine``: the engine of this run of the test; give it by ``parametrize`` to pin one.
    ``database_url``: a fresh, migrated database of its own; the test runs once per engine.
    ``core``: an installation on such a database, seeded and with a CA, under the fake clock.
    ``blank_database_url``: the same without any table, for what migrates by itself.
    ``postgres_databases``, ``sqlite_databases``: the makers, for a test that needs two.

Marker:
    ``spec(id, …)``: which sentences of the specification the test proves.

Without ``pgserver`` and without ``--postgres-url`` the PostgreSQL half is skipped with the reason,
unless ``--databases`` asked for it by name: then it is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from certctl_core.testing.fakes import FakeClock

if TYPE_CHECKING:  # the module loads the database drivers; a run without databases stays light
    from certctl_core.app import Core
    from certctl_core.testing.databases import PostgresDatabases, SQLiteDatabases

ENGINES = ("sqlite", "postgres")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the module docstring."""
    group = parser.getgroup("certctl")
    group.addoption(
        "--databases",
        metavar="ENGINES",
        help="engines that database tests run on, with commas (default: sqlite,postgres)",
    )
    group.addoption(
        "--postgres-url",
        metavar="URL",
        help="a PostgreSQL server to use; without it one is started by pgserver",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and refuse an engine that does not exist."""
    config.addinivalue_line("markers", "spec(id, ...): the spec ids that this test proves")
    unknown = set(_engines(config)) - set(ENGINES)
    if unknown:
        message = f"--databases knows {', '.join(ENGINES)}; not {', '.join(sorted(unknown))}"
        raise pytest.UsageError(message)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that uses a database once per engine."""
    if "database_engine" not in metafunc.fixturenames:
        return
    pinned = any(
        "database_engine" in _argument_names(mark.args[0])
        for mark in metafunc.definition.iter_markers("parametrize")
        if mark.args
    )
    if not pinned:
        metafunc.parametrize("database_engine", _engines(metafunc.config))


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands at noon of 2026-01-15 UTC until the test moves it."""
    return FakeClock()


@pytest.fixture
def database_url(database_engine: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The SQLAlchemy URL of a fresh, migrated database that is dropped after the test."""
    yield from _database(database_engine, request, migrated=True)


@pytest.fixture
def core_settings() -> dict[str, Any]:
    """Settings of ``core`` beside the usual ones; override it to choose some."""
    return {}


@pytest.fixture
def core(
    database_url: str, clock: FakeClock, tmp_path: Path, core_settings: dict[str, Any]
) -> Iterator[Core]:
    """An installation of its own: seeded, with a CA, under the fake clock, on each engine."""
    from certctl_core.app import Core
    from certctl_core.kernel.config import Settings
    from certctl_core.kernel.secrets import generate_keyring

    settings = Settings.for_directory(
        tmp_path / "data",
        database_url=database_url,
        config_encryption_keys=generate_keyring(),
        server_workers=1,
        database_max_conns=20,
        database_lock_timeout="40s",  # a busy machine is no reason to refuse who waits for its turn
        outbound_allow="127.0.0.1,localhost",
        **core_settings,
    )
    with Core.open(settings, clock=clock) as opened:
        yield opened


@pytest.fixture
def blank_database_url(database_engine: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The SQLAlchemy URL of a database without any table (on SQLite: of no file yet)."""
    yield from _database(database_engine, request, migrated=False)


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> SQLiteDatabases:
    """The maker of SQLite files; its template is migrated on first use."""
    from certctl_core.testing.databases import SQLiteDatabases

    return SQLiteDatabases(tmp_path_factory.mktemp("databases"))


@pytest.fixture(scope="session")
def postgres_databases(pytestconfig: pytest.Config) -> Iterator[PostgresDatabases]:
    """The maker of PostgreSQL databases on the server of this session (of this xdist worker)."""
    from certctl_core.testing.databases import (
        PostgresDatabases,
        PostgresUnavailable,
        throwaway_postgres,
    )

    url: str | None = pytestconfig.getoption("--postgres-url")
    if url:
        databases = PostgresDatabases(url)
        yield databases
        databases.close()
        return
    server = throwaway_postgres()
    try:
        url = server.__enter__()
    except PostgresUnavailable as error:
        if pytestconfig.getoption("--databases"):
            raise
        pytest.skip(str(error))
    try:
        yield PostgresDatabases(url)
    finally:
        server.__exit__(None, None, None)


def _database(engine: str, request: pytest.FixtureRequest, *, migrated: bool) -> Iterator[str]:
    if engine == "sqlite":
        files: SQLiteDatabases = request.getfixturevalue("sqlite_databases")
        with files.fresh(migrated=migrated) as url:
            yield url
        return
    server: PostgresDatabases = request.getfixturevalue("postgres_databases")
    with server.fresh(migrated=migrated) as url:
        yield url


def _engines(config: pytest.Config) -> tuple[str, ...]:
    chosen: str | None = config.getoption("--databases")
    return tuple(name for name in chosen.split(",") if name) if chosen else ENGINES


def _argument_names(names: str | list[str] | tuple[str, ...]) -> list[str]:
    return [part.strip() for part in names.split(",")] if isinstance(names, str) else list(names)
