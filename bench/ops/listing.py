"""Rows 5a and 5b: pages of the certificate list of a large inventory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from urllib.parse import quote

from bench.load import headers_script, wrk
from bench.model import Bench, Better, Broken, Contender, Measure, Operation, Reading
from bench.peers import inventory, pgbench, product

_PATH = "/certificates?page_size=50"
_CONNECTIONS = 8
_WALK = "/certificates?page_size=500"
# Reached by walking, as a client does: cursors are opaque, and nine tenths of a million take minutes.
_DEPTH = 100_000


class _Pages:
    """The product and pgbench on the same database, one after the other."""

    def __init__(self) -> None:
        self._statement = ""
        self._database = ""

    @contextmanager
    def ours(self, bench: Bench) -> Iterator[Measure]:
        """Pages over the API."""
        with inventory.filled(bench) as stocked, stocked.serve() as server:
            self._statement = stocked.statement(server, _PATH)
            self._database = stocked.database
            yield partial(_pages, bench, server)

    @contextmanager
    def pgbench(self, bench: Bench) -> Iterator[Measure]:
        """The statement of such a page alone."""
        if not self._statement:
            raise Broken(what="pgbench", why="it repeats a statement of the product")

        def measure(seconds: float) -> Reading:
            return pgbench.pgbench(
                bench, self._database, self._statement, seconds=seconds, clients=_CONNECTIONS
            )

        yield measure


def _pages(bench: Bench, server: product.Product, seconds: float) -> Reading:
    return _load(bench, server, _PATH, seconds, _CONNECTIONS)


class _Depth:
    """One server for both sides: a data directory has one server at a time."""

    def __init__(self) -> None:
        self._server: product.Product | None = None

    @contextmanager
    def deep(self, bench: Bench) -> Iterator[Measure]:
        """The page far behind; starts the server."""
        with inventory.filled(bench) as stocked, stocked.serve() as server:
            self._server = server
            cursor = _cursor_at(server, min(_DEPTH, bench.rows * 9 // 10))
            yield partial(_median, bench, server, f"{_PATH}&cursor={quote(cursor)}")

    @contextmanager
    def first(self, bench: Bench) -> Iterator[Measure]:
        """The first page, on the server that the other side started."""
        if self._server is None:
            raise Broken(what="first page", why="it is measured beside the deep one")
        yield partial(_median, bench, self._server, _PATH)


def _median(bench: Bench, server: product.Product, path: str, seconds: float) -> Reading:
    reading = _load(bench, server, path, seconds, 1)
    return Reading(value=reading.notes["p50_ms"], notes=reading.notes)


def _cursor_at(server: product.Product, row: int) -> str:
    """The cursor of the page that begins after so many rows."""
    cursor = ""
    for _ in range(row // 500):
        page = server.call("GET", _WALK + (f"&cursor={quote(cursor)}" if cursor else ""))
        cursor = page["next_cursor"]
    return cursor


def _load(
    bench: Bench, server: product.Product, path: str, seconds: float, connections: int
) -> Reading:
    script = headers_script(
        bench.subfolder("listing") / "headers.lua", {"Authorization": f"Bearer {server.api_key}"}
    )
    url = f"{server.url}/api/v1{path}"
    return wrk(bench, url, seconds=seconds, connections=connections, script=script)


_PAGES = _Pages()
_DEPTHS = _Depth()

OPERATIONS = (
    Operation(
        id="list",
        row="5a",
        title="list page of 50, c=8",
        unit="pages/s",
        better=Better.HIGHER,
        ours=Contender(name="certctl", start=_PAGES.ours, version=product.version),
        peers=(Contender(name="pgbench", start=_PAGES.pgbench, version=pgbench.version),),
    ),
    Operation(
        id="list-depth",
        row="5b",
        title="page of 50 behind 100,000 others, p50, c=1",
        unit="ms",
        better=Better.LOWER,
        ours=Contender(name="certctl", start=_DEPTHS.deep, version=product.version),
        peers=(Contender(name="first page", start=_DEPTHS.first, version=product.version),),
    ),
)
