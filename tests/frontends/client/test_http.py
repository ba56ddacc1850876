"""The wire of the client: what it refuses to talk to, what it repeats, what it makes of bad answers.

The servers here are scripts: each answers a list of requests with a list of answers.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from certctl_client import (
    APIError,
    BadServerURL,
    CABundleUnusable,
    Client,
    ClientFileUnusable,
    ServerTimeout,
    ServerUnreachable,
    UnexpectedAnswer,
    read_client_file,
)
from certctl_client.http import HTTP, check_url, expand

from certctl_core.kernel.errors import ErrorKind
from tests.frontends.client.live import tls_server
from tests.machine import PATIENCE_SECONDS

_PROBLEM = "application/problem+json"


@dataclass(slots=True)
class Script:
    """A WSGI application that gives its answers in order, and keeps what it was asked."""

    answers: list[tuple[int, dict[str, str], bytes]]
    asked: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        names = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "HTTP_IDEMPOTENCY_KEY",
                 "HTTP_AUTHORIZATION", "HTTP_USER_AGENT")  # fmt: skip
        self.asked.append({name: environ.get(name) for name in names} | {"body": body})
        status, headers, content = self.answers[len(self.asked) - 1]
        start(f"{status} Answer", [*headers.items(), ("Content-Length", str(len(content)))])
        return [content]


def _ok(document: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(document).encode()


def _busy(status: int, retry_after: str = "") -> tuple[int, dict[str, str], bytes]:
    headers = {"Content-Type": _PROBLEM}
    if retry_after:
        headers["Retry-After"] = retry_after
    document = {"code": "rate_limited", "detail": "Slow down.", "status": status}
    return status, headers, json.dumps(document).encode()


@dataclass(slots=True)
class Setup:
    """A scripted server, a connection to it, and the pauses that the connection made."""

    script: Script
    http: HTTP
    pauses: list[float]


@contextmanager
def _scripted(folder: Path, *answers: tuple[int, dict[str, str], bytes]) -> Iterator[Setup]:
    script = Script(list(answers))
    pauses: list[float] = []
    with (
        tls_server(script, folder) as (url, ca_path),
        HTTP(url, api_key="ctl_x", ca_path=ca_path, sleep=pauses.append) as http,
    ):
        yield Setup(script, http, pauses)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_said(tmp_path: Path, status: int) -> None:
    with _scripted(tmp_path, _busy(status, "2"), _busy(status), _ok({"n": 1})) as it:
        answer = it.http.send("POST", "/x", body={"a": 1})

    assert answer.json() == {"n": 1}
    assert 2 <= it.pauses[0] <= 2.25
    assert it.pauses[1] == 1.0
    assert len(it.script.asked) == 3


def test_a_repeated_post_is_the_same_request(tmp_path: Path) -> None:
    with _scripted(tmp_path, _busy(503, "1"), _ok({})) as it:
        it.http.send("POST", "/x", body={"a": 1})

    first, second = it.script.asked
    assert first == second
    assert first["HTTP_IDEMPOTENCY_KEY"]
    assert first["HTTP_AUTHORIZATION"] == "Bearer ctl_x"


def test_a_server_that_stays_busy_is_left_alone(tmp_path: Path) -> None:
    with _scripted(tmp_path, *[_busy(429, "1")] * 4) as it, pytest.raises(APIError) as refusal:
        it.http.send("GET", "/x")

    assert refusal.value.kind is ErrorKind.RATE_LIMITED
    assert len(it.script.asked) == 4


def test_a_long_pause_is_for_the_caller_to_make(tmp_path: Path) -> None:
    with _scripted(tmp_path, _busy(429, "3600")) as it, pytest.raises(APIError) as refusal:
        it.http.send("GET", "/x")

    assert refusal.value.retry_after_seconds == 3600
    assert it.pauses == []


@pytest.mark.parametrize("status", [400, 404, 409, 500, 501])
def test_other_refusals_are_not_repeated(tmp_path: Path, status: int) -> None:
    with _scripted(tmp_path, _busy(status)) as it, pytest.raises(APIError) as refusal:
        it.http.send("GET", "/x")

    assert refusal.value.status == status
    assert it.pauses == []


@pytest.mark.parametrize(
    "answer",
    [
        (502, {"Content-Type": "text/html"}, b"<h1>Bad gateway</h1>"),
        (500, {"Content-Type": _PROBLEM}, b"{"),
        (500, {"Content-Type": _PROBLEM}, b"[]"),
        (302, {"Location": "https://elsewhere.example.test/"}, b""),
        (200, {"Content-Type": "application/json"}, b"{not json"),
    ],
    ids=["a_proxy_page", "broken_problem", "problem_is_a_list", "redirection", "broken_json"],
)
def test_an_answer_of_something_else_is_told(
    tmp_path: Path, answer: tuple[int, dict[str, str], bytes]
) -> None:
    with _scripted(tmp_path, answer) as it, pytest.raises(UnexpectedAnswer) as failure:
        it.http.send("GET", "/x")

    assert it.http.url in failure.value.detail
    assert len(it.script.asked) == 1


def test_members_that_are_none_are_not_sent(tmp_path: Path) -> None:
    with _scripted(tmp_path, _ok({})) as it:
        it.http.send("GET", "/x", query={"a": None, "b": True, "c": 0, "d": "ä &"})

    assert it.script.asked[0]["QUERY_STRING"] == "b=true&c=0&d=%C3%A4+%26"


@pytest.mark.spec("01/API-01")
@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8443",
        "localhost:8443",
        "ftp://localhost",
        "https://",
        "https://user:secret-word@localhost",
        "https://localhost/api",
        "https://localhost?x=1",
        "https://localhost:99999",
        "https://[::1",
    ],
)
def test_only_a_plain_https_address_is_taken(url: str) -> None:
    with pytest.raises(BadServerURL) as failure:
        HTTP(url)

    assert "secret-word" not in failure.value.detail


@pytest.mark.parametrize(
    ("url", "short"),
    [
        (" https://localhost:8443/ ", "https://localhost:8443"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("https://certctl.example.com", "https://certctl.example.com"),
    ],
)
def test_an_address_has_one_form(url: str, short: str) -> None:
    assert check_url(url) == short


def test_a_path_parameter_is_quoted_whole() -> None:
    assert expand("/a/{b_id}/c", {"b_id": "../x y?"}) == "/a/..%2Fx%20y%3F/c"
    with pytest.raises(KeyError):
        expand("/a/{b_id}", {})


def test_a_server_of_another_ca_is_not_trusted(tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(trustme.CA().cert_pem.bytes())
    script = Script([_ok({})])
    with (
        tls_server(script, tmp_path) as (url, _),
        HTTP(url, api_key="ctl_secret", ca_path=other) as http,
        pytest.raises(ServerUnreachable) as failure,
    ):
        http.send("GET", "/x")

    assert "certificate was not accepted" in failure.value.detail
    assert script.asked == []


@contextmanager
def _listener(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(timeout=PATIENCE_SECONDS)


@pytest.mark.spec("01/API-01")
def test_nothing_below_tls_1_3_is_spoken(tmp_path: Path) -> None:
    ca = trustme.CA()
    ca_path = tmp_path / "ca.pem"
    ca_path.write_bytes(ca.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, pytest.raises(ssl.SSLError):
            context.wrap_socket(connection, server_side=True)

    with (
        _listener(serve) as url,
        HTTP(url, ca_path=ca_path) as http,
        pytest.raises(ServerUnreachable),
    ):
        http.send("GET", "/x")


@contextmanager
def _closed_port() -> Iterator[int]:
    """A port at which nobody listens: it is taken, so that nobody else can."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    pauses: list[float] = []
    with (
        _closed_port() as port,
        HTTP(f"https://127.0.0.1:{port}", sleep=pauses.append) as http,
        pytest.raises(ServerUnreachable) as failure,
    ):
        http.send("GET", "/x")

    assert "Connection refused" in failure.value.detail
    assert pauses == []


