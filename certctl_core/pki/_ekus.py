"""Extended key usages: names, OIDs and their encoding."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from cryptography import x509

from certctl_core.pki.errors import UnknownEKU

EKU_OIDS: Mapping[str, str] = MappingProxyType(
    {
        "serverAuth": "1.3.6.1.5.5.7.3.1",
        "clientAuth": "1.3.6.1.5.5.7.3.2",
        "codeSigning": "1.3.6.1.5.5.7.3.3",
        "emailProtection": "1.3.6.1.5.5.7.3.4",
        "timeStamping": "1.3.6.1.5.5.7.3.8",
        "ocspSigning": "1.3.6.1.5.5.7.3.9",
        "smartCardLogon": "1.3.6.1.4.1.311.20.2.2",
        "ipsecIKE": "1.3.6.1.5.5.7.3.17",
        "kerberosClientAuth": "1.3.6.1.5.2.3.4",
        "documentSigning": "1.3.6.1.4.1.311.10.3.12",
        "anyExtendedKeyUsage": "2.5.29.37.0",
    }
)
"""The names of 01 PROF-01 and their dotted OIDs."""

DEFAULT_EKUS = ("serverAuth", "clientAuth")
"""What an empty request means (02 CERT-8)."""

_NAMES = {dotted: name for name, dotted in EKU_OIDS.items()}
_MAX_DOTTED = 128
_DOTTED = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]*))+", re.ASCII)


def eku_oid(name_or_dotted: str) -> str:
    """Give the dotted OID of a known name, or a dotted OID as it stands.

    Raises:
        UnknownEKU: Neither.
    """
    known = EKU_OIDS.get(name_or_dotted)
    if known is not None:
        return known
    if len(name_or_dotted) > _MAX_DOTTED or _DOTTED.fullmatch(name_or_dotted) is None:
        raise UnknownEKU(eku=name_or_dotted[:64])
    try:
        return x509.ObjectIdentifier(name_or_dotted).dotted_string
    except ValueError as error:
        raise UnknownEKU(eku=name_or_dotted[:64]) from error


def eku_name(dotted: str) -> str:
    """Give the name of an OID where it has one, else the dotted OID."""
    return _NAMES.get(dotted, dotted)
