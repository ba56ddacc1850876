"""Error → wire: RFC 9457 problem documents (DESIGN §7), the one place for REST."""

from __future__ import annotations

from pydantic import ValidationError

from certctl_core.api.errors import BadFields
from certctl_core.kernel.errors import (
    HTTP_STATUS,
    CertctlError,
    ErrorKind,
    Internal,
)
from certctl_core.kernel.operations import field_errors
from certctl_core.values import dataclass

MEDIA_TYPE = "application/problem+json"

_TITLES = {
    ErrorKind.INVALID: "Bad request",
    ErrorKind.UNAUTHENTICATED: "Authentication required",
    ErrorKind.FORBIDDEN: "Forbidden",
    ErrorKind.NOT_FOUND: "Not found",
    ErrorKind.METHOD_NOT_ALLOWED: "Method not allowed",
    ErrorKind.CONFLICT: "Conflict",
    ErrorKind.GONE: "Gone",
    ErrorKind.PRECONDITION: "Precondition failed",
    ErrorKind.PAYLOAD_TOO_LARGE: "Payload too large",
    ErrorKind.UNSUPPORTED_MEDIA_TYPE: "Unsupported media type",
    ErrorKind.UNPROCESSABLE: "Unprocessable content",
    ErrorKind.RATE_LIMITED: "Too many requests",
    ErrorKind.NOT_SUPPORTED: "Not supported",
    ErrorKind.UNAVAILABLE: "Service unavailable",
    ErrorKind.INTERNAL: "Internal error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem document ready for the wire."""

    status: int
    document: dict[str, object]
    headers: tuple[tuple[str, str], ...] = ()


def problem(error: Exception, *, request_id: str) -> Problem:
    """The problem document of any exception; unknown ones become ``internal`` without details."""
    typed = typed_error(error)
    status = HTTP_STATUS[typed.kind]
    document: dict[str, object] = {
        "type": f"urn:certctl:problem:{typed.code}",
        "title": _TITLES[typed.kind],
        "status": status,
        "detail": typed.detail,
        "code": typed.code,
        "request_id": request_id,
    }
    if typed.hint:
        document["hint"] = typed.hint
    if typed.fields:
        document["fields"] = [
            {"field": item.field, "message": item.message} for item in typed.fields
        ]
    document.update(typed.public)
    return Problem(status=status, document=document, headers=_headers(typed))


def typed_error(error: Exception) -> CertctlError:
    """The error of our tree that stands for ``error``."""
    if isinstance(error, CertctlError):
        return error
    if isinstance(error, ValidationError):
        return bad_fields(error)
    return Internal()


def bad_fields(error: ValidationError) -> BadFields:
    """Every fault of a pydantic validation, with dotted paths and without the values."""
    fields = field_errors(error)
    return BadFields(count=len(fields), fields=fields)


def _headers(error: CertctlError) -> tuple[tuple[str, str], ...]:
    if error.kind is ErrorKind.UNAUTHENTICATED:
        challenge = 'Bearer realm="certctl"'
        cause = error.data.get("cause")
        if cause:
            challenge += f', error="invalid_token", error_description="{cause}"'
        return (("WWW-Authenticate", challenge),)
    if error.kind is ErrorKind.RATE_LIMITED:
        return (("Retry-After", str(error.data.get("retry_after_seconds", 1))),)
    if error.kind is ErrorKind.UNAVAILABLE:
        return (("Retry-After", "1"),)
    if error.kind is ErrorKind.METHOD_NOT_ALLOWED and "allow" in error.data:
        return (("Allow", str(error.data["allow"])),)
    return ()
