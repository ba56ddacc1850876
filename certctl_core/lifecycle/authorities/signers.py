"""A signer behind its guard: loading, making and using keys is counted and fails in typed ways."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn, Self, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from typing_extensions import override

from certctl_core.contracts.host.guard import Guard
from certctl_core.contracts.signers import (
    GeneratedKey,
    KeyAlgorithm,
    KeyRejectedBySigner,
    SignerProvider,
    SignerUnavailable,
    SigningKey,
)
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.observability import counter

FILE_SIGNER = "file"
MEMORY_SIGNER = "memory"

_BUDGET = timedelta(seconds=30)
"""A token that makes an RSA-4096 key may take half of it."""

_INLINE = frozenset({FILE_SIGNER, MEMORY_SIGNER})

_OPERATIONS = counter(
    "certctl_signer_operations_total",
    "Keys loaded and made, and signatures, by the kind of the signer that keeps the key.",
    ("signer", "result"),
)

Result = TypeVar("Result")


class GuardedSigner:
    """A signer whose loading and making of keys goes through a guard.

    Args:
        signer: The open signer.
        clock: The time.
    """

    def __init__(self, signer: SignerProvider, *, clock: Clock) -> None:
        self._signer = signer
        self._guard = Guard(signer.kind, clock=clock, inline=signer.kind in _INLINE)

    def load(self, ref: str) -> SigningKey:
        """Get a key; see ``SignerProvider.load``."""
        return counted(self._call(lambda: self._signer.load(ref), "load"), self._signer.kind)

    def generate(self, algorithm: KeyAlgorithm, ref_hint: str) -> GeneratedKey:
        """Make a key; see ``SignerProvider.generate``."""
        made = self._call(
            lambda: self._signer.generate(algorithm, ref_hint), "generate", expect=GeneratedKey
        )
        return GeneratedKey(key=counted(made.key, self._signer.kind), ref=made.ref)

    def _call(self, call: Callable[[], Result], what: str, expect: type | None = None) -> Result:
        try:
            result = self._guard.call(call, budget=_BUDGET, what=what, expect=expect)
        except CertctlError:
            _OPERATIONS.labels(self._signer.kind, "failure").inc()
            raise
        _OPERATIONS.labels(self._signer.kind, "success").inc()
        return result


class _Counted:
    """A key that counts its signatures, and that nobody can take out.

    Args:
        key: The signer's key.
        kind: The kind of the signer.
    """

    def __init__(self, key: Any, kind: str) -> None:
        self._key = key
        self._kind = kind
        self._succeeded = _OPERATIONS.labels(kind, "success").inc
        self._failed = _OPERATIONS.labels(kind, "failure").inc

    def public_key(self) -> Any:
        """The public half."""
        return self._key.public_key()

    @property
    def key_size(self) -> Any:
        """Bits."""
        return self._key.key_size

    @property
    def curve(self) -> Any:
        """The curve."""
        return self._key.curve

    def sign(self, *arguments: Any, **options: Any) -> bytes:
        """Sign.

        Raises:
            SignerError: The signer cannot, now or ever.
        """
        return self._counted(self._key.sign, arguments, options)

    def sign_mu(self, *arguments: Any, **options: Any) -> bytes:
        """Sign a representative that was made elsewhere (ML-DSA)."""
        return self._counted(self._key.sign_mu, arguments, options)

    def _counted(
        self, sign: Callable[..., bytes], arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> bytes:
        try:
            signature = sign(*arguments, **options)
        except BaseException as error:
            self._failed()
            if isinstance(error, OSError | RuntimeError):
                # Of a signer that lets the errors of its library through.
                raise SignerUnavailable(reason=type(error).__name__) from None
            raise
        self._succeeded()
        return signature

    def _stays(self, *_arguments: Any, **_options: Any) -> NoReturn:
        raise KeyRejectedBySigner(ref=self._kind, reason="it never leaves its signer")

    private_bytes = private_bytes_raw = private_numbers = exchange = decrypt = _stays

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} of signer {self._kind}>"

    @override
    def __reduce__(self) -> NoReturn:
        message = "a signer's key cannot be pickled"
        raise TypeError(message)


_COUNTED: dict[type, type[Any]] = {
    base: type(f"Counted{base.__name__.removesuffix('PrivateKey')}Key", (_Counted, base), {})
    for base in (
        rsa.RSAPrivateKey,
        ec.EllipticCurvePrivateKey,
        ed25519.Ed25519PrivateKey,
        mldsa.MLDSA44PrivateKey,
        mldsa.MLDSA65PrivateKey,
        mldsa.MLDSA87PrivateKey,
    )
}


def counted(key: SigningKey, kind: str) -> SigningKey:
    """The key, counting what it signs in ``certctl_signer_operations_total``.

    Args:
        key: As a signer gave it.
        kind: The kind of the signer.
    """
    for base, wrapper in _COUNTED.items():
        if isinstance(key, base):
            made: SigningKey = wrapper(key, kind)
            return made
    raise KeyRejectedBySigner(ref=kind, reason="it is of no kind that signs here")
