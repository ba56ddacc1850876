"""Subject names: attribute table and encoding."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cryptography import x509

from certctl_core.pki import _der
from certctl_core.pki.errors import MalformedName
from certctl_core.pki.names import check_text

SUBJECT_OIDS: Mapping[str, str] = MappingProxyType(
    {
        "commonName": "2.5.4.3",
        "surname": "2.5.4.4",
        "serialNumber": "2.5.4.5",
        "countryName": "2.5.4.6",
        "localityName": "2.5.4.7",
        "stateOrProvinceName": "2.5.4.8",
        "organizationName": "2.5.4.10",
        "organizationalUnitName": "2.5.4.11",
        "title": "2.5.4.12",
        "givenName": "2.5.4.42",
        "userId": "0.9.2342.19200300.100.1.1",
        "domainComponent": "0.9.2342.19200300.100.1.25",
        "emailAddress": "1.2.840.113549.1.9.1",
    }
)
"""Attribute names (X.520 spelling) and their OIDs."""

MAX_VALUE = 256
"""The largest upper bound that RFC 5280 appendix A.1 has for text, and one for the rest."""

_SHORT = {
    "CN": "commonName",
    "SN": "surname",
    "C": "countryName",
    "L": "localityName",
    "ST": "stateOrProvinceName",
    "O": "organizationName",
    "OU": "organizationalUnitName",
    "GN": "givenName",
    "UID": "userId",
    "DC": "domainComponent",
}
_COMMON_NAME = _der.oid(SUBJECT_OIDS["commonName"])


def subject_oid(name: str) -> str:
    """Give the OID of an attribute by its long name, RFC 4514 short name or dotted OID.

    Raises:
        MalformedName: None of these.
    """
    name = _SHORT.get(name, name)
    try:
        return SUBJECT_OIDS.get(name) or x509.ObjectIdentifier(name).dotted_string
    except ValueError as error:
        raise MalformedName(name=ascii(name), reason="no such subject attribute") from error


def subject_name(
    common_name: str | None, attributes: tuple[tuple[str, str], ...] = ()
) -> x509.Name:
    """Build a subject: the attributes in their order, then the common name.

    Raises:
        MalformedName: Unknown attribute, or a value its syntax refuses (length, country code).
        UnsafeName: A value holds controls or invisible characters.
    """
    pairs = attributes if common_name is None else (*attributes, ("commonName", common_name))
    parts = []
    for name, value in pairs:
        check_text(value)
        if not 0 < len(value) <= MAX_VALUE:
            raise MalformedName(name=ascii(value[:64]), reason=f"{name} has 1 to 256 characters")
        try:
            parts.append(x509.NameAttribute(x509.ObjectIdentifier(subject_oid(name)), value))
        except ValueError as error:
            raise MalformedName(name=ascii(value), reason=f"no value for {name}") from error
    return x509.Name(parts)


def subject_der(common_name: str | None, attributes: tuple[tuple[str, str], ...]) -> bytes:
    """Encode a subject; the usual one, a lone common name, without the library's objects.

    Raises:
        MalformedName, UnsafeName: As for ``subject_name``.
    """
    if attributes:
        return subject_name(common_name, attributes).public_bytes()
    if common_name is None:
        return b"\x30\x00"
    check_text(common_name)
    value = _der.tlv(_der.UTF8_STRING, common_name.encode())
    attribute = _der.tlv(_der.SEQUENCE, _COMMON_NAME + value)
    return _der.tlv(_der.SEQUENCE, _der.tlv(_der.SET, attribute))
