"""PostgreSQL's own load program, on the product's own statement."""

from __future__ import annotations

import re

from bench.model import Bench, Broken, Reading
from bench.processes import first_line, program, run

_RATE = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)


def pgbench(
    bench: Bench, database: str, statement: str, *, seconds: float, clients: int
) -> Reading:
    """Executions per second of one prepared statement."""
    script = bench.subfolder("pgbench") / "statement.sql"
    script.write_text(statement.rstrip().rstrip(";") + ";\n")
    command = [program(bench, "pgbench", "apt-get install postgresql-contrib"), "-n"]
    command += ["-M", "prepared", "-f", str(script), "-c", str(clients)]
    command += ["-T", str(max(1, round(seconds))), database]
    out = run(bench.on_client(command))
    rate = _RATE.search(out)
    if rate is None:
        raise Broken(what="pgbench", why=out[-300:])
    return Reading(value=float(rate[1]))


def version(bench: Bench) -> str:
    """What it says about itself."""
    return first_line(bench, "pgbench", "--version")
