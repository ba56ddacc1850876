"""Rows 2 and 2b: issue over REST, 16 connections, P-256, every certificate from a request of its own.

Ours: TLS 1.3, API key, profile and policy checks, audit, every answer after a durable commit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.load import lines_script, wrk
from bench.material import request_pem
from bench.model import Bench, Better, Contender, Measure, Operation, Reading
from bench.peers import cfssl, product, softhsm, step_ca

_CONNECTIONS = 16
# Twice what the fastest contender has been seen to do: a round never runs out of requests.
_BODIES_PER_SECOND = 4500
Body = Callable[[str, str], str]


class _Bodies:
    """Requests with names that no round before it used."""

    def __init__(self, folder: Path, body: Body, *, most_per_second: int) -> None:
        self._folder = folder
        self._body = body
        self._most = most_per_second
        self._made = 0

    def write(self, seconds: float) -> Path:
        path = self._folder / "bodies"
        with path.open("w") as out:
            for _ in range(int(self._most * (seconds + 1))):
                self._made += 1
                name = f"host{self._made}.example.test"
                out.write(self._body(name, request_pem(name)) + "\n")
        return path


def _measure(
    bench: Bench, folder: Path, url: str, headers: dict[str, str], *, body: Body, most: int
) -> Measure:
    bodies = _Bodies(folder, body, most_per_second=most)
    expected = [most]

    def measure(seconds: float) -> Reading:
        path = bodies.write(seconds * min(1.0, expected[0] / most))
        script = lines_script(folder / "issue.lua", path, headers)
        reading = wrk(bench, url, seconds=seconds, connections=_CONNECTIONS, script=script)
        expected[0] = int(reading.value * 2) + 50
        return reading

    return measure


@contextmanager
def _ours(bench: Bench, algorithm: str = "", signer: str = "file") -> Iterator[Measure]:
    """The product, with its first CA or with one of another key."""
    settings = softhsm.token(bench) if signer == "pkcs11" else {}
    with product.product(bench, name=f"issue{algorithm}{signer}", settings=settings) as server:
        more = {}
        if algorithm:
            config = {"ca_key_algorithm": algorithm, "signer": signer}
            body = {"id": "iss-bench", "name": "Bench", "kind": "local", "config": config}
            server.call("POST", "/issuers", body)
            more = {"issuer_id": "iss-bench"}
        yield _measure(
            bench,
            server.data_dir.parent,
            f"{server.url}/api/v1/certificates",
            {
                "Authorization": f"Bearer {server.api_key}",
                "Content-Type": "application/json",
            },
            body=lambda _name, csr: json.dumps({"csr_pem": csr, **more}),
            most=_BODIES_PER_SECOND // 2,
        )


@contextmanager
def _step(bench: Bench, build: step_ca.Build) -> Iterator[Measure]:
    with step_ca.server(bench, build) as server:
        yield _measure(
            bench,
            server.folder,
            f"{server.url}/1.0/sign",
            {"Content-Type": "application/json"},
            body=lambda name, csr: json.dumps({"csr": csr, "ott": server.token(name)}),
            most=_BODIES_PER_SECOND // 2,
        )


@contextmanager
def _cfssl(bench: Bench) -> Iterator[Measure]:
    with cfssl.signer(bench) as server:
        yield _measure(
            bench,
            server.folder,
            f"{server.url}/api/v1/cfssl/sign",
            {"Content-Type": "application/json"},
            body=lambda name, csr: json.dumps({"certificate_request": csr, "hosts": [name]}),
            most=_BODIES_PER_SECOND,
        )


def _by_key(algorithm: str, signer: str) -> Operation:
    """Issuing under a CA key of some kind, next to the CA that an installation begins with."""
    place = "a PKCS#11 token (SoftHSM)" if signer == "pkcs11" else "a file"
    return Operation(
        id=f"issue-{algorithm.lower()}-{signer}",
        row="2b",
        title=f"the same under a CA key {algorithm} in {place}",
        unit="certificates/s",
        better=Better.HIGHER,
        ours=Contender(
            name="certctl",
            start=partial(_ours, algorithm=algorithm, signer=signer),
            version=product.version,
        ),
        peers=(Contender(name="P-256 in a file", start=_ours, version=product.version),),
    )


OPERATIONS = (
    Operation(
        id="issue",
        row="2",
        title="issue over REST, durable and audited, c=16",
        unit="certificates/s",
        better=Better.HIGHER,
        ours=Contender(name="certctl", start=_ours, version=product.version),
        peers=(
            Contender(
                name="step-ca",
                start=partial(_step, build=step_ca.SHIPPED),
                version=step_ca.version,
            ),
            Contender(
                name="step-ca-0.19",
                start=partial(_step, build=step_ca.DEBIAN),
                version=lambda _bench: step_ca.DEBIAN_VERSION,
            ),
            Contender(name="cfssl", start=_cfssl, version=cfssl.version),
        ),
    ),
    _by_key("RSA-2048", "file"),
    _by_key("RSA-4096", "file"),
    _by_key("ECDSA-P384", "file"),
    _by_key("Ed25519", "file"),
    _by_key("ML-DSA-65", "file"),
    _by_key("ECDSA-P256", "pkcs11"),
    _by_key("RSA-2048", "pkcs11"),
)
