"""Rows 4a and 4b: fetching a CRL, and making one of ten thousand to a million entries anew.

Ours is regenerated through the API, with TLS, permission, audit and the commit of list and number on PostgreSQL;
``openssl ca -gencrl`` reads its index file and writes a PEM file.
"""

from __future__ import annotations

import secrets
import statistics
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.x509 import ocsp

from bench.load import body_script, headers_script, wrk
from bench.material import ocsp_request, request_pem
from bench.model import Bench, Better, Broken, Contender, Measure, Operation, Reading
from bench.peers import nginx, openssl, product, revoked
from bench.processes import peak_kilobytes

_PATH = "/.well-known/pki/crl/iss-local"
_FETCHED = 100_000
_FETCH_CONNECTIONS = 4
_CONDITIONAL_CONNECTIONS = 16
_REVOCATIONS = 50
_VISIBLE_GOAL_MS = 200.0
_VISIBLE_SECONDS = 10.0
_SIZES = {"10k": 10_000, "100k": 100_000, "1m": 1_000_000}


@contextmanager
def _ours(bench: Bench, entries: int) -> Iterator[product.Product]:
    with product.product(bench, name=f"crl-{entries}") as server:
        revoked.fill(server, entries)
        yield server


def _regenerate(server: product.Product, entries: int) -> Reading:
    begun = time.perf_counter()
    server.call("POST", "/admin/crl/iss-local/regenerate")
    taken = (time.perf_counter() - begun) * 1000
    rows = server.call("GET", "/admin/crl/cache")["cache_rows"]
    if rows[0]["revoked_count"] != entries:
        raise Broken(what="certctl", why=f"{rows[0]['revoked_count']} entries, not {entries}")
    return Reading(value=taken)


@contextmanager
def _ours_again(bench: Bench, entries: int) -> Iterator[Measure]:
    with _ours(bench, entries) as server:
        yield lambda _seconds: _regenerate(server, entries)


@contextmanager
def _ours_first(bench: Bench, entries: int) -> Iterator[Measure]:
    with _ours(bench, entries) as server:

        def measure(_seconds: float) -> Reading:
            revoked.forget_list(server)
            return _regenerate(server, entries)

        yield measure


@contextmanager
def _ours_memory(bench: Bench, entries: int) -> Iterator[Measure]:
    with _ours(bench, entries) as server:

        def measure(_seconds: float) -> Reading:
            _regenerate(server, entries)
            return Reading(value=peak_kilobytes(server.pid) / 1024)

        yield measure


@contextmanager
def _openssl(bench: Bench, entries: int) -> Iterator[Measure]:
    index = openssl.revocations(bench, entries)

    def measure(_seconds: float) -> Reading:
        return Reading(value=openssl.generate_crl(bench, index).milliseconds)

    yield measure


@contextmanager
def _openssl_memory(bench: Bench, entries: int) -> Iterator[Measure]:
    index = openssl.revocations(bench, entries)

    def measure(_seconds: float) -> Reading:
        return Reading(value=openssl.generate_crl(bench, index).peak_kilobytes / 1024)

    yield measure


@contextmanager
def _ours_fetch(bench: Bench) -> Iterator[Measure]:
    with _ours(bench, _FETCHED) as server:
        server.get(_PATH)
        yield partial(_get, bench, server.url + _PATH, _FETCH_CONNECTIONS, None)


@contextmanager
def _nginx_fetch(bench: Bench) -> Iterator[Measure]:
    with nginx.static(bench, {"list": secrets.token_bytes(revoked.size_of(_FETCHED))}) as url:
        yield partial(_get, bench, url + "/list", _FETCH_CONNECTIONS, None)


@contextmanager
def _ours_not_modified(bench: Bench) -> Iterator[Measure]:
    with _ours(bench, _FETCHED) as server:
        tag = server.etag(_PATH)
        yield partial(_get, bench, server.url + _PATH, _CONDITIONAL_CONNECTIONS, tag)


@contextmanager
def _hot_ocsp(bench: Bench) -> Iterator[Measure]:
    with product.product(bench, name="crl-ocsp") as server:
        leaf = server.issue(request_pem("www.example.test"))
        folder = bench.subfolder("crl-ocsp-load")
        body = folder / "request.der"
        body.write_bytes(ocsp_request(leaf, server.authority()))
        script = body_script(
            folder / "post.lua", body, {"Content-Type": "application/ocsp-request"}
        )
        url = server.url + "/.well-known/pki/ocsp/iss-local"

        def measure(seconds: float) -> Reading:
            return wrk(
                bench, url, seconds=seconds, connections=_CONDITIONAL_CONNECTIONS, script=script
            )

        yield measure


