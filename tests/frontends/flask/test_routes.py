"""Every route there is: who may use it, how large its body may be, what a probe touches."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from certctl_flask.app import create_app
from flask import Flask
from werkzeug.test import Client

from certctl_core.app import Core
from certctl_core.kernel.config import Settings
from tests.frontends.flask.browsing import Reader

BASE = "https://certctl.example.test"
# What no account is needed for (01 API-24, 05 PIPE-2): pages, probes, the public key of the log.
PUBLIC = {
    "/", "/favicon.ico", "/health", "/ready", "/login", "/auth/logout", "/static/<path:name>",
    "/.well-known/certctl/audit-key",
    "/ui/preferences",  # how the sign-in page looks, in cookies of the browser
    "/api/v1/openapi.json", "/api/v1/version", "/api/v1/auth/info", "/api/v1/auth/bootstrap",
    "/api/v1/agents/enroll",
}  # fmt: skip


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    settings = Settings.for_directory(
        tmp_path_factory.mktemp("routes"), rate_limit_rps="1000000", rate_limit_burst="1000000"
    )
    with Core.open(settings) as found:
        yield found


@pytest.fixture
def client(core: Core) -> Client:
    return Client(create_app(core))


def rules(app: Any) -> list[tuple[str, str]]:
    """Method and path of every route of the routing application."""
    found: list[tuple[str, str]] = []
    flask: Flask = app._app._app
    for rule in flask.url_map.iter_rules():
        methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        found += [(method, rule.rule) for method in sorted(methods)]
    return found


@pytest.mark.spec("08/HTTP-2", "05/PIPE-2", "05/PIPE-6")
def test_every_other_route_wants_to_know_who_asks(core: Core, client: Client) -> None:
    routes = rules(client.application)
    assert len(routes) > 150
    open_to_all = []
    for method, path in routes:
        filled = re.sub(r"<[^>]*>", "x-1", re.sub(r"<any\('?([^',)]+)[^>]*>", r"\1", path))
        answer = client.open(filled, method=method, base_url=BASE, headers={"Origin": BASE})
        # A program is told; a person is led to the sign-in.
        is_led = answer.headers.get("Location", "").startswith("/login")
        if answer.status_code != 401 and not is_led and path not in PUBLIC:
            open_to_all.append((method, path, answer.status_code))
        assert path in PUBLIC or path.startswith(("/api/v1/", "/ui", "/metrics")), path
        answer.close()
    assert open_to_all == []


@pytest.mark.spec("08/HTTP-2", "05/PIPE-3", "05/PIPE-6")
@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/api/v1/nowhere",
        "/ui/nowhere",
        "/.well-known/pkix",
        "/.well-known/pki",
        "/acme",
    ],
)
def test_what_is_not_there_is_no_page(core: Core, path: str) -> None:
    reader = Reader(core, "r-admin") if path == "/ui/nowhere" else None
    client = reader.client if reader else Client(create_app(core))

    assert client.get(path, base_url=BASE).status_code == 404


@pytest.mark.spec("08/HTTP-5")
@pytest.mark.parametrize("is_declared", [True, False], ids=["declared", "chunked"])
def test_a_body_that_is_too_long_is_never_parsed(client: Client, *, is_declared: bool) -> None:
    body = b"{" * 1_048_577
    how: dict[str, Any] = {"content_type": "application/json", "base_url": BASE}
    if is_declared:
        how["data"] = body
    else:
        how["input_stream"] = io.BytesIO(body)
        how["environ_overrides"] = {
            "HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "", "wsgi.input_terminated": True
        }  # fmt: skip
    answer = client.post("/api/v1/certificates", **how)

    assert answer.status_code == 413
    assert json.loads(answer.text)["code"] == "payload_too_large"


@pytest.mark.spec("08/HLTH-1")
def test_liveness_asks_no_database_and_readiness_does(core: Core, client: Client) -> None:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        assert client.get("/health", base_url=BASE).status_code == 200
        assert statements == []
        assert client.get("/ready", base_url=BASE).status_code == 200
        assert statements
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)

    core.draining = True
    try:
        ready = client.get("/ready", base_url=BASE)
        assert (ready.status_code, ready.json) == (503, {"status": "draining"})
        assert client.get("/health", base_url=BASE).status_code == 200
    finally:
        core.draining = False
