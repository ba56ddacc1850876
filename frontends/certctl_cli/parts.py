"""Commands that belong to other parts of the installation: the server and the agent.

The command line must not import them (it is to stay light), so they announce themselves as entry
points of the group ``certctl.commands``, and are loaded by name when they are called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from certctl_cli.failures import Failed
from certctl_cli.options import state

GROUP = "certctl.commands"


class PartMissing(Failed):
    """The part that has the command is not installed, or not whole."""

    code = "part_missing"
    text = "This command needs {what}, which is not installed here."
    hint = "Install it with pip install 'certctl[server]'."


def load_part(name: str) -> Callable[..., Any]:
    """The function behind an entry point.

    Raises:
        PartMissing: There is no such entry point, or one of its libraries is missing.
    """
    from importlib.metadata import entry_points  # slow, and a help needs none

    found = list(entry_points(group=GROUP, name=name))
    if not found:
        raise PartMissing(what=f"the part that has '{name}'")
    try:
        loaded = found[0].load()
    except ModuleNotFoundError as error:
        raise PartMissing(what=f"the package {error.name}") from error
    return cast("Callable[..., Any]", loaded)


def call_server(
    name: str,
    /,
    *,
    overrides: Mapping[str, str | None] | None = None,
    config_file: Path | None = None,
    **arguments: object,
) -> int:
    """Run a command of the server in this process, with its settings.

    Args:
        name: Of the entry point.
        overrides: What the command line says of the settings, by name without ``CERTCTL_``; None
            says nothing. ``--data-dir`` is added.
        config_file: The TOML file with settings.
        arguments: The command's own.

    Returns:
        Its exit code.

    Raises:
        PartMissing: A library that it loads when it runs is missing.
    """
    said = {key: value for key, value in (overrides or {}).items() if value is not None}
    directory = state().given.get("data_dir")
    if directory is not None:
        said["DATA_DIR"] = str(directory)
    try:
        result = load_part(name)(said, config_file=config_file, environ=os.environ, **arguments)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("certctl"):
            raise
        raise PartMissing(what=f"the package {error.name}") from error
    return result if isinstance(result, int) else 0
