"""A whole installation behind a real TLS listener on loopback, for the client and the CLI."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import trustme
from certctl_client import Client
from certctl_flask.app import create_app
from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server

from certctl_core.app import Core
from certctl_core.kernel.config import Settings
from certctl_core.people.identity.schemas import CreateAPIKey
from tests.machine import PATIENCE_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What a test needs to talk to it.

    Attributes:
        core: The installation; its loops and jobs do not run by themselves.
        url: Where it listens.
        ca_path: The CA of its TLS certificate.
        ca_crt: The installation's own CA, in PEM.
        keys: API keys by role: ``admin``, ``viewer``.
        data_dir: Holds a ``client.toml`` for the administrator.
    """

    core: Core
    url: str
    ca_path: Path
    ca_crt: Path
    keys: dict[str, str]
    data_dir: Path

    def client(self, role: str = "admin", **settings: Any) -> Client:
        """A client with the key of a role."""
        return Client(self.url, api_key=self.keys[role], ca_path=self.ca_path, **settings)


@contextmanager
def tls_server(app: Any, folder: Path) -> Iterator[tuple[str, Path]]:
    """Serve a WSGI application over TLS; gives its address and the file with its CA."""
    ca = trustme.CA()
    pair = ca.issue_cert("127.0.0.1", "localhost")
    chain, key, ca_path = folder / "tls.pem", folder / "tls.key", folder / "tls-ca.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in pair.cert_chain_pems))
    key.write_bytes(pair.private_key_pem.bytes())
    ca_path.write_bytes(ca.cert_pem.bytes())
    # A client may be away for longer than a server usually waits, on a busy machine.
    server = Server(("127.0.0.1", 0), app, numthreads=2, timeout=int(PATIENCE_SECONDS))
    server.ssl_adapter = BuiltinSSLAdapter(str(chain), str(key))
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.bind_addr[1]}", ca_path
    finally:
        server.stop()
        thread.join(timeout=PATIENCE_SECONDS)


@contextmanager
def _silence() -> Iterator[None]:
    """The server's log would end up between the answers of the command line."""

    def drop(_logger: object, _method: str, _event: Any) -> Any:
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[drop], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)


@contextmanager
def live_installation(folder: Path, **more: Any) -> Iterator[Live]:
    """Open an installation in a folder, serve it, make keys for it; ``more`` are settings."""
    settings = Settings.for_directory(folder / "data", rate_limit_enabled=False, **more)
    with (
        _silence(),
        Core.open(settings) as core,
        tls_server(create_app(core), folder) as (url, ca_path),
    ):
        keys = {role: _key(core, role) for role in ("admin", "operator", "viewer")}
        ca_crt = folder / "ca.crt"
        chain = core.call("issuers.ca_chain", path={"issuer_id": "iss-local"}).certificates
        ca_crt.write_text("".join(chain))
        client_dir = folder / "client"
        client_dir.mkdir()
        (client_dir / "client.toml").write_text(
            f'url = "{url}"\napi_key = "{keys["admin"]}"\nca_path = "{ca_path}"\n'
        )
        yield Live(
            core=core, url=url, ca_path=ca_path, ca_crt=ca_crt, keys=keys, data_dir=client_dir
        )


def _key(core: Core, role: str) -> str:
    body = CreateAPIKey(name=f"test-{role}", role_ids=[f"r-{role}"], no_expiry=True)
    return str(core.call("api_keys.create", body=body).key_value)
