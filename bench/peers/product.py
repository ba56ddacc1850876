"""The product as it is installed: ``certctl serve`` on PostgreSQL or SQLite."""

from __future__ import annotations

import base64
import json
import shutil
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

from bench.model import Bench, Broken, Unavailable
from bench.peers.postgres import postgres
from bench.processes import free_port, running


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A running installation.

    Attributes:
        url: Of the main listener.
        api_key: Of an administrator.
        data_dir: Where it keeps its files.
        database: Its database as a URL.
        pid: Of the supervising process.
        command / environ: How it was started.
        pki_url: Plain-HTTP listener of the public PKI paths.
    """

    url: str
    api_key: str
    data_dir: Path
    database: str
    pid: int
    command: list[str]
    environ: dict[str, str]
    pki_url: str

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One request of the API; the decoded answer."""
        request = urllib.request.Request(
            self.url + "/api/v1" + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.api_key}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, context=_blind()) as answer:
            return json.loads(answer.read() or b"null")

    def get(self, path: str) -> bytes:
        """The bytes behind a path of the main listener."""
        with urllib.request.urlopen(self.url + path, context=_blind()) as answer:
            return bytes(answer.read())

    def etag(self, path: str) -> str:
        """The entity tag of what is behind a path."""
        with urllib.request.urlopen(self.url + path, context=_blind()) as answer:
            return str(answer.headers["ETag"])

    def authority(self, issuer_id: str = "iss-local") -> x509.Certificate:
        """The certificate of the issuing CA."""
        return x509.load_der_x509_certificate(self.get(f"/.well-known/pki/ca/{issuer_id}"))

    def issue(self, csr_pem: str) -> x509.Certificate:
        """Issue through the API and read the leaf back."""
        answer = self.call("POST", "/certificates", {"csr_pem": csr_pem})
        return x509.load_pem_x509_certificate(find_pem(answer).encode())


def find_pem(document: Any) -> str:
    """The first certificate in an answer, wherever the schema has it."""
    if isinstance(document, str):
        return document if document.startswith("-----BEGIN CERTIFICATE") else ""
    values: list[Any] = []
    if isinstance(document, dict):
        values = list(document.values())
    elif isinstance(document, list):
        values = document
    return next((found for found in map(find_pem, values) if found), "")


@contextmanager
def product(
    bench: Bench,
    *,
    workers: int = 1,
    engine: str = "postgres",
    name: str = "certctl",
    database: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Product]:
    """An installation with fresh data, general request limits off, all else as it comes.

    Args:
        settings: Further variables of its environment.

    Raises:
        Unavailable: The command is not installed, or PostgreSQL is not.
    """
    folder = bench.subfolder(name)
    if database is not None:
        with _serve(bench, folder, database, workers, settings) as running_product:
            yield running_product
    elif engine == "postgres":
        with (
            postgres(bench, name) as uri,
            _serve(bench, folder, uri, workers, settings) as running_product,
        ):
            yield running_product
    else:
        url = f"sqlite:///{folder / 'certctl.db'}"
        with _serve(bench, folder, url, workers, settings) as running_product:
            yield running_product


@contextmanager
def _serve(
    bench: Bench,
    folder: Path,
    database: str,
    workers: int,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Product]:
    port, pki_port = free_port(), free_port()
    environ = {
        "CERTCTL_DATA_DIR": str(folder / "data"),
        "CERTCTL_DATABASE_URL": database,
        "CERTCTL_SERVER_PORT": str(port),
        "CERTCTL_SERVER_WORKERS": str(workers),
        "CERTCTL_RATE_LIMIT_ENABLED": "false",
        "CERTCTL_OCSP_RATE_LIMIT_PER_IP_MIN": "0",
        "CERTCTL_PKI_HTTP_LISTEN": f"127.0.0.1:{pki_port}",
        "CERTCTL_CONFIG_ENCRYPTION_KEYS": "k1:" + base64.b64encode(bytes(range(32))).decode(),
        **(settings or {}),
    }
    command = [*certctl(), "serve"]
    with running(
        bench.on_server(command), log=folder / "server.log", environ=environ, port=port
    ) as process:
        yield Product(
            url=f"https://127.0.0.1:{port}",
            api_key=_first_key(folder / "data"),
            data_dir=folder / "data",
            database=database,
            pid=process.pid,
            command=command,
            environ=environ,
            pki_url=f"http://127.0.0.1:{pki_port}",
        )


def certctl() -> list[str]:
    """The installed command.

    Raises:
        Unavailable: It is not beside this interpreter.
    """
    path = Path(sys.executable).parent / "certctl"
    found = str(path) if path.exists() else shutil.which("certctl")
    if found is None:
        raise Unavailable(what="certctl", hint="pip install '.[server]'")
    return [found]


def version(_bench: Bench) -> str:
    """What ``certctl --version`` says."""
    done = subprocess.run([*certctl(), "--version"], check=False, capture_output=True, text=True)
    return done.stdout.strip()


def _first_key(data_dir: Path) -> str:
    for line in (data_dir / "client.toml").read_text().splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "api_key":
            return value.strip().strip('"')
    raise Broken(what=str(data_dir / "client.toml"), why="it names no API key")


def _blind() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
