"""Values of the profiles room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from certctl_core.values import dataclass

DEFAULT_PROFILE_ID = "prof-default"
_SHORT_LIVED_BELOW_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one rule said about one request; kept in the decision record."""

    rule: str
    ok: bool
    detail: str = ""


class KeyTerms(Protocol):
    """One allowed key algorithm with its smallest size."""

    @property
    def algorithm(self) -> str:
        """Family: RSA, ECDSA, Ed25519, ML-DSA."""
        ...

    @property
    def min_size(self) -> int:
        """Bits; 0 for none."""
        ...


class ProfileTerms(Protocol):
    """What the rules read of a profile; ``ProfileView`` has it all."""

    @property
    def must_staple(self) -> bool:
        """Whether certificates demand a stapled OCSP answer."""
        ...

    @property
    def include_aia(self) -> bool:
        """Whether certificates point at OCSP."""
        ...

    @property
    def allow_short_lived(self) -> bool:
        """Whether it may be short-lived."""
        ...

    @property
    def enabled(self) -> bool:
        """Whether anything is issued under it."""
        ...

    @property
    def allowed_key_algorithms(self) -> Sequence[KeyTerms]:
        """Keys that a CSR may carry."""
        ...

    @property
    def allowed_ekus(self) -> Sequence[str]:
        """Extended key usages, names or OIDs."""
        ...

    @property
    def required_san_patterns(self) -> Sequence[str]:
        """Every name must match one of these whole."""
        ...

    @property
    def spiffe_uri_pattern(self) -> str:
        """Pattern of the one SPIFFE URI, or empty."""
        ...

    @property
    def allowed_subject_attributes(self) -> Sequence[str]:
        """What a subject may carry besides its common name, as ``known_attribute`` spells it."""
        ...

    @property
    def default_validity_seconds(self) -> int:
        """Wished validity; 0 for the issuer's default."""
        ...

    @property
    def max_ttl_seconds(self) -> int:
        """Longest validity; 0 for no cap."""
        ...


class LifetimeTerms(Protocol):
    """What decides whether a profile is short-lived."""

    @property
    def allow_short_lived(self) -> bool:
        """Whether it may be."""
        ...

    @property
    def max_ttl_seconds(self) -> int:
        """Longest validity; 0 for no cap."""
        ...


def is_short_lived(terms: LifetimeTerms) -> bool:
    """Whether a profile allows it and caps validity below one hour (01 PROF-02)."""
    return terms.allow_short_lived and 0 < terms.max_ttl_seconds < _SHORT_LIVED_BELOW_SECONDS
