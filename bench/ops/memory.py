"""Row 12: proportional memory of all processes after a load, without the database server.

Ours: the supervisor, two web workers and the background worker.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.load import body_script, headers_script, post_all, wrk
from bench.material import ocsp_request, request_pem
from bench.model import Bench, Better, Contender, Measure, Operation, Reading
from bench.peers import product, step_ca
from bench.processes import proportional_kilobytes

_ISSUED = 400
_CONNECTIONS = 8


@contextmanager
def _ours(bench: Bench) -> Iterator[Measure]:
    with product.product(bench, workers=2, name="memory") as server:
        folder = server.data_dir.parent
        headers = {
            "Authorization": f"Bearer {server.api_key}",
            "Content-Type": "application/json",
        }
        certificates = f"{server.url}/api/v1/certificates"
        leaf = server.issue(request_pem("www.example.test"))
        body = folder / "request.der"
        body.write_bytes(ocsp_request(leaf, server.authority()))
        post = body_script(folder / "ocsp.lua", body, {"Content-Type": "application/ocsp-request"})
        ocsp = f"{server.url}/.well-known/pki/ocsp/iss-local"
        page = headers_script(folder / "page.lua", headers)
        issue = _issuer(
            bench, folder, certificates, headers, lambda _name, csr: json.dumps({"csr_pem": csr})
        )

        def measure(seconds: float) -> Reading:
            issue()
            wrk(bench, ocsp, seconds=seconds, connections=_CONNECTIONS, script=post)
            wrk(bench, certificates, seconds=seconds, connections=_CONNECTIONS, script=page)
            return Reading(value=proportional_kilobytes(server.pid) / 1024)

        yield measure


@contextmanager
def _step(bench: Bench) -> Iterator[Measure]:
    with step_ca.server(bench) as server:
        issue = _issuer(
            bench,
            server.folder,
            f"{server.url}/1.0/sign",
            {"Content-Type": "application/json"},
            lambda name, csr: json.dumps({"csr": csr, "ott": server.token(name)}),
        )

        def measure(_seconds: float) -> Reading:
            issue()
            return Reading(value=proportional_kilobytes(server.pid) / 1024)

        yield measure


def _issuer(
    bench: Bench,
    folder: Path,
    url: str,
    headers: dict[str, str],
    body: Callable[[str, str], str],
) -> Callable[[], None]:
    """A function that issues the same number of certificates each time it is called."""
    made = 0

    def issue() -> None:
        nonlocal made
        names = [f"m{number}.example.test" for number in range(made, made + _ISSUED)]
        made += _ISSUED
        lines = (body(name, request_pem(name)) for name in names)
        post_all(bench, url, lines, folder=folder, headers=headers, connections=_CONNECTIONS)

    return issue


OPERATIONS = (
    Operation(
        id="memory",
        row="12",
        title="memory (PSS) of all server processes with two workers, after load",
        unit="MiB",
        better=Better.LOWER,
        ours=Contender(name="certctl", start=_ours, version=product.version),
        peers=(Contender(name="step-ca", start=_step, version=step_ca.version),),
        seconds=2.0,
    ),
)
