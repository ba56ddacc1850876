"""The schema history: what it leads to, what it refuses, and that nobody runs it twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import certctl_migrations
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from certctl_migrations.plan import _lock as lock_of
from certctl_migrations.runner import alembic_config, known_revisions

from certctl_core.app.schema import metadata
from certctl_core.kernel.db import Database


@pytest.fixture
def database(blank_database_url: str) -> Iterator[Database]:
    found = Database(blank_database_url)
    yield found
    found.close()


def _revision(database: Database) -> str | None:
    return certctl_migrations.revisions(database).current


@pytest.mark.spec("08/MIG-1", "08/MIG-5")
def test_the_history_leads_to_the_tables_of_the_code(database: Database) -> None:
    certctl_migrations.upgrade(database)

    with database.writer.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_an_empty_database_is_told_from_a_current_one(database: Database) -> None:
    with pytest.raises(certctl_migrations.DatabaseNotMigrated):
        certctl_migrations.check(database)
    before = certctl_migrations.upgrade(database)

    assert before.current is None
    assert certctl_migrations.check(database).current == before.head
    assert certctl_migrations.upgrade(database).current == before.head


def test_a_newer_database_is_left_alone(database: Database) -> None:
    certctl_migrations.upgrade(database)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(certctl_migrations.DatabaseNewerThanCode):
        certctl_migrations.upgrade(database)
    assert _revision(database) == "9999"


@pytest.mark.spec("08/MIG-5")
def test_the_schema_can_be_taken_down_and_built_again(database: Database) -> None:
    certctl_migrations.upgrade(database)
    certctl_migrations.downgrade(database, "base")

    with database.read() as connection:
        assert set(sa.inspect(connection).get_table_names()) == {"alembic_version"}
    certctl_migrations.upgrade(database)
    assert _revision(database) == known_revisions()[-1]


def test_processes_that_start_together_migrate_once(blank_database_url: str) -> None:
    program = (
        "import sys, certctl_migrations; print(certctl_migrations.upgrade(sys.argv[1]).current)"
    )
    command = [sys.executable, "-c", program, blank_database_url]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    answers = [process.communicate(timeout=60) for process in running]

    assert [process.returncode for process in running] == [0, 0, 0], answers
    found = sorted(out.strip() for out, _error in answers)
    assert found == sorted(["None", known_revisions()[-1], known_revisions()[-1]])


@pytest.mark.spec("08/MIG-4")
def test_a_plan_is_what_the_upgrade_does(database: Database) -> None:
    plan = certctl_migrations.plan(database)
    assert _revision(database) is None, "nothing was changed"
    assert (plan.current, plan.target) == (None, known_revisions()[-1])
    assert tuple(step.revision for step in plan.steps) == known_revisions()
    statements = [item for step in plan.steps for item in step.statements]
    assert {item.lock for item in statements} == (
        {"none"} if database.is_postgres else {"DATABASE"}
    )

    with database.writer.begin() as connection:
        for item in statements:
            connection.exec_driver_sql(
                item.sql.replace("%", "%%") if database.is_postgres else item.sql
            )
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_nothing_is_planned_for_a_current_database(database: Database) -> None:
    certctl_migrations.upgrade(database)

    assert certctl_migrations.plan(database).steps == ()
    with pytest.raises(certctl_migrations.UnknownRevision):
        certctl_migrations.plan(database, revision="4711")


@pytest.mark.spec("08/MIG-4")
@pytest.mark.parametrize(
    ("sql", "lock"),
    [
        ("ALTER TABLE jobs ADD COLUMN x INTEGER;", "ACCESS EXCLUSIVE"),
        ("CREATE INDEX ix_x ON jobs (x);", "SHARE"),
        ("CREATE UNIQUE INDEX CONCURRENTLY ix_x ON jobs (x);", "SHARE UPDATE EXCLUSIVE"),
        ("CREATE TRIGGER t AFTER INSERT ON jobs EXECUTE FUNCTION f();", "SHARE ROW EXCLUSIVE"),
        ("UPDATE jobs SET x = 1;", "ROW EXCLUSIVE"),
        ("DROP TABLE jobs;", "ACCESS EXCLUSIVE"),
        ("CREATE INDEX ix_y ON mine (x);", "none"),
        ("VACUUM jobs;", "unknown"),
    ],
)
def test_locks_are_those_of_postgresql(sql: str, lock: str) -> None:
    assert lock_of(sql, {"mine"}) == lock


def test_every_revision_has_a_way_back_or_says_why_not() -> None:
    script = ScriptDirectory.from_config(alembic_config())
    for item in script.walk_revisions():
        reason = getattr(item.module, "irreversible", "")
        assert callable(getattr(item.module, "downgrade", None)) != bool(reason), item.revision


def test_file_names_and_revisions_agree() -> None:
    script = ScriptDirectory.from_config(alembic_config())
    history = [item.revision for item in script.walk_revisions()]

    assert tuple(reversed(history)) == known_revisions()


def test_a_current_schema_needs_no_alembic(blank_database_url: str) -> None:
    certctl_migrations.upgrade(blank_database_url)
    program = (
        "import sys, certctl_migrations; certctl_migrations.upgrade(sys.argv[1]);"
        "print('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, blank_database_url],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.strip() == "False"
