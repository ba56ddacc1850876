"""The one request pipeline (spec 01 API-22): everything passes here before any route runs.

Order: request id → crash guard → body cap → security headers → address limiter → CORS →
authentication → CSRF → actor limiter → route. The public PKI paths leave it at once: they are
answered by a WSGI function that needs none of this (DESIGN §5).
"""

from __future__ import annotations

import io
import json
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

import structlog
from werkzeug.http import http_date

from certctl_core.api import Problem, problem
from certctl_core.kernel.actors import ANONYMOUS, Actor
from certctl_core.kernel.errors import (
    CertctlError,
    Invalid,
    PayloadTooLarge,
    RateLimited,
    Unauthenticated,
)
from certctl_core.kernel.net import client_ip
from certctl_core.people.identity import (
    CSRF_COOKIE,
    SESSION_COOKIE,
    CSRFFailed,
    Session,
    SessionInvalid,
)
from certctl_flask.limits import TokenBuckets

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from certctl_core.app import Core

_log = structlog.get_logger("certctl.http")
_UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_FAILED_BEARER_PER_MINUTE = 30
_BOOTSTRAPS_PER_MINUTE = 5
_BOOTSTRAP = "/api/v1/auth/bootstrap"
# What anybody's page may read when origins are configured at all (08 HTTP-7).
_FOR_EVERY_ORIGIN = frozenset({"/health", "/ready", "/api/v1/version", "/api/v1/auth/info"})
_CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAX_TOKEN = 512
_BULK = 64 * 1024

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = (
    ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    (
        "Permissions-Policy",
        "accelerometer=(), camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (
        "Content-Security-Policy",
        _CSP,
    ),
)
"""On every answer but those of protocol paths (08 HTTP-6)."""
_SECURITY_NAMES = frozenset(name.lower() for name, _ in SECURITY_HEADERS)


@dataclass(slots=True)
class Context:
    """What the pipeline learned about a request; ``environ["certctl.context"]``."""

    request_id: str
    client_ip: str
    actor: Actor
    session: Session | None = None
    auth_error: CertctlError | None = None
    body: bytes = b""

    def require_actor(self) -> Actor:
        """The authenticated actor.

        Raises:
            Unauthenticated: There is none; the error says why the credential did not do.
        """
        if self.actor is ANONYMOUS:
            raise self.auth_error or Unauthenticated()
        return self.actor


def context_of(environ: WSGIEnvironment) -> Context:
    """The context of a request that came through the edge."""
    return cast("Context", environ["certctl.context"])


