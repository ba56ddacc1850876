"""Blocked keys: public keys that are never certified again (spec 02 PROF-3)."""

from certctl_core.lifecycle.blocked_keys.errors import (
    BadDigests,
    BlockedKeyNotFound,
    KeyBlockedAlready,
    KeyListNotFound,
    KeyListTaken,
    NoKeyGiven,
)
from certctl_core.lifecycle.blocked_keys.events import (
    KeyBlocked,
    KeyListCreated,
    KeyListDeleted,
    KeyListExtended,
    KeyUnblocked,
)
from certctl_core.lifecycle.blocked_keys.lists import KeyLists
from certctl_core.lifecycle.blocked_keys.schemas import BlockedKeyView, BlockKey, KeyListView
from certctl_core.lifecycle.blocked_keys.service import BlockedKeyService
from certctl_core.lifecycle.blocked_keys.types import BlockSource

__all__ = [
    "BadDigests",
    "BlockKey",
    "BlockSource",
    "BlockedKeyNotFound",
    "BlockedKeyService",
    "BlockedKeyView",
    "KeyBlocked",
    "KeyBlockedAlready",
    "KeyListCreated",
    "KeyListDeleted",
    "KeyListExtended",
    "KeyListNotFound",
    "KeyListTaken",
    "KeyListView",
    "KeyLists",
    "KeyUnblocked",
    "NoKeyGiven",
]
