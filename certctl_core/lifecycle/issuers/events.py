"""What happens to configured issuers (06 §3.2). Field names only, never values of secrets."""

from __future__ import annotations

from typing import ClassVar

from certctl_core.kernel.events import Category, Event
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class IssuerEvent(Event):
    """Base: ``resource_id`` is the issuer's id."""

    category: ClassVar[Category] = Category.CONFIG
    resource_type: ClassVar[str] = "issuer"

    name: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class IssuerCreated(IssuerEvent):
    """An issuer was configured."""

    tag: ClassVar[str] = "issuer.created"

    fields: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class IssuerUpdated(IssuerEvent):
    """An issuer was reconfigured; ``fields`` are the names of what changed."""

    tag: ClassVar[str] = "issuer.updated"

    fields: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class IssuerDeleted(IssuerEvent):
    """An issuer was removed."""

    tag: ClassVar[str] = "issuer.deleted"


@dataclass(frozen=True, kw_only=True)
class IssuerEnabled(IssuerEvent):
    """An issuer takes orders again."""

    tag: ClassVar[str] = "issuer.enabled"


@dataclass(frozen=True, kw_only=True)
class IssuerDisabledEvent(IssuerEvent):
    """An issuer takes no more orders."""

    tag: ClassVar[str] = "issuer.disabled"


@dataclass(frozen=True, kw_only=True)
class IssuerTested(IssuerEvent):
    """An issuer was tested; ``failed`` are the names of the checks that did not pass."""

    tag: ClassVar[str] = "issuer.tested"

    ok: bool
    failed: tuple[str, ...] = ()
