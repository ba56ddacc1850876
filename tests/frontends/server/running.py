"""A real server in a process of its own, driven from outside: files, sockets, signals."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.machine import PATIENCE_SECONDS, eventually, free_port


def environment(directory: Path, port: int, **settings: str) -> dict[str, str]:
    """The environment of a server: nothing of ours but what Python needs."""
    keep = ("PATH", "HOME", "PYTHONPATH", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
    token = ("SOFTHSM2_CONF", "P11_KIT_SERVER_ADDRESS")  # what libraries of tokens read
    kept = {name: os.environ[name] for name in (*keep, *token) if name in os.environ}
    own = {"CERTCTL_DATA_DIR": str(directory), "CERTCTL_SERVER_PORT": str(port)}
    return kept | own | {f"CERTCTL_{name}": value for name, value in settings.items()}


def run_to_end(directory: Path, port: int, **settings: str) -> subprocess.CompletedProcess[str]:
    """Start a server that is expected to refuse."""
    return subprocess.run(
        [sys.executable, "-m", "certctl_server"],
        env=environment(directory, port, **settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@dataclass(slots=True)
class Running:
    """A server that was started."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    ca: str | None = None
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The first administrator's key, from ``client.toml``."""
        return str(tomllib.loads((self.directory / "client.toml").read_text())["api_key"])

    def text(self) -> str:
        """Everything it has written so far."""
        return self.log.read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        whole, _, _ = self.text().rpartition("\n")  # another process may be writing the last line
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [line for line in lines if line["msg"] == name]

    def connect(
        self, *, port: int | None = None, timeout: float = PATIENCE_SECONDS
    ) -> http.client.HTTPSConnection:
        """A connection that verifies the server's certificate."""
        context = ssl.create_default_context(cafile=self.ca or str(self.directory / "ca.crt"))
        return http.client.HTTPSConnection(
            "127.0.0.1", port or self.port, context=context, timeout=timeout
        )

    def get(self, path: str, *, key: str = "") -> tuple[int, bytes]:
        """Status and body of one GET on a connection of its own."""
        with closing(self.connect()) as connection:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def is_ready(self) -> bool:
        """Whether it answers that it is ready."""
        try:
            return self.get("/ready")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def children(self) -> list[int]:
        """Process numbers of its children."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(number) for number in path.read_text().split()]

    def at_work(self) -> dict[int, str]:
        """Process number and name of the children that have said that they are ready."""
        ready = {line["process"]: line["child"] for line in self.events("server.child_ready")}
        return {number: ready[number] for number in self.children() if number in ready}

    def workers(self) -> list[int]:
        """Process numbers of the children that answer requests."""
        return [number for number, name in self.at_work().items() if name.startswith("web-")]

    @contextmanager
    def replacing_workers(self) -> Iterator[None]:
        """What the block does replaces every worker; waits until none of before is left."""
        before: set[int] = set()

        def has_workers() -> bool:
            before.update(self.workers())
            return bool(before)

        def are_others() -> bool:
            now = set(self.workers())
            return bool(now) and not now & before

        eventually(has_workers, what="there are workers")
        yield
        eventually(are_others, what="all workers are replaced")

    def serial(self) -> str:
        """Serial number of the certificate that is served now, lower-case hex."""
        with closing(self.connect()) as connection:
            connection.connect()
            assert isinstance(connection.sock, ssl.SSLSocket)
            der = connection.sock.getpeercert(binary_form=True)
        assert der is not None
        from cryptography import x509

        return f"{x509.load_der_x509_certificate(der).serial_number:x}"

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """The exit code, when it has ended."""
        return self.process.wait(seconds)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def hang_up(self) -> None:
        """SIGHUP."""
        self.process.send_signal(signal.SIGHUP)


def start(
    directory: Path,
    *,
    port: int | None = None,
    ca: str | None = None,
    command: str = "serve",
    **settings: str,
) -> Running:
    """Start a server and wait until it answers."""
    port = port or free_port()
    log = directory.with_name(f"{directory.name}.log")
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "certctl_server", command],
            env=environment(directory, port, **settings),
            stderr=stderr,
        )
    running = Running(directory, port, process, log, ca, settings)
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
def started(directory: Path, **settings: Any) -> Iterator[Running]:
    """A server for the time of a block."""
    running = start(directory, **settings)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def key_in(text: str) -> list[str]:
    """API keys that a text shows."""
    return re.findall(r"ctl_[0-9a-z]{4}_[0-9a-f]{64}", text)
