"""Failures of a conversation with a certctl server.

::

    CertctlError
    ├── APIError            the server answered with a problem document
    ├── ServerUnreachable   no connection, or it broke
    ├── ServerTimeout       no answer in time
    ├── UnexpectedAnswer    an answer that is not certctl's
    ├── BadServerURL        not an https URL
    ├── CABundleUnusable    the file with the trusted CA cannot be read
    ├── ClientFileUnusable  ``client.toml`` cannot be read
    └── ListEndless         a list whose pages repeat
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from certctl_core.kernel.errors import (
    HTTP_STATUS,
    CertctlError,
    ErrorKind,
    FieldError,
    Internal,
    Invalid,
    Unavailable,
)

_KINDS = {status: kind for kind, status in HTTP_STATUS.items()}
_STANDARD = {"type", "title", "status", "detail", "code", "request_id", "fields", "hint"}
_CLIENT_FAULT = 400
_SERVER_FAULT = 500


class APIError(CertctlError):
    """The server refused: what its problem document says (RFC 9457, spec 01 API-06).

    ``code``, ``kind`` and ``hint`` are the server's, so that a caller may treat the error as if it
    had been raised here.

    Args:
        status: HTTP status.
        document: The problem document, decoded.
        retry_after_seconds: What ``Retry-After`` asked for, or None.

    Attributes:
        status: HTTP status.
        request_id: Under which the server logged the request; empty when it did not say.
        extra: The members beyond the standard ones (``counts``, ``job_id`` …).
        retry_after_seconds: As given.
    """

    code = "api_error"
    text = "{detail}"

    def __init__(
        self, *, status: int, document: Mapping[str, Any], retry_after_seconds: float | None = None
    ) -> None:
        fields = [
            FieldError(field=str(item.get("field", "")), message=str(item.get("message", "")))
            for item in document.get("fields") or ()
            if isinstance(item, dict)
        ]
        title = str(document.get("title") or "The server refused the request.")
        super().__init__(detail=str(document.get("detail") or title), fields=fields)
        self.status = status
        self.request_id = str(document.get("request_id", ""))
        self.extra = {name: value for name, value in document.items() if name not in _STANDARD}
        self.retry_after_seconds = retry_after_seconds
        # What is a constant of the class everywhere else is here the server's to say.
        vars(self).update(
            code=str(document.get("code", "api_error")),
            kind=_kind(status),
            hint=str(document.get("hint", "")),
        )


def _kind(status: int) -> ErrorKind:
    if status in _KINDS:
        return _KINDS[status]
    if _CLIENT_FAULT <= status < _SERVER_FAULT:
        return ErrorKind.INVALID
    return ErrorKind.UNAVAILABLE


class ServerUnreachable(Unavailable):
    """The connection failed, or broke: then it is not known whether the server saw the request.

    ``data["was_sent"]`` is false where the request has certainly not left.
    """

    code = "server_unreachable"
    text = "The server {url} cannot be reached: {reason}."
    hint = "Check that it runs, its address (--server) and the CA it is checked with (--ca-bundle)."


class ServerTimeout(Unavailable):
    """The server did not answer in time; whether it acted on the request is not known."""

    code = "server_timeout"
    text = "The server {url} did not answer within {timeout_seconds} s."
    hint = "Look at the server's log, or wait longer with --timeout."


class UnexpectedAnswer(Internal):
    """The answer is not one of certctl's."""

    code = "unexpected_answer"
    text = "The server {url} gave an answer that is not certctl's (status {status}, {media_type})."
    hint = "Check the address: something else may listen there, or a proxy stands in between."


class BadServerURL(Invalid):
    """The address of the server is not usable."""

    code = "bad_server_url"
    text = "The server address {url} is not usable: {reason}."
    hint = "Give it as https://host:port; plain http is refused because the API key would leak."


class CABundleUnusable(Invalid):
    """The file with the CA to trust cannot be used."""

    code = "ca_bundle_unusable"
    text = "The CA file {path} cannot be used: {reason}."
    hint = "Give a PEM file with the server's CA certificate, such as ca.crt of its data directory."


class ClientFileUnusable(Invalid):
    """The file with address, key and CA cannot be used."""

    code = "client_file_unusable"
    text = "The file {path} cannot be used: {reason}."
    hint = "It is made by 'certctl serve'; run this as a user who may read it, or name another one."


class ListEndless(Internal):
    """A list kept giving the same place to continue at."""

    code = "list_endless"
    text = "The list {operation} does not end: its pages repeat."
