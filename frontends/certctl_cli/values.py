"""Values of options that click does not know."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from certctl_cli.overriding import override

_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")
_Command = TypeVar("_Command", bound=Callable[..., Any])
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


def configuration_options(command: _Command) -> _Command:
    """``--config`` and ``--set``, which :func:`configuration` puts together."""
    command = click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="NAME=VALUE",
        help="One member of it; VALUE is JSON, or else a text. Repeatable.",
    )(command)
    return click.option(
        "--config",
        "config_file",
        type=click.File("r"),
        metavar="FILE",
        help="Its configuration in JSON (- is stdin).",
    )(command)


def configuration(file: Any, settings: tuple[str, ...]) -> dict[str, Any]:
    """The members of ``--config``, with those of ``--set`` over them."""
    config: Any = {}
    if file is not None:
        try:
            config = json.loads(file.read())
        except ValueError as error:
            message = f"--config is not JSON: {error}."
            raise click.UsageError(message) from error
        if not isinstance(config, dict):
            message = "--config must hold a JSON object."
            raise click.UsageError(message)
    for name, text in pairs(settings, "--set").items():
        try:
            config[name] = json.loads(text)
        except ValueError:
            config[name] = text
    return dict(config)
