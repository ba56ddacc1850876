"""Load from wrk and ab: keep-alive, TLS, and bodies read from a file one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from bench.model import Bench, Broken, Reading
from bench.processes import program, run

_RATE = re.compile(r"^Requests/sec:\s+([\d.]+)", re.MULTILINE)
_PERCENTILE = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)", re.MULTILINE)
_BAD = re.compile(r"^\s*(Non-2xx.*|Socket errors.*)$", re.MULTILINE)
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}

# Each request of the file is one line: the body with \n for line ends is what JSON wants anyway.
_FROM_LINES = """
local lines = {{}}
for line in io.lines("{bodies}") do lines[#lines + 1] = line end
local at = 0
wrk.method = "POST"
{headers}
request = function()
  at = at + 1
  if at > #lines then io.stderr:write("out of bodies\\n") os.exit(3) end
  return wrk.format(nil, nil, nil, lines[at])
end
"""
_ONE_BODY = """
local file = io.open("{body}", "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
{headers}
"""
# Records of one length, each sent once and then again from the start.
_RECORDS = """
local file = io.open("{records}", "rb")
local all = file:read("*a")
file:close()
local size = {size}
local count = #all / size
local at = 0
wrk.method = "POST"
{headers}
request = function()
  local from = (at % count) * size
  at = at + 1
  return wrk.format(nil, nil, nil, all:sub(from + 1, from + size))
end
"""
_HEADERS_ONLY = "{headers}\n"
_AB_RATE = re.compile(r"^Requests per second:\s+([\d.]+)", re.MULTILINE)
_AB_BAD = re.compile(r"^Non-2xx responses:.*$", re.MULTILINE)
_AB_MOST = 1_000_000
_LONGEST_SECONDS = 600
_OUT_OF_BODIES = "out of bodies"


def wrk(
    bench: Bench,
    url: str,
    *,
    seconds: float,
    connections: int,
    script: Path | None = None,
) -> Reading:
    """Requests per second of one round; p50 and p99 in milliseconds as notes.

    Raises:
        Unavailable: wrk is not installed.
        Broken: An answer was no success, or a connection failed.
    """
    command = [program(bench, "wrk", "apt-get install wrk"), "-t1", f"-c{connections}"]
    command += [f"-d{max(1, round(seconds))}s", "--latency"]
    if script is not None:
        command += ["-s", str(script)]
    out = run(bench.on_client([*command, url]))
    rate = _RATE.search(out)
    bad = _BAD.findall(out)
    if rate is None or bad:
        raise Broken(what=url, why="; ".join(bad) or out[-300:])
    notes = {
        f"p{percent}_ms": float(number) * _MILLISECONDS[unit]
        for percent, number, unit in _PERCENTILE.findall(out)
    }
    return Reading(value=float(rate[1]), notes=notes)


def ab(
    bench: Bench, url: str, *, seconds: float, connections: int, body: Path, kind: str
) -> Reading:
    """The same from ApacheBench, for servers that close every connection.

    Raises:
        Unavailable: ab is not installed.
        Broken: An answer was no success. Answers of varying length are none: ECDSA makes them.
    """
    command = [program(bench, "ab", "apt-get install apache2-utils"), "-q", "-r"]
    command += ["-t", str(max(1, round(seconds))), "-n", str(_AB_MOST), "-c", str(connections)]
    out = run(bench.on_client([*command, "-p", str(body), "-T", kind, url]))
    rate = _AB_RATE.search(out)
    bad = _AB_BAD.findall(out)
    if rate is None or bad:
        raise Broken(what=url, why="; ".join(bad) or out[-300:])
    return Reading(value=float(rate[1]))


def post_all(
    bench: Bench,
    url: str,
    lines: Iterable[str],
    *,
    folder: Path,
    headers: dict[str, str],
    connections: int,
) -> None:
    """Post every line once, however long it takes; the folder gets what wrk reads.

    Raises:
        Unavailable: wrk is not installed.
        Broken: An answer was no success, or it took longer than ten minutes.
    """
    path = folder / "bodies"
    path.write_text("".join(f"{line}\n" for line in lines))
    script = lines_script(folder / "post.lua", path, headers)
    try:
        wrk(bench, url, seconds=_LONGEST_SECONDS, connections=connections, script=script)
    except Broken as error:
        # The script ends wrk when all requests were sent: that is the end that is wanted.
        if _OUT_OF_BODIES not in str(error):
            raise
    else:
        raise Broken(what=url, why="did not take all requests")


def lines_script(path: Path, bodies: Path, headers: dict[str, str]) -> Path:
    """A script that posts the lines of a file, each once."""
    path.write_text(_FROM_LINES.format(bodies=bodies, headers=_headers(headers)))
    return path


def body_script(path: Path, body: Path, headers: dict[str, str]) -> Path:
    """A script that posts the same bytes again and again."""
    path.write_text(_ONE_BODY.format(body=body, headers=_headers(headers)))
    return path


def records_script(path: Path, records: Path, size: int, headers: dict[str, str]) -> Path:
    """A script that posts records of one length, one after the other."""
    path.write_text(_RECORDS.format(records=records, size=size, headers=_headers(headers)))
    return path


def headers_script(path: Path, headers: dict[str, str]) -> Path:
    """A script that only sets headers."""
    path.write_text(_HEADERS_ONLY.format(headers=_headers(headers)))
    return path


def _headers(headers: dict[str, str]) -> str:
    return "\n".join(f"wrk.headers[{name!r}] = {value!r}" for name, value in headers.items())
