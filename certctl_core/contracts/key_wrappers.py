"""The contract of a key wrapper: a token or service that guards the root of the keyring (08 §11).

The 32-byte root secret is stored wrapped; at start it is unwrapped once. No value of the database is
ever sent to the wrapper.
"""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta

from certctl_core.contracts.checks import CheckReport
from certctl_core.contracts.context import PluginContext
from certctl_core.contracts.options import PluginConfig
from certctl_core.contracts.plugin import Plugin, hookspec

__all__ = ["KeyWrapper", "certctl_key_wrappers"]

UNWRAP_BUDGET = timedelta(seconds=30)


class KeyWrapper(Plugin):
    """A kind of key wrapper (PKCS#11, a cloud KMS, a transit engine).

    Args:
        config: The validated configuration.
        ctx: The context.
    """

    def __init__(self, config: PluginConfig, ctx: PluginContext) -> None:
        self.config = config
        self.ctx = ctx

    @abstractmethod
    def test(self) -> CheckReport:
        """Wrap and unwrap a random value."""

    @abstractmethod
    def wrap(self, key: bytes, *, context: str) -> bytes:
        """Encrypt a key.

        Args:
            key: 32 bytes.
            context: Bound to the result (``certctl/keyring/<kid>``): unwrapping needs the same.

        Returns:
            Opaque bytes, at most 4 KiB; they name the wrapping key themselves.
        """

    @abstractmethod
    def unwrap(self, wrapped: bytes, *, context: str) -> bytes:
        """Decrypt a key.

        Raises:
            AuthError: We may not use the wrapping key.
            RequestRejected: It was altered, or wrapped for another context or key.
            UpstreamUnavailable: The token or service does not answer.
        """

    def close(self) -> None:
        """Called when the keyring is loaded."""


@hookspec
def certctl_key_wrappers() -> list[type[KeyWrapper]]:  # type: ignore[empty-body]
    """Register kinds of key wrappers.

    Called once, before the database is opened; each implementation on its own; all results count.
    """
