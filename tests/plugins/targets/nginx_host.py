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
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import structlog
from certctl_targets.nginx import Nginx

from certctl_core.contracts.targets import Bundle, Protocol
from certctl_core.deploy import DeployEngine, DeployReport, Policy, Stage
from certctl_core.deploy.errors import ConnectFailed
from certctl_core.deploy.files import LocalFiles
from certctl_core.deploy.verify import Served, probe
from certctl_core.kernel.clock import SystemClock
from tests.machine import PATIENCE_SECONDS, eventually, free_port

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


_RELOAD = """#!/bin/sh
master=$(cat {directory}/nginx.pid)
old=$(cat /proc/$master/task/$master/children)
{command} -s reload || exit
for worker in $old; do
    while kill -0 $worker 2>/dev/null; do sleep 0.05; done
done
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
        self.waiting_reload = directory / "reload-and-wait"
        """A reload that ends when the old workers have; nginx's own returns at once."""

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
        host.waiting_reload.write_text(
            _RELOAD.format(directory=directory, command=" ".join(host.command))
        )
        host.waiting_reload.chmod(0o700)
        return host

    def put(self, bundle: Bundle) -> None:
        """Install files by hand, as an operator did years ago."""
        self.cert.write_text(bundle.fullchain)
        self.key.write_bytes(bundle.key)
        self.key.chmod(0o600)

    def start(self) -> None:
        subprocess.run(self.command, check=True, capture_output=True)
        _until(lambda: self._master() > 0, "nginx has written its process id")

    def stop(self) -> None:
        pid_file = self.directory / "nginx.pid"
        if not pid_file.exists():
            return
        _until(lambda: self._master() > 0, "nginx has written its process id")
        os.kill(self._master(), signal.SIGTERM)
        _until(lambda: not pid_file.exists(), "nginx ends")

    def break_configuration(self) -> None:
        (self.directory / "conf.d" / "broken.conf").write_text("server { no_such_directive; }\n")

    def mend_configuration(self) -> None:
        (self.directory / "conf.d" / "broken.conf").unlink(missing_ok=True)

    def workers(self) -> set[int]:
        """The worker processes that are neither shutting down nor dead."""
        master = self._master()
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        titles = {int(pid): _title(pid) for pid in children}
        return {pid for pid, title in titles.items() if title and "shutting down" not in title}

    def served(self, name: str = NAME) -> Served:
        return probe(
            ("127.0.0.1", self.port),
            server_name=name,
            protocol=Protocol.TLS,
            timeout=timedelta(seconds=PATIENCE_SECONDS),
        )

    def settles_on(self, fingerprint: str) -> bool:
        """Whether soon only this certificate is served.

        nginx lets its old workers accept for another 100 ms after a reload, or longer on a busy
        machine: what is served counts when there was one worker before and after the look.
        """

        def is_settled() -> bool:
            before = self.workers()
            leaf = self.served().leaf
            return len(before) == 1 and leaf == fingerprint and self.workers() == before

        _until(is_settled, "one worker serves the certificate")
        return True

    def has_only_new_workers(self, old: set[int]) -> bool:
        """Whether soon there are workers, and none of the old ones takes connections."""

        def are_others() -> bool:
            now = self.workers()
            return bool(now) and now.isdisjoint(old)

        _until(are_others, "new workers replace the old ones")
        return True

    def _master(self) -> int:
        return int((self.directory / "nginx.pid").read_text().strip() or 0)

    def config(self, **changes: object) -> dict[str, object]:
        return {
            "cert_path": str(self.cert),
            "key_path": str(self.key),
            "validate_command": [*self.command, "-t"],
            "reload_command": [*self.command, "-s", "reload"],
            "verify": {
                "endpoint": f"127.0.0.1:{self.port}",
                "server_name": NAME,
                # nginx reloads after its command has returned, on a busy machine long after.
                "backoff": "100ms",
                "max_backoff": "5s",
                "attempts": 10,
            },
            **changes,
        }

    def engine(self, files: LocalFiles | None = None, *commands: str) -> DeployEngine:
        policy = Policy(
            roots=(str(self.tls),),
            commands=(
                tuple(self.command),
                (str(self.waiting_reload),),
                *((command,) for command in commands),
            ),
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


def _title(pid: str) -> str:
    """What a process calls itself; nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _until(condition: Callable[[], bool], what: str) -> None:
    def look() -> bool:
        try:
            return condition()
        except (FileNotFoundError, ProcessLookupError, ConnectFailed):
            return False  # Not there yet.

    eventually(look, what=what)


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
