"""The contract of a discovery source: where certificates may lie that nobody manages (07 §16).

The core owns schedule, time limit, batching, deduplication, scan rows and audit. A source streams
what it finds; an exception ends that source's scan only.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar

from certctl_core.contracts.checks import Check, CheckReport
from certctl_core.contracts.context import PluginContext
from certctl_core.contracts.options import PluginConfig
from certctl_core.contracts.plugin import Plugin, hookspec
from certctl_core.kernel.events import JSON
from certctl_core.values import dataclass

__all__ = [
    "Check",
    "CheckReport",
    "DiscoverySource",
    "Found",
    "RunsOn",
    "ScanError",
    "SourceConfig",
    "certctl_discovery_sources",
]

SCAN_BUDGET = timedelta(minutes=30)


class RunsOn(StrEnum):
    """Where a source can run."""

    SERVER = "server"
    AGENT = "agent"


class SourceConfig(PluginConfig):
    """Base of the configuration of discovery sources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A certificate that was found. Private keys are parsed in memory and never carried on.

    Attributes:
        der: The certificate.
        location: Where, as a URI or path that a person recognises; stable between scans.
        format: ``pem``, ``der``, ``pkcs12`` …
        attributes: What the source knows besides; JSON, public.
        has_private_key: Whether its key lies beside it; None when unknown.
    """

    der: bytes
    location: str
    format: str
    attributes: Mapping[str, JSON] = field(default_factory=dict)
    has_private_key: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanError:
    """Something at one location that could not be read; the scan goes on and is partial."""

    location: str
    reason: str


class DiscoverySource(Plugin):
    """A kind of discovery source; one instance per configured source.

    Args:
        config: The validated configuration.
        ctx: The context.
    """

    runs_on: ClassVar[frozenset[RunsOn]] = frozenset(RunsOn)

    def __init__(self, config: PluginConfig, ctx: PluginContext) -> None:
        self.config = config
        self.ctx = ctx

    @abstractmethod
    def check(self) -> CheckReport:
        """Look at reachability and rights; changes nothing."""

    @abstractmethod
    def discover(self, since: datetime | None) -> Iterator[Found | ScanError]:
        """Stream what is there; at most 30 minutes, memory bounded.

        Args:
            since: When the last complete scan began; a source that can may skip what is older.
                None: everything.
        """

    def close(self) -> None:
        """Called after a scan."""


@hookspec
def certctl_discovery_sources() -> list[type[DiscoverySource]]:  # type: ignore[empty-body]
    """Register kinds of discovery sources.

    Called once at start, each implementation on its own; all results count.
    """
