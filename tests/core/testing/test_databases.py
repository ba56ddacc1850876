"""The shared database fixtures: fresh for each test, migrated, on both engines."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from certctl_core.kernel.db import Database


@pytest.mark.parametrize("round_", [1, 2])
def test_every_test_gets_a_database_of_its_own(database_url: str, round_: int) -> None:
    database = Database(database_url)
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE made_by_a_test (round INTEGER)"))
        connection.execute(sa.text("INSERT INTO made_by_a_test VALUES (:round)"), {"round": round_})
    with database.read() as connection:
        found = connection.execute(sa.text("SELECT round FROM made_by_a_test")).scalars().all()
    database.close()

    assert found == [round_]


def test_the_database_is_migrated(database_url: str) -> None:
    database = Database(database_url)
    tables = sa.inspect(database.writer).get_table_names()
    database.close()

    assert tables


def test_a_blank_database_has_no_tables(blank_database_url: str) -> None:
    database = Database(blank_database_url)
    tables = sa.inspect(database.writer).get_table_names()
    database.close()

    assert tables == []


@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_a_test_may_pin_its_engine(database_engine: str, database_url: str) -> None:
    assert database_engine == "sqlite"
    assert database_url.startswith("sqlite:///")


def test_the_engine_of_the_url_is_the_engine_of_the_run(
    database_engine: str, database_url: str
) -> None:
    assert database_url.startswith(
        "sqlite" if database_engine == "sqlite" else "postgresql+psycopg"
    )
