"""A context for plugins under test, and HTTP that answers from a function."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlencode

from certctl_core.contracts.errors import (
    AuthError,
    PluginError,
    RequestRejected,
    TrustError,
    UpstreamNotFound,
    UpstreamProtocolError,
    UpstreamRateLimited,
    UpstreamServerError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from certctl_core.contracts.host.contexts import (
    HostContext,
    MemoryState,
    ProcessLocks,
    plugin_logger,
    product,
)
from certctl_core.contracts.host.http import join_url
from certctl_core.contracts.http import MAX_BODY, Headers, HttpClient, HttpFactory, HttpResponse
from certctl_core.contracts.options import ClientCert, PemBundle
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.events import JSON
from certctl_core.kernel.net import Response, error_for
from certctl_core.kernel.secrets import Secret
from certctl_core.testing.fakes import FakeClock


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRequest:
    """A request that a plugin sent, as it would be on the wire."""

    method: str
    url: str
    headers: Headers
    body: bytes
    ca: PemBundle | None
    client: ClientCert | None

    def json(self) -> JSON:
        """The body as JSON."""
        value: JSON = jsonlib.loads(self.body)
        return value


class Failure(StrEnum):
    """What can go wrong with an HTTP call (spec 06 §14.2)."""

    UNAUTHORIZED = "401"
    FORBIDDEN = "403"
    NOT_FOUND = "404"
    CONFLICT = "409"
    RATE_LIMITED = "429"
    SERVER_ERROR = "500"
    UNAVAILABLE = "503"
    TIMEOUT = "timeout"
    RESET = "reset"
    TLS = "tls"
    REDIRECT = "redirect"
    TOO_LARGE = "too_large"
    BAD_JSON = "bad_json"


EXPECTED_ERRORS: Mapping[Failure, type[PluginError]] = {
    Failure.UNAUTHORIZED: AuthError,
    Failure.FORBIDDEN: AuthError,
    Failure.NOT_FOUND: UpstreamNotFound,
    Failure.CONFLICT: RequestRejected,
    Failure.RATE_LIMITED: UpstreamRateLimited,
    Failure.SERVER_ERROR: UpstreamServerError,
    Failure.UNAVAILABLE: UpstreamServerError,
    Failure.TIMEOUT: UpstreamTimeout,
    Failure.RESET: UpstreamUnavailable,
    Failure.TLS: TrustError,
    Failure.REDIRECT: UpstreamProtocolError,
    Failure.TOO_LARGE: UpstreamProtocolError,
    Failure.BAD_JSON: UpstreamProtocolError,
}
"""The typed error that each must lead to, unless the vendor's answer refines it."""

RETRY_AFTER_SECONDS = 7
"""What the fake 429 says in ``Retry-After``."""


