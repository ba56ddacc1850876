"""What happens to the list of blocked keys."""

from __future__ import annotations

from certctl_core.kernel.events import Category, Event, Severity
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class KeyBlocked(Event):
    """A public key is not certified any more; the resource is its SHA-256."""

    tag = "key.blocked"
    category = Category.CERT_LIFECYCLE
    resource_type = "key"
    severity = Severity.WARNING
    source: str
    certificate_id: str | None
    note: str


@dataclass(frozen=True, kw_only=True)
class KeyUnblocked(Event):
    """A public key may be certified again."""

    tag = "key.unblocked"
    category = Category.CERT_LIFECYCLE
    resource_type = "key"
    severity = Severity.WARNING
    source: str


@dataclass(frozen=True, kw_only=True)
class KeyListCreated(Event):
    """A list of weak keys was begun; the resource is its name."""

    tag = "key_list.created"
    category = Category.CERT_LIFECYCLE
    resource_type = "key_list"
    mark: str
    note: str


@dataclass(frozen=True, kw_only=True)
class KeyListExtended(Event):
    """Digests were added to a list of weak keys; ``entries`` is how many it has now."""

    tag = "key_list.extended"
    category = Category.CERT_LIFECYCLE
    resource_type = "key_list"
    added: int
    entries: int


@dataclass(frozen=True, kw_only=True)
class KeyListDeleted(Event):
    """A list of weak keys is not asked any more; its keys may be certified again."""

    tag = "key_list.deleted"
    category = Category.CERT_LIFECYCLE
    resource_type = "key_list"
    severity = Severity.WARNING
    entries: int