@contextmanager
def _visible(bench: Bench) -> Iterator[Measure]:
    with _ours(bench, _FETCHED) as server:

        def measure(_seconds: float) -> Reading:
            times = sorted(_until_visible(server) for _ in range(_REVOCATIONS))
            # The slowest but one in a hundred: of fewer the slowest.
            return Reading(
                value=times[-1 - len(times) // 100],
                notes={"p50_ms": statistics.median(times), "revocations": _REVOCATIONS},
            )

        yield measure


def _until_visible(server: product.Product) -> float:
    """Milliseconds from the answer to a revocation until another process shows it everywhere."""
    made = server.call("POST", "/certificates", {"csr_pem": request_pem("www.example.test")})
    leaf = x509.load_pem_x509_certificate(product.find_pem(made).encode())
    ask = ocsp_request(leaf, server.authority())
    server.call("POST", f"/certificates/{made['id']}/revoke", {"reason": "superseded"})
    begun = time.perf_counter()
    entry = leaf.serial_number.to_bytes(leaf.serial_number.bit_length() // 8 + 1)
    while time.perf_counter() - begun < _VISIBLE_SECONDS:
        with urllib.request.urlopen(server.pki_url + _PATH) as answer:
            is_listed = entry in answer.read()
        request = urllib.request.Request(
            f"{server.pki_url}/.well-known/pki/ocsp/iss-local",
            data=ask,
            headers={"Content-Type": "application/ocsp-request"},
        )
        with urllib.request.urlopen(request) as answer:
            status = ocsp.load_der_ocsp_response(answer.read()).certificate_status
        if is_listed and status is ocsp.OCSPCertStatus.REVOKED:
            return (time.perf_counter() - begun) * 1000
    raise Broken(what="certctl", why=f"a revocation is not visible after {_VISIBLE_SECONDS} s")


@contextmanager
def _goal(_bench: Bench) -> Iterator[Measure]:
    yield lambda _seconds: Reading(value=_VISIBLE_GOAL_MS)


def _get(bench: Bench, url: str, connections: int, tag: str | None, seconds: float) -> Reading:
    script: Path | None = None
    if tag is not None:
        folder = bench.subfolder("crl-not-modified")
        script = headers_script(folder / f"{secrets.token_hex(4)}.lua", {"If-None-Match": tag})
    return wrk(bench, url, seconds=seconds, connections=connections, script=script)


def _regeneration(name: str, entries: int) -> Operation:
    return Operation(
        id=f"crl-again-{name}",
        row="4b",
        title=f"CRL of {entries:,} entries made anew",
        unit="ms",
        better=Better.LOWER,
        ours=Contender(
            name="certctl", start=partial(_ours_again, entries=entries), version=product.version
        ),
        peers=(
            Contender(
                name="openssl", start=partial(_openssl, entries=entries), version=openssl.version
            ),
        ),
    )


_MILLION = _SIZES["1m"]

OPERATIONS = (
    Operation(
        id="crl-fetch",
        row="4a",
        title=f"CRL of {_FETCHED:,} entries fetched, c={_FETCH_CONNECTIONS}",
        unit="lists/s",
        better=Better.HIGHER,
        ours=Contender(name="certctl", start=_ours_fetch, version=product.version),
        peers=(Contender(name="nginx", start=_nginx_fetch, version=nginx.version),),
    ),
    Operation(
        id="crl-304",
        row="4a",
        title=f"CRL not modified, c={_CONDITIONAL_CONNECTIONS}",
        unit="answers/s",
        better=Better.HIGHER,
        ours=Contender(name="certctl", start=_ours_not_modified, version=product.version),
        peers=(Contender(name="hot OCSP", start=_hot_ocsp, version=product.version),),
    ),
    *(_regeneration(name, entries) for name, entries in _SIZES.items()),
    Operation(
        id="crl-first-1m",
        row="4b",
        title=f"CRL of {_MILLION:,} entries made from the table",
        unit="ms",
        better=Better.LOWER,
        ours=Contender(
            name="certctl", start=partial(_ours_first, entries=_MILLION), version=product.version
        ),
        peers=(
            Contender(
                name="openssl", start=partial(_openssl, entries=_MILLION), version=openssl.version
            ),
        ),
    ),
    Operation(
        id="crl-memory-1m",
        row="4b",
        title=f"peak memory of the largest process, CRL of {_MILLION:,} entries",
        unit="MiB",
        better=Better.LOWER,
        ours=Contender(
            name="certctl", start=partial(_ours_memory, entries=_MILLION), version=product.version
        ),
        peers=(
            Contender(
                name="openssl",
                start=partial(_openssl_memory, entries=_MILLION),
                version=openssl.version,
            ),
        ),
    ),
    Operation(
        id="revoke-visible",
        row="4b",
        title=f"revocation to CRL of {_FETCHED:,} entries and OCSP of another process, p99",
        unit="ms",
        better=Better.LOWER,
        ours=Contender(name="certctl", start=_visible, version=product.version),
        peers=(Contender(name="goal", start=_goal),),
    ),
)
