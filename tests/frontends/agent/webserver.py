"""A real nginx of a test's own, as an agent deploys to it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

from tests.machine import eventually, free_port

_HEAD = """
user root; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/logs/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    include {folder}/conf.d/*.conf;
"""
_SERVER = """
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/tls/{name}.crt;
        ssl_certificate_key {folder}/tls/{name}.key;
        return 200 "ok";
    }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nginx:
    """One TLS server of a running nginx."""

    folder: Path
    port: int
    command: str
    name: str = "web"

    @property
    def host(self) -> str:
        """The name that it is asked for."""
        return f"{self.name}.example.test"

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of a target that deploys to it."""
        return {
            "cert_path": str(self.folder / "tls" / f"{self.name}.crt"),
            "key_path": str(self.folder / "tls" / f"{self.name}.key"),
            "validate_command": f"{self.command} -t",
            "reload_command": f"{self.command} -s reload",
            "verify": {
                "endpoint": f"127.0.0.1:{self.port}",
                "server_name": self.host,
                # nginx reloads after its command has returned, on a busy machine long after.
                "attempts": 10,
                "backoff": "200ms",
                "max_backoff": "5s",
            },
        }

    def await_serving(self, fingerprint: str) -> None:
        """Wait until it serves that certificate: after a reload old workers may still answer."""
        eventually(
            lambda: self.served() == fingerprint and not self.is_reloading(),
            what="the certificate to be served",
        )

    def is_reloading(self) -> bool:
        """Whether a worker from before a reload may still answer beside the new one."""
        master = (self.folder / "nginx.pid").read_text().strip()
        workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        accepting = 0
        for worker in workers:
            with suppress(OSError):
                title = Path(f"/proc/{worker}/cmdline").read_bytes()
                accepting += bool(title) and b"shutting down" not in title
        return accepting > 1

    def served(self) -> str:
        """SHA-256 of the certificate that it serves now."""
        pem = ssl.get_server_certificate(("127.0.0.1", self.port))
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()

    def policy(self, *scripts: Path) -> Path:
        """A policy file that lets the agent drive it, and run these scripts."""
        path = self.folder / "policy.toml"
        commands = [self.command.split(), *([str(script)] for script in scripts)]
        path.write_text(
            f'commands = {json.dumps(commands)}\n[paths]\nwrite = ["{self.folder}/tls"]\n'
        )
        path.chmod(0o600)
        return path

    def slow_reload(self, pause: Path, begun: Path) -> Path:
        """A reload command that notes its begin and ends when the file ``pause`` is gone."""
        script = self.folder / "reload.sh"
        script.write_text(
            f"#!/bin/sh\ntouch {begun}\nwhile [ -e {pause} ]; do sleep 0.05; done\n"
            f"exec {self.command} -s reload\n"
        )
        script.chmod(0o700)
        return script

    def break_configuration(self) -> None:
        """Let ``nginx -t`` fail from now on; what runs goes on."""
        self._extra.write_text("no_such_directive on;\n")

    def pin_key(self) -> None:
        """Let ``nginx -t`` fail as soon as another key is in place: one more server uses this one."""
        pinned = self.folder / "pinned.key"
        pinned.write_bytes(Path(self.config["key_path"]).read_bytes())
        text = _SERVER.format(folder=self.folder, port=free_port(), name=self.name)
        self._extra.write_text(text.replace(self.config["key_path"], str(pinned)))

    def mend_configuration(self) -> None:
        """Undo both."""
        self._extra.unlink()

    @property
    def _extra(self) -> Path:
        return self.folder / "conf.d" / "extra.conf"


@contextmanager
def running_nginx(binary: str, folder: Path, *names: str) -> Iterator[tuple[Nginx, ...]]:
    """An nginx that serves somebody else's certificates so far, one TLS server for each name."""
    for part in ("tls", "logs", "conf.d"):
        (folder / part).mkdir(parents=True)
    config = folder / "nginx.conf"
    command = f"{binary} -p {folder} -c {config} -e {folder}/logs/error.log"
    sites = tuple(
        Nginx(folder=folder, port=free_port(), command=command, name=name) for name in names
    )
    text = _HEAD.format(folder=folder)
    for site in sites:
        pair = trustme.CA().issue_cert(site.host)
        pair.private_key_pem.write_to_path(site.config["key_path"])
        pair.cert_chain_pems[0].write_to_path(site.config["cert_path"])
        text += _SERVER.format(folder=folder, port=site.port, name=site.name)
    config.write_text(text + "}\n")
    subprocess.run(command.split(), check=True)
    number = folder / "nginx.pid"
    # What was started goes on in the background, and writes its number there.
    eventually(lambda: number.exists() and number.read_text().strip(), what="nginx runs")
    try:
        yield sites
    finally:
        # By its number: with a broken configuration `nginx -s` does nothing.
        os.kill(int(number.read_text()), signal.SIGTERM)
