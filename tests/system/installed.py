"""The installed package as its user meets it: the programs of this environment and its server."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.frontends.server.running import Running, environment
from tests.machine import PATIENCE_SECONDS, eventually, free_port

PROGRAM = Path(sys.prefix) / "bin" / "certctl"
"""The entry point that belongs to the interpreter of this run."""


@dataclass(slots=True)
class Served:
    """A running server, and ways to talk to it."""

    running: Running
    pki: str

    @property
    def directory(self) -> Path:
        """Its data directory."""
        return self.running.directory

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://127.0.0.1:{self.running.port}"

    def client(
        self, *, key: str | None = None, timeout: float = PATIENCE_SECONDS, root: str = ""
    ) -> httpx.Client:
        """A client that trusts ``ca.crt`` and uses the key of ``client.toml`` (or another).

        It looks into the file once: ``root`` is the CA that the server's own certificate may come
        from while the client is in use.
        """
        key = self.running.key if key is None else key
        trusted = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        if root:
            trusted.load_verify_locations(cadata=root)
        return httpx.Client(
            base_url=f"{self.url}/api/v1",
            verify=trusted,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=timeout,
            trust_env=False,
        )

    def kill(self) -> None:
        """SIGKILL: nothing is finished, nothing is said to anybody."""
        if self.running.process.poll() is None:
            self.running.process.kill()
            self.running.process.wait()

    def start_again(self) -> None:
        """A new process with the same settings at the same address."""
        self.running = launch(self.directory, self.running.port, **self.running.settings)

    def certctl(self, *arguments: str, status: int = 0) -> str:
        """What ``certctl --data-dir DIR …`` prints; fails on another exit code."""
        command = [str(PROGRAM), "--data-dir", str(self.directory), *arguments]
        kept = environment(self.directory, self.running.port, **self.running.settings)
        done = subprocess.run(
            command, env=kept, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        assert done.returncode == status, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout


def launch(directory: Path, port: int, **settings: str) -> Running:
    """Run ``certctl serve`` and wait until it is ready."""
    log = directory.with_name(f"{directory.name}.log")
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [str(PROGRAM), "serve", "--data-dir", str(directory), "--listen", f"127.0.0.1:{port}"],
            env=environment(directory, port, **settings),
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    running = Running(directory, port, process, log, None, settings)
    try:
        eventually(
            lambda: "server.ready" in running.text() or process.poll() is not None,
            seconds=2 * PATIENCE_SECONDS,
            what="ready",
        )
        assert process.poll() is None, running.text()
    except BaseException:
        process.kill()
        process.wait()
        raise
    return running


@contextmanager
def served(directory: Path, **settings: str) -> Iterator[Served]:
    """A server for the time of a block."""
    pki = free_port()
    settings = {
        "RATE_LIMIT_ENABLED": "false",
        "SERVER_WORKERS": "1",
        "PKI_HTTP_LISTEN": f"127.0.0.1:{pki}",
        **settings,
    }
    server = Served(launch(directory, free_port(), **settings), f"http://127.0.0.1:{pki}")
    try:
        yield server
    finally:
        server.kill()


def run(tool: str, *arguments: str | Path, status: int | None = 0) -> str:
    """What a program of the machine prints, both channels."""
    done = subprocess.run(
        [tool, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    assert status is None or done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def fetched(url: str) -> httpx.Response:
    """What anybody gets from an address."""
    return httpx.get(url, trust_env=False, timeout=PATIENCE_SECONDS)


def request_for(*names: str, key: ec.EllipticCurvePrivateKey | None = None) -> str:
    """A PKCS#10 request for these host names, in PEM; the first one is the common name."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    sans = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = builder.add_extension(sans, critical=False)
    key = key or ec.generate_private_key(ec.SECP256R1())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def rows(client: httpx.Client, path: str, **query: Any) -> list[dict[str, Any]]:
    """Every row of a list, by its cursors."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        more = {"cursor": cursor} if cursor else {}
        answer = client.get(path, params={"page_size": 200, **query, **more})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["data"]
        cursor = page.get("next_cursor")
        if cursor is None:
            return found


def counted_status(client: httpx.Client) -> dict[str, int]:
    """Certificates per state as the counters tell it."""
    data = client.get("/stats/certificates-by-status").json()["data"]
    return {row["status"]: row["count"] for row in data}


def listed_status(client: httpx.Client) -> dict[str, int]:
    """Certificates per state as the rows tell it."""
    found: dict[str, int] = {}
    for row in rows(client, "/certificates", include_archived=True):
        found[row["status"]] = found.get(row["status"], 0) + 1
    return found
