"""CRLReason (RFC 5280 §5.3.1): the eight reasons that can be given here.

``removeFromCRL`` (8) belongs to delta CRLs and ``aACompromise`` (10) to attribute certificates;
neither is a reason to revoke.
"""

from __future__ import annotations

import re
from enum import StrEnum

from cryptography import x509

from certctl_core.pki.errors import UnknownReason


class CRLReason(StrEnum):
    """Why a certificate was revoked, spelled as in RFC 5280 §5.3.1."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "cACompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    CERTIFICATE_HOLD = "certificateHold"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"

    @property
    def code(self) -> int:
        """The value of the ENUMERATED on the wire."""
        return _CODES[self]

    @property
    def flag(self) -> x509.ReasonFlags:
        """The same reason as the cryptography library names it."""
        return x509.ReasonFlags(self.value)


_CODES = {
    CRLReason.UNSPECIFIED: 0,
    CRLReason.KEY_COMPROMISE: 1,
    CRLReason.CA_COMPROMISE: 2,
    CRLReason.AFFILIATION_CHANGED: 3,
    CRLReason.SUPERSEDED: 4,
    CRLReason.CESSATION_OF_OPERATION: 5,
    CRLReason.CERTIFICATE_HOLD: 6,
    CRLReason.PRIVILEGE_WITHDRAWN: 9,
}
_BY_CODE = {code: reason for reason, code in _CODES.items()}
_SPELLINGS = {
    **{reason.value: reason for reason in CRLReason},
    **{re.sub(r"(?<=[a-z])([A-Z])", r"_\1", r.value).lower(): r for r in CRLReason},
    "caCompromise": CRLReason.CA_COMPROMISE,
    "ca_compromise": CRLReason.CA_COMPROMISE,
}
# The general rule would also admit "c_acompromise", which nobody writes.
_SPELLINGS.pop("c_acompromise")


def parse_reason(text: str) -> CRLReason:
    """Read a reason in the RFC's spelling, as ``caCompromise`` or in snake_case.

    Raises:
        UnknownReason: Any other spelling, and the reasons 8 and 10.
    """
    try:
        return _SPELLINGS[text]
    except KeyError:
        raise UnknownReason(reason=text[:64]) from None


def reason_of_code(code: int) -> CRLReason:
    """Read a reason from its number (ACME, OCSP, CRL entries).

    Raises:
        UnknownReason: The number is none of the eight.
    """
    try:
        return _BY_CODE[code]
    except KeyError:
        raise UnknownReason(reason=str(code)) from None


def reason_of_flag(flag: x509.ReasonFlags) -> CRLReason:
    """Read a reason from the cryptography library's enumeration.

    Raises:
        UnknownReason: ``removeFromCRL`` and ``aACompromise``.
    """
    return parse_reason(flag.value)
