"""The little DER that CRLs, OCSP messages and certificates need (X.690).

Encoding joins bytes; decoding walks one flat buffer with explicit bounds and never recurses on
input. Only definite, minimal lengths and single-byte tags exist here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from certctl_core.pki.errors import NaiveTime

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OID: Final = 0x06
ENUMERATED: Final = 0x0A
UTF8_STRING: Final = 0x0C
PRINTABLE_STRING: Final = 0x13
IA5_STRING: Final = 0x16
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31

TRUE: Final = b"\x01\x01\xff"

_SHORT = 0x80
_ONE_BYTE = 0x100
_TWO_BYTES = 0x10000
_MAX_LENGTH_BYTES = 4
_UTC_TIME_ENDS = 2050


class DERError(ValueError):
    """The bytes are not the DER that was expected; modules turn it into their own error."""


def header(tag: int, length: int) -> bytes:
    """Give the tag and length bytes of a value of ``length`` bytes."""
    if length < _SHORT:
        return bytes((tag, length))
    if length < _ONE_BYTE:
        return bytes((tag, 0x81, length))
    if length < _TWO_BYTES:
        return bytes((tag, 0x82, length >> 8, length & 0xFF))
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size)


def tlv(tag: int, content: bytes) -> bytes:
    """Wrap content in a tag."""
    length = len(content)
    if length < _SHORT:
        return bytes((tag, length)) + content
    return header(tag, length) + content


def integer(value: int, tag: int = INTEGER) -> bytes:
    """Encode an INTEGER (or, with its tag, an ENUMERATED)."""
    content = value.to_bytes(value.bit_length() // 8 + 1, signed=True)
    return tlv(tag, content)


@lru_cache(maxsize=1024)
def oid(dotted: str) -> bytes:
    """Encode an OBJECT IDENTIFIER; the text must be well-formed."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    out = bytearray()
    for arc in (first * 40 + second, *rest):
        chunk = [arc & 0x7F]
        while arc := arc >> 7:
            chunk.append(0x80 | (arc & 0x7F))
        out += bytes(reversed(chunk))
    return tlv(OID, bytes(out))


def bit_string(content: bytes) -> bytes:
    """Encode whole bytes as a BIT STRING."""
    return header(BIT_STRING, len(content) + 1) + b"\x00" + content


def generalized_time(moment: datetime) -> bytes:
    """Encode ``YYYYMMDDHHMMSSZ``; fractions of a second are cut off.

    Raises:
        NaiveTime: The time has no zone.
    """
    m = utc(moment)
    return b"\x18\x0f%04d%02d%02d%02d%02d%02dZ" % (
        m.year, m.month, m.day, m.hour, m.minute, m.second,
    )  # fmt: skip


def time(moment: datetime) -> bytes:
    """Encode a Time: UTCTime through 2049, GeneralizedTime from 2050 (RFC 5280 §4.1.2.5).

    Raises:
        NaiveTime: The time has no zone.
    """
    m = utc(moment)
    if m.year >= _UTC_TIME_ENDS:
        return generalized_time(m)
    return b"\x17\x0d%02d%02d%02d%02d%02d%02dZ" % (
        m.year % 100, m.month, m.day, m.hour, m.minute, m.second,
    )  # fmt: skip


def utc(moment: datetime) -> datetime:
    """Give the same moment in UTC.

    Raises:
        NaiveTime: The time has no zone.
    """
    if moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        raise NaiveTime
    return moment.astimezone(UTC)


def element(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Read one tag and length at ``at``.

    Returns:
        ``(tag, start of the content, end of the content)``; the end is within ``end``.

    Raises:
        DERError: Truncated, indefinite or not minimal length, or a tag of several bytes.
    """
    if at + 2 > end:
        raise DERError
    tag = data[at]
    length = data[at + 1]
    start = at + 2
    if tag & 0x1F == 0x1F:  # noqa: PLR2004 - all five bits set announce a tag of several bytes
        raise DERError
    if length >= _SHORT:
        size = length & 0x7F
        if not 0 < size <= _MAX_LENGTH_BYTES or start + size > end:
            raise DERError
        length = int.from_bytes(data[start : start + size])
        # "the minimum number of octets" (X.690 §10.1)
        if length < _SHORT or length < 1 << 8 * (size - 1):
            raise DERError
        start += size
    stop = start + length
    if stop > end:
        raise DERError
    return tag, start, stop


def expect(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Read an element that must have this tag; gives the bounds of its content.

    Raises:
        DERError: Another tag, or as for ``element``.
    """
    got, start, stop = element(data, at, end)
    if got != tag:
        raise DERError
    return start, stop


def whole(data: bytes, tag: int) -> tuple[int, int]:
    """Read an element that must fill the buffer exactly.

    Raises:
        DERError: Another tag, trailing bytes, or as for ``element``.
    """
    start, stop = expect(data, 0, len(data), tag)
    if stop != len(data):
        raise DERError
    return start, stop


def read_time(data: bytes, tag: int, start: int, stop: int) -> datetime:
    """Decode the content of a UTCTime or GeneralizedTime in the form of RFC 5280 §4.1.2.5.

    Raises:
        DERError: Another tag or form, or no such date.
    """
    digits = data[start : stop - 1]
    if data[stop - 1 : stop] != b"Z" or not digits.isdigit():
        raise DERError
    if tag == UTC_TIME and len(digits) == 12:  # noqa: PLR2004 - YYMMDDHHMMSS
        digits = (b"20" if digits < b"50" else b"19") + digits
    elif tag != GENERALIZED_TIME or len(digits) != 14:  # noqa: PLR2004 - YYYYMMDDHHMMSS
        raise DERError
    try:
        return datetime(
            int(digits[:4]), int(digits[4:6]), int(digits[6:8]),
            int(digits[8:10]), int(digits[10:12]), int(digits[12:]), tzinfo=UTC,
        )  # fmt: skip
    except ValueError as error:
        raise DERError from error


def unsigned(data: bytes, start: int, stop: int) -> int:
    """Decode the content of a non-negative INTEGER.

    Raises:
        DERError: Empty, negative or not minimal.
    """
    content = data[start:stop]
    if not content or content[0] & 0x80:
        raise DERError
    if len(content) > 1 and content[0] == 0 and not content[1] & 0x80:
        raise DERError
    return int.from_bytes(content)


def extension(data: bytes, at: int, end: int) -> tuple[bytes, bool, bytes, int]:
    """Read one Extension at ``at``.

    Returns:
        ``(OID in DER, critical, content of extnValue, where the next one starts)``.

    Raises:
        DERError: Not an Extension, or as for ``element``.
    """
    start, stop = expect(data, at, end, SEQUENCE)
    _, position = expect(data, start, stop, OID)
    oid_der = data[start:position]
    critical = False
    tag, value_start, value_stop = element(data, position, stop)
    if tag == BOOLEAN:
        if data[value_start:value_stop] not in {b"\xff", b"\x00"}:
            raise DERError
        critical = data[value_start] != 0
        tag, value_start, value_stop = element(data, value_stop, stop)
    if tag != OCTET_STRING or value_stop != stop:
        raise DERError
    return oid_der, critical, data[value_start:value_stop], stop
