"""Rules of the wire that hold for every route: sessions, CSRF, CORS, caching, limits."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from certctl_flask.app import create_app
from structlog.testing import capture_logs
from werkzeug.http import parse_date
from werkzeug.test import Client, TestResponse

from certctl_core.app import Core
from certctl_core.kernel.actors import ActorType
from certctl_core.kernel.config import Settings
from certctl_core.kernel.observability import REGISTRY
from certctl_core.testing.fakes import FakeClock

BASE = "https://certctl.example.test"
SESSION, CSRF = "__Host-certctl_session", "__Host-certctl_csrf"
CONSOLE, STRANGER = "https://console.example.test", "https://x.example.test"
TOKEN = "bootstrap-token-" + "0" * 32


@pytest.fixture
def core_settings() -> dict[str, Any]:
    return {"cors_origins": CONSOLE, "session_samesite": "strict", "bootstrap_token": TOKEN}


@pytest.fixture
def key(core: Core) -> str:
    body = {"name": "person", "role_ids": ["r-viewer"], "no_expiry": True}
    return str(core.call("api_keys.create", body=body).key_value)


def browser(core: Core, key: str) -> Client:
    client = Client(create_app(core))
    answer = client.post("/login", base_url=BASE, data={"api_key": key}, headers={"Origin": BASE})
    assert answer.status_code == 303
    return client


def cookie(client: Client, name: str) -> str:
    found = client.get_cookie(name, domain="certctl.example.test")
    assert found is not None
    return found.value


def post(client: Client, path: str, token: str, **headers: str) -> TestResponse:
    sent = {"Origin": BASE, "X-CSRF-Token": token} | headers
    return client.post(path, base_url=BASE, json={}, headers=sent)


def read(client: Client, path: str = "/api/v1/auth/me", **headers: str) -> TestResponse:
    return client.get(path, base_url=BASE, headers=headers)


def code(answer: TestResponse) -> tuple[int, str]:
    assert answer.json is not None
    return answer.status_code, answer.json["code"]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


class TestSessionsAndKeys:
    @pytest.mark.spec("05/PIPE-4")
    def test_the_session_wins_and_a_key_helps_out(self, core: Core, key: str) -> None:
        other = core.call(
            "api_keys.create", body={"name": "program", "role_ids": ["r-viewer"], "no_expiry": True}
        ).key_value
        client = browser(core, key)
        both = read(client, **bearer(other)).json
        session = core.call("sessions.list", query={"all": True}).data[0]
        core.call("sessions.revoke", path={"session_id": session.id})
        without_session = read(client, **bearer(other)).json
        neither = read(client)

        assert both is not None
        assert without_session is not None
        assert (both["label"], without_session["label"]) == ("person", "program")
        assert neither.status_code == 401
        assert neither.headers["WWW-Authenticate"] == (
            'Bearer realm="certctl", error="invalid_token", error_description="revoked"'
        )
        anonymous = read(Client(create_app(core)))
        assert anonymous.headers["WWW-Authenticate"] == 'Bearer realm="certctl"'

    @pytest.mark.spec("05/KEY-10", "05/CSRF-1")
    def test_a_key_needs_no_token_and_goes_in_its_header_only(self, core: Core, key: str) -> None:
        client = Client(create_app(core))
        path = "/api/v1/certificates"
        with_key = client.post(path, base_url=BASE, json={}, headers=bearer(key))
        client.set_cookie("api_key", key, domain="certctl.example.test")
        client.set_cookie(SESSION, key, domain="certctl.example.test", secure=True)

        assert code(with_key)[1] in {"forbidden", "validation_error"}
        assert read(client).status_code == 401
        for name in ("api_key", "key", "token", "access_token"):
            answer = read(Client(create_app(core)), f"/api/v1/auth/me?{name}={key}")
            assert answer.status_code in {400, 401}

    @pytest.mark.spec("05/SES-1", "05/SES-4", "05/SES-5")
    def test_cookies_are_strict_private_and_end_with_the_session(
        self, core: Core, key: str, clock: FakeClock
    ) -> None:
        ids = set()
        for _ in range(2):
            client = Client(create_app(core))
            answer = client.post(
                "/login", base_url=BASE, data={"api_key": key}, headers={"Origin": BASE}
            )
            for line in answer.headers.getlist("Set-Cookie"):
                name, value = line.split(";")[0].split("=", 1)
                attributes = {part.strip().lower() for part in line.split(";")[1:]}
                expires = re.search(r"expires=([^;]+)", line, re.IGNORECASE)
                assert {"secure", "path=/", "samesite=strict"} <= attributes
                assert not any(part.startswith("domain") for part in attributes)
                assert ("httponly" in attributes) == (name == SESSION)
                assert expires is not None
                ends = parse_date(expires[1])
                assert ends is not None
                assert abs(ends - clock.now() - timedelta(hours=8)) < timedelta(seconds=2)
                if name == SESSION:
                    ids.add(value.split(".")[1])

        assert len(ids) == 2
        assert all(len(one.removeprefix("ses-")) == 64 for one in ids)  # 32 bytes in hex


class TestCSRF:
    @pytest.mark.spec("05/CSRF-1", "05/CSRF-5")
    @pytest.mark.parametrize(
        "headers",
        [
            {"X-CSRF-Token": ""},
            {"X-CSRF-Token": "x" * 43},
            {"Origin": STRANGER},
            {"Origin": "", "Referer": f"{STRANGER}/page"},
            {"Sec-Fetch-Site": "cross-site"},
        ],
        ids=["no_token", "wrong_token", "origin", "referer", "cross_site"],
    )
    def test_a_forged_request_is_refused(self, core: Core, key: str, headers: Any) -> None:
        client = browser(core, key)
        token = cookie(client, CSRF)

        assert code(post(client, "/api/v1/certificates", token, **headers)) == (403, "csrf")
        assert code(post(client, "/api/v1/certificates", token))[1] != "csrf"

    @pytest.mark.spec("05/CSRF-3")
    def test_a_lost_token_comes_back_with_any_answer(self, core: Core, key: str) -> None:
        client = browser(core, key)
        token = cookie(client, CSRF)
        client.delete_cookie(CSRF, domain="certctl.example.test")
        answer = read(client, "/api/v1/certificates")
        assert cookie(client, CSRF) == token
        assert answer.headers["Cache-Control"] == "no-store"

        client.set_cookie(CSRF, "old", domain="certctl.example.test", secure=True)
        assert code(post(client, "/api/v1/certificates", "old")) == (403, "csrf")
        assert cookie(client, CSRF) == token

    @pytest.mark.spec("05/CSRF-2", "05/CSRF-4", "05/OUT-1")
    def test_signing_out_renews_the_tokens_of_the_other_sessions(
        self, core: Core, key: str
    ) -> None:
        here, there = browser(core, key), browser(core, key)
        old = cookie(there, CSRF)
        session = cookie(here, SESSION)

        assert post(here, "/auth/logout", cookie(here, CSRF)).status_code == 303

        assert here.get_cookie(SESSION, domain="certctl.example.test") is None
        assert here.get_cookie(CSRF, domain="certctl.example.test") is None
        here.set_cookie(SESSION, session, domain="certctl.example.test", secure=True)
        assert read(here).status_code == 401
        assert code(post(there, "/api/v1/certificates", old)) == (403, "csrf")
        assert cookie(there, CSRF) != old
        assert code(post(there, "/api/v1/certificates", cookie(there, CSRF)))[1] != "csrf"
        rotated = core.call("audit.list", query={"action": "auth.session_csrf_rotated"}).data
        assert len(rotated) == 1

    @pytest.mark.spec("05/CSRF-4", "05/RBAC-28")
    def test_a_changed_role_renews_the_token(self, core: Core, key: str) -> None:
        client = browser(core, key)
        old = cookie(client, CSRF)
        actor = core.keys.authenticate(key)
        with core.begin() as uow:
            core.rooms.access.grant(
                uow, actor_type=ActorType.API_KEY, actor_id=actor.id, role_id="r-operator"
            )

        roles = read(client).json
        assert roles is not None
        assert set(roles["roles"]) == {"r-operator", "r-viewer"}
        assert cookie(client, CSRF) != old

    @pytest.mark.spec("05/OUT-1", "05/OUT-2", "05/CSRF-6")
    def test_signing_out_twice_is_signing_out(self, core: Core, key: str) -> None:
        client = browser(core, key)
        token = cookie(client, CSRF)
        assert code(post(client, "/auth/logout", token, Origin=STRANGER)) == (403, "csrf")
        assert read(client).status_code == 200
        answers = [post(client, "/auth/logout", token, Accept="application/json") for _ in range(2)]

        assert [answer.status_code for answer in answers] == [200, 200]
        assert [answer.json for answer in answers] == [{"redirect": None}] * 2
        for answer in answers:
            ended = [line for line in answer.headers.getlist("Set-Cookie") if "Max-Age=0" in line]
            assert {line.split("=")[0] for line in ended} == {SESSION, CSRF}


class TestHeaders:
    @pytest.mark.spec("01/API-20", "05/HDR-1", "08/HTTP-1")
    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/api/v1/version", 200),
            ("/api/v1/certificates", 401),
            ("/nowhere", 404),
            ("/static/css/base.css", 200),
            ("/login", 200),
        ],
    )
    def test_every_answer_carries_them(self, core: Core, path: str, status: int) -> None:
        answer = read(Client(create_app(core)), path)
        answer.close()
        headers = answer.headers

        assert answer.status_code == status
        assert headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "camera=()" in headers["Permissions-Policy"]
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy
        assert headers["X-Request-ID"]

    @pytest.mark.spec("01/API-20")
    def test_a_protocol_path_carries_none(self, core: Core) -> None:
        answer = read(Client(create_app(core)), "/.well-known/pki/crl/iss-local")

        assert answer.status_code == 200
        assert "Content-Security-Policy" not in answer.headers
        assert "Strict-Transport-Security" not in answer.headers

    @pytest.mark.spec("01/API-21", "05/HDR-2", "08/HTTP-7")
    def test_only_listed_origins_may_read(self, core: Core, key: str) -> None:
        client = Client(create_app(core))
        path = "/api/v1/certificates"
        listed = read(client, path, Origin=CONSOLE, **bearer(key)).headers
        asked = client.options(path, base_url=BASE, headers={"Origin": CONSOLE})
        others = [
            read(client, path, Origin=origin, **bearer(key)).headers
            for origin in (STRANGER, CONSOLE + ":444", CONSOLE.upper(), "null")
        ]

        assert listed["Access-Control-Allow-Origin"] == CONSOLE
        assert listed["Access-Control-Allow-Credentials"] == "true"
        assert "Origin" in listed["Vary"]
        assert asked.status_code == 204
        methods = asked.headers["Access-Control-Allow-Methods"].replace(" ", "").split(",")
        assert set(methods) == {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
        assert "X-CSRF-Token" in asked.headers["Access-Control-Allow-Headers"]
        assert asked.headers["Access-Control-Max-Age"] == "86400"
        assert not [name for one in others for name, _ in one if name.startswith("Access-")]
        for probe in ("/health", "/ready", "/api/v1/version", "/api/v1/auth/info"):
            headers = read(client, probe, Origin=STRANGER).headers
            assert headers["Access-Control-Allow-Origin"] == "*"
            assert "Access-Control-Allow-Credentials" not in headers

    @pytest.mark.spec("01/API-21", "05/HDR-2")
    def test_without_origins_there_are_no_such_headers(self, tmp_path) -> None:
        with Core.open(Settings.for_directory(tmp_path)) as core:
            headers = read(Client(create_app(core)), "/health", Origin=CONSOLE).headers

        assert not [name for name, _ in headers if name.startswith("Access-")]

    @pytest.mark.spec("08/HTTP-6", "05/HDR-4")
    def test_who_sees_a_secret_does_not_keep_it(self, core: Core) -> None:
        body = {"name": "keeper", "role_ids": ["r-admin"], "no_expiry": True}
        admin = core.call("api_keys.create", body=body).key_value
        client = Client(create_app(core))
        agent = client.post(
            "/api/v1/agents",
            base_url=BASE,
            json={"name": "web-1", "hostname": "web-1.example.test"},
            headers=bearer(admin),
        )

        assert agent.status_code == 201, agent.text
        assert agent.headers["Cache-Control"] == "no-store"
        assert read(client, "/api/v1/auth/keys", **bearer(admin)).headers["Cache-Control"] == (
            "no-store"
        )
        listed = read(client, "/api/v1/certificates", **bearer(admin)).headers
        assert listed["Cache-Control"] == "private, no-cache"
        assert listed["ETag"].startswith('W/"')

    @pytest.mark.spec("08/HTTP-3", "08/HTTP-10", "05/AUD-5")
    def test_the_log_has_one_line_a_request(self, core: Core, key: str) -> None:
        client = Client(create_app(core))
        with capture_logs() as lines:
            answer = read(
                client, "/api/v1/certificates?q=x", **bearer(key), **{"X-Request-ID": "build-7.a"}
            )
            read(client, "/health", **{"X-Request-ID": "no spaces please"})
        one, other = [line for line in lines if line["event"] == "http.request"]

        assert one["request_id"] == answer.headers["X-Request-ID"]
        assert one["client_request_id"] == "build-7.a"
        assert (one["method"], one["path"], one["status"]) == ("GET", "/api/v1/certificates", 200)
        assert one["actor_id"] == core.keys.authenticate(key).id
        assert one["duration_ms"] >= 0
        assert "client_request_id" not in other


def limited(limiter: str) -> float:
    found = REGISTRY.get("certctl_rate_limited_total")
    assert found is not None
    return sum(one.value for one in found.series() if limiter in dict(one.labels).values())


class TestLimits:
    @pytest.mark.spec("05/BOOT-9", "05/RL-1", "05/RL-4", "08/RL-4")
    def test_bootstrapping_is_tried_five_times_a_minute(self, core: Core, clock: FakeClock) -> None:
        client = Client(create_app(core))
        before = limited("bootstrap")

        def attempt(address: str = "192.0.2.1") -> TestResponse:
            return client.post(
                "/api/v1/auth/bootstrap",
                base_url=BASE,
                json={"token": "wrong" * 10, "actor_name": "somebody"},
                environ_overrides={"REMOTE_ADDR": address},
            )

        first = {attempt().status_code for _ in range(5)}
        refused = attempt()

        assert 429 not in first
        assert code(refused) == (429, "rate_limited")
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert refused.headers["X-Content-Type-Options"] == "nosniff"
        assert limited("bootstrap") == before + 1
        assert attempt("192.0.2.2").status_code in first
        clock.advance(timedelta(seconds=int(refused.headers["Retry-After"])))
        assert attempt().status_code in first

    @pytest.mark.spec("05/KEY-1", "05/RL-4")
    def test_thirty_bad_keys_a_minute_are_enough(self, core: Core, key: str) -> None:
        client = Client(create_app(core))
        before = limited("failed_bearer")
        statuses = [
            client.get(
                "/api/v1/auth/me",
                base_url=BASE,
                headers=bearer(f"ctl_none_{n}"),
                environ_overrides={"REMOTE_ADDR": "198.51.100.1"},
            ).status_code
            for n in range(31)
        ]

        assert statuses == [401] * 30 + [429]
        assert limited("failed_bearer") == before + 1
        assert read(client, **bearer(key)).status_code == 200

    @pytest.mark.spec("08/RL-3")
    def test_no_header_chooses_the_bucket(self, tmp_path) -> None:
        settings = Settings.for_directory(tmp_path, rate_limit_rps="1", rate_limit_burst="2")
        with Core.open(settings, clock=FakeClock()) as core:
            client = Client(create_app(core))
            statuses = [
                client.get(
                    "/health",
                    base_url=BASE,
                    headers={"X-Forwarded-For": f"192.0.2.{n}", "X-Actor": str(n)},
                    environ_overrides={"REMOTE_ADDR": "198.51.100.1"},
                ).status_code
                for n in range(3)
            ]

        assert statuses == [200, 200, 429]
