"""The product with a large inventory, kept between runs: filling it takes longer than measuring."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import psycopg

from bench.material import request_pem
from bench.model import Bench, Broken
from bench.peers.postgres import postgres
from bench.peers.product import Product, product

_NAME = "certctl"
# What differs from row to row; every other column is that of a certificate issued over the API.
_MADE = {
    "id": "'mc-' || to_char(n, 'FM0000000000')",
    "name": "'host' || n || '.example.test'",
    "common_name": "'host' || n || '.example.test'",
    "search_text": "'host' || n || '.example.test'",
    "created_at": "t.created_at - n * interval '7 seconds'",
    "updated_at": "t.updated_at - n * interval '5 seconds'",
    "expires_at": "t.expires_at + n * interval '3 seconds'",
    "next_renewal_at": "t.expires_at + n * interval '2 seconds'",
}
_BATCH = 100_000
# One line for each statement; the line of its parameters follows where it has some.
_LOGGED = re.compile(
    r"execute [^:]*: (SELECT .* FROM managed_certificates.*)"
    r"(?:\n\S+ \S+ \S+ \[\d+\] DETAIL:\s+[Pp]arameters: (.*))?"
)
_PARAMETER = re.compile(r"\$(\d+) = ('(?:[^']|'')*'|NULL)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """A filled database.

    Attributes:
        database: Its URL.
    """

    bench: Bench
    database: str

    def serve(self) -> AbstractContextManager[Product]:
        """Start the server on it."""
        return product(self.bench, name=_NAME, database=self.database)

    def statement(self, server: Product, path: str) -> str:
        """The statement that a list request sends for its rows, with its values in it."""
        log = self.bench.folder / f"{_NAME}-postgres" / "log"
        with psycopg.connect(self.database, autocommit=True) as connection:
            before = log.stat().st_size
            _log_statements(connection, "0")
            time.sleep(0.5)
            try:
                server.call("GET", path)
            finally:
                _log_statements(connection, "-1")
        text = log.read_bytes()[before:].decode(errors="replace").replace("\n\t", " ")
        found = _LOGGED.findall(text)
        if not found:
            raise Broken(what=path, why="no statement in the log of the database")
        sql, parameters = found[-1]
        values = dict(_PARAMETER.findall(parameters))
        return re.sub(r"\$(\d+)", lambda match: values[match[1]], sql)


@contextmanager
def filled(bench: Bench) -> Iterator[Inventory]:
    """An inventory of ``bench.rows`` certificates, made when the cache has none of that size."""
    folder = bench.cache / f"inventory-{bench.rows}"
    folder.mkdir(parents=True, exist_ok=True)
    home = replace(bench, folder=folder)
    with postgres(home, _NAME) as uri:
        inventory = Inventory(bench=home, database=uri)
        done = folder / "filled"
        if not done.exists():
            _fill(inventory)
            done.touch()
        yield inventory


def _fill(inventory: Inventory) -> None:
    with inventory.serve() as server:
        server.issue(request_pem("template.example.test"))
    rows = inventory.bench.rows
    with psycopg.connect(inventory.database, autocommit=True) as connection:
        columns = [
            str(row[0])
            for row in connection.execute(
                "SELECT column_name FROM information_schema.columns "
                "WHERE table_name = 'managed_certificates' AND table_schema = 'public'"
            )
        ]
        values = ", ".join(_MADE.get(name, f"t.{name}") for name in columns)
        insert = (
            f"INSERT INTO managed_certificates ({', '.join(columns)}) SELECT {values} "
            "FROM managed_certificates t, generate_series(%s::bigint, %s::bigint) n "
            "WHERE t.name = 'template.example.test' ON CONFLICT DO NOTHING"
        )
        for first in range(1, rows + 1, _BATCH):
            connection.execute(insert, (first, min(rows, first + _BATCH - 1)))
        connection.execute(
            "UPDATE counters SET value = value + %s WHERE (name, shard) = "
            "(SELECT name, shard FROM counters WHERE name = 'certificates.status.Active' LIMIT 1)",
            (rows,),
        )
        connection.execute("VACUUM ANALYZE")


def _log_statements(connection: psycopg.Connection[tuple[object, ...]], value: str) -> None:
    connection.execute(f"ALTER SYSTEM SET log_min_duration_statement = {value}")
    connection.execute("SELECT pg_reload_conf()")
