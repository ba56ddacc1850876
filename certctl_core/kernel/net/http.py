"""The one outbound HTTP client (spec 06 §1.5, 08 §10).

Checked and pinned addresses, verification always on, no redirects unless asked for, bodies and times
limited, no cookies, no proxy from the environment, and every failure a typed error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin, urlsplit

from certctl_core.kernel.clock import Clock
from certctl_core.kernel.events import JSON
from certctl_core.kernel.net import _failures
from certctl_core.kernel.net.egress import EgressPolicy, Resolve
from certctl_core.kernel.net.errors import (
    ConfigProblem,
    UpstreamProtocolError,
    UpstreamUnavailable,
)
from certctl_core.kernel.net.responses import Response, error_for
from certctl_core.kernel.net.tls import ClientIdentity, client_context
from certctl_core.kernel.secrets import Secret

if TYPE_CHECKING:  # httpx is loaded with the first request: many processes never send one
    import httpcore
    import httpx

    from certctl_core.kernel.net._transport import Deadline

MAX_BODY_BYTES = 10 * 1024 * 1024
"""Of an answer, unless the caller asks for another limit (spec 08 NET-1)."""

MAX_REDIRECTS = 3
TIMEOUT = timedelta(seconds=30)
CONNECT_TIMEOUT = timedelta(seconds=5)
MAX_CONNECTIONS = 16
KEEPALIVE_SECONDS = 60.0

_NOTHING: Callable[[], str] = str
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEPT_ON_REDIRECT = frozenset({"accept", "user-agent"})
"""Nothing else goes to another origin: it may be a credential."""


class HttpClient:
    """Sends requests through the outbound rules. Safe for threads; keeps connections.

    Build it after a fork. Close it, or use it in ``with``.

    Args:
        policy: The outbound rules.
        clock: For time limits and ``Retry-After`` dates.
        ca_pem: Certificates to trust instead of the system's.
        also_trusted: Gives certificates to trust beside the system's, in PEM, where ``ca_pem`` is
            not given; asked for each request, so that it may change meanwhile.
        identity: For mutual TLS.
        headers: Sent with every request; a ``Secret`` is revealed on the wire only.
        user_agent: ``certctl/1.2.3``.
        timeout: For a whole exchange, connecting and redirects included.
        connect_timeout: For each address that is tried.
        max_body: Bytes of an answer that are accepted.
        allow_http: Whether ``http://`` may be asked, too.
        proxy: The operator's HTTP proxy. The names that resolve here are checked before the proxy
            is asked; the others are left to its own rules.
        resolve: The resolver; the system's unless given.

    Raises:
        ConfigProblem: The CA bundle or the client certificate cannot be used.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        clock: Clock,
        ca_pem: str | None = None,
        also_trusted: Callable[[], str] = _NOTHING,
        identity: ClientIdentity | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        user_agent: str = "certctl",
        timeout: timedelta = TIMEOUT,
        connect_timeout: timedelta = CONNECT_TIMEOUT,
        max_body: int = MAX_BODY_BYTES,
        allow_http: bool = False,
        proxy: Secret | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._ca_pem = ca_pem
        self._identity = identity
        self._also_trusted = also_trusted if ca_pem is None else _NOTHING
        self._roots = self._also_trusted()
        self._context = client_context(ca_pem=ca_pem, identity=identity, also_trusted=self._roots)
        self._headers = {"user-agent": user_agent, **_lower(headers)}
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._max_body = max_body
        self._schemes = ("https", "http") if allow_http else ("https",)
        self._proxy = proxy
        self._resolve = resolve
        self._lock = threading.Lock()
        self._pool: httpcore.ConnectionPool | None = None
        self._deadline: Deadline | None = None

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        json: JSON = None,
        content: bytes | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        timeout: timedelta | None = None,
        expect: Iterable[int] | None = None,
        redirects: int = 0,
    ) -> Response:
        """Send one request; any status but the expected ones is an error.

        Args:
            method: GET, POST …
            url: Absolute; https, or http where the client allows it.
            params: Query parameters, added to those of the URL.
            json: A JSON body; ``content`` and ``form`` are the alternatives.
            content: A body as it stands.
            form: A body of type ``application/x-www-form-urlencoded``.
            headers: Further header fields.
            timeout: For the whole exchange, instead of the client's.
            expect: Statuses to return; any 2xx unless given.
            redirects: How many redirects of GET and HEAD to follow, at most 3. Each target is
                checked; https never leads to http; credentials stay with their origin.

        Raises:
            EgressDenied: The outbound rules forbid an address of the host.
            ConfigProblem: The URL cannot be asked.
            UpstreamError: As ``error_for`` maps the status; ``UpstreamUnavailable``,
                ``UpstreamTimeout``, ``TrustError``, ``AuthError`` for what happens below HTTP;
                ``UpstreamProtocolError`` for a redirect that is not followed, a compressed answer,
                a body over the limit, or no HTTP at all.
        """
        response = self.exchange(
            method,
            url,
            params=params,
            json=json,
            content=content,
            form=form,
            headers=headers,
            timeout=timeout,
            redirects=redirects,
        )
        wanted = frozenset(expect) if expect is not None else range(200, 300)
        if response.status not in wanted:
            raise error_for(response, now=self._clock.now())
        return response

    def exchange(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        json: JSON = None,
        content: bytes | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        timeout: timedelta | None = None,
        redirects: int = 0,
    ) -> Response:
        """Send one request and return the answer whatever its status; else as ``request``."""
        import httpx

        pool, deadline = self._open()
        deadline.start(timeout or self._timeout)
        fields = {**self._headers, **_lower(headers), "accept-encoding": "identity"}
        body: dict[str, object] = {}
        if json is not None:
            body["json"] = json
        elif form is not None:
            body["data"] = dict(form)
        elif content is not None:
            body["content"] = content
        try:
            request = httpx.Request(
                method,
                self._checked_url(url),
                params={**httpx.URL(url).params, **params} if params else None,
                headers=fields,
                **body,  # type: ignore[arg-type] # one of json, data, content
            )
        except (httpx.InvalidURL, ValueError, TypeError) as error:
            reason = "the request has a URL or header that HTTP cannot carry"
            raise ConfigProblem(reason) from error
        for _ in range(min(redirects, MAX_REDIRECTS)):
            response = self._send(pool, request)
            target = response.header("location")
            if response.status not in _REDIRECTS or not target or method not in {"GET", "HEAD"}:
                return response
            request = self._redirected(request, target)
        return self._send(pool, request)

    def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> tuple[httpcore.ConnectionPool, Deadline]:
        with self._lock:
            roots = self._also_trusted()
            if roots != self._roots:
                # Requests under way end on the connections that they have.
                self._context = client_context(
                    ca_pem=self._ca_pem, identity=self._identity, also_trusted=roots
                )
                self._roots, self._pool = roots, None
            if self._pool is None or self._deadline is None:
                import httpcore

                from certctl_core.kernel.net._transport import CheckedBackend, Deadline

                self._deadline = Deadline(self._clock.monotonic)
                backend = CheckedBackend(
                    self._policy if self._proxy is None else None,
                    self._deadline,
                    connect_timeout=self._connect_timeout,
                    resolve=self._resolve,
                )
                self._pool = httpcore.ConnectionPool(
                    ssl_context=self._context,
                    proxy=_proxy(self._proxy),
                    max_connections=MAX_CONNECTIONS,
                    max_keepalive_connections=MAX_CONNECTIONS,
                    keepalive_expiry=KEEPALIVE_SECONDS,
                    network_backend=backend,
                )
            return self._pool, self._deadline

    def _checked_url(self, url: str) -> str:
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            parts, port = urlsplit(""), 0
        if parts.scheme not in self._schemes or not parts.hostname:
            reason = (
                f"the URL must begin with {' or '.join(f'{item}://' for item in self._schemes)}"
            )
            raise ConfigProblem(reason)
        if parts.username is not None or parts.password is not None:
            reason = "the URL holds credentials"
            raise ConfigProblem(reason)
        if self._proxy is not None:
            self._check_before_proxy(parts.hostname, port)
        return url

    def _check_before_proxy(self, host: str, port: int) -> None:
        try:
            self._policy.addresses(host, port, timeout=self._connect_timeout, resolve=self._resolve)
        except UpstreamUnavailable:
            return  # Behind a proxy, outside names often do not resolve: they are its business.

    def _redirected(self, request: httpx.Request, target: str) -> httpx.Request:
        import httpx

        old = str(request.url)
        new = self._checked_url(urljoin(old, target))
        before, after = urlsplit(old), urlsplit(new)
        if before.scheme == "https" and after.scheme != "https":
            reason = f"{_shown(old)} redirects from https to http"
            raise UpstreamProtocolError(reason)
        same = (before.scheme, before.netloc) == (after.scheme, after.netloc)
        kept = {
            name: value
            for name, value in request.headers.items()
            if name != "host" and (same or name in {*_KEPT_ON_REDIRECT, "accept-encoding"})
        }
        return httpx.Request(request.method, new, headers=kept)

    def _send(self, pool: httpcore.ConnectionPool, request: httpx.Request) -> Response:
        import httpcore

        shown = _shown(str(request.url))
        url = request.url
        wire = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=request.read(),
        )
        with _failures.translated(shown):
            response = pool.handle_request(wire)
            try:
                headers = tuple(
                    (name.decode("ascii").lower(), value.decode("latin-1"))
                    for name, value in response.headers
                )
                body = self._read(response, dict(headers), shown)
            finally:
                response.close()
        return Response(status=response.status, headers=headers, body=body, url=shown)

    def _read(self, response: httpcore.Response, headers: dict[str, str], shown: str) -> bytes:
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            # We asked for none; unpacking would undo the limit.
            reason = f"{shown} answered with a compressed body"
            raise UpstreamProtocolError(reason)
        parts: list[bytes] = []
        size = 0
        for part in response.iter_stream():
            size += len(part)
            if size > self._max_body:
                reason = f"{shown} answered with more than {self._max_body} bytes"
                raise UpstreamProtocolError(reason)
            parts.append(part)
        return b"".join(parts)


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _lower(headers: Mapping[str, str | Secret] | None) -> dict[str, str]:
    return {
        name.lower(): value.reveal() if isinstance(value, Secret) else value
        for name, value in (headers or {}).items()
    }


def _proxy(url: Secret | None) -> httpcore.Proxy | None:
    if url is None:
        return None
    from urllib.parse import unquote

    import httpcore

    parts = urlsplit(url.reveal())
    host = parts.netloc.rpartition("@")[2]
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return httpcore.Proxy(f"{parts.scheme}://{host}", auth=auth)
