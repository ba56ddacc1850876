"""The wire: TLS 1.3, bearer key, problem documents as exceptions, bounded repetition."""

from __future__ import annotations

import ipaddress
import json
import random
import ssl
import time
import uuid
from collections.abc import Callable, Container, Mapping
from dataclasses import field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

from certctl_client.errors import (
    APIError,
    BadServerURL,
    CABundleUnusable,
    ServerTimeout,
    ServerUnreachable,
    UnexpectedAnswer,
)
from certctl_client.wire import ConnectionLost, NotConnected, TooLong, Wire
from certctl_core.values import dataclass

MAX_ATTEMPTS = 4
"""Of one request, the first one counted."""
MAX_WAIT_SECONDS = 10.0
"""A server that asks for a longer pause gets no repetition: the caller hears of it instead."""
MAX_ANSWER = 64 * 1024 * 1024
"""More than any answer has; a broken server must not fill the memory of a small host."""
_BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_REPEATABLE = frozenset({"GET", "PUT", "POST"})
"""May be sent again when it is not known whether it arrived; a POST has its idempotency key."""
_FIRST_PAUSE = 0.5
_ERROR = 400
_PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A successful answer.

    Attributes:
        status: 2xx, 304, or one that the caller accepts.
        headers: By lower-case name.
        content: The whole body.
        media_type: Without parameters.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    media_type: str = ""

    def json(self) -> Any:
        """The decoded body; None when there is none."""
        return json.loads(self.content) if self.content else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    method: str
    target: str
    headers: Mapping[str, str]
    content: bytes | None
    timeout_seconds: float


