"""Lengths of time as forms write them: ``90d``, ``12h``, ``30m`` or seconds."""

from __future__ import annotations

import re

from certctl_core.kernel.errors import FieldError, Invalid

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}
_LENGTH = re.compile(r"\s*(\d{1,9})\s*([smhd]?)\s*")


def seconds_of(text: str, field: str) -> int:
    """Read a length of time; none is 0.

    Raises:
        Invalid: It is not one; the field is named.
    """
    if not text.strip():
        return 0
    match = _LENGTH.fullmatch(text)
    if match is None:
        message = "is not a length of time such as 90d, 12h or 30m"
        raise Invalid(fields=[FieldError(field=field, message=message)])
    return int(match[1]) * _UNITS[match[2]]


def length_of(seconds: int) -> str:
    """Write a length of time; 0 is empty."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return str(seconds) if seconds else ""
