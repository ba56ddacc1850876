"""Values of options that click does not know."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from certctl_cli.overriding import override

_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


if TYPE_CHECKING:
    _Seconds = click.ParamType[int]
else:
    _Seconds = click.ParamType  # not generic before click 8.4


class Duration(_Seconds):
    """``90``, ``90s``, ``15m``, ``24h``, ``7d`` → seconds."""

    name = "duration"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The seconds."""
        if isinstance(value, int):
            return value
        found = _DURATION.fullmatch(value)
        if found is None:
            self.fail(f"{value!r} is not a duration such as 90s, 15m, 24h or 7d.", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


def pairs(texts: Iterable[str], option: str) -> dict[str, str]:
    """``KEY=VALUE`` texts as a dictionary.

    Raises:
        click.UsageError: One has no ``=`` or no key.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            message = f"{option} takes KEY=VALUE, not {text!r}."
            raise click.UsageError(message)
        found[key] = value
    return found
