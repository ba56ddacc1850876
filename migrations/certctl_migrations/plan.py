"""What an upgrade would do, without doing it (spec 08 MIG-4).

A revision that cannot be taken back says so in its module: ``irreversible = "why"``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import cast

from sqlalchemy.engine import Dialect

from certctl_core.kernel.db import Database
from certctl_core.kernel.errors import Invalid
from certctl_migrations.runner import (
    DatabaseNewerThanCode,
    alembic_config,
    known_revisions,
    revisions,
)

NO_LOCK = "none"
UNKNOWN_LOCK = "unknown"
_DATABASE = "DATABASE"
"""SQLite has one lock for all writers."""
_LOCKS: tuple[tuple[str, str], ...] = (
    (r"CREATE TABLE (?P<new>\S+)", NO_LOCK),
    (r"CREATE (UNIQUE )?INDEX CONCURRENTLY .*? ON (?P<table>\S+)", "SHARE UPDATE EXCLUSIVE"),
    (r"CREATE (UNIQUE )?INDEX .*? ON (?P<table>\S+)", "SHARE"),
    (r"CREATE (OR REPLACE )?TRIGGER .*? ON (?P<table>\S+)", "SHARE ROW EXCLUSIVE"),
    (r"ALTER TABLE (?P<table>\S+)", "ACCESS EXCLUSIVE"),
    (r"DROP TRIGGER .*? ON (?P<table>\S+)", "ACCESS EXCLUSIVE"),
    (r"DROP (TABLE|INDEX)", "ACCESS EXCLUSIVE"),
    (r"(UPDATE|INSERT INTO|DELETE FROM) (?P<table>\S+)", "ROW EXCLUSIVE"),
    (r"(CREATE (OR REPLACE )?FUNCTION|GRANT|REVOKE|COMMENT|DROP FUNCTION)", NO_LOCK),
)
"""Strongest lock of a kind of statement on PostgreSQL, on a table that others use."""


class UnknownRevision(Invalid):
    """No revision of this release is called that, or it lies behind; data: ``revision``."""

    code = "unknown_revision"
    text = "There is no revision {revision} ahead of the database; this release knows {known}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement, and the lock that it takes on tables that exist already."""

    sql: str
    lock: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One revision.

    Attributes:
        revision: Its number.
        title: First line of its module.
        irreversible: Why it cannot be taken back; empty where it can.
        statements: In order.
    """

    revision: str
    title: str
    irreversible: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The way of a database (None: empty) to a revision."""

    current: str | None
    target: str
    steps: tuple[Step, ...]


def plan(database: Database, *, revision: str = "head") -> Plan:
    """What ``upgrade`` would do; changes nothing.

    Raises:
        DatabaseNewerThanCode: The schema is from a newer release.
        UnknownRevision: No such revision lies ahead.
    """
    found, known = revisions(database), known_revisions()
    if found.current is not None and found.current not in known:
        raise DatabaseNewerThanCode(current=found.current, head=found.head)
    target = found.head if revision == "head" else revision
    ahead = known if found.current is None else known[known.index(found.current) + 1 :]
    if target not in {*ahead, found.current}:
        raise UnknownRevision(revision=revision, known=", ".join(known))
    steps = ahead[: ahead.index(target) + 1] if target in ahead else ()
    fresh: set[str] = set()
    dialect = database.writer.dialect
    return Plan(
        current=found.current,
        target=target,
        steps=tuple(_step(module, dialect, fresh) for module in _modules(steps)),
    )


def _modules(names: tuple[str, ...]) -> list[ModuleType]:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(alembic_config())
    return [script.get_revision(name).module for name in names]


def _step(module: ModuleType, dialect: Dialect, fresh: set[str]) -> Step:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    texts: list[str] = []
    context = MigrationContext.configure(
        dialect=dialect, opts={"as_sql": True, "literal_binds": True}
    )

    def take(text: str) -> None:
        texts.append(text.strip().rstrip(";") + ";")

    context.impl.static_output = take  # type: ignore[method-assign] # instead of a file
    vars(context.impl.connection)["exec_driver_sql"] = take  # Alembic's stand-in has none
    with Operations.context(context):
        cast("Callable[[], None]", module.upgrade)()
    return Step(
        revision=module.revision,
        title=(module.__doc__ or "").strip().partition("\n")[0],
        irreversible=getattr(module, "irreversible", ""),
        statements=tuple(
            Statement(sql=text, lock=_lock(text, fresh) if _is_postgres(dialect) else _DATABASE)
            for text in texts
        ),
    )


def _is_postgres(dialect: Dialect) -> bool:
    return dialect.name == "postgresql"


def _lock(sql: str, fresh: set[str]) -> str:
    """The lock of a statement; tables that the plan makes are nobody else's yet."""
    flat = " ".join(sql.split())
    for pattern, lock in _LOCKS:
        found = re.match(pattern, flat, re.IGNORECASE)
        if found is None:
            continue
        names = found.groupdict()
        if names.get("new"):
            fresh.add(_bare(names["new"]))
        return NO_LOCK if _bare(names.get("table") or "") in fresh else lock
    return UNKNOWN_LOCK


def _bare(name: str) -> str:
    return name.strip('";(')
