"""An HTTP answer, and the typed error of an unexpected one."""

from __future__ import annotations

import email.utils
import json
from datetime import datetime, timedelta

from certctl_core.kernel.events import JSON
from certctl_core.kernel.net.errors import (
    AuthError,
    RequestRejected,
    UpstreamError,
    UpstreamNotFound,
    UpstreamProtocolError,
    UpstreamRateLimited,
    UpstreamServerError,
)
from certctl_core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer, read completely.

    Attributes:
        status: HTTP status.
        headers: Fields as they came, in order; names in lower case.
        body: The content, at most the limit of the client.
        url: What was asked, without query, for error texts.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    url: str

    def header(self, name: str) -> str | None:
        """The first value of a field, or None."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    def json(self) -> JSON:
        """The body as JSON.

        Raises:
            UpstreamProtocolError: It is none.
        """
        try:
            value: JSON = json.loads(self.body)
        except (ValueError, RecursionError):
            reason = f"{self.url} did not answer with JSON"
            raise UpstreamProtocolError(reason) from None
        return value


def error_for(response: Response, *, now: datetime) -> UpstreamError:
    """The typed error of an unexpected status (spec 06 NET-9)."""
    status = response.status
    reason = f"HTTP status {status} from {response.url}"
    said = _said(response)
    reason = f"{reason}: {said}" if said else reason
    if status in {401, 403}:
        return AuthError(reason, status=status)
    if status == 404:  # noqa: PLR2004 - HTTP statuses name themselves
        return UpstreamNotFound(reason, status=status)
    if status in {408, 425, 429}:
        return UpstreamRateLimited(
            reason, retry_after=retry_after(response.header("retry-after"), now=now)
        )
    if status >= 500:  # noqa: PLR2004 - HTTP statuses name themselves
        return UpstreamServerError(reason, status=status)
    if 400 <= status < 500:  # noqa: PLR2004 - HTTP statuses name themselves
        return RequestRejected(reason, vendor_code=str(status), status=status)
    return UpstreamProtocolError(f"unexpected {reason}", status=status)


def retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """Read ``Retry-After``, seconds or a date (RFC 9110 §10.2.3); None without a usable one."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=int(text[:9]))
    try:
        at = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return at - now if at.tzinfo is not None else None


_SAID = ("detail", "message", "error_description", "error", "errors", "title")
_MAX_PLAIN = 200


def _said(response: Response) -> str:
    """The other side's own words: a short text, or a usual member of a JSON answer."""
    if not response.body:
        return ""
    try:
        value = json.loads(response.body)
    except (ValueError, RecursionError):
        is_plain = (response.header("content-type") or "").startswith("text/plain")
        return response.body[:_MAX_PLAIN].decode("utf-8", "replace") if is_plain else ""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return ""
    for name in _SAID:
        found = value.get(name)
        if isinstance(found, list) and found:
            found = found[0]
        if isinstance(found, str) and found:
            return found
    return ""
