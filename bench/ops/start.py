"""Rows 10 and 11: how long a command and a server take until they are of use.

A server starts on what it left behind when it was killed (a cold start: power is gone, the machine is
started anew) and, for the record, after a clean stop. It makes no difference to ours, whose database is
another program; step-ca reads through what its own database had not put in order yet.
"""

from __future__ import annotations

import ssl
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from bench.model import Bench, Better, Broken, Contender, Measure, Operation, Reading
from bench.peers import inventory, product, step_ca
from bench.processes import cpu_seconds, environment, first_line, kill, program, running

_RUNS = 5
_START_SECONDS = 30.0


def _command(bench: Bench, command: list[str], _seconds: float) -> Reading:
    """The median run time of a command in milliseconds."""
    times = []
    for _ in range(_RUNS):
        begun = time.perf_counter()
        done = subprocess.run(
            bench.on_server(command), check=False, capture_output=True, env=environment({})
        )
        times.append((time.perf_counter() - begun) * 1000)
        if done.returncode:
            raise Broken(what=" ".join(command), why=done.stderr[-300:])
    return Reading(value=statistics.median(times))


@contextmanager
def _ours_command(bench: Bench, argument: str) -> Iterator[Measure]:
    yield partial(_command, bench, [*product.certctl(), argument])


@contextmanager
def _python(bench: Bench) -> Iterator[Measure]:
    yield partial(_command, bench, [sys.executable, "-I", "-c", "pass"])


@contextmanager
def _other(bench: Bench, name: str, argument: str, hint: str) -> Iterator[Measure]:
    yield partial(_command, bench, [program(bench, name, hint), argument])


@contextmanager
def _ours_api_command(bench: Bench) -> Iterator[Measure]:
    with product.product(bench, name="cli") as server:
        command = [*product.certctl(), "--data-dir", str(server.data_dir), "certificates", "list"]
        yield partial(_command, bench, command)


@contextmanager
def _ours_server(bench: Bench, *, is_killed: bool) -> Iterator[Measure]:
    with inventory.filled(bench) as stocked:

        def measure(_seconds: float) -> Reading:
            begun = time.perf_counter()
            with stocked.serve() as server:
                reading = _until_answered(f"{server.url}/health", begun, server.pid)
                if is_killed:
                    kill(server.pid)
            return reading

        if is_killed:
            measure(0)
        yield measure


@contextmanager
def _step_server(bench: Bench, build: step_ca.Build, *, is_killed: bool) -> Iterator[Measure]:
    stock = step_ca.stocked(bench, build, is_killed=is_killed)

    def measure(_seconds: float) -> Reading:
        begun = time.perf_counter()
        with running(bench.on_server(stock.command), log=stock.folder / "log") as process:
            reading = _until_answered(f"{stock.url}/health", begun, process.pid)
            if is_killed:
                kill(process.pid)
        size = {"certificates": stock.certificates, "database_mb": stock.megabytes}
        return replace(reading, notes={**reading.notes, **size})

    yield measure


def _until_answered(url: str, begun: float, pid: int) -> Reading:
    """Milliseconds from a moment until the URL answers with success; CPU time as a note."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    while time.perf_counter() - begun < _START_SECONDS:
        try:
            urllib.request.urlopen(url, context=context, timeout=5).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.005)
        else:
            taken = (time.perf_counter() - begun) * 1000
            return Reading(value=taken, notes={"cpu_ms": cpu_seconds(pid) * 1000})
    raise Broken(what=url, why="no answer")


def _starting(*, identity: str, title: str, is_killed: bool) -> Operation:
    return Operation(
        id=identity,
        row="11",
        title=title,
        unit="ms",
        better=Better.LOWER,
        ours=Contender(
            name="certctl",
            start=partial(_ours_server, is_killed=is_killed),
            version=product.version,
        ),
        peers=(
            Contender(
                name="step-ca",
                start=partial(_step_server, build=step_ca.SHIPPED, is_killed=is_killed),
                version=step_ca.version,
            ),
            Contender(
                name="step-ca-0.19",
                start=partial(_step_server, build=step_ca.DEBIAN, is_killed=is_killed),
                version=lambda _bench: step_ca.DEBIAN_VERSION,
            ),
        ),
    )


_PYTHON = Contender(name="python", start=_python, version=lambda _bench: sys.version.split()[0])

OPERATIONS = (
    Operation(
        id="cli-help",
        row="10",
        title="certctl --help",
        unit="ms",
        better=Better.LOWER,
        ours=Contender(
            name="certctl", start=partial(_ours_command, argument="--help"), version=product.version
        ),
        peers=(_PYTHON,),
    ),
    Operation(
        id="cli-version",
        row="10",
        title="certctl --version",
        unit="ms",
        better=Better.LOWER,
        ours=Contender(
            name="certctl",
            start=partial(_ours_command, argument="--version"),
            version=product.version,
        ),
        peers=(
            _PYTHON,
            Contender(
                name="certbot",
                start=partial(
                    _other, name="certbot", argument="--version", hint="apt-get install certbot"
                ),
                version=lambda bench: first_line(bench, "certbot", "--version"),
            ),
            Contender(
                name="caddy",
                start=partial(
                    _other, name="caddy", argument="version", hint="apt-get install caddy"
                ),
                version=lambda bench: first_line(bench, "caddy", "version"),
            ),
        ),
    ),
    Operation(
        id="cli-list",
        row="10",
        title="certctl certificates list, answer included",
        unit="ms",
        better=Better.LOWER,
        ours=Contender(name="certctl", start=_ours_api_command, version=product.version),
        peers=(_PYTHON,),
    ),
    _starting(
        identity="cold-start",
        title="server start to first answer after a crash, migrated and filled database",
        is_killed=True,
    ),
    _starting(
        identity="start",
        title="the same after a clean stop",
        is_killed=False,
    ),
)
