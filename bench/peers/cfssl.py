"""Cloudflare's cfssl: a signer that keeps nothing, and a responder with answers signed before."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from bench.material import make_authority, make_leaf, ocsp_request
from bench.model import Bench
from bench.processes import first_line, free_port, program, run, running

HINT = "apt-get install golang-cfssl"
_CONFIG = {
    "signing": {
        "default": {
            "usages": ["digital signature", "server auth"],
            "expiry": "2160h",
            "crl_url": "http://pki.example.com/crl",
            "ocsp_url": "http://pki.example.com/ocsp",
        }
    }
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cfssl:
    """A running cfssl.

    Attributes:
        request: For the responder, an OCSP request that it has the answer to.
    """

    url: str
    folder: Path
    request: bytes = b""


@contextmanager
def signer(bench: Bench) -> Iterator[Cfssl]:
    """``cfssl serve``: plain HTTP, no authentication, no database."""
    path = program(bench, "cfssl", HINT)
    folder = bench.subfolder("cfssl")
    authority = make_authority(folder)
    (folder / "config.json").write_text(json.dumps(_CONFIG))
    port = free_port()
    command = [path, "serve", "-address=127.0.0.1", f"-port={port}", "-loglevel=4"]
    command += [f"-ca={authority.certificate_path}", f"-ca-key={authority.key_path}"]
    command += [f"-config={folder / 'config.json'}"]
    with running(bench.on_server(command), log=folder / "log", port=port):
        yield Cfssl(url=f"http://127.0.0.1:{port}", folder=folder)


@contextmanager
def responder(bench: Bench) -> Iterator[Cfssl]:
    """``cfssl ocspserve``: plain HTTP, one answer in memory."""
    path = program(bench, "cfssl", HINT)
    folder = bench.subfolder("cfssl-ocsp")
    authority = make_authority(folder)
    leaf = make_leaf(authority, "www.example.test")
    (folder / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    ca = str(authority.certificate_path)
    command = [path, "ocspsign", f"-ca={ca}", f"-responder={ca}"]
    command += [f"-responder-key={authority.key_path}", f"-cert={folder / 'leaf.pem'}"]
    answer = json.loads(run(command))["ocspResponse"]
    assert base64.b64decode(answer)
    (folder / "responses").write_text(answer + "\n")
    port = free_port()
    command = [path, "ocspserve", "-address=127.0.0.1", f"-port={port}", "-loglevel=4"]
    command += [f"-responses={folder / 'responses'}"]
    with running(bench.on_server(command), log=folder / "log", port=port):
        yield Cfssl(
            url=f"http://127.0.0.1:{port}/",
            folder=folder,
            request=ocsp_request(leaf, authority.certificate),
        )


def version(bench: Bench) -> str:
    """What it says about itself."""
    return first_line(bench, "cfssl", "version")
