"""Keys that live in this process only: for tests and throw-away CAs (spec 02 SIGN-7)."""

from __future__ import annotations

import threading
from typing import ClassVar

from typing_extensions import override

from certctl_core.contracts.context import PluginContext
from certctl_core.contracts.options import PluginConfig
from certctl_core.contracts.plugin import hookimpl
from certctl_core.contracts.signers import (
    GeneratedKey,
    KeyAlgorithm,
    KeyNotFound,
    KeyRefInvalid,
    KeyRefTaken,
    KeyRejectedBySigner,
    SignerProvider,
    SigningKey,
)
from certctl_core.pki.errors import PKIError
from certctl_core.pki.keys import generate


class MemoryConfig(PluginConfig):
    """Nothing to configure."""


class Memory(SignerProvider):
    """Keeps keys in a dictionary; references are ``mem-<n>``."""

    kind = "memory"
    title = "In memory"
    api_version = 1
    summary = "Keys are lost when the process ends. For tests, never for service."
    Config = MemoryConfig
    is_ephemeral: ClassVar[bool] = True

    def __init__(self, config: PluginConfig, ctx: PluginContext) -> None:
        super().__init__(config, ctx)
        self._keys: dict[str, SigningKey] = {}
        self._count = 0
        self._lock = threading.Lock()

    @override
    def load(self, ref: str) -> SigningKey:
        if not ref.startswith("mem-"):
            raise KeyRefInvalid(reason="it does not begin with mem-")
        with self._lock:
            key = self._keys.get(ref)
        if key is None:
            raise KeyNotFound(ref=ref)
        return key

    @override
    def generate(self, algorithm: KeyAlgorithm, ref_hint: str) -> GeneratedKey:
        del ref_hint
        try:
            key = generate(algorithm)
        except PKIError as error:
            raise KeyRejectedBySigner(ref=algorithm.value, reason=error.detail) from None
        with self._lock:
            ref = self._free_ref()
            self._keys[ref] = key
        return GeneratedKey(key=key, ref=ref)

    def adopt(self, ref: str, key: SigningKey) -> None:
        """Take a key that was made elsewhere, so that tests can use known keys.

        Raises:
            KeyRefInvalid: The reference does not begin with ``mem-``.
            KeyRefTaken: It is in use.
        """
        if not ref.startswith("mem-"):
            raise KeyRefInvalid(reason="it does not begin with mem-")
        with self._lock:
            if ref in self._keys:
                raise KeyRefTaken(ref=ref)
            self._keys[ref] = key

    def _free_ref(self) -> str:
        while True:
            self._count += 1
            ref = f"mem-{self._count}"
            if ref not in self._keys:
                return ref

    @override
    def close(self) -> None:
        with self._lock:
            self._keys.clear()


@hookimpl
def certctl_signers() -> list[type[SignerProvider]]:
    """Offer the memory signer."""
    return [Memory]
