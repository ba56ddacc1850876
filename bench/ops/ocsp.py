"""Rows 3a to 3c: OCSP from memory by POST and GET, and signed for each request.

Ours answers on the main TLS 1.3 listener. nginx serves the same bytes as a file over TLS 1.3; cfssl and
openssl know plain HTTP only, and openssl closes every connection: each in its own best mode.
"""

from __future__ import annotations

import base64
import secrets
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cryptography import x509

from bench.load import ab, body_script, headers_script, records_script, wrk
from bench.material import ocsp_request, ocsp_request_with_nonce, request_pem
from bench.model import Bench, Better, Contender, Measure, Operation, Reading
from bench.peers import cfssl, django_ca, nginx, openssl, product

_TYPE = {"Content-Type": "application/ocsp-request"}
_POST_CONNECTIONS = 16
_GET_CONNECTIONS = 64
_NONCE_BYTES = 16
# More than any contender signs in a second; the script starts over when a round is faster.
_NONCES = 60_000
_PATH = "/.well-known/pki/ocsp/iss-local"


@contextmanager
def _ours(bench: Bench) -> Iterator[tuple[product.Product, x509.Certificate, x509.Certificate]]:
    with product.product(bench, name="ocsp") as server:
        leaf = server.issue(request_pem("www.example.test"))
        yield server, leaf, server.authority()


@contextmanager
def _ours_post(bench: Bench, connections: int) -> Iterator[Measure]:
    with _ours(bench) as (server, leaf, issuer):
        yield _post(bench, server.url + _PATH, ocsp_request(leaf, issuer), connections)


@contextmanager
def _cfssl_post(bench: Bench, connections: int) -> Iterator[Measure]:
    with cfssl.responder(bench) as server:
        yield _post(bench, server.url, server.request, connections)


def _post(bench: Bench, url: str, request: bytes, connections: int) -> Measure:
    folder = bench.subfolder("ocsp-" + secrets.token_hex(4))
    body = folder / "request.der"
    body.write_bytes(request)
    script = body_script(folder / "post.lua", body, _TYPE)

    def measure(seconds: float) -> Reading:
        return wrk(bench, url, seconds=seconds, connections=connections, script=script)

    return measure


@contextmanager
def _nginx_get(bench: Bench, connections: int) -> Iterator[Measure]:
    # As large as an answer of ours with the responder's certificate inside.
    with nginx.static(bench, {"answer": secrets.token_bytes(790)}) as url:
        yield partial(_get, bench, url + "/answer", connections, None)


@contextmanager
def _ours_get(bench: Bench) -> Iterator[Measure]:
    with _ours(bench) as (server, leaf, issuer):
        url = server.url + _get_path(leaf, issuer)
        yield partial(_get, bench, url, _GET_CONNECTIONS, None)


@contextmanager
def _ours_not_modified(bench: Bench) -> Iterator[Measure]:
    with _ours(bench) as (server, leaf, issuer):
        path = _get_path(leaf, issuer)
        yield partial(_get, bench, server.url + path, _GET_CONNECTIONS, server.etag(path))


@contextmanager
def _nginx_not_modified(bench: Bench) -> Iterator[Measure]:
    with nginx.static(bench, {"answer": secrets.token_bytes(790)}) as url:
        tag = nginx.etag(url + "/answer")
        yield partial(_get, bench, url + "/answer", _GET_CONNECTIONS, tag)


def _get_path(leaf: x509.Certificate, issuer: x509.Certificate) -> str:
    text = base64.b64encode(ocsp_request(leaf, issuer)).decode()
    return f"{_PATH}/{urllib.parse.quote(text, safe='')}"


def _get(bench: Bench, url: str, connections: int, tag: str | None, seconds: float) -> Reading:
    script: Path | None = None
    if tag is not None:
        script = headers_script(
            bench.subfolder("not-modified") / f"{secrets.token_hex(4)}.lua", {"If-None-Match": tag}
        )
    return wrk(bench, url, seconds=seconds, connections=connections, script=script)


@contextmanager
def _ours_cold(bench: Bench) -> Iterator[Measure]:
    with _ours(bench) as (server, leaf, issuer):
        yield _nonces(bench, server.url + _PATH, leaf, issuer)


@contextmanager
def _django_cold(bench: Bench) -> Iterator[Measure]:
    with django_ca.server(bench) as server:
        yield _nonces(bench, server.ocsp_url, server.leaf, server.issuer)


def _nonces(bench: Bench, url: str, leaf: x509.Certificate, issuer: x509.Certificate) -> Measure:
    folder = bench.subfolder("nonces-" + secrets.token_hex(4))
    first = ocsp_request_with_nonce(leaf, issuer, secrets.token_bytes(_NONCE_BYTES))
    # Only the nonce differs: replacing its bytes is a thousand times quicker than building anew.
    at = len(first) - _NONCE_BYTES
    with (folder / "requests").open("wb") as out:
        for _ in range(_NONCES):
            out.write(first[:at] + secrets.token_bytes(_NONCE_BYTES))
    script = records_script(folder / "cold.lua", folder / "requests", len(first), _TYPE)

    def measure(seconds: float) -> Reading:
        return wrk(bench, url, seconds=seconds, connections=_POST_CONNECTIONS, script=script)

    return measure


@contextmanager
def _openssl_cold(bench: Bench) -> Iterator[Measure]:
    def measure(seconds: float) -> Reading:
        # A fresh one for each round: the connections that ab leaves behind hang it for good.
        with openssl.responder(bench) as server:
            body = server.folder / "request.der"
            body.write_bytes(server.request)
            return ab(
                bench,
                server.url,
                seconds=seconds,
                connections=_POST_CONNECTIONS,
                body=body,
                kind=_TYPE["Content-Type"],
            )

    yield measure


OPERATIONS = (
    Operation(
        id="ocsp-post",
        row="3a",
        title="OCSP POST, answer in memory, c=16",
        unit="answers/s",
        better=Better.HIGHER,
        ours=Contender(
            name="certctl",
            start=partial(_ours_post, connections=_POST_CONNECTIONS),
            version=product.version,
        ),
        peers=(
            Contender(
                name="cfssl",
                start=partial(_cfssl_post, connections=_POST_CONNECTIONS),
                version=cfssl.version,
            ),
            Contender(
                name="nginx",
                start=partial(_nginx_get, connections=_POST_CONNECTIONS),
                version=nginx.version,
            ),
        ),
    ),
    Operation(
        id="ocsp-get",
        row="3b",
        title="OCSP GET, answer in memory, c=64",
        unit="answers/s",
        better=Better.HIGHER,
        ours=Contender(name="certctl", start=_ours_get, version=product.version),
        peers=(
            Contender(
                name="nginx",
                start=partial(_nginx_get, connections=_GET_CONNECTIONS),
                version=nginx.version,
            ),
        ),
    ),
    Operation(
        id="ocsp-304",
        row="3b",
        title="OCSP GET, not modified, c=64",
        unit="answers/s",
        better=Better.HIGHER,
        ours=Contender(name="certctl", start=_ours_not_modified, version=product.version),
        peers=(Contender(name="nginx", start=_nginx_not_modified, version=nginx.version),),
    ),
    Operation(
        id="ocsp-cold",
        row="3c",
        title="OCSP POST with nonce, signed for each request, c=16",
        unit="answers/s",
        better=Better.HIGHER,
        ours=Contender(name="certctl", start=_ours_cold, version=product.version),
        peers=(
            Contender(name="openssl", start=_openssl_cold, version=openssl.version),
            Contender(name="django-ca", start=_django_cold, version=django_ca.version),
        ),
    ),
)
