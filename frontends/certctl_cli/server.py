"""Commands that the server's own code carries out on this machine, such as ``certctl serve``.

Each only says which options there are; ``certctl_cli.parts`` finds what does the work.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from certctl_cli.lazy import Command, Group
from certctl_cli.options import state
from certctl_cli.parts import call_server
from certctl_cli.values import Duration

Function = TypeVar("Function", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path, dir_okay=False)

config_option = click.option(
    "--config",
    "config_file",
    type=_FILE,
    metavar="FILE",
    help="TOML file with settings (default /etc/certctl/certctl.toml, where that exists).",
)
_database = click.option(
    "--database",
    "--database-url",
    "database",
    metavar="URL",
    help="sqlite:////path or postgresql://…",
)


def server_options(function: Function) -> Function:
    """Add ``--database`` and ``--config`` to a command."""
    return _database(config_option(function))


@click.command("serve", cls=Command)
@click.option("--listen", metavar="HOST:PORT", help="Where to listen (default 127.0.0.1:8443).")
@click.option("--workers", metavar="N", help="Web worker processes.")
@click.option(
    "--server",
    "engine",
    type=click.Choice(("granian", "waitress")),
    help="What serves: granian (HTTPS), or waitress behind a TLS proxy.",
)
@click.option("--check", is_flag=True, help="Only look whether it would start; write nothing.")
@click.option("--migrate-only", is_flag=True, help="Only bring the database up to date.")
@server_options
def serve(
    listen: str | None,
    workers: str | None,
    engine: str | None,
    database: str | None,
    config_file: Path | None,
    *,
    check: bool,
    migrate_only: bool,
) -> int:
    """Run the control plane: API, web interface and background work.

    The first start makes what is missing in --data-dir: database, CA, server certificate, an
    administrator's key and a client.toml for the other commands.
    """
    if check and migrate_only:
        message = "--check and --migrate-only exclude each other."
        raise click.UsageError(message, click.get_current_context())
    return call_server(
        "serve",
        overrides={
            "LISTEN": listen,
            "DATABASE_URL": database,
            "SERVER_WORKERS": workers,
            "SERVER_ENGINE": engine,
        },
        config_file=config_file,
        check=check,
        migrate_only=migrate_only,
    )


@click.command("worker", cls=Command)
@server_options
def worker(database: str | None, config_file: Path | None) -> int:
    """Run the background part alone, beside servers on the same PostgreSQL."""
    return call_server("worker", overrides={"DATABASE_URL": database}, config_file=config_file)


@click.group(cls=Group, name="db")
def db() -> None:
    """Upgrade and check the database schema.

    A server does this by itself when it starts, unless its settings say otherwise.
    """


@db.command("upgrade")
@click.option("--revision", default="head", show_default=True, help="Up to this one.")
@server_options
def db_upgrade(revision: str, database: str | None, config_file: Path | None) -> int:
    """Bring the schema up to date."""
    return call_server(
        "db_upgrade",
        overrides={"DATABASE_URL": database},
        config_file=config_file,
        revision=revision,
    )


@db.command("downgrade")
@click.argument("revision")
@server_options
def db_downgrade(revision: str, database: str | None, config_file: Path | None) -> int:
    """Take the schema back to an older revision."""
    return call_server(
        "db_downgrade",
        overrides={"DATABASE_URL": database},
        config_file=config_file,
        revision=revision,
    )


@db.command("check")
@server_options
def db_check(database: str | None, config_file: Path | None) -> int:
    """Verify that the schema is this release's; exits 4 when it is not."""
    return call_server("db_check", overrides={"DATABASE_URL": database}, config_file=config_file)


@db.command("current")
@server_options
def db_current(database: str | None, config_file: Path | None) -> int:
    """Show the revision of the database and the newest one."""
    return call_server(
        "db_current",
        overrides={"DATABASE_URL": database},
        config_file=config_file,
        is_json=state().is_json,
    )


@db.command("heads")
def db_heads() -> int:
    """Show the newest revision of this release, without a database."""
    return call_server("db_heads", is_json=state().is_json)


@db.command("plan")
@click.option("--revision", default="head", show_default=True, help="Up to this one.")
@server_options
def db_plan(revision: str, database: str | None, config_file: Path | None) -> int:
    """Show what an upgrade would do: SQL, locks, and whether there is a way back.

    Nothing is changed. A lock is the strongest that a statement takes on tables in use.
    """
    return call_server(
        "db_plan",
        overrides={"DATABASE_URL": database},
        config_file=config_file,
        revision=revision,
        is_json=state().is_json,
    )


@click.group(cls=Group, name="config")
def config() -> None:
    """Check and explain the settings of a server on this machine."""


@config.command("check")
@config_option
def config_check(config_file: Path | None) -> int:
    """Check every setting; names all problems at once, exits 2 when there is one."""
    return call_server("config_check", config_file=config_file)


@config.command("explain")
@click.argument("name")
@config_option
def config_explain(name: str, config_file: Path | None) -> int:
    """Explain one setting: meaning, bounds, default, value, and where it comes from."""
    return call_server(
        "config_explain", config_file=config_file, name=name, is_json=state().is_json
    )


@config.command("dump")
@config_option
def config_dump(config_file: Path | None) -> int:
    """Show every setting with its value and its source; secrets are masked."""
    return call_server("config_dump", config_file=config_file, is_json=state().is_json)


@config.command("schema")
@config_option
def config_schema(config_file: Path | None) -> int:
    """Print all settings as JSON: names, types, defaults, bounds."""
    return call_server("config_schema", config_file=config_file)


@config.command("keygen")
@config_option
def config_keygen(config_file: Path | None) -> int:
    """Print a fresh value for CERTCTL_CONFIG_ENCRYPTION_KEYS."""
    return call_server("keys_generate", config_file=config_file)


@click.group(cls=Group, name="admin")
def admin() -> None:
    """Make API keys without a server.

    The way back in for who may read the database of the installation.
    """


@admin.command("create-key")
@click.argument("name")
@click.option("--expires-in", type=Duration(), metavar="DURATION", help="As 90d or 12h.")
@click.option("--no-expiry", is_flag=True, help="It never ends.")
@server_options
def create_key(
    name: str,
    expires_in: int | None,
    database: str | None,
    config_file: Path | None,
    *,
    no_expiry: bool,
) -> int:
    """Make an administrator's API key straight in the database; its value is shown once."""
    if (expires_in is None) != no_expiry:
        message = "Give either --expires-in or --no-expiry."
        raise click.UsageError(message, click.get_current_context())
    return call_server(
        "create_admin_key",
        overrides={"DATABASE_URL": database},
        config_file=config_file,
        name=name,
        lifetime=None if expires_in is None else timedelta(seconds=expires_in),
        is_json=state().is_json,
    )


@click.command("healthcheck", cls=Command)
@config_option
def healthcheck(config_file: Path | None) -> int:
    """Exit 0 when the server is ready and its certificate is good, else 1.

    Without --server it asks the server of this machine's settings; for containers and init systems.
    """
    given = state().given
    bundle = given.get("ca_bundle")
    return call_server(
        "healthcheck",
        config_file=config_file,
        url=given.get("server"),
        ca=Path(bundle) if bundle else None,
        timeout=timedelta(seconds=given.get("timeout") or 5),
    )
