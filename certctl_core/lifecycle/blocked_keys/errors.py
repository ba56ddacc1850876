"""Failures of the blocked-keys room."""

from __future__ import annotations

from certctl_core.kernel.errors import Conflict, Invalid, NotFound


class BlockedKeyNotFound(NotFound):
    """The key is not on the list."""

    code = "blocked_key_not_found"
    text = "The key {digest} is not blocked."
    hint = "'certctl blocked-keys list' shows the blocked keys."


class KeyBlockedAlready(Conflict):
    """The key is on the list."""

    code = "key_blocked_already"
    text = "The key {digest} is blocked already."


class NoKeyGiven(Invalid):
    """The body names no key, or in more than one way, or one that cannot be read."""

    code = "no_key_given"
    text = "The key to block cannot be told: {reason}."
    hint = "Give the digest, a certificate, a certificate request or a public key; one of them."


class KeyListNotFound(NotFound):
    """There is no such list of weak keys."""

    code = "key_list_not_found"
    text = "There is no list of weak keys {name!r}."
    hint = "'certctl blocked-keys lists' shows them."


class KeyListTaken(Conflict):
    """There is a list of that name."""

    code = "key_list_taken"
    text = "There is a list of weak keys {name!r} already."


class BadDigests(Invalid):
    """The digests cannot be taken apart; data: ``reason``."""

    code = "bad_digests"
    text = "The digests cannot be read: {reason}."
