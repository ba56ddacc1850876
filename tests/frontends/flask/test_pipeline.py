"""The request pipeline, seen by clients that behave and by some that do not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from certctl_flask.app import create_app
from werkzeug.test import Client, TestResponse

from certctl_core import Core, Settings
from certctl_core.kernel.audit import NoteVerifier

BASE = "https://certctl.example.test"
ORIGINS = "https://console.example.test"


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    folder: Path = tmp_path_factory.mktemp("installation")
    settings = Settings.for_directory(
        folder, cors_origins=ORIGINS, rate_limit_rps="1000000", rate_limit_burst="1000000"
    )
    with Core.open(settings) as found:
        yield found


@pytest.fixture(scope="module")
def key(core: Core) -> str:
    made = core.call(
        "api_keys.create", body={"name": "pipeline", "role_ids": ["r-admin"], "no_expiry": True}
    )
    return str(made.key_value)


@pytest.fixture
def client(core: Core) -> Client:
    return Client(create_app(core))


@pytest.fixture
def browser(client: Client, key: str) -> Client:
    """A client that is signed in with a session cookie."""
    answer = client.post("/login", base_url=BASE, data={"api_key": key}, headers={"Origin": BASE})
    assert answer.status_code == 303
    return client


def _csrf(browser: Client) -> str:
    cookie = browser.get_cookie("__Host-certctl_csrf", domain="certctl.example.test")
    assert cookie is not None
    return cookie.value


def _problem(answer: TestResponse) -> tuple[int, str]:
    assert answer.mimetype == "application/problem+json"
    assert answer.json is not None
    assert answer.json["status"] == answer.status_code
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    return answer.status_code, answer.json["code"]


class TestHeaders:
    @pytest.mark.spec("08/HTTP-6")
    @pytest.mark.parametrize("path", ["/health", "/api/v1/certificates", "/login", "/nowhere"])
    def test_every_answer_is_hardened(self, client: Client, path: str) -> None:
        headers = client.get(path, base_url=BASE).headers

        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Strict-Transport-Security"].startswith("max-age=")
        assert "'unsafe-inline'" not in headers["Content-Security-Policy"]
        assert re.fullmatch(r"[0-9a-f-]{36}", headers["X-Request-ID"])
        assert "Cache-Control" in headers

    def test_only_known_origins_may_read_answers(self, client: Client) -> None:
        known = client.get("/login", base_url=BASE, headers={"Origin": ORIGINS})
        foreign = client.get("/login", base_url=BASE, headers={"Origin": "https://x.example"})

        assert known.headers["Access-Control-Allow-Origin"] == ORIGINS
        assert "Access-Control-Allow-Origin" not in foreign.headers


class TestAuthentication:
    def test_without_a_credential_there_is_nothing_to_see(self, client: Client) -> None:
        assert _problem(client.get("/api/v1/certificates", base_url=BASE)) == (
            401,
            "unauthenticated",
        )

    @pytest.mark.parametrize(
        "value",
        ["Bearer", "Bearer  ", "Basic YTpi", "Bearer ctl_none_such", "Bearer " + "x" * 9999],
    )
    def test_a_bad_credential_is_no_credential(self, client: Client, value: str) -> None:
        answer = client.get("/api/v1/certificates", base_url=BASE, headers={"Authorization": value})

        assert answer.status_code == 401

    def test_a_key_opens_the_api(self, client: Client, key: str) -> None:
        answer = client.get(
            "/api/v1/auth/me", base_url=BASE, headers={"Authorization": f"Bearer {key}"}
        )

        assert answer.status_code == 200
        assert answer.json is not None
        assert answer.json["label"] == "pipeline"

    def test_a_page_sends_who_is_signed_out_to_the_sign_in(self, client: Client) -> None:
        answer = client.get("/ui/certificates", base_url=BASE, headers={"Accept": "text/html"})

        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/login?next=/ui/certificates")


class TestSessions:
    def test_a_session_is_a_host_cookie_that_scripts_cannot_read(self, browser: Client) -> None:
        cookie = browser.get_cookie("__Host-certctl_session", domain="certctl.example.test")

        assert cookie is not None
        assert cookie.secure
        assert cookie.http_only
        assert cookie.path == "/"

    def test_a_change_needs_the_token_of_the_session(self, browser: Client) -> None:
        body = {"name": "from-a-page", "role_ids": ["r-viewer"], "no_expiry": True}
        refused = browser.post(
            "/api/v1/auth/keys", base_url=BASE, json=body, headers={"Origin": BASE}
        )
        allowed = browser.post(
            "/api/v1/auth/keys",
            base_url=BASE,
            json=body,
            headers={"Origin": BASE, "X-CSRF-Token": _csrf(browser)},
        )

        assert _problem(refused)[0] == 403
        assert allowed.status_code == 201

    def test_a_foreign_page_cannot_post_even_with_the_token(self, browser: Client) -> None:
        answer = browser.post(
            "/api/v1/auth/keys",
            base_url=BASE,
            json={"name": "foreign", "role_ids": ["r-viewer"]},
            headers={"Origin": "https://x.example", "X-CSRF-Token": _csrf(browser)},
        )

        assert answer.status_code == 403

    def test_signing_out_ends_the_session_on_the_server(self, browser: Client) -> None:
        cookie = browser.get_cookie("__Host-certctl_session", domain="certctl.example.test")
        assert cookie is not None
        browser.post(
            "/auth/logout",
            base_url=BASE,
            data={"csrf_token": _csrf(browser)},
            headers={"Origin": BASE},
        )
        browser.set_cookie(
            "__Host-certctl_session", cookie.value, domain="certctl.example.test", secure=True
        )

        assert browser.get("/api/v1/auth/me", base_url=BASE).status_code == 401


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "media_type", "expected"),
        [
            (b"{", "application/json", 400),
            (b"[]", "application/json", 400),
            (b"\xff\xfe{}", "application/json", 400),
            (b"name=x", "application/x-www-form-urlencoded", 415),
            (b"<a/>", "text/xml", 415),
        ],
    )
    def test_a_bad_body_is_said_to_be_one(
        self, client: Client, key: str, body: bytes, media_type: str, expected: int
    ) -> None:
        answer = client.post(
            "/api/v1/certificates",
            base_url=BASE,
            data=body,
            content_type=media_type,
            headers={"Authorization": f"Bearer {key}"},
        )

        assert _problem(answer)[0] == expected

    def test_a_huge_body_is_refused_by_its_length(self, client: Client) -> None:
        answer = client.post(
            "/api/v1/certificates",
            base_url=BASE,
            environ_overrides={"CONTENT_LENGTH": "10000000000"},
        )

        assert _problem(answer)[0] == 413


def test_an_auditor_gets_the_key_of_the_log_without_an_account(client: Client, core: Core) -> None:
    answer = client.get("/.well-known/certctl/audit-key", base_url=BASE)

    assert answer.status_code == 200
    text = answer.get_data(as_text=True)
    assert text == f"{core.rooms.audit.vkey}\n"
    assert NoteVerifier.parse(text.strip()).name == core.rooms.audit.origin
