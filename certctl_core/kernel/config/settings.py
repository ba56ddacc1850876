"""The settings of one process: the tree, checked, with the source of each value."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from pydantic import PrivateAttr, ValidationError, ValidationInfo, model_validator

from certctl_core.kernel.config import guards
from certctl_core.kernel.config.database import DatabaseSettings
from certctl_core.kernel.config.errors import ConfigError, Problem, UnknownSetting
from certctl_core.kernel.config.fields import PREFIX, Section
from certctl_core.kernel.config.index import SettingSpec, spec_at, specs
from certctl_core.kernel.config.tree import DEFAULT_DATA_DIR, SettingsTree
from certctl_core.kernel.config.values import read_path
from certctl_core.kernel.secrets import MASK, Secret
from certctl_core.values import dataclass

DEFAULT = "default"
GIVEN = "program"
_MAX_WORKERS = 4
_LEAST_THREADS, _MOST_THREADS, _ALL_THREADS = 8, 16, 32
_MAX_FOUND_CHARS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class RawValue:
    """A value before it is read: text, or what TOML or a program gave; and where it came from."""

    value: object
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSetting:
    """One line of a dump: ``value`` is text, with secrets masked; empty when unset."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All about one setting: what it is, its value (masked) and where that came from."""

    spec: SettingSpec
    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A setting that differs between two loads; ``live`` says whether a reload takes it."""

    name: str
    live: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Load:
    """What a load tells the validators: sources, warnings, and the names that are broken."""

    sources: Mapping[str, str] | None = None
    warnings: tuple[str, ...] = ()
    broken: frozenset[str] = frozenset()


class Settings(SettingsTree):
    """Every setting of one process. Frozen. Made by ``load_settings`` or ``for_directory``.

    ``settings.<area>.<field>`` holds the values; ``certctl_core.kernel.config.specs()`` lists them.

    Raises:
        ConfigError: A rule over several settings is broken; holds all such problems.
    """

    _sources: Mapping[str, str] | None = PrivateAttr(default=None)
    _warnings: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="before")
    @classmethod
    def _derive_defaults(cls, data: Any) -> Any:
        return _with_derived(data) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _check_rules(self, info: ValidationInfo) -> Self:
        load = info.context if isinstance(info.context, _Load) else _Load()
        problems = guards.check(self, broken=load.broken)
        if problems:
            raise ConfigError(problems)
        self._sources = load.sources
        self._warnings = (*load.warnings, *guards.warnings(self))
        return self

    @classmethod
    def for_directory(cls, path: Path | str, **values: object) -> Settings:
        """Settings for embedding: the defaults, with SQLite and all files inside one directory.

        Args:
            path: The data directory; made absolute. It need not exist.
            values: Further settings by their name in lower case (``server_port=9443``), as text
                or of the right type.

        Raises:
            ConfigError: A value cannot be used; holds all problems.
        """
        given = {
            name.upper(): RawValue(value=value, source=GIVEN) for name, value in values.items()
        }
        unknown = [
            Problem(setting=PREFIX + name, message="is no setting")
            for name in given.keys() - specs()
        ]
        if unknown:
            raise ConfigError(unknown)
        directory = RawValue(value=Path(path).absolute(), source=GIVEN)
        return cls.from_values({**given, "DATA_DIR": directory})

    @classmethod
    def from_values(
        cls,
        values: Mapping[str, RawValue],
        *,
        problems: Sequence[Problem] = (),
        warnings: Sequence[str] = (),
    ) -> Settings:
        """Read and check values by name (without ``CERTCTL_``; all must be known).

        Args:
            values: What was given; the rest takes its default.
            problems: What was wrong already; reported together with what is found here.
            warnings: What the start should log.

        Raises:
            ConfigError: There is at least one problem; holds all of them.
        """
        found = list(problems)
        load = _Load(
            sources=MappingProxyType({name: raw.source for name, raw in values.items()}),
            warnings=tuple(warnings),
        )
        settings: Settings | None = None
        try:
            try:
                settings = cls.model_validate(_nested(values), context=load)
            except ValidationError as error:
                bad = _problems_of(error, values)
                found += bad.values()
                # The rules still speak about the values that could be read.
                rest = {name: raw for name, raw in values.items() if name not in bad}
                cls.model_validate(_nested(rest), context=_Load(broken=frozenset(bad)))
        except ConfigError as error:
            found += [_with_source(problem, values) for problem in error.problems]
        if found or settings is None:
            order = {PREFIX + name: index for index, name in enumerate(specs())}
            raise ConfigError(sorted(found, key=lambda item: order.get(item.setting, -1)))
        return settings

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the start should log at WARN: old names, unknown names that were allowed."""
        return self._warnings

    def source_of(self, name: str) -> str:
        """Where the value came from: "command line", "environment", a file, or "default".

        Raises:
            UnknownSetting: Nothing is called that.
        """
        spec = spec_of(name)
        if self._sources is not None:
            return self._sources.get(spec.name, DEFAULT)
        return DEFAULT if spec.value_in(self) == spec.default else GIVEN

    def explain(self, name: str) -> Explanation:
        """All about one setting, by its name with or without ``CERTCTL_``, in any case.

        Raises:
            UnknownSetting: Nothing is called that.
        """
        spec = spec_of(name)
        return Explanation(
            spec=spec, value=spec.show(spec.value_in(self)), source=self.source_of(spec.name)
        )

    def dump(self) -> tuple[ShownSetting, ...]:
        """Every setting with its value (secrets masked) and its source."""
        return tuple(
            ShownSetting(
                name=spec.env_name,
                value=spec.show(spec.value_in(self)),
                source=self.source_of(spec.name),
            )
            for spec in specs().values()
        )

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the redacted dump: equal values give equal fingerprints."""
        values = [[line.name, line.value] for line in self.dump()]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()

    def changes(self, newer: Settings) -> tuple[Change, ...]:
        """What differs in ``newer``, in order of the settings."""
        return tuple(
            Change(name=spec.env_name, live=spec.live)
            for spec in specs().values()
            if spec.value_in(self) != spec.value_in(newer)
        )


def spec_of(name: str) -> SettingSpec:
    """The setting of that name, with or without ``CERTCTL_``, in any case.

    Raises:
        UnknownSetting: Nothing is called that.
    """
    spec = specs().get(name.upper().removeprefix(PREFIX))
    if spec is None:
        raise UnknownSetting(name=name)
    return spec


def _with_derived(data: dict[str, Any]) -> dict[str, Any]:
    """Fill in the defaults that depend on other settings."""
    try:
        data_dir = read_path(data.get("data_dir", DEFAULT_DATA_DIR))
    except ValueError:
        return data  # reported by the field itself
    result = dict(data)
    url = Secret(f"sqlite:///{data_dir}/certctl.db")
    result["database"] = _filled(data.get("database"), "url", url)
    result["ocsp"] = _filled(
        data.get("ocsp"), "responder_key_dir", data_dir / "ocsp-responder-keys"
    )
    workers = 1 if _is_sqlite(result["database"]) else min(_MAX_WORKERS, _cpus())
    server = _filled(data.get("server"), "workers", workers)
    result["server"] = _filled(server, "http_threads", _threads(server, result["database"]))
    return result


def _threads(server: Any, database: Any) -> int:
    """More threads share a commit among more requests; all of them must find a connection."""
    try:
        workers = int(_value(server, "workers"))
        connections = int(_value(database, "max_conns"))
    except (TypeError, ValueError):
        return _LEAST_THREADS  # reported by the fields themselves
    most = min(_ALL_THREADS, connections - guards.SPARE_CONNECTIONS) // max(1, workers)
    return max(_LEAST_THREADS, min(_MOST_THREADS, most))


def _value(section: Any, field: str) -> Any:
    if isinstance(section, Section):
        return getattr(section, field)
    default = DatabaseSettings.model_fields["max_conns"].default
    return section.get(field, default) if isinstance(section, dict) else default


def _filled(section: Any, field: str, value: object) -> Any:
    if section is None:
        return {field: value}
    if isinstance(section, Section):
        if field in section.model_fields_set:
            return section
        return section.model_copy(update={field: value})
    return {field: value, **section} if isinstance(section, dict) else section


def _is_sqlite(database: Any) -> bool:
    if isinstance(database, DatabaseSettings):
        return database.is_sqlite
    url = database.get("url") if isinstance(database, dict) else None
    text = url.reveal() if isinstance(url, Secret) else str(url)
    return text.strip().startswith("sqlite:")


def _cpus() -> int:
    # Inside a container the affinity mask is what we may use; macOS and Windows have none.
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _nested(values: Mapping[str, RawValue]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, raw in values.items():
        spec = specs()[name]
        place = nested.setdefault(spec.area, {}) if spec.area else nested
        place[spec.field] = raw.value
    return nested


def _problems_of(error: ValidationError, values: Mapping[str, RawValue]) -> dict[str, Problem]:
    found: dict[str, Problem] = {}
    for item in error.errors(include_input=False, include_url=False):
        loc = [str(part) for part in item["loc"]]
        spec = spec_at("", loc[0]) or spec_at(loc[0], loc[1])
        if spec is None:  # pragma: no cover - the names are those of the index
            raise error
        raw = values.get(spec.name, RawValue(value="", source=DEFAULT))
        found[spec.name] = Problem(
            setting=spec.env_name,
            message=_message(item, spec),
            found="" if spec.is_secret else _found(raw.value),
            hint=f"Example: {spec.example}" if spec.example else "",
            source=raw.source,
        )
    return found


def _message(item: Mapping[str, Any], spec: SettingSpec) -> str:
    context = item.get("ctx", {})
    if isinstance(context.get("error"), ValueError):
        return str(context["error"])
    if "ge" in context or "le" in context:
        return f"is out of bounds: {spec.bounds}"
    return f"is not usable as {spec.type_text}"


def _found(value: object) -> str:
    if value is None or isinstance(value, Secret):
        return MASK if value is not None else ""
    text = str(value)
    return text if len(text) <= _MAX_FOUND_CHARS else f"{text[:_MAX_FOUND_CHARS]}…"


def _with_source(problem: Problem, values: Mapping[str, RawValue]) -> Problem:
    raw = values.get(problem.setting.removeprefix(PREFIX))
    if raw is None:
        return problem
    return Problem(
        setting=problem.setting,
        message=problem.message,
        found=problem.found,
        hint=problem.hint,
        source=raw.source,
    )
