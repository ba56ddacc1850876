"""The product's main job from outside: issue, serve and revoke a certificate, twice over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509

from tests.machine import eventually, free_port
from tests.system.conftest import database_settings
from tests.system.installed import (
    Served,
    counted_status,
    fetched,
    launch,
    listed_status,
    request_for,
    rows,
    run,
    served,
)

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("system")]
Tool = Callable[[str], str]


def issue(client: httpx.Client, *names: str, **members: object) -> dict[str, Any]:
    answer = client.post("/certificates", json={"csr_pem": request_for(*names), **members})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.fixture(scope="module")
def folder(server: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("issued") / "out"
    arguments = ("--dns", "alt.example.test", "--out", str(out))
    server.certctl("issue", "web.example.test", *arguments)
    return out


class TestCommandLine:
    def test_issue_writes_a_pair_that_openssl_accepts(
        self, server: Served, folder: Path, tool: Tool
    ) -> None:
        openssl = tool("openssl")
        assert {item.name for item in folder.iterdir()} >= {
            "key.pem", "cert.pem", "chain.pem", "fullchain.pem",
        }  # fmt: skip
        assert (folder / "key.pem").stat().st_mode & 0o777 == 0o600

        said = run(
            openssl, "verify", "-x509_strict", "-purpose", "sslserver",
            "-verify_hostname", "alt.example.test", "-CAfile", server.directory / "ca.crt",
            folder / "cert.pem",
        )  # fmt: skip
        assert said.endswith(": OK\n")
        public = run(openssl, "pkey", "-in", folder / "key.pem", "-pubout")
        assert run(openssl, "x509", "-in", folder / "cert.pem", "-noout", "-pubkey") == public

    def test_revoke_reaches_crl_and_ocsp(self, server: Served, folder: Path, tool: Tool) -> None:
        openssl, ca, leaf = tool("openssl"), server.directory / "ca.crt", folder / "cert.pem"
        ocsp = (
            openssl, "ocsp", "-issuer", ca, "-CAfile", ca, "-cert", leaf,
            "-url", f"{server.pki}/.well-known/pki/ocsp/iss-local",
        )  # fmt: skip
        eventually(lambda: "cert.pem: good" in run(*map(str, ocsp), status=None), what="good")

        server.certctl(
            "certificates", "revoke", "web.example.test", "--reason", "superseded", "--yes"
        )

        crl = folder / "list.der"
        serial = x509.load_pem_x509_certificate(leaf.read_bytes()).serial_number

        def is_listed() -> bool:
            answer = fetched(f"{server.pki}/.well-known/pki/crl/iss-local")
            crl.write_bytes(answer.content)
            text = run(openssl, "crl", "-inform", "DER", "-in", crl, "-CAfile", ca, "-text")
            return "verify OK" in text and f"{serial:X}" in text and "Superseded" in text

        eventually(is_listed, what="the CRL has it")
        said = run(*map(str, ocsp))
        assert "Response verify OK" in said
        assert "cert.pem: revoked" in said
        pem = folder / "list.pem"
        run(openssl, "crl", "-inform", "DER", "-in", crl, "-out", pem)
        refused = run(
            openssl, "verify", "-crl_check", "-CAfile", ca, "-CRLfile", pem, leaf, status=2
        )
        assert "certificate revoked" in refused

    def test_a_request_of_ones_own_is_taken(
        self, server: Served, tmp_path: Path, tool: Tool
    ) -> None:
        request = tmp_path / "own.csr"
        request.write_text(request_for("own.example.test"))
        said = server.certctl(
            "--json", "issue", "--csr", str(request), "--out", str(tmp_path / "out")
        )

        assert json.loads(said)
        assert not (tmp_path / "out" / "key.pem").exists()
        run(
            tool("openssl"), "verify", "-CAfile", server.directory / "ca.crt",
            tmp_path / "out" / "cert.pem",
        )  # fmt: skip


class TestREST:
    def test_issue_renew_revoke(self, server: Served, client: httpx.Client, tool: Tool) -> None:
        made = issue(client, "rest.example.test", "more.example.test")
        path = f"/certificates/{made['id']}"
        assert (made["status"], made["common_name"]) == ("Active", "rest.example.test")
        leaf = server.directory.parent / "rest.pem"
        leaf.write_text(made["issued"]["certificate_pem"])
        run(tool("openssl"), "verify", "-CAfile", server.directory / "ca.crt", leaf)

        again = client.post(
            f"{path}/renew", json={"csr_pem": request_for("rest.example.test", "more.example.test")}
        )
        assert again.status_code == 200, again.text
        versions = rows(client, f"{path}/versions")
        assert sorted(item["is_current"] for item in versions) == [False, True]

        assert client.post(f"{path}/revoke", json={"reason": "keyCompromise"}).status_code == 200
        assert client.get(path).json()["status"] == "Revoked"
        assert client.post(f"{path}/revoke", json={}).status_code == 409
        exported = client.get(f"{path}/export/pem", params={"download": True})
        assert exported.headers["content-type"] == "application/x-pem-file"
        assert "BEGIN CERTIFICATE" in exported.text
        actions = [row["action"] for row in rows(client, "/audit", resource_id=made["id"])]
        assert {"certificate.created", "certificate.issued", "certificate.revoked"} <= set(actions)

    @pytest.mark.spec("01/API-25")
    def test_openapi_is_a_valid_3_1_document(self, server: Served, client: httpx.Client) -> None:
        import schemathesis

        document = client.get("/openapi.json").json()

        assert document["openapi"].startswith("3.1.")
        schemathesis.openapi.from_dict(document).validate()
        operations = [item for path in document["paths"].values() for item in path.values()]
        assert len({item["operationId"] for item in operations}) == len(operations) > 80

    @pytest.mark.parametrize(
        ("method", "path", "status", "code"),
        [
            ("GET", "/certificates/mc-unknown", 404, "certificate_not_found"),
            ("GET", "/no-such-path", 404, None),
            ("PUT", "/certificates", 405, "method_not_allowed"),
            ("POST", "/certificates", 400, None),
        ],
    )
    def test_failures_are_problems(
        self, client: httpx.Client, method: str, path: str, status: int, code: str | None
    ) -> None:
        answer = client.request(method, path, json={"surplus": 1})

        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        document = answer.json()
        assert document["status"] == status
        assert document["request_id"] == answer.headers["x-request-id"]
        assert code is None or document["code"] == code

    def test_without_a_key_nothing_is_told(self, server: Served) -> None:
        with server.client(key="") as stranger:
            answer = stranger.get("/certificates")
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
        with server.client(key="ctl_0000_" + "0" * 64) as liar:
            assert liar.get("/certificates").status_code == 401


@pytest.fixture(scope="module")
def names(server: Served) -> list[str]:
    names = [f"list-{number:02}.example.test" for number in range(7)]
    with server.client() as client:
        for number, name in enumerate(names):
            tags = {"half": str(number % 2)}
            issue(client, name, environment="lists", tags=tags)
    return names


@pytest.mark.usefixtures("names")
class TestLists:
    def test_cursors_lead_through_everything_once(
        self, client: httpx.Client, names: list[str]
    ) -> None:
        for sort in ("name", "-name", "created_at", "-created_at", "expires_at"):
            query: dict[str, Any] = {"environment": "lists", "sort": sort, "page_size": 3}
            found = [row["name"] for row in rows(client, "/certificates", **query)]
            assert sorted(found) == names
            if sort.endswith("name"):
                assert found == sorted(names, reverse=sort.startswith("-"))

    def test_a_cursor_of_another_list_is_refused(self, client: httpx.Client) -> None:
        query: dict[str, Any] = {"environment": "lists", "sort": "name", "page_size": 2}
        cursor = client.get("/certificates", params=query).json()["next_cursor"]

        for other in ({"sort": "-name"}, {"cursor": cursor[:-3] + "zzz"}, {"cursor": "%00"}):
            answer = client.get("/certificates", params={**query, "cursor": cursor, **other})
            assert answer.status_code in {200, 400}
            assert answer.status_code == 400 or other.get("cursor") is None, answer.text

    def test_search_and_filters(self, client: httpx.Client) -> None:
        def count(**query: str) -> int:
            return len(rows(client, "/certificates", **query))

        assert count(q="list-03") == 1
        assert count(q="LIST-0") == 7
        assert count(q="list%03") == 0
        assert count(environment="lists", tag="half=1") == 3
        assert count(environment="lists", status="Active") == 7
        assert count(environment="lists", status="Revoked") == 0
        assert count(environment="lists", expires_before="2000-01-01T00:00:00Z") == 0
        assert client.get("/certificates", params={"status": "Odd"}).status_code == 400
        assert client.get("/certificates", params={"unknown": "1"}).status_code == 400

    def test_an_unchanged_list_is_not_sent_again(self, client: httpx.Client) -> None:
        first = client.get("/certificates", params={"environment": "lists"})
        same = {"If-None-Match": first.headers["etag"]}

        again = client.get("/certificates", params={"environment": "lists"}, headers=same)
        assert (again.status_code, again.content) == (304, b"")
        issue(client, "list-etag.example.test")
        assert client.get(
            "/certificates", params={"environment": "lists"}, headers=same
        ).status_code == 200  # fmt: skip


class TestWrites:
    def test_if_match_guards_a_change(self, client: httpx.Client) -> None:
        made = issue(client, "match.example.test")
        path = f"/certificates/{made['id']}"
        tag = client.get(path).headers["etag"]

        changed = client.patch(path, json={"environment": "one"}, headers={"If-Match": tag})
        assert changed.status_code == 200, changed.text
        lost = client.patch(path, json={"environment": "two"}, headers={"If-Match": tag})
        assert lost.status_code == 412
        assert lost.headers["content-type"] == "application/problem+json"
        assert client.get(path).json()["environment"] == "one"
        odd = client.patch(path, json={"environment": "x"}, headers={"If-Match": '"odd"'})
        assert odd.status_code == 400

    def test_an_idempotency_key_answers_the_same_again(self, client: httpx.Client) -> None:
        body = {"csr_pem": request_for("once.example.test")}
        key = {"Idempotency-Key": "once-1"}

        first = client.post("/certificates", json=body, headers=key)
        second = client.post("/certificates", json=body, headers=key)

        assert (first.status_code, second.status_code) == (201, 201)
        assert second.json() == first.json()
        assert second.headers["idempotency-replayed"] == "true"
        other = client.post(
            "/certificates", json={"csr_pem": request_for("other.example.test")}, headers=key
        )
        assert other.status_code in {409, 422}
        assert len(rows(client, "/certificates", q="once.example.test")) == 1
        assert rows(client, "/certificates", q="other.example.test") == []

    def test_a_key_of_a_refused_request_may_be_used_again(self, client: httpx.Client) -> None:
        key = {"Idempotency-Key": "refused-1"}
        body = {"csr_pem": request_for("refused.example.test"), "issuer_id": "iss-unknown"}
        assert client.post("/certificates", json=body, headers=key).status_code == 400

        body.pop("issuer_id")
        assert client.post("/certificates", json=body, headers=key).status_code == 201


def test_the_audit_log_verifies_and_counters_equal_rows(
    server: Served, client: httpx.Client
) -> None:
    def is_sealed() -> bool:
        return client.get("/audit/checkpoint").status_code == 200

    eventually(is_sealed, what="the first checkpoint")
    assert "ok" in server.certctl("audit", "verify", "--local", "--full").lower()
    assert counted_status(client) == listed_status(client)


def test_a_second_start_finds_everything(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with database_settings(engine, request) as settings:
        with served(tmp_path / "data", **settings) as first, first.client() as client:
            made = issue(client, "kept.example.test")
            audited = len(rows(client, "/audit"))
            ca = (first.directory / "ca.crt").read_bytes()
            assert first.running.stop() == 0
        again = launch(tmp_path / "data", free_port(), **first.running.settings)
        try:
            second = Served(again, first.pki)
            with second.client() as client:
                kept = client.get(f"/certificates/{made['id']}").json()
                versions = rows(client, f"/certificates/{made['id']}/versions")
                assert kept["current_version_id"] == made["current_version_id"]
                assert [row["is_current"] for row in versions] == [True]
                assert len(rows(client, "/audit")) >= audited
                assert issue(client, "later.example.test")["status"] == "Active"
            assert (tmp_path / "data" / "ca.crt").read_bytes() == ca
            assert "ok" in second.certctl("audit", "verify", "--local", "--full").lower()
            assert again.stop() == 0
        finally:
            if again.process.poll() is None:
                again.process.kill()
                again.process.wait()