def test_a_server_that_never_answers_is_not_waited_for() -> None:
    gone = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            gone.wait(PATIENCE_SECONDS)

    with _listener(serve) as url, HTTP(url, timeout_seconds=0.1) as http:
        with pytest.raises(ServerTimeout) as failure:
            http.send("GET", "/x")
        gone.set()

    assert "0.1 s" in failure.value.detail


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), ("no certificate here", "no PEM certificate")],
)
def test_a_ca_file_that_cannot_be_used_is_named(
    tmp_path: Path, content: str | None, reason: str
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CABundleUnusable) as failure:
        Client("https://localhost:8443", ca_path=path)

    assert str(path) in failure.value.detail
    assert reason in failure.value.detail


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        ("url = ", "not TOML"),
        ('api_key = "x"', "url must be a text"),
        ("url = 1", "url must be a text"),
        ('url = "https://localhost"\npassword = "x"', "unknown member password"),
    ],
    ids=["missing", "not_toml", "without_url", "url_is_a_number", "unknown_member"],
)
def test_a_client_file_that_cannot_be_used_is_named(
    tmp_path: Path, content: str | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / "client.toml").write_text(content)
    with pytest.raises(ClientFileUnusable) as failure:
        read_client_file(tmp_path)

    assert reason in failure.value.detail


def test_a_ca_file_is_looked_for_beside_the_client_file(tmp_path: Path) -> None:
    (tmp_path / "client.toml").write_text('url = "https://localhost"\nca_path = "ca.crt"')

    assert read_client_file(tmp_path).ca_path == tmp_path / "ca.crt"