class Edge:
    """The WSGI application that servers run: the pipeline around a routing application."""

    def __init__(self, core: Core, app: WSGIApplication) -> None:
        self._core = core
        self._app = app
        self._pki = core.pki.wsgi
        settings = core.settings
        limits = settings.rate_limits
        self._max_body = settings.server.max_body_size
        self._trusted = settings.server.trusted_proxies
        self._origins = frozenset(settings.server.cors_origins)
        rate = limits.rps if limits.enabled else 0
        ttl = limits.bucket_ttl.total_seconds()
        self._by_address = TokenBuckets(
            "address", rate=rate, burst=limits.burst, ttl_seconds=ttl, clock=core.clock
        )
        self._by_actor = TokenBuckets(
            "actor",
            rate=(limits.per_user_rps or limits.rps) if limits.enabled else 0,
            burst=limits.per_user_burst or limits.burst,
            ttl_seconds=ttl,
            clock=core.clock,
        )
        self._failed = TokenBuckets(
            "failed_bearer",
            rate=_FAILED_BEARER_PER_MINUTE / 60 if limits.enabled else 0,
            burst=_FAILED_BEARER_PER_MINUTE,
            ttl_seconds=ttl,
            clock=core.clock,
        )
        self._bootstraps = TokenBuckets(
            "bootstrap",
            rate=_BOOTSTRAPS_PER_MINUTE / 60 if limits.enabled else 0,
            burst=_BOOTSTRAPS_PER_MINUTE,
            ttl_seconds=ttl,
            clock=core.clock,
        )
        self._samesite = str(settings.sessions.samesite)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        path = environ["PATH_INFO"]
        if path.startswith("/.well-known/pki/"):
            return self._pki(environ, start_response)
        return self._pipeline(environ, start_response, path)

    def _pipeline(
        self, environ: WSGIEnvironment, start_response: StartResponse, path: str
    ) -> Iterable[bytes]:
        started = perf_counter()
        peer = environ.get("REMOTE_ADDR", "")
        context = Context(
            request_id=str(uuid.uuid4()),
            client_ip=client_ip(peer, environ.get("HTTP_X_FORWARDED_FOR", ""), self._trusted),
            actor=ANONYMOUS,
        )
        environ["certctl.context"] = context
        respond = _Respond(start_response, self._headers(environ, context, path))
        try:
            preflight = self._before(environ, context, path)
            if preflight is not None:
                respond(preflight, [("Content-Length", "0")])
                body: Iterable[bytes] = (b"",)
            else:
                body = self._app(environ, respond)
        except Exception as error:  # noqa: BLE001 - the edge is where everything ends
            body = self._failed_answer(error, context, respond)
        status = respond.status
        self._core.http_metrics(environ["REQUEST_METHOD"], status, perf_counter() - started)
        _log.info(
            "http.request",
            request_id=context.request_id,
            method=environ["REQUEST_METHOD"],
            path=path,
            status=status,
            duration_ms=round((perf_counter() - started) * 1000, 1),
            remote_addr=context.client_ip,
            actor_id=context.actor.id,
            **_client_request_id(environ),
        )
        return body

    def _before(self, environ: WSGIEnvironment, context: Context, path: str) -> str | None:
        """Run the stages before the route; a status line ends the request there (preflight)."""
        self._by_address.take(context.client_ip)
        if path == _BOOTSTRAP and environ["REQUEST_METHOD"] == "POST":
            self._bootstraps.take(context.client_ip)
        self._read_body(environ, context)
        if environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ORIGIN" in environ:
            return "204 No Content"
        if path.startswith("/static/"):
            return None
        self._authenticate(environ, context)
        if context.session is not None and environ["REQUEST_METHOD"] in _UNSAFE:
            self._check_csrf(environ, context)
        if context.actor is not ANONYMOUS:
            self._by_actor.take(f"{context.actor.type}:{context.actor.id}")
        return None

    def _read_body(self, environ: WSGIEnvironment, context: Context) -> None:
        declared = environ.get("CONTENT_LENGTH") or ""
        if declared:
            if not declared.isdigit():
                raise Invalid
            if int(declared) > self._max_body:
                raise PayloadTooLarge
            context.body = environ["wsgi.input"].read(int(declared))
        elif environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked":
            context.body = self._read_chunked(environ)
        environ["wsgi.input"] = io.BytesIO(context.body)
        environ["CONTENT_LENGTH"] = str(len(context.body))

    def _read_chunked(self, environ: WSGIEnvironment) -> bytes:
        parts: list[bytes] = []
        total = 0
        while True:
            part = environ["wsgi.input"].read(_BULK)
            if not part:
                return b"".join(parts)
            total += len(part)
            if total > self._max_body:
                raise PayloadTooLarge
            parts.append(part)

    def _authenticate(self, environ: WSGIEnvironment, context: Context) -> None:
        """Session cookie first, else bearer (05 PIPE-4); a bad one is kept for gated routes."""
        cookie = _cookie(environ, SESSION_COOKIE)
        if cookie:
            try:
                context.session = self._core.sessions.authenticate(
                    cookie, ip=context.client_ip, user_agent=environ.get("HTTP_USER_AGENT", "")
                )
            except SessionInvalid as error:
                context.auth_error = error
            else:
                context.actor = context.session.actor
                return
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if not scheme:
            return
        if scheme.lower() != "bearer" or not 0 < len(token) <= _MAX_TOKEN:
            context.auth_error = context.auth_error or Unauthenticated()
            return
        try:
            context.actor = self._core.keys.authenticate(token.strip())
        except Unauthenticated as error:
            self._failed.take(context.client_ip)
            context.auth_error = context.auth_error or error

    def _check_csrf(self, environ: WSGIEnvironment, context: Context) -> None:
        session = context.session
        assert session is not None  # noqa: S101 - the caller has looked
        refuse_foreign_origin(environ)
        token = environ.get("HTTP_X_CSRF_TOKEN", "") or _form_token(environ, context.body)
        if not self._core.sessions.check_csrf(session, token):
            raise CSRFFailed

    def _headers(
        self, environ: WSGIEnvironment, context: Context, path: str
    ) -> Callable[[list[tuple[str, str]]], list[tuple[str, str]]]:
        def complete(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
            headers += self._csrf_cookie(environ, context)
            present = {name.lower() for name, _ in headers}
            headers += (
                SECURITY_HEADERS
                if present.isdisjoint(_SECURITY_NAMES)
                else [item for item in SECURITY_HEADERS if item[0].lower() not in present]
            )
            headers.append(("X-Request-ID", context.request_id))
            if "cache-control" not in present:
                private = (
                    path.startswith(("/api/v1/auth/", "/auth/", "/login"))
                    or "set-cookie" in present
                )
                headers.append(("Cache-Control", "no-store" if private else "private, no-cache"))
            headers += self._cors(environ, path)
            return headers

        return complete

    def _csrf_cookie(self, environ: WSGIEnvironment, context: Context) -> list[tuple[str, str]]:
        session = context.session
        if session is None or _cookie(environ, CSRF_COOKIE) == session.csrf_token:
            return []
        until = http_date(session.absolute_expires_at)
        attributes = f"Expires={until}; Path=/; Secure; SameSite={self._samesite}"
        return [("Set-Cookie", f"{CSRF_COOKIE}={session.csrf_token}; {attributes}")]

    def _cors(self, environ: WSGIEnvironment, path: str) -> list[tuple[str, str]]:
        origin = environ.get("HTTP_ORIGIN", "")
        if not origin or not self._origins:
            return []
        if origin not in self._origins:
            if path not in _FOR_EVERY_ORIGIN:
                return [("Vary", "Origin")]
            return [("Access-Control-Allow-Origin", "*"), ("Vary", "Origin")]
        return [
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Allow-Credentials", "true"),
            ("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE, OPTIONS"),
            (
                "Access-Control-Allow-Headers",
                "Content-Type, Authorization, X-Request-ID, X-CSRF-Token",
            ),
            ("Access-Control-Max-Age", "86400"),
            ("Vary", "Origin"),
        ]

    def _failed_answer(
        self, error: Exception, context: Context, respond: _Respond
    ) -> Iterable[bytes]:
        if not isinstance(error, CertctlError):
            _log.exception("http.crashed", request_id=context.request_id)
        elif isinstance(error, RateLimited):
            _log.info("http.rate_limited", remote_addr=context.client_ip)
        found = problem(error, request_id=context.request_id)
        return (problem_answer(found, respond),)


class _Respond:
    """``start_response`` that completes the headers and remembers the status."""

    def __init__(
        self,
        start_response: StartResponse,
        complete: Callable[[list[tuple[str, str]]], list[tuple[str, str]]],
    ) -> None:
        self._start = start_response
        self._complete = complete
        self.status = 500

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], object]:
        self.status = int(status[:3])
        complete = self._complete(list(headers))
        if exc_info is None:
            return self._start(status, complete)
        return self._start(status, complete, exc_info)


