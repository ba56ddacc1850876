"""What a hostile or broken client can send, and two that want the same thing at once."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from time import monotonic
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certctl_core.app import Core
from certctl_core.testing.factories import make_csr
from tests.system.installed import Served, counted_status, listed_status, request_for, rows

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("system")]
_MB = 1024 * 1024


def _request(*names: str, key: object = None) -> str:
    """A request whose names nobody checks here."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "odd.example.test")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        sans = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(sans, critical=False)
    private = key or ec.generate_private_key(ec.SECP256R1())
    signed = builder.sign(private, hashes.SHA256())  # type: ignore[arg-type]
    return signed.public_bytes(Encoding.PEM).decode()


def _broken_signature() -> str:
    der = bytearray(
        x509.load_pem_x509_csr(request_for("a.example.test").encode()).public_bytes(Encoding.DER)
    )
    der[-3] ^= 0xFF
    body = base64.encodebytes(bytes(der)).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"


def _odd_requests() -> dict[str, Callable[[], str]]:
    good = request_for("a.example.test")
    return {
        "empty": lambda: "",
        "text": lambda: "not a request",
        "armour only": lambda: (
            "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n"
        ),
        "cut": lambda: good[: len(good) // 2],
        "wrong armour": lambda: good.replace("CERTIFICATE REQUEST", "CERTIFICATE"),
        "nul": lambda: good.replace("A", "\0", 1),
        "broken signature": _broken_signature,
        "small key": lambda: _request(
            "a.example.test",
            key=rsa.generate_private_key(65537, 1024),  # noqa: S505 - it is refused
        ),
        "odd curve": lambda: _request(
            "a.example.test", key=ec.generate_private_key(ec.SECP256K1())
        ),
        "nul in a name": lambda: _request("a\0.example.test"),
        "no host name": lambda: _request("-._ .example.test"),
        "dots": lambda: _request("..", "a..b"),
        "long label": lambda: _request(f"{'a' * 64}.example.test"),
        "many names": lambda: _request(*(f"n{number}.example.test" for number in range(400))),
    }


class TestRequests:
    @pytest.mark.parametrize("kind", _odd_requests())
    def test_an_odd_request_is_refused_and_leaves_nothing(
        self, client: httpx.Client, kind: str
    ) -> None:
        before = len(rows(client, "/certificates"))

        answer = client.post("/certificates", json={"csr_pem": _odd_requests()[kind]()})

        assert answer.status_code in {400, 409, 422}, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert "Traceback" not in answer.text
        assert len(rows(client, "/certificates")) == before
        assert rows(client, "/issuer-orders", state="submitting") == []

    def test_a_request_with_other_names_than_were_ordered_is_refused(
        self, client: httpx.Client
    ) -> None:
        request = request_for("good.example.test", "evil.example.test")
        body = {"csr_pem": request, "common_name": "good.example.test", "sans": []}
        assert client.post("/certificates", json=body).status_code == 422


class TestBodies:
    @pytest.mark.parametrize("chunked", [False, True])
    def test_ten_megabytes_are_refused(self, server: Served, chunked: bool) -> None:
        sent = [0]

        def body() -> Iterator[bytes]:
            for _ in range(160):
                sent[0] += 65536
                yield b"x" * 65536

        with server.client() as client:
            headers = {"Content-Type": "application/json"}
            if not chunked:
                headers["Content-Length"] = str(160 * 65536)
            try:
                answer = client.post("/certificates", content=body(), headers=headers)
                assert answer.status_code == 413
                assert answer.json()["code"] == "payload_too_large"
            except httpx.TransportError:
                pass  # it hung up while we were still sending: refused all the same
            assert client.get("/certificates").status_code == 200

    def test_a_large_body_is_refused_by_its_head(self, server: Served) -> None:
        with closing(server.running.connect()) as connection:
            connection.putrequest("POST", "/api/v1/certificates")
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(10 * _MB))
            connection.endheaders()
            answer = connection.getresponse()
            assert answer.status == 413
            assert json.loads(answer.read())["code"] == "payload_too_large"

    @pytest.mark.parametrize(
        ("content", "status"),
        [
            (b"", 400),
            (b"{", 400),
            (b"[]", 400),
            (b"null", 400),
            (b'"text"', 400),
            (b'{"common_name": "\xff\xfe"}', 400),
            (b"\xef\xbb\xbf{}", 400),
            (b"[" * 100_000, 400),
            (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400),
            (b'{"common_name": "a.example.test", "sans": ' + b"[" * 9000 + b"]" * 9000 + b"}", 400),
            (b'{"common_name": "\\ud800.example.test"}', 400),
            (b'{"common_name": "a\\u0000.example.test"}', 400),
            (b'{"common_name": "t.example.test", "tags": {"a\\u0000": "b"}}', 400),
            (b'{"common_name": "t.example.test", "tags": {"a": "\\u0000"}}', 400),
            (b'{"common_name": 1e999}', 400),
            (b'{"common_name": NaN}', 400),
            (b'{"common_name": "t.example.test", "surplus": 1}', 400),
            (b"common_name=t.example.test", 400),
        ],
    )  # fmt: skip
    def test_what_is_not_the_json_that_is_wanted_is_refused(
        self, client: httpx.Client, content: bytes, status: int
    ) -> None:
        headers = {"Content-Type": "application/json"}
        answer = client.post("/certificates", content=content, headers=headers)

        assert answer.status_code == status, answer.text[:500]
        assert answer.headers["content-type"] == "application/problem+json"

    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/xml", "multipart/form-data", "image/png"]
    )
    def test_another_content_type_is_refused(self, client: httpx.Client, kind: str) -> None:
        answer = client.post("/certificates", content=b"{}", headers={"Content-Type": kind})
        assert answer.status_code == 415

    def test_a_member_that_comes_twice_counts_once(self, client: httpx.Client) -> None:
        content = b'{"common_name": "twice-a.example.test", "common_name": "twice-b.example.test"}'
        headers = {"Content-Type": "application/json"}
        answer = client.post("/certificates", content=content, headers=headers)

        assert answer.status_code in {201, 400}
        if answer.status_code == 201:
            assert answer.json()["common_name"] == "twice-b.example.test"
            assert rows(client, "/certificates", q="twice-a") == []


