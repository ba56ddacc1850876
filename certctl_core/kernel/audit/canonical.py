"""RFC 8785, the JSON Canonicalization Scheme: one value, one sequence of bytes."""

from __future__ import annotations

import math
from decimal import Decimal
from json import JSONEncoder
from json.encoder import encode_basestring

from certctl_core.kernel.events import JSON

_EXACT = 2**53
# Between these powers of ten ECMAScript writes a number without an exponent.
_PLAIN_FROM, _PLAIN_TO = -6, 21
_QUICK = JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), sort_keys=True, check_circular=False
)
_NO_TEXT = {0: "\ufffd", **dict.fromkeys(range(55296, 57344), "�")}


def canonical(value: JSON) -> bytes:
    """The canonical form in UTF-8 (RFC 8785 §3.2).

    Raises:
        ValueError: A number is not finite, or text has lone surrogates.
    """
    return canonical_text(value).encode()


def canonical_text(value: JSON) -> str:
    """The same before it is UTF-8."""
    return _QUICK.encode(value) if _is_quick(value) else _text(value)


def storable(value: JSON) -> JSON:
    """The value such that every database gives it back with the same canonical form.

    U+0000 and lone surrogates, which PostgreSQL refuses, become U+FFFD; integers that IEEE 754
    cannot hold exactly, and numbers that are not finite, become text.
    """
    if isinstance(value, str):
        return value if value.isascii() and "\0" not in value else value.translate(_NO_TEXT)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) <= _EXACT else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {
            key if key.isascii() and "\0" not in key else key.translate(_NO_TEXT): item
            if type(item) is str and item.isascii() and "\0" not in item
            else storable(item)
            for key, item in value.items()
        }
    return [storable(item) for item in value]


def _is_quick(value: JSON) -> bool:
    """Whether the encoder of the library gives the same text: no odd keys, only plain numbers."""
    if isinstance(value, dict):
        return all(
            key.isascii() and (type(item) is str or item is None or _is_quick(item))
            for key, item in value.items()
        )
    if isinstance(value, list):
        return all(type(item) is str or _is_quick(item) for item in value)
    if isinstance(value, float):
        return False
    return not isinstance(value, int) or abs(value) <= _EXACT


def _text(value: JSON) -> str:
    if isinstance(value, str):
        quoted: str = encode_basestring(value)
        return quoted
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) <= _EXACT else _number(float(value))
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, dict):
        # "sorted … as an array of UTF-16 code units" (§3.2.3)
        keys = sorted(value, key=_utf16)
        return "{" + ",".join(f"{_text(key)}:{_text(value[key])}" for key in keys) + "}"
    return "[" + ",".join(map(_text, value)) + "]"


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be")


def _number(value: float) -> str:
    """ECMAScript's Number::toString, as §3.2.2.3 demands."""
    if not math.isfinite(value):
        message = "a number in canonical JSON is finite"
        raise ValueError(message)
    if value == 0:
        return "0"  # minus zero, too
    sign = "-" if value < 0 else ""
    # repr gives the shortest digits that lead back to the same double, as ECMAScript does.
    parts = Decimal(repr(abs(value))).normalize().as_tuple()
    digits = "".join(map(str, parts.digits))
    exponent = int(parts.exponent)
    point = len(digits) + exponent
    if 0 < point <= _PLAIN_TO:
        if exponent >= 0:
            return sign + digits + "0" * exponent
        return sign + digits[:point] + "." + digits[point:]
    if _PLAIN_FROM < point <= 0:
        return sign + "0." + "0" * -point + digits
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    power = point - 1
    return f"{sign}{mantissa}e{'+' if power > 0 else '-'}{abs(power)}"
