"""Serial numbers and their one textual form.

The canonical form is lowercase hexadecimal in whole bytes without further padding, ``00`` for
zero: what ``openssl x509 -serial`` prints, in lower case. Only this form is stored or compared.
"""

from __future__ import annotations

import re
import secrets

from certctl_core.pki.errors import MalformedSerial

_RANDOM_BITS = 159
"""The 160th bit stays zero, so the DER integer is positive in 20 octets (RFC 5280 §4.1.2.2)."""

_MAX_BYTES = 64
"""RFC 5280 allows 20 octets; found certificates carry more, garbage far more."""

_HEX = re.compile(r"(?:0[xX])?((?:[0-9A-Fa-f]{1,2}:)+[0-9A-Fa-f]{1,2}|[0-9A-Fa-f]+)", re.ASCII)
_MAX_TEXT = 3 * _MAX_BYTES + 2


def new_serial() -> int:
    """Draw a serial number: 159 random bits, never zero, at most 20 octets in DER."""
    while True:
        serial = secrets.randbits(_RANDOM_BITS)
        if serial:
            return serial


def canonical(value: int | str) -> str:
    """Give the canonical form of a serial number.

    Args:
        value: A non-negative integer, or hexadecimal text in any case with optional ``0x``,
            leading zeros, surrounding white space and ``:`` between bytes.

    Returns:
        Lowercase hexadecimal, whole bytes, no other padding; ``00`` for zero.

    Raises:
        MalformedSerial: The value is not a number of that kind or is longer than 64 octets.
    """
    number = value if isinstance(value, int) else _from_text(value)
    if number < 0 or number.bit_length() > 8 * _MAX_BYTES:
        raise MalformedSerial
    text = f"{number:x}"
    return "0" + text if len(text) % 2 else text


def to_int(value: str) -> int:
    """Give the number behind a serial in canonical form (or any form of ``canonical``).

    Raises:
        MalformedSerial: As for ``canonical``.
    """
    return _from_text(value)


def _from_text(text: str) -> int:
    text = text.strip()
    if len(text) > _MAX_TEXT:
        raise MalformedSerial
    match = _HEX.fullmatch(text)
    if match is None:
        raise MalformedSerial
    digits = match[1]
    if ":" in digits:
        digits = "".join(byte.zfill(2) for byte in digits.split(":"))
    return int(digits, 16)
