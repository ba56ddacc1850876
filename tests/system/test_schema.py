"""Every operation is asked for everything that its schema allows, and for what it does not."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.system.installed import Served

pytestmark = [pytest.mark.timeout(480), pytest.mark.xdist_group("system")]

_SCHEMATHESIS = Path(sys.prefix) / "bin" / "schemathesis"
_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
_ODD = (
    "\0",
    "a\0b",
    "-1",
    str(2**31),
    str(2**63),
    str(10**30),
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "%",
    "\\",
    "'",
    "\N{SNOWMAN}" * 60,
)
_KNOWN = {"certificate_id": "mc-certctl-server", "issuer_id": "iss-local"}


def test_what_is_answered_is_what_is_documented(
    server: Served, engine: str, tmp_path: Path
) -> None:
    # Values at the limits go to the engine with the strict types, random ones to the other.
    # One worker only: the generator is not safe for threads.
    limits = ("examples,coverage", "--max-time", "230")
    phases = limits if engine == "postgres" else ("examples,fuzzing", "--max-examples", "8")
    done = subprocess.run(
        [
            _SCHEMATHESIS, "run", f"{server.url}/api/v1/openapi.json",
            "--tls-verify", server.directory / "ca.crt",
            "--header", f"Authorization: Bearer {server.running.key}",
            "--checks", ",".join(_CHECKS),
            "--phases", *phases,
            "--request-timeout", "60", "--workers", "1", "--seed", "1", "--generation-database", "none",
            "--no-shrink", "--no-color",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=460, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    tested = re.search(r"Tested: (\d+)", done.stdout)
    assert tested is not None
    assert int(tested[1]) > 80


def _reads(document: dict[str, Any]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Path, path parameters and query parameters of every GET."""
    for path, methods in document["paths"].items():
        if "get" in methods:
            parameters = methods["get"]["parameters"]
            by_place = {
                place: [item["name"] for item in parameters if item["in"] == place]
                for place in ("path", "query")
            }
            yield path.removeprefix("/api/v1"), by_place["path"], by_place["query"]


def _filled(path: str, **values: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: (_KNOWN | values).get(found[1], "unknown"), path)


def test_no_odd_value_of_a_parameter_breaks_a_read(server: Served, client: httpx.Client) -> None:
    """Fuzzing finds these one by one; there are few enough to ask them all."""
    broken: list[str] = []

    def ask(path: str, **query: str) -> None:
        answer = client.get(path, params=query)
        if answer.status_code >= 500 and answer.status_code != 501:
            broken.append(f"{answer.status_code} {path} {query}")

    for path, places, queries in _reads(client.get("/openapi.json").json()):
        for name in queries:
            for value in _ODD:
                ask(_filled(path), **{name: value})
        for name in places:
            for value in ("%00", "a%00b", "%ff", "..%2f..%2f", "%25", "x" * 300):
                ask(_filled(path, **{name: value}))
    assert broken == []
