"""The outbound HTTP client against real TLS servers."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.config.values import read_destination
from certctl_core.kernel.net import (
    AuthError,
    CallError,
    ClientIdentity,
    ConfigProblem,
    EgressDenied,
    EgressPolicy,
    HttpClient,
    RequestRejected,
    Response,
    TrustError,
    UpstreamNotFound,
    UpstreamProtocolError,
    UpstreamRateLimited,
    UpstreamServerError,
    UpstreamTimeout,
    UpstreamUnavailable,
    retry_after,
)
from certctl_core.kernel.secrets import Secret
from tests.machine import PATIENCE_SECONDS

PATIENCE = timedelta(seconds=PATIENCE_SECONDS)


def policy(*allow, block_private=False):
    return EgressPolicy(
        block_private=block_private, allow=tuple(read_destination(item) for item in allow)
    )


class RecordingServer(http.server.ThreadingHTTPServer):
    """Keeps what it was asked, and is silent about clients that leave."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        self.seen: list[tuple[Any, ...]] = []
        super().__init__(("127.0.0.1", 0), handler)

    def handle_error(self, request, client_address):
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RecordingServer

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path.startswith("/status/"):
            self.answer(int(path.rpartition("/")[2]), b'{"detail": "not today"}')
        elif path.startswith("/to/"):
            target = self.path.removeprefix("/to/")
            self.answer(302, b"", location=target)
        elif path == "/large":
            self.answer(200, b"x" * 5000)
        elif path == "/endless":
            self.send_response(200)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            try:
                while True:  # until the client leaves
                    self.wfile.write(b"1\r\nx\r\n")
                    self.wfile.flush()
                    time.sleep(0.02)
            except OSError:
                self.close_connection = True
        elif path == "/gzip":
            self.answer(200, b"zzz", content_encoding="gzip")
        elif path == "/cut":
            self.send_response(200)
            self.send_header("content-length", "100")
            self.end_headers()
            self.close_connection = True
        elif path == "/none":
            self.close_connection = True
        elif path == "/garbage":
            self.wfile.write(b"HELLO THERE\r\n\r\n")
            self.close_connection = True
        elif path == "/later":
            self.answer(429, b"slow down", retry_after="120", content_type="text/plain")
        else:
            self.echo()

    def do_POST(self):
        self.do_GET()

    def echo(self):
        length = int(self.headers.get("content-length", 0))
        self.server.seen.append(
            (
                self.command,
                self.path,
                {k.lower(): v for k, v in self.headers.items()},
                self.rfile.read(length),
            )
        )
        self.answer(200, b"{}", set_cookie="a=b")

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextmanager
def serve(context=None):
    class Server(RecordingServer):
        def get_request(self):
            connection, address = super().get_request()
            if context is not None:
                connection.settimeout(PATIENCE_SECONDS)
                try:
                    connection = context.wrap_socket(connection, server_side=True)
                except (OSError, ssl.SSLError):
                    connection.close()
                    raise OSError from None
            return connection, address

    server = Server(Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_pem(ca):
    return ca.cert_pem.bytes().decode()


@pytest.fixture(scope="module")
def tls_server(ca):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("ca.example.test").configure_cert(context)
    with serve(context) as server:
        yield server


@pytest.fixture(scope="module")
def url(tls_server):
    return f"https://ca.example.test:{tls_server.server_port}"


@pytest.fixture
def seen(tls_server):
    tls_server.seen.clear()
    return tls_server.seen


LOOPBACK = (ip_address("127.0.0.1"),)


def client(*allow, ca_pem=None, resolve=lambda *_: LOOPBACK, **options):
    return HttpClient(
        policy(*(allow or ("127.0.0.1",))),
        clock=SystemClock(),
        ca_pem=ca_pem,
        resolve=resolve,
        connect_timeout=PATIENCE,
        **{"timeout": PATIENCE, **options},
    )


@pytest.fixture
def http_client(ca_pem):
    with client(ca_pem=ca_pem) as made:
        yield made


class TestClient:
    @pytest.mark.spec("06/NET-3", "08/NET-1")
    def test_name_stays_in_host_and_certificate_check(self, http_client, url, seen):
        response = http_client.request("GET", f"{url}/x?a=1", params={"b": "2 3"})
        assert response.status == 200
        [(method, path, headers, _)] = seen
        assert (method, path) == ("GET", "/x?a=1&b=2+3")
        assert headers["host"] == url.removeprefix("https://")
        assert headers["accept-encoding"] == "identity"
        assert response.url == f"{url}/x"

    def test_bodies_and_secret_headers(self, http_client, url, seen):
        http_client.request("POST", url, json={"a": 1}, headers={"X-Token": Secret("s3cret")})
        http_client.request("POST", url, form={"a": "b c"})
        http_client.request("POST", url, content=b"raw")
        assert [body for *_, body in seen] == [b'{"a":1}', b"a=b+c", b"raw"]
        assert seen[0][2]["x-token"] == "s3cret"
        assert seen[0][2]["content-type"] == "application/json"

    def test_connection_is_kept_and_looked_up_once(self, ca_pem, url):
        asked = []

        def resolve(host, _limit):
            asked.append(host)
            return LOOPBACK

        with client(ca_pem=ca_pem, resolve=resolve) as one:
            for _ in range(3):
                one.request("GET", url)
        assert asked == ["ca.example.test"]

    def test_no_cookie_is_kept(self, http_client, url, seen):
        http_client.request("GET", url)
        http_client.request("GET", url)
        assert "cookie" not in seen[1][2]

    def test_environment_proxies_are_ignored(self, http_client, url, monkeypatch):
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
        assert http_client.request("GET", url).status == 200

    @pytest.mark.spec("06/NET-4")
    def test_forbidden_address_is_never_connected(self, ca_pem, url, seen):
        with client("10.0.0.0/8", ca_pem=ca_pem) as one, pytest.raises(EgressDenied):
            one.request("GET", url)
        assert seen == []

    @pytest.mark.spec("08/A-17")
    def test_name_that_changes_its_address_is_checked_at_each_connection(self, ca_pem, url):
        answers = iter([LOOPBACK, (ip_address("127.0.0.2"),)])
        with client(ca_pem=ca_pem, resolve=lambda *_: next(answers)) as one:
            one.request("GET", url)
            one.close()
            with pytest.raises(EgressDenied):
                one.request("GET", url)

    def test_next_address_is_tried_when_one_does_not_answer(self, ca_pem, url):
        answers = (ip_address("::1"), ip_address("127.0.0.1"))
        with client("::1", "127.0.0.1", ca_pem=ca_pem, resolve=lambda *_: answers) as one:
            assert one.request("GET", url).status == 200

    @pytest.mark.spec("06/NET-9")
    @pytest.mark.parametrize(
        ("status", "error", "label"),
        [
            (401, AuthError, "auth"),
            (403, AuthError, "auth"),
            (404, UpstreamNotFound, "upstream_4xx"),
            (408, UpstreamRateLimited, "rate_limited"),
            (425, UpstreamRateLimited, "rate_limited"),
            (429, UpstreamRateLimited, "rate_limited"),
            (400, RequestRejected, "upstream_4xx"),
            (422, RequestRejected, "upstream_4xx"),
            (500, UpstreamServerError, "upstream_5xx"),
            (503, UpstreamServerError, "upstream_5xx"),
            (302, UpstreamProtocolError, "protocol"),
        ],
    )
    def test_statuses_become_typed_errors(self, http_client, url, status, error, label):
        with pytest.raises(error, match="not today") as caught:
            http_client.request("GET", f"{url}/status/{status}?token=abc")
        assert type(caught.value) is error
        assert caught.value.error_class == label
        assert caught.value.retryable is (label in {"rate_limited", "upstream_5xx"})
        assert "token" not in str(caught.value)

    def test_expected_statuses_are_answers(self, http_client, url):
        assert http_client.request("GET", f"{url}/status/404", expect=[404]).status == 404
        assert http_client.exchange("GET", f"{url}/status/500").status == 500

    @pytest.mark.spec("06/NET-9")
    def test_retry_after_is_read(self, http_client, url):
        with pytest.raises(UpstreamRateLimited, match="slow down") as caught:
            http_client.request("GET", f"{url}/later")
        assert caught.value.retry_after == timedelta(minutes=2)

    @pytest.mark.spec("06/NET-2", "08/NET-1")
    @pytest.mark.parametrize(
        ("path", "error", "match"),
        [
            ("/large", UpstreamProtocolError, "more than 1000 bytes"),
            ("/gzip", UpstreamProtocolError, "compressed"),
            ("/cut", UpstreamUnavailable, "middle of an answer"),
            ("/none", UpstreamUnavailable, "without an answer"),
            ("/garbage", UpstreamProtocolError, "speak HTTP"),
        ],
    )
    def test_unusable_answers(self, ca_pem, url, path, error, match):
        with client(ca_pem=ca_pem, max_body=1000) as one, pytest.raises(error, match=match):
            one.request("GET", url + path)

    @pytest.mark.spec("08/NET-1")
    def test_whole_exchange_has_one_time_limit(self, http_client, url):
        # No single byte is late, and the answer has no end: only the limit of the whole ends it.
        with pytest.raises(UpstreamTimeout):
            http_client.request("GET", f"{url}/endless", timeout=timedelta(milliseconds=300))

    def test_client_works_after_failures(self, http_client, url):
        for path in ("/none", "/garbage", "/cut"):
            with pytest.raises(CallError):
                http_client.request("GET", url + path)
        assert http_client.request("GET", url).status == 200

    def test_refused_connection(self, ca_pem):
        with socket.socket() as deaf:  # bound, so that nobody else takes the port meanwhile
            deaf.bind(("127.0.0.1", 0))
            port = deaf.getsockname()[1]
            with client(ca_pem=ca_pem) as one, pytest.raises(UpstreamUnavailable, match="refused"):
                one.request("GET", f"https://ca.example.test:{port}")

    @pytest.mark.parametrize(
        "bad",
        [
            "http://ca.example.test",
            "ftp://ca.example.test",
            "https://",
            "https://user:pass@ca.example.test",
            "https://ca.example.test:99999",
            "ca.example.test",
            "file:///etc/passwd",
        ],
    )
    def test_urls_that_are_not_asked(self, http_client, bad):
        with pytest.raises(ConfigProblem) as caught:
            http_client.request("GET", bad)
        assert "pass" not in str(caught.value)

    def test_header_injection_is_refused(self, http_client, url):
        with pytest.raises((ConfigProblem, UpstreamProtocolError)):
            http_client.request("GET", url, headers={"x": "a\r\nb: c"})

    def test_plain_http_where_allowed(self):
        with serve() as server, client(allow_http=True) as one:
            assert one.request("GET", f"http://h.example.test:{server.server_port}").status == 200

    def test_threads_share_a_client(self, http_client, url):
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(http_client.request("GET", url).status))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [200] * 8