class TestHeads:
    def _raw(self, server: Served, data: bytes) -> bytes:
        context = ssl.create_default_context(cafile=str(server.directory / "ca.crt"))
        with (
            socket.create_connection(("127.0.0.1", server.running.port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            try:
                secure.sendall(data)
                return secure.recv(65536)
            except OSError:
                return b""

    def test_a_huge_header_is_refused(self, server: Served, client: httpx.Client) -> None:
        answer = self._raw(
            server, b"GET /api/v1/version HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * _MB + b"\r\n\r\n"
        )
        assert answer == b"" or answer.split()[1] in {b"400", b"413", b"431"}
        assert client.get("/version").status_code == 200

    @pytest.mark.parametrize(
        "lines",
        [
            b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
            b"\0\0\0\0\r\n\r\n",
            b"GET /api/v1/version HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            b"GET /api/v1/version HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"POST /api/v1/certificates HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /api/v1/version HTTP/1.1\r\n\r\n",
            b"POST /api/v1/certificates HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ],
    )
    def test_what_is_not_http_gets_no_content(
        self, server: Served, client: httpx.Client, lines: bytes
    ) -> None:
        answer = self._raw(server, lines)
        assert b"HTTP/1.1 200" not in answer or b"go_version" not in answer
        assert b"HTTP/1.1 5" not in answer
        assert client.get("/version").status_code == 200

    @pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get", "X" * 30])
    def test_an_odd_method_is_refused(self, server: Served, method: str) -> None:
        data = f"{method} /api/v1/certificates HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = self._raw(server, data.encode())
        assert answer == b"" or answer.split()[1] in {b"400", b"401", b"404", b"405", b"501"}

    @pytest.mark.parametrize(
        "path",
        [
            "/api/v1/../../etc/passwd",
            "/static/../../../etc/passwd",
            "/static/%2e%2e/%2e%2e/app.py",
            "/static/..%2f..%2fapp.py",
            "/static//etc/passwd",
            "/api/v1/certificates/%2e%2e",
            "/api/v1/certificates/..%2fissuers",
            "//api/v1/certificates",
            "/api/v1//certificates",
            "/api/v1/certificates/%00",
            "/api/v1/certificates/%ff%fe",
            "/.well-known/pki/crl/%2e%2e",
            "/.well-known/pki/crl/..%00",
            "/.well-known/pki/../../api/v1/certificates",
        ],
    )
    def test_path_tricks_lead_nowhere(self, server: Served, path: str) -> None:
        data = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        answer = self._raw(server, data.encode())
        assert b"root:" not in answer
        assert answer == b"" or answer.split()[1][:1] in {b"3", b"4"}, answer[:200]


class TestSlowClients:
    def _five_take(self, client: httpx.Client, name: str, *slow: socket.socket) -> float:
        """Seconds for five certificates, while each of these clients sends one more byte a time."""
        begun = monotonic()
        for number in range(5):
            for item in slow:
                if isinstance(item, ssl.SSLSocket):
                    with suppress(OSError):  # the server may have given up on it
                        item.sendall(b" ")
            body = {"csr_pem": request_for(f"{name}-{number}.example.test")}
            assert client.post("/certificates", json=body).status_code == 201
        return monotonic() - begun

    def test_trickling_heads_and_bodies_hold_up_nobody(
        self, server: Served, client: httpx.Client
    ) -> None:
        context = ssl.create_default_context(cafile=str(server.directory / "ca.crt"))
        context.check_hostname = False
        alone = self._five_take(client, "alone")
        slow: list[socket.socket] = []
        for number in range(40):
            plain = socket.create_connection(("127.0.0.1", server.running.port), timeout=20)
            if number % 4 == 0:
                slow.append(plain)  # a handshake that never comes
                continue
            secure = context.wrap_socket(plain)
            secure.sendall(b"POST /api/v1/certificates HTTP/1.1\r\nHost: x\r\n")
            if number % 4 == 1:  # fewer than one address may keep waiting
                secure.sendall(b"Content-Type: application/json\r\nContent-Length: 900\r\n\r\n{")
            slow.append(secure)
        try:
            # As on a quiet machine, with what a busy one takes longer even without them.
            assert self._five_take(client, "brisk", *slow) < 20 + 5 * alone
        finally:
            for item in slow:
                item.close()


Ask = Callable[[httpx.Client], int]


def _asking(method: str, path: str, **members: Any) -> Ask:
    return lambda client: client.request(method, path, **members).status_code


class TestRaces:
    def _at_once(self, server: Served, calls: list[Ask]) -> Counter[int]:
        def run(call: Ask) -> int:
            with server.client() as client:
                return call(client)

        with ThreadPoolExecutor(len(calls)) as pool:
            return Counter(pool.map(run, calls))

    def _made(self, client: httpx.Client, name: str) -> str:
        answer = client.post("/certificates", json={"csr_pem": request_for(name)})
        assert answer.status_code == 201, answer.text
        return f"/certificates/{answer.json()['id']}"

    def test_one_revocation_wins(self, server: Served, client: httpx.Client) -> None:
        path = self._made(client, "race-revoke.example.test")
        calls = [_asking("POST", f"{path}/revoke", json={})] * 12

        assert self._at_once(server, calls) == {200: 1, 409: 11}
        found = rows(client, "/audit", resource_id=path.rpartition("/")[2])
        assert [row["action"] for row in found].count("certificate.revoked") == 1

    def test_one_patch_of_a_version_wins(self, server: Served, client: httpx.Client) -> None:
        path = self._made(client, "race-patch.example.test")
        tag = {"If-Match": client.get(path).headers["etag"]}
        calls = [
            _asking("PATCH", path, json={"environment": f"e{number}"}, headers=tag)
            for number in range(12)
        ]
        assert self._at_once(server, calls) == {200: 1, 412: 11}

    def test_a_certificate_is_created_once_per_id(
        self, server: Served, client: httpx.Client
    ) -> None:
        names = [f"race-id-{number}.example.test" for number in range(12)]
        bodies = [{"id": "mc-race", "csr_pem": request_for(name)} for name in names]
        calls = [_asking("POST", "/certificates", json=body) for body in bodies]

        assert self._at_once(server, calls) == {201: 1, 409: 11}
        assert len(rows(client, "/certificates/mc-race/versions")) == 1
        assert len(rows(client, "/issuer-orders", certificate_id="mc-race")) == 1

    def test_renewals_that_meet_are_won_or_told(self, server: Served, client: httpx.Client) -> None:
        name = "race-renew.example.test"
        path = self._made(client, name)
        bodies = [{"csr_pem": request_for(name)} for _ in range(12)]
        calls = [_asking("POST", f"{path}/renew", json=body) for body in bodies]

        found = self._at_once(server, calls)
        assert set(found) <= {200, 409}
        assert found[200] >= 1
        versions = rows(client, f"{path}/versions")
        assert len(versions) == 1 + found[200]
        assert len([row for row in versions if row["is_current"]]) == 1
        assert client.get(path).json()["status"] == "Active"

    def test_everything_at_once_leaves_a_state_that_adds_up(
        self, server: Served, client: httpx.Client
    ) -> None:
        name = "race-all.example.test"
        path = self._made(client, name)
        calls: list[Ask] = []
        for number in range(4):
            body = {"csr_pem": request_for(name)}
            calls += [
                _asking("POST", f"{path}/revoke", json={}),
                _asking("POST", f"{path}/renew", json=body),
                _asking("PATCH", path, json={"environment": f"e{number}"}),
            ]

        found = self._at_once(server, calls)
        assert set(found) <= {200, 409}, found
        assert client.get(path).json()["status"] in {"Active", "Revoked"}
        orders = rows(client, "/issuer-orders", certificate_id=path.rpartition("/")[2])
        assert {row["state"] for row in orders} <= {"issued", "failed"}
        assert counted_status(client) == listed_status(client)
        total = client.get("/stats/summary").json()["total_certificates"]
        assert total == len(rows(client, "/certificates"))

    def test_one_idempotency_key_is_one_certificate(
        self, server: Served, client: httpx.Client
    ) -> None:
        body = {"csr_pem": request_for("race-key.example.test")}
        key = {"Idempotency-Key": "race-key"}

        def ask(own: httpx.Client) -> int:
            return own.post("/certificates", json=body, headers=key).status_code

        found = self._at_once(server, [ask] * 12)
        assert set(found) <= {201, 409}
        assert ask(client) == 201
        assert len(rows(client, "/certificates", q="race-key.example.test")) == 1


class TestSerials:
    """In one process, where the source of serials can be held in the hand."""

    @pytest.mark.spec("02/CERT-2")
    def test_a_serial_that_is_taken_is_drawn_again(self, core: Core) -> None:
        authorities = core.rooms.authorities
        first = core.issue(make_csr("first.example.test"))
        taken = int(first.version.serial_number, 16)
        drawn = iter([taken, taken + 1])
        authorities._recent.clear()
        authorities._draw = lambda: next(drawn)

        second = core.issue(make_csr("second.example.test"))

        assert int(second.version.serial_number, 16) == taken + 1
        states = [row.state for row in core.call("issuer_orders.list").data]
        assert states == ["issued", "issued"]

    def test_a_source_that_is_stuck_issues_nothing_twice(self, core: Core) -> None:
        authorities = core.rooms.authorities
        taken = int(core.issue(make_csr("first.example.test")).version.serial_number, 16)

        def stuck() -> int:
            authorities._recent.clear()
            return taken

        authorities._draw = stuck
        with pytest.raises(Exception, match="was already issued"):
            core.issue(make_csr("second.example.test"))

        found = {row.name: row.status for row in core.call("certificates.list").data}
        assert found["second.example.test"] == "Failed"
        orders = {row.certificate_id: row.state for row in core.call("issuer_orders.list").data}
        assert sorted(orders.values()) == ["failed", "issued"]


def test_the_server_had_no_trouble(server: Served) -> None:
    whole, _, _ = server.running.text().rpartition("\n")  # the last line may be half written
    lines = [json.loads(line) for line in whole.splitlines() if line[:1] == "{"]
    assert [line for line in lines if line["level"] in {"error", "critical"}] == []
    with closing(server.running.connect()) as connection:
        connection.request("GET", "/ready")
        assert connection.getresponse().status == http.client.OK
