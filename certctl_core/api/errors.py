"""Failures of the api floor."""

from __future__ import annotations

from certctl_core.kernel.errors import Conflict, Invalid


class MalformedBody(Invalid):
    """The body is not JSON, or not an object."""

    code = "malformed_body"
    text = "The request body is not valid JSON: {reason}."


class BadFields(Invalid):
    """Members of the body or query are wrong; ``fields`` lists them."""

    code = "validation_error"
    text = "{count} member(s) of the request are not valid."


class BadIfMatch(Invalid):
    """``If-Match`` is not an ETag that this server gave out."""

    code = "bad_if_match"
    text = "If-Match is not an entity tag of this object."


class BadIdempotencyKey(Invalid):
    """``Idempotency-Key`` is empty or too long."""

    code = "bad_idempotency_key"
    text = "Idempotency-Key must be 1 to 255 visible characters."


class IdempotencyMismatch(Conflict):
    """The key was used with another request."""

    code = "idempotency_mismatch"
    text = "This Idempotency-Key was used with a different request."
    hint = "Use a fresh key for a new request."


class IdempotencyInProgress(Conflict):
    """The first request with this key has not finished."""

    code = "idempotency_in_progress"
    text = "The first request with this Idempotency-Key is still running."
    hint = "Repeat it shortly."