class FakeHTTP:
    """An ``HttpFactory`` that answers from a function and keeps the contract of the real client.

    Attributes:
        requests: What was sent, in order.
        failure: When set, every request fails so.

    Args:
        answer: Gives the answer to a request; an empty 200 unless given. Statuses that the plugin
            does not expect are raised as the real client raises them.
        clock: For ``Retry-After``.
    """

    def __init__(
        self,
        answer: Callable[[SentRequest], HttpResponse] | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        self.answer = answer or (lambda _: HttpResponse(status=200))
        self.requests: list[SentRequest] = []
        self.failure: Failure | None = None
        self._clock = clock or FakeClock()

    def __call__(
        self,
        base_url: str,
        *,
        ca: PemBundle | None = None,
        client: ClientCert | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        timeout: float = 30,  # noqa: ARG002 - nothing here takes time
        max_body: int = MAX_BODY,
    ) -> HttpClient:
        """Give a client."""
        return _FakeClient(self, base_url, ca=ca, client=client, headers=headers, limit=max_body)

    def exchange(self, request: SentRequest, wanted: frozenset[int], limit: int) -> HttpResponse:
        """Answer one request as the real client would."""
        self.requests.append(request)
        shown = request.url.partition("?")[0]
        response = self._fail(shown, limit) if self.failure else self.answer(request)
        if len(response.body) > limit:
            raise UpstreamProtocolError(reason=f"{shown} answered with more than {limit} bytes")
        plain = Response(
            status=response.status,
            headers=tuple((name.lower(), value) for name, value in response.headers.pairs()),
            body=response.body,
            url=shown,
        )
        if response.status not in wanted:
            raise error_for(plain, now=self._clock.now())
        return HttpResponse(
            status=response.status, headers=response.headers, body=response.body, url=shown
        )

    def _fail(self, shown: str, limit: int) -> HttpResponse:
        match self.failure:
            case Failure.TIMEOUT:
                raise UpstreamTimeout(reason=f"{shown} took too long")
            case Failure.RESET:
                raise UpstreamUnavailable(reason=f"{shown}: connection reset")
            case Failure.TLS:
                raise TrustError(reason=f"{shown}: unable to get local issuer certificate")
            case Failure.REDIRECT:
                location = Headers({"location": "https://elsewhere.example/"})
                return HttpResponse(status=302, headers=location)
            case Failure.TOO_LARGE:
                return HttpResponse(status=200, body=b"x" * (limit + 1))
            case Failure.BAD_JSON:
                return HttpResponse(status=200, body=b'{"cut')
            case Failure.RATE_LIMITED:
                wait = Headers({"retry-after": str(RETRY_AFTER_SECONDS)})
                return HttpResponse(status=429, headers=wait)
            case Failure() as status:
                return HttpResponse(status=int(status))
            case None:
                return HttpResponse(status=200)


class _FakeClient:
    def __init__(
        self,
        fake: FakeHTTP,
        base_url: str,
        *,
        ca: PemBundle | None,
        client: ClientCert | None,
        headers: Mapping[str, str | Secret] | None,
        limit: int,
    ) -> None:
        self._fake = fake
        self._base_url = base_url
        self._ca = ca
        self._client = client
        self._headers = dict(headers or {})
        self._limit = limit

    def request(
        self,
        method: str,
        path: str = "",
        *,
        params: Mapping[str, str] | None = None,
        json: JSON = None,
        content: bytes | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        timeout: float | None = None,  # noqa: ARG002 - nothing here takes time
        expect: Iterable[int] | None = None,
    ) -> HttpResponse:
        url = join_url(self._base_url, path)
        if params:
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(params)}"
        body = content or b""
        fields = {**self._headers, **(headers or {})}
        if json is not None:
            body = jsonlib.dumps(json).encode()
            fields.setdefault("content-type", "application/json")
        elif form is not None:
            body = urlencode(form).encode()
            fields.setdefault("content-type", "application/x-www-form-urlencoded")
        request = SentRequest(
            method=method,
            url=url,
            headers=Headers(
                (name, value.reveal() if isinstance(value, Secret) else value)
                for name, value in fields.items()
            ),
            body=body,
            ca=self._ca,
            client=self._client,
        )
        wanted = frozenset(expect if expect is not None else range(200, 300))
        return self._fake.exchange(request, wanted, self._limit)


def fake_context(
    *,
    http: HttpFactory | None = None,
    clock: Clock | None = None,
    instance_id: str = "iss-under-test",
    public_url: str = "",
    state: MemoryState | None = None,
) -> HostContext:
    """A context for any plugin, with state and locks in memory.

    Args:
        http: Usually a ``FakeHTTP``.
        clock: A ``FakeClock`` unless given.
        instance_id: The row the instance belongs to.
        public_url: For notifiers.
        state: Shared between two contexts to play a restart.
    """
    clock = clock or FakeClock()
    return HostContext(
        instance_id=instance_id,
        http=http or FakeHTTP(clock=clock),
        clock=clock,
        log=plugin_logger("under-test", instance_id),
        state=state or MemoryState(),
        lock=ProcessLocks(),
        product=product(),
        public_url=public_url,
    )
