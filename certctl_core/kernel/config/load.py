"""Where settings come from, and which source wins (spec 08 CFG-2, CFG-3, CFG-5).

Command line, then environment, then ``<NAME>_FILE``, then the TOML file, then the default. Nothing
here looks at the process: the environment is an argument.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from certctl_core.kernel.config import values
from certctl_core.kernel.config.errors import Problem
from certctl_core.kernel.config.fields import PREFIX
from certctl_core.kernel.config.index import specs
from certctl_core.kernel.config.names import (
    CLIENT_NAMES,
    DROPPED,
    RENAMED,
    SECRET_REFERENCE_PREFIX,
)
from certctl_core.kernel.config.settings import RawValue, Settings
from certctl_core.kernel.config.tree import DEFAULT_DATA_DIR

DEFAULT_CONFIG_FILE = Path("/etc/certctl/certctl.toml")
"""What ``--config`` means when it is not given; need not exist then."""

LISTEN = "LISTEN"
"""A name for the command line only: ``host:port``, which sets SERVER_HOST and SERVER_PORT."""

MAX_FILE_BYTES = 1024 * 1024
"""No setting and no configuration file is larger; a wrong path may lead to something endless."""

_COMMAND_LINE = "command line"
_ENVIRONMENT = "environment"
_FILE = "_FILE"
_SIMILAR = 0.75
_NO_OVERRIDES: Mapping[str, str] = MappingProxyType({})


@dataclass(slots=True, kw_only=True)
class _Gathered:
    """What was found so far."""

    raw: dict[str, RawValue] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unknown: list[Problem] = field(default_factory=list)

    def problem(self, setting: str, message: str, *, hint: str = "", source: str = "") -> None:
        self.problems.append(Problem(setting=setting, message=message, hint=hint, source=source))


def load_settings(
    *,
    argv_overrides: Mapping[str, str] = _NO_OVERRIDES,
    environ: Mapping[str, str],
    config_file: Path | None = None,
) -> Settings:
    """Read all settings and check them.

    Args:
        argv_overrides: What the command line gave, by name without ``CERTCTL_``
            (``SERVER_PORT``), and ``LISTEN`` for ``--listen``. Relative paths are taken from the
            working directory.
        environ: The environment; names without ``CERTCTL_`` are ignored except for
            ``XDG_DATA_HOME`` and ``HOME``, which the default data directory depends on.
        config_file: The TOML file, which must exist; None for no file.

    Raises:
        ConfigError: Something cannot be used; ``problems`` holds everything that is wrong.
    """
    gathered = _Gathered()
    # From the weakest source to the strongest: each overwrites the one before.
    if config_file is not None:
        _from_file(gathered, config_file)
    _from_environment(gathered, environ)
    _from_command_line(gathered, argv_overrides)
    _settle_unknown(gathered)
    if "DATA_DIR" not in gathered.raw:
        directory = default_data_dir(environ)
        if directory != DEFAULT_DATA_DIR:
            gathered.raw["DATA_DIR"] = RawValue(value=directory, source="default")
    return Settings.from_values(
        gathered.raw, problems=gathered.problems, warnings=gathered.warnings
    )


def secret_names(environ: Mapping[str, str]) -> frozenset[str]:
    """The variables that hold a secret and must not reach a child process (spec 08 CFG-10)."""
    known = specs()
    return frozenset(
        name
        for name in environ
        if name.startswith(PREFIX)
        and (
            (short := name.removeprefix(PREFIX)).startswith(SECRET_REFERENCE_PREFIX)
            or short in {"API_KEY", "AGENT_ENROLLMENT_TOKEN"}
            or (short in known and known[short].is_secret)
        )
    )


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """``/var/lib/certctl``, or the user's own data directory where that one is out of reach.

    A service account (no home directory of its own) always gets the first: its files must not end
    up in a surprising place.
    """
    if _is_writable(DEFAULT_DATA_DIR):
        return DEFAULT_DATA_DIR
    xdg = environ.get("XDG_DATA_HOME", "")
    home = Path(environ.get("HOME", ""))
    if xdg.startswith("/"):
        return Path(xdg) / "certctl"
    if home.is_absolute() and home != Path("/") and _is_writable(home):
        return home / ".local" / "share" / "certctl"
    return DEFAULT_DATA_DIR


def _is_writable(path: Path) -> bool:
    existing = next((place for place in (path, *path.parents) if place.exists()), path)
    return os.access(existing, os.W_OK | os.X_OK)


def _from_command_line(gathered: _Gathered, overrides: Mapping[str, str]) -> None:
    for name, text in overrides.items():
        if name == LISTEN:
            _listen(gathered, text)
            continue
        spec = specs().get(name)
        if spec is None:
            _unknown(gathered, name, _COMMAND_LINE)
            continue
        value: object = text
        if spec.type_text == "path" and text:
            value = Path(text).absolute()
        gathered.raw[name] = RawValue(value=value, source=_COMMAND_LINE)


def _listen(gathered: _Gathered, text: str) -> None:
    try:
        listen = values.read_host_port(text)
    except ValueError as error:
        gathered.problems.append(
            Problem(setting="--listen", message=str(error), found=text, source=_COMMAND_LINE)
        )
        return
    gathered.raw["SERVER_HOST"] = RawValue(value=listen.host, source=_COMMAND_LINE)
    gathered.raw["SERVER_PORT"] = RawValue(value=listen.port, source=_COMMAND_LINE)


def _from_environment(gathered: _Gathered, environ: Mapping[str, str]) -> None:
    direct: dict[str, str] = {}
    files: dict[str, str] = {}
    for full_name in sorted(environ):
        name = full_name.removeprefix(PREFIX)
        if name == full_name or name in CLIENT_NAMES or name.startswith(SECRET_REFERENCE_PREFIX):
            continue
        text = environ[full_name]
        if name in specs():
            # Compose files pass empty variables on: for what may be unset they mean unset.
            if text or not specs()[name].is_optional:
                direct[name] = text
        elif name.endswith(_FILE) and name.removesuffix(_FILE) in specs():
            if text:
                files[name.removesuffix(_FILE)] = text
        else:
            _other_name(gathered, name, environ, direct)
    for name, path in files.items():
        if name in direct:
            message = f"is set together with {PREFIX}{name}{_FILE}"
            gathered.problem(PREFIX + name, message, hint="Set one of them.")
        else:
            _from_secret_file(gathered, name, Path(path))
    for name, text in direct.items():
        gathered.raw[name] = RawValue(value=text, source=_ENVIRONMENT)


def _other_name(
    gathered: _Gathered, name: str, environ: Mapping[str, str], direct: dict[str, str]
) -> None:
    if name in DROPPED:
        gathered.problem(PREFIX + name, "is not used any more", hint=DROPPED[name])
        return
    renamed = RENAMED.get(name)
    if renamed is None:
        _unknown(gathered, name, _ENVIRONMENT)
    elif {PREFIX + renamed.to, PREFIX + renamed.to + _FILE} & environ.keys():
        gathered.problem(
            PREFIX + name,
            f"is the old name of {PREFIX}{renamed.to}, which is set, too",
            hint="Remove the old one.",
        )
    else:
        direct[renamed.to] = renamed.convert(environ[PREFIX + name])
        gathered.warnings.append(f"{PREFIX}{name} is now called {PREFIX}{renamed.to}")


def _from_secret_file(gathered: _Gathered, name: str, path: Path) -> None:
    setting = f"{PREFIX}{name}{_FILE}"
    text = _read(gathered, setting, path)
    if text is not None:
        trimmed = text.removesuffix("\n").removesuffix("\r")
        gathered.raw[name] = RawValue(value=trimmed, source=f"file {path}")


def _from_file(gathered: _Gathered, path: Path) -> None:
    text = _read(gathered, str(path), path)
    if text is None:
        return
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        gathered.problem(str(path), f"is not TOML: {error}")
        return
    for key, value in table.items():
        name = key.upper()
        if isinstance(value, dict):
            gathered.problem(
                str(path),
                f"has a table [{key}]",
                hint="Keys are flat: the name of the setting in lower case without certctl_.",
            )
        elif key != key.lower() or name not in specs():
            _unknown(gathered, name, str(path), key=key)
        else:
            gathered.raw[name] = RawValue(value=value, source=str(path))


def _read(gathered: _Gathered, setting: str, path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            gathered.problem(setting, "names a file that is too large", source=str(path))
            return None
        return data.decode()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        gathered.problem(setting, f"cannot be read: {reason}", source=str(path))
    except UnicodeDecodeError:
        gathered.problem(setting, "names a file that is not UTF-8 text", source=str(path))
    return None


def _unknown(gathered: _Gathered, name: str, source: str, *, key: str | None = None) -> None:
    candidates = [*specs(), *CLIENT_NAMES, *(f"{item}{_FILE}" for item in specs())]
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=_SIMILAR)
    shown = f"{source}: {key}" if key is not None else PREFIX + name
    similar = (
        close[0].lower() if close and key is not None else (PREFIX + close[0] if close else "")
    )
    gathered.unknown.append(
        Problem(
            setting=shown,
            message="is no setting",
            hint=f"Did you mean {similar}?" if similar else "",
            source=source,
        )
    )


def _settle_unknown(gathered: _Gathered) -> None:
    if not gathered.unknown:
        return
    allow = gathered.raw.get("CONFIG_ALLOW_UNKNOWN")
    try:
        allowed = allow is not None and values.read_bool(allow.value)
    except ValueError:
        allowed = False  # reported by the field itself
    if allowed:
        gathered.warnings += [f"{item.setting} is no setting" for item in gathered.unknown]
    else:
        gathered.problems += gathered.unknown
