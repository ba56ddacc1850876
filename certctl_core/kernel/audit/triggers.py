"""What makes the log append-only in the database itself (spec 05 AUD-20, AUD-23)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from certctl_core.kernel.audit import _tables as t

PROTECTED: tuple[sa.Table, ...] = (
    t.audit_events,
    t.audit_leaves,
    t.audit_tiles,
    t.audit_checkpoints,
)
"""The append-only tables."""
_MESSAGE = "the audit log is append-only"


def create_triggers(connection: Connection) -> None:
    """Refuse UPDATE, DELETE and TRUNCATE on the append-only tables from now on.

    Both engines: triggers that raise. PostgreSQL: the rights are taken from the connected role as
    well. For migrations and for databases that are made without them; idempotent.
    """
    if connection.dialect.name == "postgresql":
        _postgres(connection)
    else:
        _sqlite(connection)


def drop_triggers(connection: Connection) -> None:
    """Take the protection off: for a downgrade, and for tests that play the attacker."""
    is_postgres = connection.dialect.name == "postgresql"
    for table in PROTECTED:
        name = table.name
        if is_postgres:
            _run(connection, f"DROP TRIGGER IF EXISTS {name}_append_only ON {name}")
            _run(connection, f"GRANT UPDATE, DELETE, TRUNCATE ON {name} TO CURRENT_USER")
        else:
            for verb in ("update", "delete", "replace"):
                _run(connection, f"DROP TRIGGER IF EXISTS {name}_no_{verb}")
    if is_postgres:
        _run(connection, "DROP FUNCTION IF EXISTS certctl_audit_append_only()")


def _postgres(connection: Connection) -> None:
    _run(
        connection,
        "CREATE OR REPLACE FUNCTION certctl_audit_append_only() RETURNS trigger "
        f"LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{_MESSAGE}' "
        "USING ERRCODE = 'insufficient_privilege'; END $$",
    )
    for table in PROTECTED:
        name = table.name
        _run(connection, f"DROP TRIGGER IF EXISTS {name}_append_only ON {name}")
        _run(
            connection,
            f"CREATE TRIGGER {name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {name} "
            "FOR EACH STATEMENT EXECUTE FUNCTION certctl_audit_append_only()",
        )
        _run(connection, f"REVOKE UPDATE, DELETE, TRUNCATE ON {name} FROM PUBLIC, CURRENT_USER")


def _sqlite(connection: Connection) -> None:
    for table in PROTECTED:
        name = table.name
        for verb in ("update", "delete"):
            _run(
                connection,
                f"CREATE TRIGGER IF NOT EXISTS {name}_no_{verb} BEFORE {verb.upper()} ON {name} "
                f"BEGIN SELECT RAISE(ABORT, '{_MESSAGE}'); END",
            )
        # INSERT OR REPLACE deletes without asking the trigger above.
        same = " AND ".join(f"{column.name} = NEW.{column.name}" for column in table.primary_key)
        exists = f"EXISTS (SELECT 1 FROM {name} WHERE {same})"  # noqa: S608 - our own names
        _run(
            connection,
            f"CREATE TRIGGER IF NOT EXISTS {name}_no_replace BEFORE INSERT ON {name} "
            f"WHEN {exists} BEGIN SELECT RAISE(ABORT, '{_MESSAGE}'); END",
        )


def _run(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement)
