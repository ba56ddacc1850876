"""What happens to the server itself; audited like every event."""

from __future__ import annotations

from certctl_core.kernel.events import Category, Event, Severity
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class ServerPairReloaded(Event):
    """The listener took a new TLS pair; ``resource_id`` is the host name (08 TLS-3)."""

    tag = "server.tls_reloaded"
    category = Category.CONFIG
    resource_type = "server"

    serial_number: str
    not_after: str


@dataclass(frozen=True, kw_only=True)
class ServerPairRefused(Event):
    """A new TLS pair could not be used; the old one goes on (08 TLS-3)."""

    tag = "server.tls_reload_failed"
    category = Category.CONFIG
    resource_type = "server"
    severity = Severity.WARNING

    problem: str