class TestRedirects:
    @pytest.mark.spec("06/NET-2")
    def test_are_not_followed_by_themselves(self, http_client, url):
        with pytest.raises(UpstreamProtocolError, match="302"):
            http_client.request("GET", f"{url}/to//x")

    @pytest.mark.spec("08/NET-1")
    def test_are_followed_up_to_three_times_on_demand(self, http_client, url):
        assert http_client.request("GET", f"{url}/to//to//to//x", redirects=3).status == 200
        with pytest.raises(UpstreamProtocolError):
            http_client.request("GET", f"{url}/to//to//to//to//x", redirects=9)

    def test_credentials_stay_with_their_origin(self, ca, http_client, url, seen):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("other.example.test").configure_cert(context)
        secret = {"authorization": Secret("Bearer abc"), "x-api-key": "k"}
        with serve(context) as other:
            target = f"https://other.example.test:{other.server_port}/y"
            http_client.request("GET", f"{url}/to/{target}", headers=secret, redirects=1)
            [(_, _, headers, _)] = other.seen
        assert "authorization" not in headers
        assert "x-api-key" not in headers
        http_client.request("GET", f"{url}/to/{url}/z", headers=secret, redirects=1)
        assert seen[-1][2]["authorization"] == "Bearer abc"

    @pytest.mark.spec("08/A-17")
    def test_target_is_checked(self, ca_pem, url):
        def resolve(host, _limit):
            return LOOPBACK if host == "ca.example.test" else (ip_address("169.254.169.254"),)

        with client(ca_pem=ca_pem, resolve=resolve) as one, pytest.raises(EgressDenied):
            one.request("GET", f"{url}/to/https://metadata.example.test/", redirects=1)

    def test_https_never_leads_to_http(self, ca_pem, url):
        with (
            client(ca_pem=ca_pem, allow_http=True) as one,
            pytest.raises(UpstreamProtocolError, match="https to http"),
        ):
            one.request("GET", f"{url}/to/http://ca.example.test/", redirects=1)

    def test_post_is_not_repeated_elsewhere(self, http_client, url):
        assert http_client.exchange("POST", f"{url}/to//x", redirects=1).status == 302


