"""A running server of the installed package, once per module and engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from sqlalchemy.engine import make_url

from certctl_core.kernel.secrets import generate_keyring
from tests.system.house import NEW_PAIR, House
from tests.system.installed import Served, served

if TYPE_CHECKING:
    from certctl_core.testing.databases import PostgresDatabases


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses ``engine`` on each engine of this run; a server is shared by its module."""
    if "engine" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--databases") or "sqlite,postgres"
        metafunc.parametrize("engine", chosen.split(","), scope="module")


@contextmanager
def database_settings(engine: str, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Settings of a fresh installation on that engine."""
    if engine == "sqlite":
        yield {}
        return
    databases: PostgresDatabases = request.getfixturevalue("postgres_databases")
    with databases.fresh(migrated=False) as url:
        yield {
            "DATABASE_URL": url.replace("postgresql+psycopg", "postgresql"),
            "CONFIG_ENCRYPTION_KEYS": generate_keyring(),
        }


@pytest.fixture(scope="module")
def settings(engine: str, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The settings of the module's installation."""
    with database_settings(engine, request) as found:
        yield found


@pytest.fixture(scope="module")
def server(settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """``certctl serve`` with TLS and authentication on; it must stop cleanly at the end."""
    with served(tmp_path_factory.mktemp("system") / "data", **settings) as running:
        yield running
        if running.running.process.poll() is None:
            assert running.running.stop() == 0


@pytest.fixture
def client(server: Served) -> Iterator[httpx.Client]:
    """The administrator's client."""
    with server.client() as opened:
        yield opened


@pytest.fixture
def house(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest, tool: Callable[[str], str]
) -> Iterator[House]:
    """An installation whose CA was made as the runbook makes one; not started yet."""
    for name in ("openssl", "curl", "sqlite3" if engine == "sqlite" else "psql"):
        tool(name)
    settings, variables = {}, {}
    if engine == "postgres":
        databases: PostgresDatabases = request.getfixturevalue("postgres_databases")
        url = request.getfixturevalue("_empty_postgres")(databases)
        settings = {
            "DATABASE_URL": url.replace("postgresql+psycopg", "postgresql"),
            "CONFIG_ENCRYPTION_KEYS": generate_keyring(),
        }
        parts = make_url(url)
        variables = {
            "PGHOST": str(parts.query.get("host") or parts.host),
            "PGUSER": parts.username or "postgres",
            "PGPASSWORD": parts.password or "",
            "PGDATABASE": parts.database or "",
            "DATABASE_URL": settings["DATABASE_URL"],
        }
        if parts.port:
            variables["PGPORT"] = str(parts.port)
    made = House(tmp_path, engine, settings, variables)
    made.etc.mkdir(mode=0o700)
    made.type(NEW_PAIR)
    made.type("mv new-ca.crt /etc/certctl/ca.crt; mv new-ca.key /etc/certctl/ca.key")
    made.type("chmod 0600 /etc/certctl/ca.key")
    try:
        yield made
    finally:
        if made.served is not None:
            made.served.kill()


@pytest.fixture
def _empty_postgres() -> Iterator[Callable[[PostgresDatabases], str]]:
    """Makes empty databases and drops them at the end."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda databases: stack.enter_context(databases.fresh(migrated=False))
