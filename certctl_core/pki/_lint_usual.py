"""What most certificates that are issued have in common, read from their bytes.

A CA issues one certificate after the other that differ in serial number, times, subject, key and host
names only. Where these are as they should be, all that a lint can find depends on the rest: that is
their shape, and what was found of one certificate holds for every other one of the same shape.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.pki import _der, names
from certctl_core.pki._build import issuer_key_id
from certctl_core.pki.errors import NameRejected

_VERSION_3 = b"\xa0\x03\x02\x01\x02"
_EXTENSIONS = 0xA3
_DNS = 0x82
_SKI = _der.oid("2.5.29.14")
_SAN = _der.oid("2.5.29.17")
_COMMON_NAME = _der.oid("2.5.4.3")
MAX_COMMON_NAME = 64
MAX_SERIAL_BITS = 159
_UTC_TIME_ENDS = 2050

Shape = tuple[bytes, bytes, bytes, bool]


class _Issuer(NamedTuple):
    name: bytes
    not_after: datetime
    key_id: bytes


@lru_cache(maxsize=256)
def _issuer(certificate: x509.Certificate) -> _Issuer:
    return _Issuer(
        certificate.subject.public_bytes(),
        certificate.not_valid_after_utc,
        issuer_key_id(certificate),
    )


def usual_shape(cert: x509.Certificate, issuer: x509.Certificate) -> Shape | None:
    """The shape of a certificate; None where it needs a closer look.

    Raises:
        DERError: It is no certificate in the form of RFC 5280.
    """
    der = cert.public_bytes(Encoding.DER)
    known = _issuer(issuer)
    start, end = _der.whole(der, _der.SEQUENCE)
    at, tbs_end = _der.expect(der, start, end, _der.SEQUENCE)
    _, algorithm_end = _der.expect(der, tbs_end, end, _der.SEQUENCE)
    if not der.startswith(_VERSION_3, at):
        return None
    serial, at = _der.expect(der, at + len(_VERSION_3), tbs_end, _der.INTEGER)
    number = int.from_bytes(der[serial:at], signed=True)
    _, after = _der.expect(der, at, tbs_end, _der.SEQUENCE)
    if not 0 < number < 1 << MAX_SERIAL_BITS or der[at:after] != der[tbs_end:algorithm_end]:
        return None
    _, at = _der.expect(der, after, tbs_end, _der.SEQUENCE)
    if der[after:at] != known.name:
        return None
    validity, at = _der.expect(der, at, tbs_end, _der.SEQUENCE)
    if not _is_usual_validity(der, validity, at, known.not_after):
        return None
    subject, subject_end = _der.expect(der, at, tbs_end, _der.SEQUENCE)
    key, key_end = _der.expect(der, subject_end, tbs_end, _der.SEQUENCE)
    _, key_algorithm = _der.expect(der, key, key_end, _der.SEQUENCE)
    bits, bits_end = _der.expect(der, key_algorithm, key_end, _der.BIT_STRING)
    tag, at, last = _der.element(der, key_end, tbs_end)
    if tag != _EXTENSIONS or last != tbs_end or bits_end != key_end:
        return None
    fixed, own = _extensions(der, at, last)
    key_id = hashlib.sha1(der[bits + 1 : bits_end], usedforsecurity=False).digest()
    hosts = _hosts(own.get(_SAN), is_critical=subject == subject_end)
    if own.get(_SKI) != (False, b"\x04\x14" + key_id) or not hosts:
        return None
    if not _is_usual_subject(der, subject, subject_end, hosts):
        return None
    return fixed, der[key:key_algorithm], known.key_id, subject == subject_end


def _is_usual_validity(der: bytes, at: int, end: int, most: datetime) -> bool:
    moments = []
    for _ in range(2):
        tag, start, at = _der.element(der, at, end)
        moment = _der.read_time(der, tag, start, at)
        if (tag == _der.UTC_TIME) is not (moment.year < _UTC_TIME_ENDS):
            return False
        moments.append(moment)
    return at == end and moments[0] <= moments[1] <= most


def _extensions(der: bytes, at: int, end: int) -> tuple[bytes, dict[bytes, tuple[bool, bytes]]]:
    """Those that certificates of one shape share, as they stand; and the two that they do not."""
    at, stop = _der.expect(der, at, end, _der.SEQUENCE)
    if stop != end:
        raise _der.DERError
    shared = []
    seen = set()
    own = {}
    while at < stop:
        oid, critical, value, after = _der.extension(der, at, stop)
        if oid in seen:
            raise _der.DERError
        seen.add(oid)
        if oid in {_SKI, _SAN}:
            own[oid] = critical, value
        else:
            shared.append(der[at:after])
        at = after
    return b"".join(shared), own


def _hosts(found: tuple[bool, bytes] | None, *, is_critical: bool) -> set[str] | None:
    """The names, where all of them are host names in the form in which they are issued."""
    if found is None or found[0] is not is_critical:
        return None
    value = found[1]
    at, end = _der.whole(value, _der.SEQUENCE)
    hosts = set()
    while at < end:
        tag, start, at = _der.element(value, at, end)
        host = value[start:at]
        if tag != _DNS or not host.isascii():
            return None
        text = host.decode()
        try:
            if names.parse_dns(text) != text:
                return None
        except NameRejected:
            return None
        hosts.add(text)
    return hosts


def _is_usual_subject(der: bytes, at: int, end: int, hosts: set[str]) -> bool:
    """Whether every common name is one of the hosts."""
    while at < end:
        value, at = _der.expect(der, at, end, _der.SET)
        value, pair_end = _der.expect(der, value, at, _der.SEQUENCE)
        _, value_start = _der.expect(der, value, pair_end, _der.OID)
        tag, text, text_end = _der.element(der, value_start, pair_end)
        if pair_end != at or text_end != pair_end:
            return False
        if der[value:value_start] != _COMMON_NAME:
            continue
        name = der[text:text_end]
        if tag not in {_der.UTF8_STRING, _der.PRINTABLE_STRING} or not name.isascii():
            return False
        if len(name) > MAX_COMMON_NAME or name.decode() not in hosts:
            return False
    return True
