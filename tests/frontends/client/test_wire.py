"""Connections of the client: kept, lost and found again, and led through a proxy."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from certctl_client import ServerUnreachable, UnexpectedAnswer
from certctl_client import http as client_http
from certctl_client import wire as client_wire
from certctl_client.http import HTTP
from certctl_client.wire import Answer, TooLong, Wire

from tests.frontends.client.live import tls_server
from tests.machine import PATIENCE_SECONDS


def _app(seen: list[dict[str, Any]], content: bytes = b"{}") -> Callable[..., list[bytes]]:
    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        seen.append(environ)
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        start("200 OK", headers)
        return [content]

    return answer


def _context(ca_path: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca_path))


def _get(wire: Wire, target: str = "/x", most: int = 1000) -> Answer:
    return wire.exchange(
        "GET", target, headers={}, body=None, timeout_seconds=PATIENCE_SECONDS, most=most
    )


def test_a_connection_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_wire, "_KEPT_SECONDS", PATIENCE_SECONDS)
    seen: list[dict[str, Any]] = []
    with tls_server(_app(seen), tmp_path) as (url, ca_path), HTTP(url, ca_path=ca_path) as http:
        for _ in range(3):
            http.send("GET", "/x")

    assert len({environ["REMOTE_PORT"] for environ in seen}) == 1


def test_threads_have_connections_of_their_own(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    both = threading.Barrier(2, timeout=PATIENCE_SECONDS)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        both.wait()
        return _app(seen)(environ, start)

    with tls_server(answer, tmp_path) as (url, ca_path), HTTP(url, ca_path=ca_path) as http:
        threads = [threading.Thread(target=http.send, args=("GET", "/x")) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len({environ["REMOTE_PORT"] for environ in seen}) == 2


def test_an_answer_without_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_http, "MAX_ANSWER", 10)
    app = _app([], b'{"a": "bcdefg"}')
    with (
        tls_server(app, tmp_path) as (url, ca_path),
        HTTP(url, ca_path=ca_path) as http,
        pytest.raises(UnexpectedAnswer),
    ):
        http.send("GET", "/x")


def test_the_limit_itself_is_taken(tmp_path: Path) -> None:
    with tls_server(_app([], b"12345"), tmp_path) as (url, ca_path):
        wire = Wire(url, context=_context(ca_path), use_proxy=False)
        assert _get(wire, most=5).content == b"12345"
        with pytest.raises(TooLong):
            _get(wire, most=4)
        wire.close()


@pytest.mark.parametrize("key", ["ctl_a\nX-Other: 1", "ctl_ä"])
def test_a_key_that_no_header_can_hold_goes_nowhere(tmp_path: Path, key: str) -> None:
    seen: list[dict[str, Any]] = []
    with (
        tls_server(_app(seen), tmp_path) as (url, ca_path),
        HTTP(url, ca_path=ca_path, api_key=key) as http,
        pytest.raises(ServerUnreachable) as failure,
    ):
        http.send("GET", "/x")

    assert "a header would hold characters" in failure.value.detail
    assert key not in failure.value.detail
    assert seen == []


@contextmanager
def _proxy(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A proxy for one connection: says ``answer`` to CONNECT, then hands bytes on."""
    heads: list[bytes] = []

    def serve() -> None:
        near, _ = listener.accept()
        with near:
            head = b""
            while b"\r\n\r\n" not in head:
                head += near.recv(4096)
            heads.append(head)
            near.sendall(answer)
            if b" 200 " not in answer:
                return
            host, _, port = head.split()[1].decode().rpartition(":")
            with socket.create_connection((host, int(port))) as far:
                back = threading.Thread(target=_pump, args=(far, near), daemon=True)
                back.start()
                _pump(near, far)
                back.join(timeout=PATIENCE_SECONDS)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://us%3Aer:pass@127.0.0.1:{listener.getsockname()[1]}", heads
        thread.join(timeout=PATIENCE_SECONDS)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


def test_a_proxy_leads_to_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    with (
        tls_server(_app(seen), tmp_path) as (url, ca_path),
        _proxy(b"HTTP/1.1 200 OK\r\n\r\n") as (
            proxy,
            heads,
        ),
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        wire = Wire(url, context=_context(ca_path), use_proxy=True)
        assert _get(wire).status == 200
        wire.close()

    place = url.removeprefix("https://").encode()
    assert heads[0].startswith(b"CONNECT " + place)
    assert b"Proxy-Authorization: Basic dXM6ZXI6cGFzcw==" in heads[0]
    assert len(seen) == 1


def test_no_proxy_is_heard_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    with tls_server(_app(seen), tmp_path) as (url, ca_path):
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        wire = Wire(url, context=_context(ca_path), use_proxy=True)
        assert _get(wire).status == 200
        wire.close()


def test_a_proxy_that_refuses_is_named_as_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        tls_server(_app([]), tmp_path) as (_, ca_path),
        _proxy(b"HTTP/1.1 403 Forbidden\r\n\r\n") as (proxy, _),
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with (
            HTTP("https://certctl.example.com", ca_path=ca_path) as http,
            pytest.raises(ServerUnreachable) as failure,
        ):
            http.send("GET", "/x")

    assert "403" in failure.value.detail
