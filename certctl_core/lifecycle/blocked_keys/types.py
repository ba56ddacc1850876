"""Values of the blocked-keys room."""

from __future__ import annotations

from enum import StrEnum


class BlockSource(StrEnum):
    """Why a key is on the list."""

    REVOCATION = "revocation"
    """A certificate for it was revoked for keyCompromise."""
    OPERATOR = "operator"
