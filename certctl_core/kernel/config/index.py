"""What is known about each setting: name, place in the tree, type, bounds, description."""

from __future__ import annotations

import types
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from annotated_types import Ge, Le

from certctl_core.kernel.config import values
from certctl_core.kernel.config.fields import PREFIX, Section
from certctl_core.kernel.config.security import KeyringText, NamedKey, NamedKeys, SingleKeyText
from certctl_core.kernel.config.tree import SettingsTree
from certctl_core.kernel.secrets import MASK, Secret
from certctl_core.values import dataclass

_TYPES: tuple[tuple[object, str], ...] = (
    (values.Text, "text"),
    (values.Flag, "true or false"),
    (values.Integer, "number"),
    (values.Duration, "duration"),
    (values.Size, "size"),
    (values.Host, "host"),
    (values.AbsolutePath, "path"),
    (values.KeyPlace, "path or pkcs11: URI"),
    (values.SignerKind, "kind of a signer"),
    (values.Listen, "host:port"),
    (values.HTTPSBase, "https URL"),
    (values.WebBase, "URL"),
    (values.ProxyURL, "URL"),
    (values.DatabaseURL, "database URL"),
    (values.Texts, "list"),
    (values.Hosts, "list of hosts"),
    (values.Networks, "list of CIDR blocks"),
    (values.Origins, "list of origins"),
    (values.Destinations, "list of destinations"),
    (values.CAPairs, "list of cert:key"),
    (values.Days, "list of days"),
    (NamedKeys, "list of name:key[:role]"),
    (KeyringText, "list of kid:key"),
    (SingleKeyText, "key"),
    (Secret, "text"),
)
_URLS = (values.ProxyURL, values.DatabaseURL)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingSpec:
    """One setting.

    Attributes:
        name: Without ``CERTCTL_``; capitals.
        area: The attribute of ``Settings`` that holds it; empty for the root.
        area_title: The heading of the area in the reference.
        field: The attribute inside the area.
        type_text: The type in words.
        default: The value when nothing is set.
        default_text: The default in words; empty when unset.
        bounds: "1 to 65535", or empty.
        description: For the operator.
        example: As one would write it; may be empty.
        live: Whether a reload takes a new value.
        is_secret: Whether the value must never be shown.
        is_optional: Whether an empty value means unset.
        is_url: A secret whose host may be shown.
        is_size: A number of bytes.
    """

    name: str
    area: str
    area_title: str
    field: str
    type_text: str
    default: object
    default_text: str
    bounds: str
    description: str
    example: str
    live: bool
    is_secret: bool
    is_optional: bool
    is_url: bool
    is_size: bool

    @property
    def env_name(self) -> str:
        """The name with ``CERTCTL_``."""
        return PREFIX + self.name

    @property
    def toml_key(self) -> str:
        """The key in the configuration file."""
        return self.name.lower()

    @property
    def attribute(self) -> str:
        """The path in the tree, ``server.port``."""
        return f"{self.area}.{self.field}" if self.area else self.field

    def value_in(self, tree: SettingsTree) -> object:
        """The value that the tree holds."""
        return getattr(getattr(tree, self.area) if self.area else tree, self.field)

    def show(self, value: object) -> str:
        """The value as one would write it; never a secret."""
        if self.is_url and isinstance(value, Secret):
            return _shown_url(value)
        if self.is_size and isinstance(value, int):
            return values.show_size(value)
        return _shown(value)


@cache
def specs() -> Mapping[str, SettingSpec]:
    """All settings by name without ``CERTCTL_``, in the order of the tree."""
    found: dict[str, SettingSpec] = {}
    for spec in (*_specs_of(SettingsTree, "", "General"), *_of_areas()):
        if spec.name in found:
            message = f"two settings are called {spec.name}"
            raise ValueError(message)
        found[spec.name] = spec
    return MappingProxyType(found)


@cache
def spec_at(area: str, field: str) -> SettingSpec | None:
    """The setting at a place in the tree (``area`` empty for the root), or None."""
    return next((s for s in specs().values() if s.area == area and s.field == field), None)


def _of_areas() -> list[SettingSpec]:
    return [
        spec
        for area, info in SettingsTree.model_fields.items()
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section)
        for spec in _specs_of(info.annotation, area, info.title or area)
    ]


def _specs_of(section: type[Section], area: str, area_title: str) -> list[SettingSpec]:
    hints = get_type_hints(section, include_extras=True)
    return [
        _spec(area, area_title, field, hints[field], info)
        for field, info in section.model_fields.items()
        if isinstance(info.json_schema_extra, dict)
    ]


def _spec(area: str, area_title: str, field: str, hint: Any, info: Any) -> SettingSpec:
    optional = get_origin(hint) in {Union, types.UnionType} and type(None) in get_args(hint)
    core = next(a for a in get_args(hint) if a is not type(None)) if optional else hint
    is_size = core == values.Size
    is_url = core in _URLS
    base = get_args(core)[0] if get_origin(core) is Annotated else core
    is_secret = base is Secret or core == NamedKeys
    show = values.show_size if is_size else _shown
    return SettingSpec(
        name=info.title,
        area=area,
        area_title=area_title,
        field=field,
        type_text=_type_text(core, base),
        default=info.default,
        default_text=info.json_schema_extra["derived"] or show(info.default),
        bounds=_bounds(info.metadata, show),
        description=info.description,
        example=info.examples[0] if info.examples else "",
        live=info.json_schema_extra["live"],
        is_secret=is_secret,
        is_optional=info.default is None or info.default == (),
        is_url=is_url,
        is_size=is_size,
    )


def _type_text(core: Any, base: Any) -> str:
    if isinstance(base, type) and issubclass(base, StrEnum):
        return ", ".join(item.value for item in base)
    return next(text for kind, text in _TYPES if kind == core)


def _bounds(metadata: list[Any], show: Any) -> str:
    low = next((item.ge for item in metadata if isinstance(item, Ge)), None)
    high = next((item.le for item in metadata if isinstance(item, Le)), None)
    if low is None or high is None:
        return ""
    return f"{show(low)} to {show(high)}"


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return values.show_duration(value)
    if isinstance(value, NamedKey):
        return f"{value.name}:{MASK}:{value.role}"
    if isinstance(value, tuple):
        return ",".join(_shown(item) for item in value)
    if isinstance(value, StrEnum):
        return value.value
    return str(value) if isinstance(value, Path | Secret) else f"{value}"


def _shown_url(url: Secret) -> str:
    """Scheme, host and path of a URL that may hold a password; user and query are left out."""
    text = url.reveal()
    if text.startswith("sqlite:"):
        return text
    parts = urlsplit(text)
    host = parts.netloc.rpartition("@")[2]
    user = f"{MASK}@" if "@" in parts.netloc else ""
    query = f"?{MASK}" if parts.query else ""
    return f"{parts.scheme}://{user}{host}{parts.path}{query}"
