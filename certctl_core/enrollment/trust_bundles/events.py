"""What happens to trust bundles (04 TB-9)."""

from __future__ import annotations

from certctl_core.kernel.events import Category, Event, Severity
from certctl_core.values import dataclass


@dataclass(frozen=True, kw_only=True)
class TrustBundleReloaded(Event):
    """A bundle was read again; the resource is its name."""

    tag = "trust_bundle.reloaded"
    category = Category.CONFIG
    resource_type = "trust_bundle"
    path: str
    certificates: int
    added: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TrustBundleReloadFailed(Event):
    """A bundle could not be read again; what it held before stays in force."""

    tag = "trust_bundle.reload_failed"
    category = Category.CONFIG
    resource_type = "trust_bundle"
    severity = Severity.WARNING
    path: str
    code_of_error: str
    message: str
