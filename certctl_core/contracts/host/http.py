"""``ctx.http`` on the product's one egress client (spec 06 §1.5)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from urllib.parse import urljoin, urlsplit

from certctl_core.contracts.errors import ConfigProblem
from certctl_core.contracts.http import MAX_BODY, Headers, HttpClient, HttpResponse
from certctl_core.contracts.options import ClientCert, PemBundle
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.events import JSON
from certctl_core.kernel.net import ClientIdentity, EgressPolicy
from certctl_core.kernel.net import HttpClient as EgressClient
from certctl_core.kernel.secrets import Secret
from certctl_core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """What makes two clients differ below HTTP; equal ones share connections."""

    ca: str | None
    identity: ClientIdentity | None
    timeout: float
    max_body: int
    allow_http: bool


class PluginHttp:
    """Makes the HTTP clients of one plugin instance; an ``HttpFactory``. Safe for threads.

    Args:
        policy: The outbound rules.
        clock: The time.
        user_agent: ``certctl/1.2.3``.
        proxy: The operator's HTTP proxy.
        also_trusted: Gives what is trusted beside the system's roots, in PEM.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        clock: Clock,
        user_agent: str,
        proxy: Secret | None = None,
        also_trusted: Callable[[], str] = str,
    ) -> None:
        self._also_trusted = also_trusted
        self._policy = policy
        self._clock = clock
        self._user_agent = user_agent
        self._proxy = proxy
        self._clients: dict[_Settings, EgressClient] = {}
        self._lock = threading.Lock()

    def __call__(
        self,
        base_url: str,
        *,
        ca: PemBundle | None = None,
        client: ClientCert | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        timeout: float = 30,
        max_body: int = MAX_BODY,
    ) -> HttpClient:
        """Give a client for one base URL; see ``contracts.http.HttpFactory``.

        Raises:
            ConfigProblem: The certificates cannot be used.
        """
        settings = _Settings(
            ca=None if ca is None else str(ca),
            identity=None
            if client is None
            else ClientIdentity(
                cert_pem=client.cert, key_pem=client.key, passphrase=client.passphrase
            ),
            timeout=timeout,
            max_body=max_body,
            allow_http=urlsplit(base_url).scheme == "http",
        )
        with self._lock:
            egress = self._clients.get(settings)
            if egress is None:
                egress = EgressClient(
                    self._policy,
                    clock=self._clock,
                    ca_pem=settings.ca,
                    also_trusted=self._also_trusted,
                    identity=settings.identity,
                    user_agent=self._user_agent,
                    timeout=timedelta(seconds=timeout),
                    max_body=max_body,
                    allow_http=settings.allow_http,
                    proxy=self._proxy,
                )
                self._clients[settings] = egress
        return _Client(egress, base_url, dict(headers or {}))

    def close(self) -> None:
        """Close all connections of the instance."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()


class _Client:
    def __init__(
        self, egress: EgressClient, base_url: str, headers: Mapping[str, str | Secret]
    ) -> None:
        self._egress = egress
        self._base_url = base_url
        self._headers = headers

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
        timeout: float | None = None,
        expect: Iterable[int] | None = None,
    ) -> HttpResponse:
        response = self._egress.request(
            method,
            join_url(self._base_url, path),
            params=params,
            json=json,
            content=content,
            form=form,
            headers={**self._headers, **(headers or {})},
            timeout=None if timeout is None else timedelta(seconds=timeout),
            expect=expect,
        )
        return HttpResponse(
            status=response.status,
            headers=Headers(response.headers),
            body=response.body,
            url=response.url,
        )


def join_url(base_url: str, path: str) -> str:
    """Append a path to a base URL; an absolute URL must have the base's scheme, host and port.

    Raises:
        ConfigProblem: It leads to another origin: what a server returns as a link must stay there.
    """
    if not path:
        return base_url
    if "://" not in path and not path.startswith("//"):
        base, _, query = base_url.partition("?")
        joined = f"{base.rstrip('/')}/{path.lstrip('/')}"
        return f"{joined}{'&' if '?' in joined else '?'}{query}" if query else joined
    target = urljoin(base_url, path)
    here, there = urlsplit(base_url), urlsplit(target)
    if (here.scheme, here.netloc.lower()) != (there.scheme, there.netloc.lower()):
        reason = "a link leads to another host than the configured one"
        raise ConfigProblem(reason)
    return target
