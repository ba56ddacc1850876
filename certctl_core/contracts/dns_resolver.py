"""The hook that replaces the DNS resolver of validation (spec 03 §1)."""

from __future__ import annotations

from certctl_core.contracts.context import DNSAnswer, DNSStatus, RecordType, Resolver
from certctl_core.contracts.plugin import hookspec

__all__ = ["DNSAnswer", "DNSStatus", "RecordType", "Resolver", "certctl_dns_resolver"]


@hookspec(firstresult=True)
def certctl_dns_resolver() -> Resolver | None:
    """Give a resolver for ACME validation and CAA instead of the built-in one.

    Called once at start. The first result that is not None wins, third-party plugins are asked in
    order of their distribution's name; None means no opinion. An exception counts as None and is
    shown with the plugin.
    """
