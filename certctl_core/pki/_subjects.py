"""Subject names: attribute table and encoding."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from cryptography import x509

from certctl_core.pki import _der
from certctl_core.pki.errors import MalformedName
from certctl_core.pki.names import check_subject_text, check_text

SUBJECT_OIDS: Mapping[str, str] = MappingProxyType(
    {
        "commonName": "2.5.4.3",
        "surname": "2.5.4.4",
        "serialNumber": "2.5.4.5",
        "countryName": "2.5.4.6",
        "localityName": "2.5.4.7",
        "stateOrProvinceName": "2.5.4.8",
        "streetAddress": "2.5.4.9",
        "organizationName": "2.5.4.10",
        "organizationalUnitName": "2.5.4.11",
        "title": "2.5.4.12",
        "businessCategory": "2.5.4.15",
        "postalCode": "2.5.4.17",
        "givenName": "2.5.4.42",
        "initials": "2.5.4.43",
        "generationQualifier": "2.5.4.44",
        "dnQualifier": "2.5.4.46",
        "pseudonym": "2.5.4.65",
        "organizationIdentifier": "2.5.4.97",
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
    "STREET": "streetAddress",
    "GN": "givenName",
    "UID": "userId",
    "DC": "domainComponent",
}
_COMMON_NAME = _der.oid(SUBJECT_OIDS["commonName"])
_MOST: Mapping[str, int] = {
    "commonName": 64,
    "serialNumber": 64,
    "countryName": 2,
    "localityName": 128,
    "stateOrProvinceName": 128,
    "streetAddress": 128,
    "organizationName": 64,
    "organizationalUnitName": 64,
    "title": 64,
    "businessCategory": 128,
    "postalCode": 40,
    "pseudonym": 128,
    "domainComponent": 63,
}
"""Upper bounds in characters: RFC 5280 appendix A.1, for what it lacks X.520; a label for DC."""

_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,./:=?-]*", re.ASCII)
_AS_PRINTABLE = frozenset({"countryName", "serialNumber", "dnQualifier"})
_AS_IA5 = frozenset({"domainComponent", "emailAddress"})
_COUNTRY = re.compile(r"[A-Za-z]{2}", re.ASCII)

_SHORT_OF = {long: short for short, long in _SHORT.items()}
_LONG_OF_OID = {oid: long for long, oid in SUBJECT_OIDS.items()}
_LONG_OF_ANY = {
    **{long.lower(): long for long in SUBJECT_OIDS},
    **{short.lower(): long for short, long in _SHORT.items()},
}
_TO_OID = {
    name: x509.ObjectIdentifier(SUBJECT_OIDS[_LONG_OF_ANY[name.lower()]])
    for name in (*SUBJECT_OIDS, *_SHORT)
}


def attribute_label(oid: str) -> str:
    """Give the name of an attribute as people write it (``O``, ``serialNumber``), else its OID."""
    long = _LONG_OF_OID.get(oid, oid)
    return _SHORT_OF.get(long, long)


def known_attribute(name: str) -> str:
    """Give an attribute's name as people write it, from its short or long name in any case.

    Raises:
        MalformedName: No such attribute.
    """
    long = _LONG_OF_ANY.get(name.strip().lower())
    if long is None:
        raise MalformedName(name=ascii(name[:64]), reason="no such subject attribute")
    return _SHORT_OF.get(long, long)


def check_value(name: str, value: str) -> None:
    """Check a value that somebody else chose, before it is certified.

    Args:
        name: Of the attribute, in any form that ``subject_oid`` takes.
        value: Its text.

    Raises:
        MalformedName: Empty, outer white space, longer than the upper bound of the attribute, or
            of characters that its string type has not (RFC 5280 appendix A.1).
        UnsafeName: Controls, bidi controls, invisible characters, or a word of look-alike letters.
    """
    check_subject_text(value)
    long = _LONG_OF_OID.get(subject_oid(name), name)
    most = _MOST.get(long, MAX_VALUE)
    label = _SHORT_OF.get(long, long)
    if not value or value != value.strip():
        reason = f"{label} is empty or has outer white space"
    elif len(value) > most:
        reason = f"{label} has at most {most} characters"
    elif long == "countryName" and _COUNTRY.fullmatch(value) is None:
        reason = f"{label} is a code of two letters"
    elif long in _AS_PRINTABLE and _PRINTABLE.fullmatch(value) is None:
        reason = f"{label} has only the characters of PrintableString"
    elif long in _AS_IA5 and not value.isascii():
        reason = f"{label} is ASCII"
    else:
        return
    raise MalformedName(name=ascii(value[:64]), reason=reason)


def read_attributes(name: x509.Name) -> tuple[tuple[str, str | bytes], ...]:
    """Give the attributes of a name but its common name, as (dotted OID, value), in their order."""
    return tuple(
        (attribute.oid.dotted_string, attribute.value)
        for attribute in name
        if attribute.oid != x509.NameOID.COMMON_NAME
    )


def parse_attributes(text: str) -> tuple[tuple[str, str | bytes], ...]:
    """Read RFC 4514 text as ``read_attributes`` gives it; all known attribute names are taken.

    Raises:
        MalformedName: It is no RFC 4514 name.
    """
    try:
        return read_attributes(x509.Name.from_rfc4514_string(text, _TO_OID))
    except ValueError as error:
        raise MalformedName(name=ascii(text[:64]), reason="it is no RFC 4514 name") from error


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
        MalformedName: Unknown attribute, or a value its syntax refuses (upper bounds of RFC 5280
            appendix A.1, country code).
        UnsafeName: A value holds controls or invisible characters.
    """
    pairs = attributes if common_name is None else (*attributes, ("commonName", common_name))
    parts = []
    for name, value in pairs:
        check_text(value)
        oid = subject_oid(name)
        most = _MOST.get(_LONG_OF_OID.get(oid, oid), MAX_VALUE)
        if not 0 < len(value) <= most:
            reason = f"{name} has 1 to {most} characters"
            raise MalformedName(name=ascii(value[:64]), reason=reason)
        try:
            parts.append(x509.NameAttribute(x509.ObjectIdentifier(oid), value))
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
