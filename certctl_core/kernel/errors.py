"""The root of the error tree: every failure certctl reports is one of these classes.

::

    CertctlError
    ├── Invalid              400  the request itself is wrong
    ├── Unauthenticated      401  nobody we know is asking
    ├── Forbidden            403  known, but not allowed
    ├── NotFound             404  there is no such thing
    ├── MethodNotAllowed     405  the path exists, the verb does not
    ├── Conflict             409  the thing is in a state that forbids this
    ├── Gone                 410  it was there and will not come back
    ├── PreconditionFailed   412  somebody else changed it first
    ├── PayloadTooLarge      413
    ├── UnsupportedMediaType 415
    ├── Unprocessable        422  well-formed, but this object cannot take it
    ├── RateLimited          429
    ├── Internal             500  our fault
    ├── NotSupported         501  this kind of thing can never do that
    └── Unavailable          503  try again later

Rooms derive leaves from these bases; a leaf sets ``code`` (snake_case, stable, never reused),
``text`` (a safe public sentence, a format string over the keyword data) and, where one exists,
``hint`` (what to do next). One mapping per wire turns ``kind`` into a status.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import ClassVar

from certctl_core.values import dataclass


class ErrorKind(StrEnum):
    """The closed set of failure kinds; each wire maps them in exactly one place."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"
    GONE = "gone"
    PRECONDITION = "precondition"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UNPROCESSABLE = "unprocessable"
    RATE_LIMITED = "rate_limited"
    NOT_SUPPORTED = "not_supported"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One bad input field: where it is (dotted path) and what is wrong with it."""

    field: str
    message: str


class CertctlError(Exception):
    """Base of every typed failure.

    Args:
        fields: The input fields at fault, for errors about input.
        log: Details for the log only; never shown to the caller.
        data: Values for ``text``; kept in ``data``. Names listed in ``members`` also become
            members of the problem document. Never pass a secret.
    """

    code: ClassVar[str] = "internal"
    kind: ClassVar[ErrorKind] = ErrorKind.INTERNAL
    text: ClassVar[str] = "Something went wrong on our side."
    hint: ClassVar[str] = ""
    members: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        fields: Sequence[FieldError] = (),
        log: Mapping[str, object] | None = None,
        **data: object,
    ) -> None:
        self.fields: tuple[FieldError, ...] = tuple(fields)
        self.log: dict[str, object] = dict(log or {})
        self.data: dict[str, object] = data
        super().__init__(self.detail)

    @property
    def detail(self) -> str:
        """The public sentence with the data filled in."""
        return self.text.format(**self.data) if self.data else self.text

    @property
    def public(self) -> dict[str, object]:
        """The extra members that a problem document carries for this error."""
        return {name: self.data[name] for name in self.members if name in self.data}


class Invalid(CertctlError):
    """The request is malformed or a field is out of bounds."""

    code = "validation_error"
    kind = ErrorKind.INVALID
    text = "The request is not valid."


class Unauthenticated(CertctlError):
    """No valid credential came with the request."""

    code = "unauthenticated"
    kind = ErrorKind.UNAUTHENTICATED
    text = "Authentication is required."
    hint = "Send an API key as 'Authorization: Bearer …' or sign in."


class Forbidden(CertctlError):
    """The actor is known and lacks the permission."""

    code = "forbidden"
    kind = ErrorKind.FORBIDDEN
    text = "You are not allowed to do this."


class NotFound(CertctlError):
    """The named object does not exist."""

    code = "not_found"
    kind = ErrorKind.NOT_FOUND
    text = "There is no such object."


class MethodNotAllowed(CertctlError):
    """The path exists, but not with this method."""

    code = "method_not_allowed"
    kind = ErrorKind.METHOD_NOT_ALLOWED
    text = "This path does not take that method."


class Conflict(CertctlError):
    """The object exists, is in use, or is in a state that forbids the change."""

    code = "conflict"
    kind = ErrorKind.CONFLICT
    text = "The object is in a state that does not allow this."


class Gone(CertctlError):
    """The object existed and will not come back."""

    code = "gone"
    kind = ErrorKind.GONE
    text = "This is no longer available."


class PreconditionFailed(CertctlError):
    """The object changed since the caller read it (If-Match)."""

    code = "precondition_failed"
    kind = ErrorKind.PRECONDITION
    text = "The object has changed since you read it."
    hint = "Read it again and repeat the change."


class PayloadTooLarge(CertctlError):
    """The request body is larger than this path takes."""

    code = "payload_too_large"
    kind = ErrorKind.PAYLOAD_TOO_LARGE
    text = "The request body is too large."


class UnsupportedMediaType(CertctlError):
    """The request body has a content type that this path does not take."""

    code = "unsupported_media_type"
    kind = ErrorKind.UNSUPPORTED_MEDIA_TYPE
    text = "The content type of the request is not supported here."


class Unprocessable(CertctlError):
    """Well-formed input that this object cannot take."""

    code = "unprocessable"
    kind = ErrorKind.UNPROCESSABLE
    text = "The request is well-formed but cannot be carried out."


class RateLimited(CertctlError):
    """Too many requests; ``retry_after_seconds`` says when a slot is free.

    Pass ``retry_after_seconds`` (int, ≥ 1) as data: the wire turns it into ``Retry-After``.
    """

    code = "rate_limited"
    kind = ErrorKind.RATE_LIMITED
    text = "Too many requests."


class NotSupported(CertctlError):
    """This kind of object can never do that."""

    code = "not_supported"
    kind = ErrorKind.NOT_SUPPORTED
    text = "This is not supported here."


class Unavailable(CertctlError):
    """A needed part is down; the same request may succeed later."""

    code = "unavailable"
    kind = ErrorKind.UNAVAILABLE
    text = "The service is temporarily unavailable."


class Internal(CertctlError):
    """A defect or an impossible state on our side."""

    code = "internal"
    kind = ErrorKind.INTERNAL
    text = "Something went wrong on our side."


HTTP_STATUS: Mapping[ErrorKind, int] = {
    ErrorKind.INVALID: 400,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.METHOD_NOT_ALLOWED: 405,
    ErrorKind.CONFLICT: 409,
    ErrorKind.GONE: 410,
    ErrorKind.PRECONDITION: 412,
    ErrorKind.PAYLOAD_TOO_LARGE: 413,
    ErrorKind.UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorKind.UNPROCESSABLE: 422,
    ErrorKind.RATE_LIMITED: 429,
    ErrorKind.INTERNAL: 500,
    ErrorKind.NOT_SUPPORTED: 501,
    ErrorKind.UNAVAILABLE: 503,
}
"""The HTTP status of each kind; the REST, protocol and CLI wires all start from this table."""
