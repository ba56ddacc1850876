"""The server as its operator meets it: one process tree, SQLite, no configuration (spec 08 §1, §3)."""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.frontends.server.running import Running, key_in, run_to_end, started
from tests.machine import PATIENCE_SECONDS, eventually, free_port

pytestmark = pytest.mark.xdist_group("server")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server after its very first start, for everything that does not end it."""
    with started(tmp_path_factory.mktemp("first") / "data") as running:
        yield running


def openssl(tool: Callable[[str], str], server: Running, *arguments: str) -> str:
    done = subprocess.run(
        [tool("openssl"), "s_client", "-connect", f"127.0.0.1:{server.port}", *arguments],
        input="",
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    return done.stdout + done.stderr


class TestFirstStart:
    def test_what_lies_in_the_directory_is_private(self, server: Running) -> None:
        assert server.directory.stat().st_mode & 0o777 == 0o700
        modes = {path.name: path.stat().st_mode & 0o777 for path in server.directory.iterdir()}

        assert modes.pop("ca.crt") == 0o644
        assert {"certctl.db", "client.toml", "keyring", "server.pem"} <= modes.keys()
        assert {name: mode for name, mode in modes.items() if mode & 0o077} == {}

    def test_the_key_is_shown_once_with_url_and_ca(self, server: Running) -> None:
        text = server.text()

        assert key_in(text) == [server.key]
        assert f"https://127.0.0.1:{server.port}" in text
        assert str(server.directory / "ca.crt") in text
        assert str(server.directory / "client.toml") in text

    def test_the_key_administers(self, server: Running) -> None:
        status, body = server.get("/api/v1/certificates", key=server.key)

        assert status == 200
        assert "certctl-server" in body.decode()

    @pytest.mark.spec("08/TLS-6")
    def test_its_certificate_is_one_of_its_own(
        self, server: Running, tool: Callable[[str], str]
    ) -> None:
        status, body = server.get("/api/v1/certificates/mc-certctl-server", key=server.key)
        managed = json.loads(body)
        pem = server.directory / "server.pem"
        verified = subprocess.run(
            [tool("openssl"), "verify", "-CAfile", server.directory / "ca.crt", pem],
            capture_output=True,
            text=True,
        )

        assert status == 200
        assert managed["name"] == "certctl-server"
        assert managed["status"] == "Active"
        names = {managed["common_name"], *managed["sans"]}
        assert names == {"certctl-server", "localhost", "127.0.0.1", "::1"}
        assert verified.returncode == 0, verified.stderr
        assert server.serial().lstrip("0") == _version(server)["serial_number"].lstrip("0")

    @pytest.mark.spec("08/BOOT-0")
    def test_loops_run(self, server: Running) -> None:
        def has_run() -> bool:
            status, body = server.get("/api/v1/admin/loops", key=server.key)
            return status == 200 and b'"audit_seal"' in body

        eventually(has_run, what="loops are known")


def _version(server: Running) -> dict[str, str]:
    path = "/api/v1/certificates/mc-certctl-server/versions"
    data = json.loads(server.get(path, key=server.key)[1])
    rows: list[dict[str, str]] = data["data"]
    return rows[0]


class TestTLS:
    @pytest.mark.spec("08/TLS-1", "08/TLS-11")
    def test_tls_1_2_is_refused(self, server: Running, tool: Callable[[str], str]) -> None:
        assert "alert" in openssl(tool, server, "-tls1_2")

    @pytest.mark.spec("08/TLS-1", "08/TLS-2")
    @pytest.mark.parametrize("group", ["X25519", "P-256"])
    def test_tls_1_3_is_spoken(
        self, server: Running, tool: Callable[[str], str], group: str
    ) -> None:
        said = openssl(tool, server, "-tls1_3", "-groups", group, "-alpn", "h2,http/1.1", "-brief")

        assert "TLSv1.3" in said
        assert "alert" not in said

    @pytest.mark.spec("08/TLS-1")
    def test_plain_http_gets_no_content(self, server: Running) -> None:
        address = ("127.0.0.1", server.port)
        with closing(socket.create_connection(address, timeout=PATIENCE_SECONDS)) as plain:
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            data = plain.recv(4096)

        assert b"healthy" not in data


class TestMetrics:
    def test_numbers_of_all_processes_come_together(self, server: Running) -> None:
        def is_counted() -> bool:
            status, body = server.get("/metrics", key=server.key)
            return status == 200 and b"certctl_http_requests_total" in body

        eventually(is_counted, what="requests are counted")
        body = server.get("/api/v1/metrics/prometheus", key=server.key)[1]
        assert b'certctl_certificates{status="Active"} 1.0' in body
        assert b"certctl_build_info{" in body
        assert server.get("/metrics")[0] == 401


class TestSlowClients:
    @pytest.mark.spec("08/TLS-9")
    def test_unfinished_bodies_hold_up_nobody(self, server: Running) -> None:
        head = (
            b"POST /api/v1/certificates HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
        )
        slow = [server.connect() for _ in range(20)]
        try:
            for connection in slow:
                connection.connect()
                connection.sock.sendall(head)

            assert server.get("/ready")[0] == 200
            assert server.get("/api/v1/certificates", key=server.key)[0] == 200
        finally:
            for connection in slow:
                connection.close()


class TestSupervision:
    @pytest.mark.spec("08/BOOT-3")
    def test_killed_children_come_back(self, server: Running) -> None:
        # Of every child that stays; a reload has one more for a moment.
        names = ["background", "web-1"]
        eventually(lambda: sorted(server.at_work().values()) == names, what="both are there")
        before = server.at_work()

        for number in before:
            os.kill(number, signal.SIGKILL)

        def are_back() -> bool:
            now = server.at_work()
            return sorted(now.values()) == names and not now.keys() & before.keys()

        eventually(are_back, what="new children")
        eventually(server.is_ready, what="ready again")
        assert server.process.poll() is None
        died = {line["child"]: line["code"] for line in server.events("server.child_died")}
        assert died == {"web-1": -9, "background": -9}

    @pytest.mark.spec("08/BOOT-5")
    def test_hang_up_keeps_serving(self, server: Running) -> None:
        with closing(server.connect()) as kept:
            kept.request("GET", "/health")
            kept.getresponse().read()
            reloads = len(server.events("server.reloading"))

            server.hang_up()
            eventually(lambda: len(server.events("server.reloading")) > reloads, what="reload")

            kept.request("GET", "/health")
            assert kept.getresponse().status == 200
        assert server.is_ready()

    @pytest.mark.spec("08/DB-5", "08/GUARD-12")
    def test_a_second_server_on_the_file_is_refused(self, server: Running) -> None:
        done = run_to_end(server.directory, free_port())

        assert done.returncode == 3
        assert "in use by another certctl server" in done.stderr
        assert str(server.process.pid) in done.stderr
        assert server.is_ready()


class TestStop:
    @pytest.mark.spec("08/BOOT-4")
    def test_stops_under_load_and_starts_again_with_everything(self, tmp_path: Path) -> None:
        directory = tmp_path / "data"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with started(directory, RATE_LIMIT_ENABLED="false") as first:
            key, ca = first.key, (directory / "ca.crt").read_bytes()
            answered = _load(first)
            assert first.stop() == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert answered() > 0
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        assert spent < 10  # seconds of processor for start, load and stop: nothing spins

        with started(directory) as second:
            assert key_in(second.text()) == []
            assert second.get("/api/v1/certificates", key=key)[0] == 200
            assert (directory / "ca.crt").read_bytes() == ca

            # A parent that is shot takes its children with it, and the port is free again.
            children = second.children()
            second.process.kill()
            second.process.wait()
            eventually(lambda: not any(map(_runs, children)), what="children end")

    @pytest.mark.spec("08/BOOT-5")
    def test_the_second_signal_does_not_wait(self, tmp_path: Path) -> None:
        with started(tmp_path / "data") as running, closing(running.connect()) as busy:
            busy.connect()
            busy.sock.sendall(
                b"POST /api/v1/certificates HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                b"Expect: 100-continue\r\n\r\n"
            )
            # Said when somebody waits for the body: the request has begun.
            assert busy.sock.recv(4096).startswith(b"HTTP/1.1 100 ")
            running.process.send_signal(signal.SIGTERM)
            eventually(lambda: "server.stopping" in running.text(), what="stopping")
            assert running.process.poll() is None  # it waits for the request

            running.process.send_signal(signal.SIGTERM)

            assert running.wait() == 130


@pytest.mark.spec("08/BOOT-4", "08/BOOT-0")
def test_a_worker_alone_runs_and_stops(tmp_path: Path) -> None:
    with started(tmp_path / "data", command="worker") as running:
        eventually(lambda: len(running.children()) == 1, what="one child")
        running.hang_up()
        eventually(lambda: bool(running.events("server.reloading")), what="reload")
        assert running.process.poll() is None
        assert running.stop() == 0


@pytest.mark.spec("08/BOOT-3")
def test_a_part_that_keeps_dying_ends_the_server(tmp_path: Path) -> None:
    with started(tmp_path / "data", command="worker") as running:
        killed: set[int] = set()
        while running.process.poll() is None:
            with suppress(OSError):  # it may end while we look
                for number in set(running.children()) - killed:
                    killed.add(number)
                    os.kill(number, signal.SIGKILL)
            time.sleep(0.02)

        assert running.wait() == 10
        assert running.events("server.part_lost")


def _runs(number: int) -> bool:
    """Whether a process runs; one that has ended may wait for somebody to take note."""
    try:
        text = Path(f"/proc/{number}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] not in {"Z", "X"}


def _load(running: Running) -> Callable[[], int]:
    """Ask without a pause until the server is gone; gives how often it answered."""
    count = [0]
    begun = threading.Event()

    def ask() -> None:
        try:
            with closing(running.connect()) as connection:
                while True:
                    connection.request("GET", "/health")
                    assert connection.getresponse().read() == b'{"status":"healthy"}'
                    count[0] += 1
                    begun.set()
        except (OSError, http.client.HTTPException):
            return  # it closed the connection between two answers

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(PATIENCE_SECONDS)

    def answered() -> int:
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()
        return count[0]

    return answered
