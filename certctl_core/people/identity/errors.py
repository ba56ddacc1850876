"""Failures of the identity room. Every failed credential looks the same from outside."""

from __future__ import annotations

from certctl_core.kernel.errors import (
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Unauthenticated,
)


class BadCredential(Unauthenticated):
    """The bearer key is unknown, expired or revoked; the answer does not say which."""

    code = "unauthenticated"
    text = "The credential is not valid."


class SessionInvalid(Unauthenticated):
    """The session cookie does not authenticate; ``cause`` says why (05 PIPE-4)."""

    code = "session_invalid"
    text = "Your session has ended: {cause}."
    hint = "Sign in again."


class CSRFFailed(Forbidden):
    """The request lacks the session's CSRF token, or comes from a foreign origin."""

    code = "csrf"
    text = "The request did not carry a valid CSRF token."
    hint = "Reload the page and try again."


class APIKeyNotFound(NotFound):
    """No API key has this id."""

    code = "api_key_not_found"
    text = "There is no API key {key_id}."


class APIKeyNameTaken(Conflict):
    """A live key has this name."""

    code = "api_key_name_taken"
    text = "A live API key with this name exists already."


class ExpiryRequired(Invalid):
    """A key needs an end, or the explicit wish for none."""

    code = "expiry_required"
    text = "Give expires_at, or no_expiry: true."


class SessionNotFound(NotFound):
    """No such session, or not yours."""

    code = "session_not_found"
    text = "There is no session {session_id}."


class NoWayIn(Conflict):
    """There is no API key, none is to be made, and no token could make one (08 GUARD-3)."""

    code = "no_way_in"
    text = "CERTCTL_PRINT_FIRST_ADMIN is off, and there is no API key and no bootstrap token."
    hint = "Set CERTCTL_API_KEYS_NAMED or CERTCTL_BOOTSTRAP_TOKEN, or let the start print a key."


class BootstrapClosed(Gone):
    """The bootstrap path is closed: no token set, used already, or an administrator exists."""

    code = "bootstrap_closed"
    text = "Bootstrapping is closed on this installation."
    hint = "Use 'certctl admin create-key' on the server."
