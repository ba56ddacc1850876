"""The contract that holds for every path (01 §1): names, errors, limits, order, open paths."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from certctl_flask.app import create_app
from werkzeug.test import Client, TestResponse

from certctl_core import Core, Settings
from certctl_core.kernel.operations import Access
from certctl_core.testing.factories import issue, make_csr
from certctl_core.testing.fakes import FakeClock
from tests.frontends.flask.browsing import BASE, Reader

_SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_numbers = count()
_LIMITS = {"rate_limit_rps": "1000000", "rate_limit_burst": "1000000"}


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    settings = Settings.for_directory(tmp_path_factory.mktemp("contract"), **_LIMITS)
    with Core.open(settings) as found:
        yield found


@pytest.fixture(scope="module")
def key(core: Core) -> str:
    return _key(core)


@pytest.fixture
def client(core: Core) -> Client:
    return Client(create_app(core))


def _key(core: Core, *roles: str) -> str:
    name = f"key-{next(_numbers)}"
    body = {"name": name, "role_ids": list(roles) or ["r-admin"], "no_expiry": True}
    return str(core.call("api_keys.create", body=body).key_value)


def _ask(client: Client, method: str, path: str, key: str = "", **options: Any) -> TestResponse:
    headers = options.pop("headers", {}) | ({"Authorization": f"Bearer {key}"} if key else {})
    return client.open(path, method=method, base_url=BASE, headers=headers, **options)


def _problem(answer: TestResponse) -> dict[str, Any]:
    """The problem document, complete."""
    assert answer.mimetype == "application/problem+json"
    found: dict[str, Any] = json.loads(answer.text)
    assert {"type", "title", "status", "detail", "code", "request_id"} <= found.keys()
    assert found["status"] == answer.status_code
    assert found["type"] == f"urn:certctl:problem:{found['code']}"
    assert _SNAKE.fullmatch(found["code"])
    assert found["request_id"] == answer.headers["X-Request-ID"]
    return found


@pytest.mark.spec("01/API-02")
def test_every_name_is_snake_case(core: Core, client: Client) -> None:
    document = json.loads(_ask(client, "GET", "/api/v1/openapi.json", _key(core)).text)

    names = {
        name
        for schema in document["components"]["schemas"].values()
        for name in schema.get("properties", {})
    }
    names |= {
        parameter["name"]
        for path in document["paths"].values()
        for operation in path.values()
        for parameter in operation.get("parameters", ())
        if parameter["in"] != "header"
    }
    assert len(names) > 200
    assert sorted(name for name in names if not _SNAKE.fullmatch(name)) == []


@pytest.mark.spec("01/API-03")
def test_an_empty_list_is_a_list(core: Core, client: Client, key: str) -> None:
    looked = 0
    for operation in core.table:
        if operation.is_list and "{" not in operation.path:
            answer = _ask(client, "GET", f"/api/v1{operation.path}?q=", key)
            if answer.status_code == 400:  # it has no search
                answer = _ask(client, "GET", f"/api/v1{operation.path}", key)
            assert answer.status_code == 200, answer.text
            assert isinstance(json.loads(answer.text)["data"], list)
            looked += 1
    assert looked >= 10
    assert json.loads(_ask(client, "GET", "/api/v1/targets", key).text)["data"] == []


@pytest.mark.spec("01/API-06", "01/API-07", "08/HTTP-4")
def test_every_layer_says_no_in_one_way(core: Core, client: Client, key: str) -> None:
    viewer = _key(core, "r-viewer")
    list_of = "/api/v1/certificates"
    too_long = {"data": b"x" * 1_048_577, "content_type": "application/json"}
    reader = Reader(core)
    answers = {
        "unauthenticated": _ask(client, "GET", list_of),
        "forbidden": _ask(client, "POST", "/api/v1/auth/keys", viewer, json={"name": "x"}),
        "not_found": _ask(client, "GET", "/api/v1/nowhere", key),
        "certificate_not_found": _ask(client, "GET", f"{list_of}/mc-none", key),
        "method_not_allowed": _ask(client, "PUT", "/api/v1/version", key),
        "payload_too_large": _ask(client, "POST", list_of, key, **too_long),
        "unsupported_media_type": _ask(
            client, "POST", list_of, key, data="a=b", content_type="text/plain"
        ),
        "validation_error": _ask(client, "POST", list_of, key, json={"nobody": 1}),
        "csrf_failed": reader.client.post(list_of, base_url=BASE, json={}),
    }
    found = {name: _problem(answer) for name, answer in answers.items()}

    statuses = [found[name]["status"] for name in answers]
    assert statuses == [401, 403, 404, 404, 405, 413, 415, 400, 403]
    assert [
        (one["field"], bool(one["message"])) for one in found["validation_error"]["fields"]
    ] == [("nobody", True)]
    assert answers["unauthenticated"].headers["WWW-Authenticate"] == 'Bearer realm="certctl"'
    assert "GET" in answers["method_not_allowed"].headers["Allow"]


@pytest.mark.spec("01/API-13")
def test_a_search_finds_every_name_of_a_certificate(core: Core, client: Client, key: str) -> None:
    issued = issue(core, "searched.example.test", "by-its-second-name.example.test")
    version = issued.version
    parts = ["searched.ex", "second-name", version.serial_number, version.fingerprint_sha256]

    for text in parts:
        answer = json.loads(_ask(client, "GET", f"/api/v1/certificates?q={text}", key).text)
        assert [row["id"] for row in answer["data"]] == [issued.certificate.id], text
    assert (
        json.loads(_ask(client, "GET", "/api/v1/certificates?q=nobody-has-it", key).text)["data"]
        == []
    )


@pytest.mark.spec("01/API-15")
def test_patch_merges_and_put_replaces(core: Core, client: Client, key: str) -> None:
    issued = core.issue(make_csr("patched.example.test"))
    path = f"/api/v1/certificates/{issued.certificate.id}"

    def said(method: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = _ask(client, method, path, key, json=body)
        assert answer.status_code == 200, answer.text
        return dict(json.loads(answer.text))

    both = said("PATCH", {"environment": "staging", "tags": {"a": "1", "b": "2"}})
    assert (both["environment"], both["tags"]) == ("staging", {"a": "1", "b": "2"})
    less = said("PATCH", {"tags": {"a": None}})
    assert (less["environment"], less["tags"]) == ("staging", {"b": "2"})
    assert not said("PATCH", {"environment": None})["environment"]

    said("PATCH", {"environment": "staging"})
    replaced = said("PUT", {"common_name": both["common_name"], "sans": both["sans"]})
    assert not replaced["environment"]
    assert replaced["tags"] == {}


@pytest.mark.spec("01/API-17")
def test_a_body_has_a_mebibyte_at_most(client: Client, key: str) -> None:
    def answer(size: int) -> int:
        body = b'{"csr_pem": "' + b"x" * (size - 15) + b'"}'
        options: dict[str, Any] = {"data": body, "content_type": "application/json"}
        return _ask(client, "POST", "/api/v1/certificates", key, **options).status_code

    assert answer(1_048_576) == 400
    assert answer(1_048_577) == 413


@pytest.mark.spec("01/API-18", "01/API-22", "05/RL-1")
def test_who_asks_too_often_waits_before_anybody_looks_at_a_credential(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = Settings.for_directory(
        tmp_path_factory.mktemp("limited"), rate_limit_rps="1", rate_limit_burst="3"
    )
    with Core.open(settings, clock=FakeClock()) as limited:
        client = Client(create_app(limited))

        def ask(address: str) -> TestResponse:
            return _ask(
                client,
                "GET",
                "/api/v1/certificates",
                environ_overrides={"REMOTE_ADDR": address},
            )

        statuses = [ask("192.0.2.1").status_code for _ in range(3)]
        refused, elsewhere = ask("192.0.2.1"), ask("192.0.2.7")

    assert statuses == [401, 401, 401]
    assert _problem(refused)["code"] == "rate_limited"
    assert int(refused.headers["Retry-After"]) >= 1
    assert elsewhere.status_code == 401


@pytest.mark.spec("01/API-18", "08/RL-3")
def test_one_actor_is_limited_wherever_it_comes_from(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = Settings.for_directory(
        tmp_path_factory.mktemp("limited"), rate_limit_rps="1", rate_limit_burst="3"
    )
    with Core.open(settings, clock=FakeClock()) as limited:
        client, key = Client(create_app(limited)), _key(limited)
        statuses = [
            client.get(
                "/api/v1/certificates",
                base_url=BASE,
                headers={"Authorization": f"Bearer {key}"},
                environ_overrides={"REMOTE_ADDR": f"192.0.2.{number}"},
            ).status_code
            for number in range(1, 6)
        ]

    assert statuses == [200, 200, 200, 429, 429]


@pytest.mark.spec("01/API-19", "08/HTTP-3")
def test_a_request_id_is_ours(client: Client) -> None:
    theirs = "11111111-1111-4111-8111-111111111111"
    ids = {
        client.get("/health", base_url=BASE, headers={"X-Request-ID": theirs}).headers[
            "X-Request-ID"
        ]
        for _ in range(3)
    }

    assert len(ids) == 3
    assert theirs not in ids


@pytest.mark.spec("01/API-22")
def test_a_body_that_is_too_long_is_refused_before_the_credential(client: Client) -> None:
    answer = client.post(
        "/api/v1/certificates", base_url=BASE, environ_overrides={"CONTENT_LENGTH": "99999999"}
    )

    assert answer.status_code == 413
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.spec("01/API-23", "05/AUD-5")
def test_reading_is_no_event(core: Core, client: Client) -> None:
    viewer = _key(core, "r-viewer")

    def total() -> int:
        return int(core.call("audit.list").total)

    before = total()
    for path in ("certificates", "issuers", "profiles", "auth/me"):
        assert _ask(client, "GET", f"/api/v1/{path}", viewer).status_code == 200
    assert total() == before


@pytest.mark.spec("01/API-23", "05/RBAC-15")
def test_a_refusal_is_recorded_once_a_minute(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    clock = FakeClock()
    settings = Settings.for_directory(tmp_path_factory.mktemp("denied"), **_LIMITS)
    with Core.open(settings, clock=clock) as core:
        client, viewer = Client(create_app(core)), _key(core, "r-viewer")

        def denied() -> list[tuple[str, str, str]]:
            page = core.call("audit.list", query={"action": "auth.denied", "sort": "timestamp"})
            return [
                (row.actor, row.details["permission"], row.details["operation"])
                for row in page.data
            ]

        answer = _ask(client, "POST", "/api/v1/auth/keys", viewer, json={"name": "x"})
        assert _problem(answer)["permission"] == "auth.key.create"
        ((actor, permission, operation),) = denied()
        assert actor == core.keys.authenticate(viewer).id
        assert (permission, operation) == ("auth.key.create", "POST /api/v1/auth/keys")
        _ask(client, "POST", "/api/v1/auth/keys", viewer, json={"name": "x"})
        assert len(denied()) == 1
        _ask(client, "POST", "/api/v1/issuers/iss-local/test", viewer)
        assert len(denied()) == 2
        clock.advance(timedelta(minutes=1))
        _ask(client, "POST", "/api/v1/auth/keys", viewer, json={"name": "x"})
        assert len(denied()) == 3
        assert _ask(client, "POST", "/api/v1/auth/keys", json={"name": "x"}).status_code == 401
        assert len(denied()) == 3

        reader = Reader(core, "r-viewer")
        assert reader.client.get("/ui/api-keys/new", base_url=BASE).status_code == 403
        assert "GET /ui/api-keys/new" in {operation for _, _, operation in denied()}


@pytest.mark.spec("01/API-24", "01/API-25", "05/PIPE-2")
def test_what_is_open_to_everybody_is_a_short_list(core: Core, client: Client) -> None:
    public = {
        f"{operation.method} {operation.path}"
        for operation in core.table
        if operation.access is Access.PUBLIC
    }
    assert public == {
        "GET /version", "GET /auth/info", "GET /auth/bootstrap", "POST /auth/bootstrap",
        "POST /agents/enroll",
    }  # fmt: skip

    for operation in core.table:
        path = "/api/v1" + re.sub(r"\{[a-z_]+\}", "x-1", operation.path)
        status = _ask(client, operation.method, path).status_code
        if operation.access is Access.PUBLIC:
            assert status != 401, path
        else:
            assert status == 401, (operation.method, path)


@pytest.mark.spec("01/API-26")
def test_the_probes(client: Client) -> None:
    assert json.loads(_ask(client, "GET", "/health").text) == {"status": "healthy"}
    ready = json.loads(_ask(client, "GET", "/ready").text)
    assert (ready["status"], ready["db"]) == ("ready", "reachable")
    version = json.loads(_ask(client, "GET", "/api/v1/version").text)
    assert list(version) == ["version", "commit", "modified", "build_time", "python_version"]