class HTTP:
    """One server, one credential, one pool of connections. Safe for threads; close it.

    Args:
        url: ``https://host[:port]``.
        api_key: Sent as a bearer token; None sends no credential.
        ca_path: PEM file with the CA to trust instead of the machine's.
        timeout_seconds: For connecting, and for each wait on an answer.
        user_agent: Who asks.
        sleep: Waits between attempts; tests give their own.
        attempts: Tries of one request while the server is busy; 1 never repeats.

    Raises:
        BadServerURL: Not an https URL, or with credentials, a path or a query.
        CABundleUnusable: The CA file is missing or holds no certificate.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        ca_path: Path | str | None = None,
        timeout_seconds: float = 30.0,
        user_agent: str = "certctl-client",
        sleep: Callable[[float], None] = time.sleep,
        attempts: int = MAX_ATTEMPTS,
    ) -> None:
        self.url = check_url(url)
        self._sleep = sleep
        self._attempts = attempts
        self._timeout_seconds = timeout_seconds
        self._common = {"Accept": "application/json, */*;q=0.5", "User-Agent": user_agent}
        if api_key is not None:
            self._common["Authorization"] = f"Bearer {api_key}"
        # A proxy never makes sense on the way to one's own machine.
        use_proxy = not _is_loopback(self.url)
        self._wire = Wire(self.url, context=_tls(ca_path), use_proxy=use_proxy)

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
        accept: Container[int] = (),
    ) -> Response:
        """Ask and get the answer; waits and repeats while the server is busy.

        Args:
            method: HTTP verb. A POST carries an ``Idempotency-Key``, so that repeating it is safe.
            path: Absolute path with its parameters filled in (see ``expand``).
            query: Members that are None are left out; booleans become ``true``/``false``.
            body: JSON; None sends none.
            headers: Further headers.
            timeout_seconds: For this request, when it differs.
            accept: Error statuses that are an answer like any other here.

        Raises:
            APIError: The server refused.
            ServerUnreachable, ServerTimeout: It did not answer.
            UnexpectedAnswer: An error or a redirection that is not certctl's.
        """
        content = None if body is None else json.dumps(body).encode()
        request = _Request(
            method=method,
            target=path + _query(query or {}),
            headers=self._common | self._headers(method, body, headers or {}),
            content=content,
            timeout_seconds=timeout_seconds or self._timeout_seconds,
        )
        attempt, has_lost_connection = 1, False
        while True:
            try:
                answer = self._once(request)
            except ConnectionLost as error:
                # A kept connection that the server closed meanwhile: the usual first failure of a
                # client that was quiet for a while.
                if has_lost_connection or method not in _REPEATABLE:
                    raise self._unreachable(error) from error
                has_lost_connection = True
                continue
            if answer.status < _ERROR or answer.status in accept:
                return self._checked(answer)
            refused = self._refused(answer)
            if answer.status not in _BUSY or attempt >= self._attempts:
                raise refused
            pause = _pause(refused, attempt)
            if pause > MAX_WAIT_SECONDS:
                raise refused
            self._sleep(pause)
            attempt += 1

    def _headers(self, method: str, body: object, extra: Mapping[str, str]) -> dict[str, str]:
        headers = dict(extra)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        if method == "POST":
            headers.setdefault("Idempotency-Key", str(uuid.uuid4()))
        return headers

    def _once(self, request: _Request) -> Response:
        try:
            answer = self._wire.exchange(
                request.method,
                request.target,
                headers=request.headers,
                body=request.content,
                timeout_seconds=request.timeout_seconds,
                most=MAX_ANSWER,
            )
        except TimeoutError as error:
            raise ServerTimeout(
                url=self.url, timeout_seconds=f"{self._timeout_seconds:g}"
            ) from error
        except TooLong as error:
            raise UnexpectedAnswer(url=self.url, status=error.status, media_type="huge") from error
        except (NotConnected, OSError) as error:
            raise self._unreachable(error) from error
        return Response(
            status=answer.status,
            headers=answer.headers,
            content=answer.content,
            media_type=answer.headers.get("content-type", "").partition(";")[0].strip().lower(),
        )

    def _checked(self, answer: Response) -> Response:
        is_redirection = HTTPStatus.MULTIPLE_CHOICES <= answer.status < _ERROR
        if is_redirection and answer.status != HTTPStatus.NOT_MODIFIED:
            raise self._unexpected(answer)
        if answer.media_type == "application/json" and not _is_json(answer.content):
            raise self._unexpected(answer)
        return answer

    def _refused(self, answer: Response) -> APIError:
        document = _problem(answer)
        if document is None:
            raise self._unexpected(answer)
        return APIError(
            status=answer.status,
            document=document,
            retry_after_seconds=_retry_after(answer.headers.get("retry-after", "")),
        )

    def _unexpected(self, answer: Response) -> UnexpectedAnswer:
        return UnexpectedAnswer(
            url=self.url, status=answer.status, media_type=answer.media_type or "no media type"
        )

    def _unreachable(self, error: Exception) -> ServerUnreachable:
        was_sent = not isinstance(error, NotConnected)
        return ServerUnreachable(url=self.url, reason=_reason(error), was_sent=was_sent)

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def __enter__(self) -> Self:
        """The connection itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def check_url(url: str) -> str:
    """The address in its short form, ``https://host[:port]``.

    Raises:
        BadServerURL: Not https, no host, a bad port, or more than an address.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise BadServerURL(url=url, reason=str(error)) from error
    if parts.scheme != "https":
        raise BadServerURL(url=_without_secret(url), reason="it does not begin with https://")
    if not parts.hostname:
        raise BadServerURL(url=_without_secret(url), reason="it names no host")
    if parts.username is not None or parts.path not in {"", "/"} or parts.query or parts.fragment:
        reason = "it must be a host and a port only"
        raise BadServerURL(url=_without_secret(url), reason=reason)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"https://{host}" if port is None else f"https://{host}:{port}"


def expand(template: str, path: Mapping[str, str]) -> str:
    """Fill the ``{name}`` parts of a path; values are quoted whole, slashes as well.

    Raises:
        KeyError: A part has no value.
    """
    return template.format_map({name: quote(value, safe="") for name, value in path.items()})


def _without_secret(url: str) -> str:
    before, at, after = url.rpartition("@")
    return f"{before.partition('//')[0]}//…@{after}" if at else url


def _tls(ca_path: Path | str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(ca_path) if ca_path else None)
    except ssl.SSLError as error:
        raise CABundleUnusable(path=ca_path, reason="it holds no PEM certificate") from error
    except OSError as error:
        raise CABundleUnusable(path=ca_path, reason=error.strerror or "unreadable") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _query(query: Mapping[str, object]) -> str:
    members = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None
    }
    return f"?{urlencode(members)}" if members else ""


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def _problem(answer: Response) -> Mapping[str, Any] | None:
    """The problem document of an answer; readiness answers are plain JSON, and so taken as well."""
    if answer.media_type not in {_PROBLEM, "application/json"}:
        return None
    try:
        document = json.loads(answer.content)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _retry_after(text: str) -> float | None:
    """Seconds; the date form is not one that certctl sends."""
    return float(text) if text.isascii() and text.isdigit() else None


def _pause(refused: APIError, attempt: int) -> float:
    if refused.retry_after_seconds is not None:
        # Many clients that were told the same second must not all come back at once.
        return refused.retry_after_seconds + random.uniform(0, 0.25)  # noqa: S311 - no secret
    return _FIRST_PAUSE * float(2 ** (attempt - 1))


def _reason(error: Exception) -> str:
    """The innermost cause in words, without the library's own."""
    cause: BaseException = error
    while (below := cause.__cause__ or cause.__context__) is not None:
        cause = below
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate was not accepted ({cause.verify_message})"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause) or type(cause).__name__
