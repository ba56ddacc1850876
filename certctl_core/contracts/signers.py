"""The contract of a signer: where the private keys of CAs, responders and logs live (spec 02 §4).

A loaded key is an object of the ``cryptography`` private-key class of its algorithm, or a subclass
that delegates ``sign()`` to a token: certificate, CRL and OCSP builders take both. Nothing but a
signer touches key bytes; they appear in no log, error or database row.
"""

from __future__ import annotations

import os
import stat
from abc import abstractmethod
from enum import StrEnum
from typing import ClassVar

from certctl_core.contracts.context import PluginContext
from certctl_core.contracts.errors import ErrorClass, PluginError
from certctl_core.contracts.options import PluginConfig
from certctl_core.contracts.plugin import Plugin, hookspec
from certctl_core.kernel.errors import ErrorKind
from certctl_core.pki.keys import KeyAlgorithm, SigningKey
from certctl_core.values import dataclass

__all__ = [
    "GeneratedKey",
    "KeyAlgorithm",
    "KeyNotFound",
    "KeyPurpose",
    "KeyRefInvalid",
    "KeyRefTaken",
    "KeyRejectedBySigner",
    "KeyUnsafe",
    "SignerError",
    "SignerPINRefused",
    "SignerProvider",
    "SignerUnavailable",
    "SigningKey",
    "certctl_signers",
    "check_private",
]

_ROOT_OWNED_MODE = 0o640


class KeyPurpose(StrEnum):
    """What a key is for; the settings choose a signer for each (DESIGN §7)."""

    CA = "ca"
    OCSP = "ocsp"
    AUDIT = "audit"
    RA = "ra"
    SERVER = "server"


class SignerError(PluginError):
    """Base of the failures of signers. No text holds key bytes, a PIN or a passphrase."""

    code = "signer_error"
    kind = ErrorKind.UNAVAILABLE
    text = "The key cannot be used."
    error_class = ErrorClass.CONFIG


class KeyRefInvalid(SignerError):
    """A key reference is empty, malformed, or leads outside the signer's own place."""

    code = "key_ref_invalid"
    text = "The key reference is not acceptable: {reason}."

    def __init__(self, reason: str) -> None:
        super().__init__(reason=reason)


class KeyNotFound(SignerError):
    """There is no key with that reference; data: ``ref``."""

    code = "key_not_found"
    text = "There is no key {ref!r}."

    def __init__(self, ref: str) -> None:
        super().__init__(ref=ref)


class KeyUnsafe(SignerError):
    """The key is kept in a way that others could read or replace it; it is not loaded."""

    code = "key_unsafe"
    text = "The key {ref!r} is not kept safely: {reason}."

    def __init__(self, ref: str, reason: str) -> None:
        super().__init__(ref=ref, reason=reason)


class KeyRefTaken(SignerError):
    """A key with that reference exists already; it is never overwritten."""

    code = "key_ref_taken"
    text = "A key {ref!r} exists already."

    def __init__(self, ref: str) -> None:
        super().__init__(ref=ref)


class KeyRejectedBySigner(SignerError):
    """The key is unreadable, encrypted for somebody else, weak, or of an unsupported algorithm."""

    code = "key_rejected_by_signer"
    text = "The key {ref!r} is not accepted: {reason}."

    def __init__(self, ref: str, reason: str) -> None:
        super().__init__(ref=ref, reason=reason)


class SignerUnavailable(SignerError):
    """The token, service or file system does not answer; the same call may work later."""

    code = "signer_unavailable"
    text = "The signer does not answer: {reason}."
    error_class = ErrorClass.NETWORK
    retryable: ClassVar[bool] = True

    def __init__(self, reason: str) -> None:
        super().__init__(reason=reason)


