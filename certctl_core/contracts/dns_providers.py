"""The contract of a DNS provider: puts and removes records for proofs of control (06 §6.2)."""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta

from certctl_core.contracts.checks import CheckReport
from certctl_core.contracts.context import PluginContext, RecordType
from certctl_core.contracts.options import PluginConfig
from certctl_core.contracts.plugin import Plugin, hookspec
from certctl_core.values import dataclass

__all__ = ["DNSProvider", "DNSRecord", "certctl_dns_providers"]

CALL_BUDGET = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class DNSRecord:
    """A record.

    Attributes:
        name: Absolute, A-labels, without the last dot.
        type: Usually TXT.
        value: Presentation form; TXT without quotes.
        ttl: Wanted time to live.
    """

    name: str
    type: RecordType
    value: str
    ttl: timedelta = timedelta(seconds=60)


class DNSProvider(Plugin):
    """A kind of DNS provider; one instance per configured zone set.

    Args:
        config: The validated configuration.
        ctx: The context.
    """

    def __init__(self, config: PluginConfig, ctx: PluginContext) -> None:
        self.config = config
        self.ctx = ctx

    @abstractmethod
    def test(self) -> CheckReport:
        """Look at reachability and rights; changes nothing."""

    @abstractmethod
    def serves(self, name: str) -> bool:
        """Whether the zone of this name is managed here."""

    @abstractmethod
    def publish(self, record: DNSRecord) -> None:
        """Add a record beside others of the same name; adding it again is fine.

        Returns when the provider has accepted it; the core watches propagation.
        """

    @abstractmethod
    def remove(self, record: DNSRecord) -> None:
        """Remove exactly this record; others of the same name stay. Absent is fine."""

    def close(self) -> None:
        """Called on replace and shutdown."""


@hookspec
def certctl_dns_providers() -> list[type[DNSProvider]]:  # type: ignore[empty-body]
    """Register kinds of DNS providers.

    Called once at start, each implementation on its own; all results count.
    """
