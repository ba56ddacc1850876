"""API keys, the caller itself, the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from certctl_client.calls import Collection, Group, Listed

if TYPE_CHECKING:
    from certctl_client.types import APIKey, AuditEvent, Checkpoint, Me, NewAPIKey, VerifyReport


class APIKeys(Listed["APIKey"]):
    """API keys. There is no way to show one that was made: keep its value."""

    NAME = "api_keys"
    PARAMETER = "key_id"

    def create(
        self, name: str, *, role_ids: Sequence[str] = ("r-viewer",), expires_at: str | None = None
    ) -> NewAPIKey:
        """Make a key.

        Args:
            name: Letters, digits, ``-`` and ``_``; unique.
            role_ids: Its roles.
            expires_at: RFC 3339; None makes a key that never expires.

        Returns:
            The key; ``key_value`` is shown this once.
        """
        body = {
            "name": name,
            "role_ids": list(role_ids),
            "expires_at": expires_at,
            "no_expiry": expires_at is None,
        }
        return cast("NewAPIKey", self._create(body))

    def rotate(self, key_id: str, *, overlap_seconds: int = 86400) -> NewAPIKey:
        """Give a key a new value; the old one works on for ``overlap_seconds``."""
        body = {"overlap_seconds": overlap_seconds}
        return cast("NewAPIKey", self._one("rotate", key_id, body=body))

    def revoke(self, key_id: str) -> None:
        """End a key at once."""
        self._one("revoke", key_id)


class Auth(Group):
    """Who asks."""

    def me(self) -> Me:
        """The caller, its roles and its permissions."""
        return cast("Me", self._calls.call("auth.me"))


class Audit(Collection["AuditEvent"]):
    """The audit log."""

    NAME = "audit"
    PARAMETER = "event_id"

    def verify(self, *, full: bool = False) -> VerifyReport:
        """Let the server check its log against its checkpoints; once a minute at most.

        Args:
            full: From the first entry on, not only since the last check.
        """
        return cast("VerifyReport", self._calls.call("audit.verify", body={"full": full}))

    def checkpoint(self) -> Checkpoint:
        """The newest signed checkpoint."""
        return cast("Checkpoint", self._calls.call("audit.checkpoint"))
