"""What happens to CA keys (02 OPS-3). Audited by themselves like every event."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from certctl_core.kernel.events import Category, Event, Severity
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class CAKeyLoaded(Event):
    """A CA key was seen here for the first time; ``resource_id`` is its key id.

    Attributes:
        origin: ``generated`` or ``file``.
        state: The state in which it was taken in (``current`` or ``previous``).
    """

    tag: ClassVar[str] = "ca_key.loaded"
    category: ClassVar[Category] = Category.CONFIG
    resource_type: ClassVar[str] = "ca_key"

    issuer_id: str
    subject: str
    not_after: datetime
    origin: str
    state: str


@dataclass(frozen=True, kw_only=True)
class CAKeyChanged(Event):
    """Another CA key issues from now on; ``resource_id`` is the new key id (02 ROT-1)."""

    tag: ClassVar[str] = "ca_key.changed"
    category: ClassVar[Category] = Category.CONFIG
    resource_type: ClassVar[str] = "ca_key"
    severity: ClassVar[Severity] = Severity.WARNING

    issuer_id: str
    old_ca_key_id: str
    new_ca_key_id: str


@dataclass(frozen=True, kw_only=True)
class CAKeyCompromised(Event):
    """A CA key is in strange hands: it signs nothing any more (02 ROT-6).

    Attributes:
        former_state: What it was before.
        unexpired: How many of its certificates had not expired.
        note: Why, in the operator's words; may be empty.
    """

    tag: ClassVar[str] = "ca_key.compromised"
    category: ClassVar[Category] = Category.CONFIG
    resource_type: ClassVar[str] = "ca_key"
    severity: ClassVar[Severity] = Severity.CRITICAL

    issuer_id: str
    former_state: str
    unexpired: int
    note: str


@dataclass(frozen=True, kw_only=True)
class CAKeyExpiring(Event):
    """A CA certificate ends soon; told once for each threshold (02 CA-7).

    Attributes:
        days_left: Whole days; negative when it has ended.
        threshold_days: The threshold that was reached.
    """

    tag: ClassVar[str] = "ca_key.expiring"
    category: ClassVar[Category] = Category.CONFIG
    resource_type: ClassVar[str] = "ca_key"
    severity: ClassVar[Severity] = Severity.WARNING

    issuer_id: str
    subject: str
    not_after: datetime
    days_left: int
    threshold_days: int


@dataclass(frozen=True, kw_only=True)
class CAKeyRetired(Event):
    """A former CA key has nothing left to answer for and signs nothing any more."""

    tag: ClassVar[str] = "ca_key.retired"
    category: ClassVar[Category] = Category.CONFIG
    resource_type: ClassVar[str] = "ca_key"

    issuer_id: str


@dataclass(frozen=True, kw_only=True)
class CAKeyRecertified(Event):
    """The same CA key carries a new certificate: re-certification, no rotation (02 ROT-8)."""

    tag: ClassVar[str] = "ca_key.recertified"
    category: ClassVar[Category] = Category.CONFIG
    resource_type: ClassVar[str] = "ca_key"

    issuer_id: str
    subject: str
    not_after: datetime