def problem_answer(found: Problem, start_response: StartResponse) -> bytes:
    """Send a problem document."""
    body = json.dumps(found.document).encode()
    title = str(found.document["title"])
    start_response(
        f"{found.status} {title}",
        [
            ("Content-Type", "application/problem+json"),
            ("Content-Length", str(len(body))),
            *found.headers,
        ],
    )
    return body


def _client_request_id(environ: WSGIEnvironment) -> dict[str, str]:
    """What the client calls its request, for the log alone (08 HTTP-3)."""
    given = environ.get("HTTP_X_REQUEST_ID", "")
    return {"client_request_id": given} if _CLIENT_REQUEST_ID.fullmatch(given) else {}


def _cookie(environ: WSGIEnvironment, name: str) -> str:
    text = environ.get("HTTP_COOKIE", "")
    if name not in text:
        return ""
    try:
        found = SimpleCookie(text).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _form_token(environ: WSGIEnvironment, body: bytes) -> str:
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return ""
    return parse_qs(body.decode("utf-8", "replace")).get("csrf_token", [""])[0]


def refuse_foreign_origin(environ: WSGIEnvironment) -> None:
    """The second layer of CSRF defence: what the browser itself says (CSRF-5).

    Under ``Referrer-Policy: no-referrer`` browsers send ``Origin: null`` with our own forms too.
    ``Sec-Fetch-Site``, which no page can set, then tells them from those of others.
    """
    site = environ.get("HTTP_SEC_FETCH_SITE", "")
    if site == "cross-site":
        raise CSRFFailed
    source = environ.get("HTTP_ORIGIN") or environ.get("HTTP_REFERER")
    if source == "null" and site == "same-origin":
        return
    if source and urlsplit(source).netloc != environ.get("HTTP_HOST", ""):
        raise CSRFFailed
