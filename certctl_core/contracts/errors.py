"""What a call to the outside may raise: the typed errors of plugins (spec 06 NET-9, ISS-4, ISS-5).

::

    PluginError
    ├── UpstreamError                     the other side, or the way to it
    │   ├── UpstreamUnavailable   retry   network, DNS, reset
    │   │   ├── UpstreamTimeout
    │   │   ├── UpstreamServerError       5xx
    │   │   └── BreakerOpen               not called at all: it failed too often just now
    │   ├── UpstreamRateLimited   retry   408, 425, 429
    │   ├── AuthError                     401, 403: our credentials
    │   ├── TrustError                    the TLS peer is not who it should be
    │   ├── UpstreamNotFound              404
    │   ├── RequestRejected               any other 4xx
    │   │   ├── OrderFailed               a terminal refusal of an order
    │   │   └── UpstreamGone              410: never call again
    │   └── UpstreamProtocolError         an answer we cannot read, a redirect, a missing field
    ├── EgressDenied                      the outbound rules forbid the address
    ├── ConfigProblem                     the connection cannot be set up as configured
    ├── ConfigError                       the configuration cannot work
    ├── RequestNotValid                   refused before it was sent; names the fields
    ├── OperationNotSupported             this kind never does that
    ├── LockBusy                  retry   another process is in that section
    └── PluginFailed                      a defect of the plugin

The first block is what the HTTP client raises (``kernel.net``). ``error_class`` is the label for
metrics, ``retryable`` tells the engines whether to try again. A plugin refines the general ones where
the vendor says more; it never parses error texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from certctl_core.kernel.errors import ErrorKind, FieldError
from certctl_core.kernel.net.errors import (
    AuthError,
    CallError,
    ConfigProblem,
    EgressDenied,
    ErrorClass,
    RequestRejected,
    TrustError,
    UpstreamError,
    UpstreamNotFound,
    UpstreamProtocolError,
    UpstreamRateLimited,
    UpstreamServerError,
    UpstreamTimeout,
    UpstreamUnavailable,
    safe_text,
)

__all__ = [
    "AuthError",
    "BreakerOpen",
    "ConfigError",
    "ConfigProblem",
    "EgressDenied",
    "ErrorClass",
    "LockBusy",
    "OperationNotSupported",
    "OrderFailed",
    "PluginError",
    "PluginFailed",
    "RequestNotValid",
    "RequestRejected",
    "TrustError",
    "UpstreamError",
    "UpstreamGone",
    "UpstreamNotFound",
    "UpstreamProtocolError",
    "UpstreamRateLimited",
    "UpstreamServerError",
    "UpstreamTimeout",
    "UpstreamUnavailable",
    "safe_text",
]

PluginError = CallError
"""Base of everything a guarded plugin call raises."""


class BreakerOpen(UpstreamUnavailable):
    """Not called: it failed several times in a row (spec 06 NET-10); data: ``retry_after``."""

    code = "upstream_breaker_open"
    text = "The other side failed repeatedly and is not called for a while: {reason}."


class OrderFailed(RequestRejected):
    """The CA ended an order: it will never be issued."""

    code = "upstream_order_failed"
    text = "The CA refused the order: {reason}."


class UpstreamGone(RequestRejected):
    """The receiver wants no further calls (410): the core switches the instance off."""

    code = "upstream_gone"
    text = "The other side asks not to be called again: {reason}."


class ConfigError(PluginError):
    """The configuration is formally right but cannot work (an expired client certificate …)."""

    code = "plugin_config_error"
    kind = ErrorKind.UNPROCESSABLE
    text = "The configuration does not work: {reason}."
    error_class = ErrorClass.CONFIG

    def __init__(self, reason: str, **data: Any) -> None:
        super().__init__(reason=safe_text(reason).rstrip("."), **data)


def _said(field: FieldError) -> str:
    """The field and what is wrong with it; a sentence of its own stands alone."""
    if field.field == "request" or field.message[:1].isupper():
        return field.message
    return f"{field.field} {field.message}"


class RequestNotValid(PluginError):
    """The request does not fit this instance and was not sent.

    Args:
        fields: What is wrong, by the names of the request's attributes.
    """

    code = "unsupported_by_issuer"
    kind = ErrorKind.UNPROCESSABLE
    text = "This cannot be requested here: {summary}."
    error_class = ErrorClass.VALIDATION

    def __init__(self, fields: Sequence[FieldError]) -> None:
        summary = "; ".join(_said(field) for field in fields)
        super().__init__(fields=fields, summary=safe_text(summary) or "unsupported")


class OperationNotSupported(PluginError):
    """This kind of plugin never does that; data: ``operation``."""

    code = "operation_not_supported"
    kind = ErrorKind.NOT_SUPPORTED
    text = "This is not supported here: {operation}."
    error_class = ErrorClass.VALIDATION

    def __init__(self, operation: str) -> None:
        super().__init__(operation=operation)


class LockBusy(PluginError):
    """Another process runs the section; data: ``lock``."""

    code = "lock_busy"
    kind = ErrorKind.UNAVAILABLE
    text = "Another process is working on this: {lock}."
    error_class = ErrorClass.OTHER
    retryable = True

    def __init__(self, lock: str) -> None:
        super().__init__(lock=lock)


class PluginFailed(PluginError):
    """The plugin broke its contract: an unexpected exception or a wrong result.

    Args:
        plugin: Its kind or name.
        what: The operation.
        reason: For the log only.
    """

    code = "plugin_failed"
    kind = ErrorKind.INTERNAL
    text = "The plugin {plugin} failed in {what}."
    hint = "The log has the details; please report them to the author of the plugin."

    def __init__(self, *, plugin: str, what: str, reason: str = "") -> None:
        super().__init__(plugin=plugin, what=what, log={"reason": reason})
