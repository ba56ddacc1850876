"""``openssl ocsp`` as a responder (it signs each answer and closes each connection), ``openssl ca`` for CRLs."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.material import make_authority, make_leaf, ocsp_request
from bench.model import Bench, Broken
from bench.peers import revoked
from bench.processes import first_line, free_port, program, running

HINT = "apt-get install openssl"
_CA = """
[ca]
default_ca = this
[this]
database = {folder}/index.txt
certificate = {folder}/ca.pem
private_key = {folder}/ca-key.pem
crlnumber = {folder}/number
default_md = sha256
default_crl_days = 1
crl_extensions = extensions
[extensions]
authorityKeyIdentifier = keyid
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Responder:
    """A running responder and a request that it answers with ``good``."""

    url: str
    folder: Path
    request: bytes


@contextmanager
def responder(bench: Bench) -> Iterator[Responder]:
    """A responder that signs with the CA's key."""
    path = program(bench, "openssl", HINT)
    folder = bench.subfolder("openssl")
    authority = make_authority(folder)
    leaf = make_leaf(authority, "www.example.test")
    serial = f"{leaf.serial_number:X}"
    serial = serial.zfill(len(serial) + len(serial) % 2)
    until = leaf.not_valid_after_utc.strftime("%y%m%d%H%M%SZ")
    (folder / "index.txt").write_text(f"V\t{until}\t\t{serial}\tunknown\t/CN=www.example.test\n")
    log = folder / "log"
    log.unlink(missing_ok=True)
    port = free_port()
    ca, key = str(authority.certificate_path), str(authority.key_path)
    command = [path, "ocsp", "-port", str(port), "-index", str(folder / "index.txt"), "-CA", ca]
    command += ["-rsigner", ca, "-rkey", key, "-ndays", "1", "-ignore_err"]
    with running(bench.on_server(command), log=log, says="waiting for"):
        yield Responder(
            url=f"http://127.0.0.1:{port}/",
            folder=folder,
            request=ocsp_request(leaf, authority.certificate),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What one ``openssl ca -gencrl`` took."""

    milliseconds: float
    peak_kilobytes: int


def revocations(bench: Bench, entries: int) -> Path:
    """A CA in a folder whose index lists so many revoked certificates."""
    folder = bench.subfolder(f"openssl-crl-{entries}")
    if (folder / "ca.cnf").exists():
        return folder
    make_authority(folder)
    with (folder / "index.txt").open("w") as out:
        for number in range(1, entries + 1):
            serial = revoked.serial(number).upper()
            out.write(
                f"R\t281231235959Z\t261101000000Z,keyCompromise\t{serial}\tunknown"
                f"\t/CN=h{number}.example.test\n"
            )
    (folder / "number").write_text("1000\n")
    (folder / "ca.cnf").write_text(_CA.format(folder=folder))
    return folder


def generate_crl(bench: Bench, folder: Path) -> Generated:
    """Run ``openssl ca -gencrl`` once.

    Raises:
        Broken: It failed.
    """
    path = program(bench, "openssl", HINT)
    command = bench.on_server(
        [path, "ca", "-config", str(folder / "ca.cnf"), "-gencrl", "-out", str(folder / "crl.pem")]
    )
    begun = time.perf_counter()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    taken = (time.perf_counter() - begun) * 1000
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Broken(what="openssl ca -gencrl", why=(folder / "log").read_text()[-300:])
    return Generated(milliseconds=taken, peak_kilobytes=usage.ru_maxrss)


def version(bench: Bench) -> str:
    """What it says about itself."""
    return first_line(bench, "openssl", "version")
