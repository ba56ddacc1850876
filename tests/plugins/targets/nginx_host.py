"""A real nginx of its own in a directory, never the one of the system.

Two server blocks on one port: ``www.example.test`` serves what is deployed, ``other.example.test`` a
certificate of its own. Also run as a program: one deployment that kills itself at a given point.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import structlog
from certctl_targets.nginx import Nginx

from certctl_core.contracts.targets import Bundle, Protocol
from certctl_core.deploy import DeployEngine, DeployReport, Policy, Stage
from certctl_core.deploy.files import LocalFiles
from certctl_core.deploy.verify import Served, probe
from certctl_core.kernel.clock import SystemClock
from tests.machine import free_port

TARGET_ID = "tgt-nginx"
NAME = "www.example.test"
OTHER = "other.example.test"

_CONFIG = """
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
{user}
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2;
    fastcgi_temp_path {directory}/t3; uwsgi_temp_path {directory}/t4; scgi_temp_path {directory}/t5;
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name {other};
        ssl_certificate {directory}/other.pem;
        ssl_certificate_key {directory}/other.key;
    }}
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name {name};
        ssl_certificate {cert};
        ssl_certificate_key {key};
    }}
    include {directory}/conf.d/*.conf;
}}
"""


class NginxHost:
    """A directory with an nginx in it."""

    def __init__(self, directory: Path, nginx: str, port: int) -> None:
        self.directory = directory
        self.nginx = nginx
        self.port = port
        self.tls = directory / "tls"
        self.cert = self.tls / "cert.pem"
        self.key = self.tls / "key.pem"
        self.conf = directory / "nginx.conf"
        self.command = [nginx, "-p", str(directory), "-c", str(self.conf)]

    @classmethod
    def make(cls, directory: Path, nginx: str, other: Bundle) -> NginxHost:
        port = free_port()
        host = cls(directory, nginx, port)
        host.tls.mkdir(mode=0o755)
        (directory / "conf.d").mkdir()
        (directory / "other.pem").write_text(other.fullchain)
        (directory / "other.key").write_bytes(other.key)
        host.conf.write_text(
            _CONFIG.format(
                directory=directory,
                port=port,
                other=OTHER,
                name=NAME,
                cert=host.cert,
                key=host.key,
                user="user root;" if os.geteuid() == 0 else "",
            )
        )
        return host

    def put(self, bundle: Bundle) -> None:
        """Install files by hand, as an operator did years ago."""
        self.cert.write_text(bundle.fullchain)
        self.key.write_bytes(bundle.key)
        self.key.chmod(0o600)

    def start(self) -> None:
        subprocess.run(self.command, check=True, capture_output=True)
        _until(lambda: (self.directory / "nginx.pid").read_text().strip() != "")

    def stop(self) -> None:
        pid_file = self.directory / "nginx.pid"
        if not pid_file.exists():
            return
        master = int(pid_file.read_text())
        os.kill(master, signal.SIGTERM)
        _until(lambda: not pid_file.exists())

    def break_configuration(self) -> None:
        (self.directory / "conf.d" / "broken.conf").write_text("server { no_such_directive; }\n")

    def mend_configuration(self) -> None:
        (self.directory / "conf.d" / "broken.conf").unlink(missing_ok=True)

    def workers(self) -> set[int]:
        """The worker processes that are not shutting down."""
        master = int((self.directory / "nginx.pid").read_text())
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        titles = {int(pid): Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
        return {pid for pid, title in titles.items() if "shutting down" not in title}

    def served(self, name: str = NAME) -> Served:
        return probe(
            ("127.0.0.1", self.port),
            server_name=name,
            protocol=Protocol.TLS,
            timeout=timedelta(seconds=5),
        )

    def settles_on(self, fingerprint: str) -> bool:
        """Whether soon only this certificate is served.

        nginx lets its old workers accept for another 100 ms after a reload.
        """
        _until(lambda: all(self.served().leaf == fingerprint for _ in range(3)))
        return True

    def has_only_new_workers(self, old: set[int]) -> bool:
        """Whether soon none of the old workers takes connections."""
        _until(lambda: self.workers().isdisjoint(old))
        return True

    def config(self, **changes: object) -> dict[str, object]:
        return {
            "cert_path": str(self.cert),
            "key_path": str(self.key),
            "validate_command": [*self.command, "-t"],
            "reload_command": [*self.command, "-s", "reload"],
            "verify": {
                "endpoint": f"127.0.0.1:{self.port}",
                "server_name": NAME,
                "backoff": "100ms",
                "max_backoff": "500ms",
                "attempts": 8,
            },
            **changes,
        }

    def engine(self, files: LocalFiles | None = None, *commands: str) -> DeployEngine:
        policy = Policy(
            roots=(str(self.tls),),
            commands=(tuple(self.command), *((command,) for command in commands)),
        )
        return DeployEngine(
            self.directory / "state",
            policy,
            SystemClock(),
            structlog.get_logger("certctl.deploy"),
            lock_wait=timedelta(seconds=1),
            files=files,
        )

    def deploy(self, bundle: Bundle, *, force: bool = False, **config: object) -> DeployReport:
        engine = self.engine()
        return engine.deploy(
            engine.build(Nginx, self.config(**config), target_id=TARGET_ID),
            bundle,
            version_id=bundle.version_id,
            target_id=TARGET_ID,
            force=force,
        )


def _until(condition) -> None:
    for _ in range(200):
        try:
            if condition():
                return
        except (FileNotFoundError, ProcessLookupError):
            pass  # Not there yet, or a worker that ended while we looked.
        time.sleep(0.02)
    message = "nginx did not get there in time"
    raise TimeoutError(message)


class _KillAfterFirstCommit(LocalFiles):
    def commit(self, temporary: str, path: str) -> None:
        super().commit(temporary, path)
        os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: str) -> None:
    """Deploy, and die at a stage or between the two renames."""
    given = json.loads(arguments)
    host = NginxHost(Path(given["directory"]), given["nginx"], given["port"])
    point = given["point"]
    bundle = Bundle.build(
        given["leaf"], given["chain"], given["key"], given["certificate_id"], given["version_id"]
    )

    def die(stage: Stage) -> None:
        if stage.value == point:
            os.kill(os.getpid(), signal.SIGKILL)

    engine = host.engine(_KillAfterFirstCommit() if point == "between renames" else None)
    engine.deploy(
        engine.build(Nginx, host.config(), target_id=TARGET_ID),
        bundle,
        version_id=bundle.version_id,
        target_id=TARGET_ID,
        tag="job-1:lease-1",
        on_stage=die,
    )


if __name__ == "__main__":
    main(sys.stdin.read())