class SignerPINRefused(SignerError):
    """The token does not take the PIN; the same one is not tried again, for tokens lock themselves."""

    code = "signer_pin_refused"
    text = "The token {token!r} refuses the PIN: {cause}."
    hint = "Correct the PIN, then start again; see the page about keys and tokens."

    def __init__(self, token: str, cause: str) -> None:
        super().__init__(token=token, cause=cause)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedKey:
    """A new key and how to find it again.

    Attributes:
        key: Ready to sign.
        ref: What ``load`` takes; a path, a URI, a name. Stored in the database: not a secret.
    """

    key: SigningKey
    ref: str


def check_private(status: os.stat_result, ref: str) -> None:
    """Refuse a file with a secret in it that others than the service may touch (02 SIGN-3).

    Packages install keys as root:service 0640: nobody but the service's group may read those.

    Args:
        status: Of the open file.
        ref: What errors call it.

    Raises:
        KeyUnsafe: Its mode is wider than 0600, and it is not root's with 0640 for our group.
    """
    mode = stat.S_IMODE(status.st_mode)
    if not mode & (stat.S_IRWXG | stat.S_IRWXO):
        return
    groups = {os.getegid(), *os.getgroups()}
    if status.st_uid == 0 and mode == _ROOT_OWNED_MODE and status.st_gid in groups:
        return
    reason = f"its mode is {mode:04o}; only the owner may have access (chmod 0600)"
    raise KeyUnsafe(ref=ref, reason=reason)


class SignerProvider(Plugin):
    """A signer kind; ``kind`` is its name: ``file``, ``memory``, ``pkcs11``. Safe for threads.

    Attributes:
        algorithms: What ``generate`` can make.
        is_ephemeral: Its keys are gone with the process: for tests only.

    Args:
        config: The validated configuration.
        ctx: The context.
    """

    algorithms: ClassVar[frozenset[KeyAlgorithm]] = frozenset(KeyAlgorithm)
    is_ephemeral: ClassVar[bool] = False

    def __init__(self, config: PluginConfig, ctx: PluginContext) -> None:
        self.config = config
        self.ctx = ctx

    @property
    def name(self) -> str:
        """The lowercase token that a key row stores: the kind."""
        return self.kind

    @abstractmethod
    def load(self, ref: str) -> SigningKey:
        """Find a key and make it ready to sign.

        Args:
            ref: As ``generate`` returned it, or as the operator configured it.

        Returns:
            A key that passed ``pki.keys.check_key``.

        Raises:
            KeyRefInvalid: The reference is not acceptable.
            KeyNotFound: There is no such key.
            KeyUnsafe: Others could read or replace it.
            KeyRejectedBySigner: It is there and cannot be accepted.
            SignerUnavailable: The place of the key does not answer.
        """

    @abstractmethod
    def generate(self, algorithm: KeyAlgorithm, ref_hint: str) -> GeneratedKey:
        """Make a new key that survives this process (unless ``is_ephemeral``).

        The key is durable when the call returns. An existing key is never replaced.

        Args:
            algorithm: One of ``algorithms``.
            ref_hint: Words for the reference, e.g. ``ca/iss-local/2026``; each call gets a
                reference of its own.

        Raises:
            KeyRefInvalid: No reference can be made of the hint.
            KeyRefTaken: The reference is in use.
            KeyUnsafe: The place for the key cannot be made safe.
            KeyRejectedBySigner: The algorithm is not supported here.
            SignerUnavailable: The place of the key does not answer.
        """

    def open(self) -> None:
        """Called once before the first use."""

    def check(self) -> None:
        """Reach the place of the keys, as far as it is elsewhere; uses no key.

        Raises:
            SignerError: It cannot be reached, or lets nobody in.
        """

    def close(self) -> None:
        """Called at shutdown; keys that were handed out no longer sign afterwards."""


@hookspec
def certctl_signers() -> list[type[SignerProvider]]:  # type: ignore[empty-body] # a specification
    """Register signer kinds.

    Called once at start, each implementation on its own; all results count. Return the classes; do
    not open tokens or files here.
    """
