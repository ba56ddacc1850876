"""Pure decisions: which key an agent is to make."""

from __future__ import annotations

from typing import Protocol

from certctl_core.pki.keys import KeyAlgorithm

_CHOICES: dict[str, tuple[tuple[int, KeyAlgorithm], ...]] = {
    "ECDSA": (
        (256, KeyAlgorithm.ECDSA_P256),
        (384, KeyAlgorithm.ECDSA_P384),
        (521, KeyAlgorithm.ECDSA_P521),
    ),
    "RSA": (
        (2048, KeyAlgorithm.RSA_2048),
        (3072, KeyAlgorithm.RSA_3072),
        (4096, KeyAlgorithm.RSA_4096),
    ),
    "Ed25519": ((0, KeyAlgorithm.ED25519),),
    "ML-DSA": (
        (44, KeyAlgorithm.ML_DSA_44),
        (65, KeyAlgorithm.ML_DSA_65),
        (87, KeyAlgorithm.ML_DSA_87),
    ),
}


class KeyTerms(Protocol):
    """One allowed key algorithm with its smallest size."""

    @property
    def algorithm(self) -> str:
        """Family: RSA, ECDSA, Ed25519, ML-DSA."""
        ...

    @property
    def min_size(self) -> int:
        """Bits, or the parameter set of ML-DSA; 0 for none."""
        ...


def key_algorithm(term: KeyTerms) -> KeyAlgorithm | None:
    """The smallest key that satisfies a profile's rule (KEY-03), or None when none is offered."""
    for size, algorithm in _CHOICES.get(term.algorithm, ()):
        if size >= term.min_size or size == 0:
            return algorithm
    return None
