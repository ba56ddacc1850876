"""What a call to the outside may raise (spec 06 NET-9, ISS-4, ISS-5).

::

    CallError
    ├── UpstreamError                     the other side, or the way to it
    │   ├── UpstreamUnavailable   retry   network, DNS, reset
    │   │   ├── UpstreamTimeout
    │   │   └── UpstreamServerError       5xx
    │   ├── UpstreamRateLimited   retry   408, 425, 429
    │   ├── AuthError                     401, 403, or our client certificate was refused
    │   ├── TrustError                    the TLS peer is not who it should be
    │   ├── UpstreamNotFound              404
    │   ├── RequestRejected               any other 4xx
    │   └── UpstreamProtocolError         an answer that cannot be used
    ├── ConfigProblem                     what we were given cannot work (a key that does not fit …)
    └── EgressDenied                      the outbound rules forbid the address

``error_class`` is the label for metrics, ``retryable`` tells the engines whether to try again.
"""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar

from certctl_core.kernel.errors import CertctlError, ErrorKind

MAX_UPSTREAM_TEXT = 500
"""Characters kept of what the other side says (spec 06 NET-2)."""

MAX_RETRY_AFTER = timedelta(hours=24)


class ErrorClass(StrEnum):
    """The closed set of failure classes for metrics and health pages (spec 06 ISS-4)."""

    TIMEOUT = "timeout"
    AUTH = "auth"
    RATE_LIMITED = "rate_limited"
    VALIDATION = "validation"
    UPSTREAM_5XX = "upstream_5xx"
    UPSTREAM_4XX = "upstream_4xx"
    NETWORK = "network"
    TRUST = "trust"
    PROTOCOL = "protocol"
    CONFIG = "config"
    OTHER = "other"


class CallError(CertctlError):
    """Base of everything a call to the outside raises."""

    error_class: ClassVar[ErrorClass] = ErrorClass.OTHER
    retryable: ClassVar[bool] = False


class UpstreamError(CallError):
    """Base of the failures of the other side.

    Args:
        reason: A short safe text; control characters go, the length is limited. Secrets in it are
            the caller's to remove.
        data: Further values.
    """

    code = "upstream_error"
    kind = ErrorKind.UNPROCESSABLE
    text = "The other side did not do what was asked: {reason}."

    def __init__(self, reason: str = "", **data: Any) -> None:
        super().__init__(reason=safe_text(reason).rstrip(".") or "no reason given", **data)


class UpstreamUnavailable(UpstreamError):
    """Not reachable, reset, or out of order; the same call may work later."""

    code = "upstream_unavailable"
    kind = ErrorKind.UNAVAILABLE
    text = "The other side cannot be reached at the moment: {reason}."
    error_class = ErrorClass.NETWORK
    retryable = True


class UpstreamTimeout(UpstreamUnavailable):
    """No answer in time; whether the call had an effect is unknown."""

    code = "upstream_timeout"
    text = "The other side did not answer in time: {reason}."
    error_class = ErrorClass.TIMEOUT


class UpstreamServerError(UpstreamUnavailable):
    """A 5xx answer; ``status`` is the HTTP status."""

    code = "upstream_server_error"
    text = "The other side failed: {reason}."
    error_class = ErrorClass.UPSTREAM_5XX

    def __init__(self, reason: str = "", *, status: int = 500, **data: Any) -> None:
        super().__init__(reason or f"HTTP status {status}", status=status, **data)


class UpstreamRateLimited(UpstreamError):
    """Told to slow down.

    Args:
        reason: What the other side says.
        retry_after: When to try again, clamped to 24 hours; None if it did not say.
        data: Further values.
    """

    code = "upstream_rate_limited"
    kind = ErrorKind.RATE_LIMITED
    text = "The other side asks to slow down: {reason}."
    error_class = ErrorClass.RATE_LIMITED
    retryable = True

    def __init__(
        self, reason: str = "", *, retry_after: timedelta | None = None, **data: Any
    ) -> None:
        if retry_after is not None:
            retry_after = max(timedelta(), min(retry_after, MAX_RETRY_AFTER))
            data["retry_after_seconds"] = max(1, round(retry_after.total_seconds()))
        self.retry_after = retry_after
        super().__init__(reason or "too many requests", **data)


class AuthError(UpstreamError):
    """Our credentials are wrong, expired, or lack a right."""

    code = "upstream_auth_failed"
    text = "The other side does not accept our credentials: {reason}."
    hint = "Check the credentials and their rights, then test the connection."
    error_class = ErrorClass.AUTH


class TrustError(UpstreamError):
    """The TLS certificate of the other side did not verify."""

    code = "upstream_not_trusted"
    text = "The identity of the other side cannot be verified: {reason}."
    hint = "Set the CA of the server if it has a private one."
    error_class = ErrorClass.TRUST


class UpstreamNotFound(UpstreamError):
    """A 404: the path or the object does not exist over there."""

    code = "upstream_not_found"
    text = "The other side does not know this: {reason}."
    error_class = ErrorClass.UPSTREAM_4XX


class RequestRejected(UpstreamError):
    """The other side understood and refused; trying again changes nothing.

    Args:
        reason: The other side's message.
        vendor_code: Its own code for it, as it stands.
        data: Further values.
    """

    code = "upstream_rejected"
    text = "The other side refused the request: {reason}."
    members = ("vendor_code",)
    error_class = ErrorClass.UPSTREAM_4XX

    def __init__(self, reason: str = "", *, vendor_code: str = "", **data: Any) -> None:
        super().__init__(reason or vendor_code, vendor_code=safe_text(vendor_code, 64), **data)


class UpstreamProtocolError(UpstreamError):
    """An answer that cannot be used: not HTTP, a redirect, compressed, too large."""

    code = "upstream_protocol_error"
    text = "The answer of the other side cannot be used: {reason}."
    error_class = ErrorClass.PROTOCOL


class ConfigProblem(CallError):
    """What the call was given cannot work; nothing was sent."""

    code = "outbound_config_invalid"
    kind = ErrorKind.UNPROCESSABLE
    text = "The connection cannot be set up: {reason}."
    error_class = ErrorClass.CONFIG

    def __init__(self, reason: str, **data: Any) -> None:
        super().__init__(reason=safe_text(reason).rstrip("."), **data)


class EgressDenied(CallError):
    """The outbound rules forbid the address; nothing was sent.

    Args:
        host: The host of the URL. The address it resolved to goes to the log only: telling it would
            let a caller look into the internal DNS.
        address: The forbidden address.
        port: The port, or None where none is known yet.
        why: The range it is in.
    """

    code = "egress_denied"
    kind = ErrorKind.UNPROCESSABLE
    text = "Connections to {host} are not allowed."
    hint = "An administrator can allow the host with CERTCTL_OUTBOUND_ALLOW."
    error_class = ErrorClass.CONFIG

    def __init__(self, *, host: str, address: str, port: int | None, why: str) -> None:
        super().__init__(
            host=safe_text(host, 255), log={"address": address, "port": port, "range": why}
        )


# Controls, zero-width characters, bidi marks and overrides.
_UNSAFE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2064\\u2066-\\u2069\\ufeff]+"
)


def safe_text(text: str, limit: int = MAX_UPSTREAM_TEXT) -> str:
    """Text from outside, fit to be shown: no controls, bidi or zero-width marks, limited."""
    clean = _UNSAFE.sub(" ", text[: limit * 4]).strip()
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