class TestTLS:
    @pytest.mark.spec("06/NET-1")
    def test_unknown_ca_is_not_trusted(self, url):
        with client() as one, pytest.raises(TrustError, match="certificate"):
            one.request("GET", url)

    @pytest.mark.spec("06/NET-1")
    def test_certificate_for_another_name_is_not_trusted(self, ca_pem, tls_server):
        with client(ca_pem=ca_pem) as one, pytest.raises(TrustError, match=r"other\.example\.test"):
            one.request("GET", f"https://other.example.test:{tls_server.server_port}")

    def test_issuing_ca_can_be_trusted_without_its_root(self, ca):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issuing = ca.create_child_ca()
        issuing.issue_cert("ca.example.test").configure_cert(context)
        with serve(context) as server, client(ca_pem=issuing.cert_pem.bytes().decode()) as one:
            assert one.request("GET", f"https://ca.example.test:{server.server_port}").status == 200

    @pytest.mark.spec("06/NET-1")
    def test_tls_1_1_is_refused(self, ca, ca_pem):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("ca.example.test").configure_cert(context)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSVersion"):
            context.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLSVersion"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with (
            serve(context) as server,
            client(ca_pem=ca_pem) as one,
            pytest.raises(UpstreamUnavailable, match="TLS handshake"),
        ):
            one.request("GET", f"https://ca.example.test:{server.server_port}")

    @pytest.fixture
    def mutual(self, ca):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("ca.example.test").configure_cert(context)
        ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        with serve(context) as server:
            yield f"https://ca.example.test:{server.server_port}"

    def identity(self, issuer):
        leaf = issuer.issue_cert("device.example.test")
        return ClientIdentity(
            cert_pem=leaf.cert_chain_pems[0].bytes().decode(),
            key_pem=Secret(leaf.private_key_pem.bytes().decode()),
        )

    def test_client_certificate_is_shown(self, ca, ca_pem, mutual):
        with client(ca_pem=ca_pem, identity=self.identity(ca)) as one:
            assert one.request("GET", mutual).status == 200

    def test_missing_client_certificate_is_an_authentication_error(self, ca_pem, mutual):
        with client(ca_pem=ca_pem) as one, pytest.raises(AuthError):
            one.request("GET", mutual)

    def test_client_certificate_of_a_stranger_is_an_authentication_error(self, ca_pem, mutual):
        stranger = self.identity(trustme.CA())
        with client(ca_pem=ca_pem, identity=stranger) as one, pytest.raises(AuthError):
            one.request("GET", mutual)

    def test_key_of_another_certificate_is_refused(self, ca, ca_pem):
        one, other = self.identity(ca), self.identity(ca)
        with pytest.raises(ConfigProblem, match="key is another one"):
            client(
                ca_pem=ca_pem,
                identity=ClientIdentity(cert_pem=one.cert_pem, key_pem=other.key_pem),
            )

    @pytest.mark.parametrize("pem", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAA\n"])
    def test_unreadable_ca_bundle_is_refused(self, pem):
        with pytest.raises(ConfigProblem, match="CA bundle"):
            client(ca_pem=pem)

    def test_key_leaves_no_file_behind(self, ca, ca_pem, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        client(ca_pem=ca_pem, identity=self.identity(ca))
        assert list(tmp_path.iterdir()) == []


class Tunnel(http.server.BaseHTTPRequestHandler):
    """A forward proxy that knows one destination."""

    server: RecordingServer

    def do_CONNECT(self):
        self.server.seen.append((self.path, self.headers.get("proxy-authorization")))
        with socket.create_connection(("127.0.0.1", int(self.path.rpartition(":")[2]))) as onward:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=self.copy, args=(onward, self.connection), daemon=True)
            back.start()
            self.copy(self.connection, onward)
        self.close_connection = True

    def copy(self, source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass

    def log_message(self, *args):
        pass


class TestProxy:
    @pytest.fixture
    def proxy(self):
        server = RecordingServer(Tunnel)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        server.server_close()
        thread.join()

    def test_goes_through_the_operators_proxy(self, ca_pem, url, proxy):
        address = Secret(f"http://us%40er:pass@127.0.0.1:{proxy.server_port}")
        with client(ca_pem=ca_pem, proxy=address) as one:
            assert one.request("GET", url).status == 200
        [(target, credentials)] = proxy.seen
        assert target == url.removeprefix("https://")
        assert credentials == "Basic dXNAZXI6cGFzcw=="

    def test_names_that_resolve_are_checked_first(self, ca_pem, url, proxy):
        address = Secret(f"http://127.0.0.1:{proxy.server_port}")
        with client("10.0.0.1", ca_pem=ca_pem, proxy=address) as one, pytest.raises(EgressDenied):
            one.request("GET", url)
        assert proxy.seen == []

    def test_names_that_do_not_resolve_are_left_to_the_proxy(self, ca_pem, url, proxy):
        def resolve(host, _limit):
            raise UpstreamUnavailable(host)

        address = Secret(f"http://127.0.0.1:{proxy.server_port}")
        with client(ca_pem=ca_pem, proxy=address, resolve=resolve) as one:
            assert one.request("GET", url).status == 200


class TestRetryAfter:
    NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("120", timedelta(minutes=2)),
            ("Thu, 15 Jan 2026 12:01:00 GMT", timedelta(minutes=1)),
            ("Thu, 15 Jan 2026 11:59:00 GMT", timedelta(minutes=-1)),
            ("soon", None),
            ("", None),
            (None, None),
            ("-5", None),
            ("1.5", None),
        ],
    )
    def test_forms(self, text, value):
        assert retry_after(text, now=self.NOW) == value

    @pytest.mark.spec("06/NET-9")
    def test_is_clamped(self):
        assert UpstreamRateLimited(retry_after=timedelta(days=9)).retry_after == timedelta(days=1)
        assert UpstreamRateLimited(retry_after=timedelta(-1)).retry_after == timedelta(0)

    @given(st.text())
    def test_never_fails(self, text):
        retry_after(text, now=self.NOW)


def test_response_json_must_be_json():
    response = Response(status=200, headers=(), body=b"<html>", url="https://x")
    with pytest.raises(UpstreamProtocolError, match="JSON"):
        response.json()
