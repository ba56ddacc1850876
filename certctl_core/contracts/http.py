"""Outbound HTTP as a plugin sees it, and the header and response values (spec 06 §1.5).

The client behind it is the product's one egress client: blocked networks, checked addresses, no
redirects, TLS verification always on. A plugin writes no try/except around it: anything but an
expected status is raised as the right typed error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import Protocol, cast

from typing_extensions import override

from certctl_core.contracts.errors import UpstreamProtocolError
from certctl_core.contracts.options import ClientCert, PemBundle
from certctl_core.kernel.events import JSON
from certctl_core.kernel.secrets import Secret
from certctl_core.values import dataclass

MAX_BODY = 10 * 1024 * 1024
"""Bytes of an answer that are read unless the plugin asks for another limit."""


class Headers(Mapping[str, str]):
    """HTTP header fields: names without regard to case, several values for one name, immutable.

    Args:
        items: A mapping, or pairs in wire order.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        pairs = items.items() if isinstance(items, Mapping) else items
        self._items: tuple[tuple[str, str], ...] = tuple(pairs)

    @override
    def __getitem__(self, name: str) -> str:
        wanted = name.lower()
        for key, value in self._items:
            if key.lower() == wanted:
                return value
        raise KeyError(name)

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key.lower() for key, _ in self._items))

    @override
    def __len__(self) -> int:
        return len({key.lower() for key, _ in self._items})

    @override
    def __repr__(self) -> str:
        return f"Headers({', '.join(self)})"  # Values may be credentials.

    def get_all(self, name: str) -> tuple[str, ...]:
        """All values of a name, in order."""
        wanted = name.lower()
        return tuple(value for key, value in self._items if key.lower() == wanted)

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The fields as given, for the wire."""
        return self._items


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """An answer, read completely.

    Attributes:
        status: HTTP status.
        headers: Its header fields.
        body: The content, at most ``max_body`` bytes.
        url: What was asked, for error texts; without query.
    """

    status: int
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    url: str = ""

    @property
    def text(self) -> str:
        """The body as UTF-8; what is none is replaced."""
        return self.body.decode("utf-8", errors="replace")

    def json(self) -> JSON:
        """The body as JSON.

        Raises:
            UpstreamProtocolError: It is none.
        """
        try:
            value: JSON = json.loads(self.body)
        except (ValueError, RecursionError):
            raise UpstreamProtocolError(reason=f"{self.url} did not answer with JSON") from None
        return value

    def field(self, *path: str | int) -> JSON:
        """One value of the JSON body: ``response.field("data", "certificate")``.

        Raises:
            UpstreamProtocolError: No JSON, or a member on the path is missing; names it.
        """
        value = self.json()
        for part in path:
            found = _member(value, part)
            if found is _MISSING:
                name = ".".join(str(item) for item in path)
                raise UpstreamProtocolError(reason=f"{self.url} answered without field {name!r}")
            value = cast("JSON", found)
        return value

    def text_field(self, *path: str | int) -> str:
        """One value of the JSON body that must be a non-empty text.

        Raises:
            UpstreamProtocolError: As ``field``, or it is no text.
        """
        value = self.field(*path)
        if not isinstance(value, str) or not value:
            name = ".".join(str(item) for item in path)
            raise UpstreamProtocolError(reason=f"{self.url} answered with no text in {name!r}")
        return value


class HttpClient(Protocol):
    """Requests to one base URL. Safe for threads; connections are kept and closed by the core."""

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
        """Send one request and read the whole answer.

        Args:
            method: GET, POST …
            path: Appended to the base URL; an absolute URL must have its host and scheme.
            params: Query parameters.
            json: A JSON body; ``content`` and ``form`` are the alternatives.
            content: A body as it stands.
            form: A body of type ``application/x-www-form-urlencoded``.
            headers: Further header fields; a ``Secret`` is revealed on the wire only.
            timeout: Seconds for the whole exchange instead of the client's.
            expect: Statuses to return; any 2xx unless given. Others are raised.

        Raises:
            UpstreamError: By the status (spec 06 NET-9); ``UpstreamUnavailable``,
                ``UpstreamTimeout``, ``TrustError`` for what happens below HTTP;
                ``UpstreamProtocolError`` for a redirect or a body over the limit.
            EgressDenied: The address is blocked by the egress policy.
        """
        ...


class HttpFactory(Protocol):
    """``ctx.http``: makes clients. Clients with equal arguments share connections."""

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
        """Give a client for one base URL.

        Args:
            base_url: Where to; its path is the prefix of every request path.
            ca: Certificates to trust instead of the system's; verification is never off.
            client: Certificate and key for mutual TLS.
            headers: Sent with every request.
            timeout: Seconds for one exchange; 10 of them at most for connecting.
            max_body: Bytes of an answer that are accepted.
        """
        ...


_MISSING = object()


def _member(value: JSON, part: str | int) -> object:
    if isinstance(part, str):
        return value.get(part, _MISSING) if isinstance(value, dict) else _MISSING
    return value[part] if isinstance(value, list) and part < len(value) else _MISSING
