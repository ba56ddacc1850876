"""The contract of a secret source: what ``secretref:<kind>:<path>`` is read from (06 CFG-4)."""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta

from certctl_core.contracts.checks import CheckReport
from certctl_core.contracts.context import PluginContext
from certctl_core.contracts.options import PluginConfig
from certctl_core.contracts.plugin import Plugin, hookspec
from certctl_core.kernel.secrets import Secret

__all__ = ["SecretSource", "certctl_secret_sources"]

READ_BUDGET = timedelta(seconds=10)


class SecretSource(Plugin):
    """A place that keeps secrets; its ``kind`` is the middle part of the reference.

    Args:
        config: The validated configuration.
        ctx: The context.
    """

    def __init__(self, config: PluginConfig, ctx: PluginContext) -> None:
        self.config = config
        self.ctx = ctx

    @abstractmethod
    def test(self) -> CheckReport:
        """Look at reachability and rights without reading a secret."""

    @abstractmethod
    def read(self, path: str) -> Secret:
        """Read one secret; at most 10 seconds. Not cached by the plugin: the core decides.

        Args:
            path: The last part of the reference, as the operator wrote it.

        Raises:
            UpstreamNotFound: There is nothing at that path.
            AuthError: We may not read it.
            UpstreamUnavailable: The source does not answer.
        """

    def close(self) -> None:
        """Called at shutdown."""


@hookspec
def certctl_secret_sources() -> list[type[SecretSource]]:  # type: ignore[empty-body]
    """Register kinds of secret sources.

    Called once at start, each implementation on its own; all results count.
    """
