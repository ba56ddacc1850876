"""How a configuration is stored, shown, changed and loaded (spec 06 SEC-1, CFG-4, CFG-5, §3.2).

Stored apart: the plain JSON (queryable, with ``********`` where a secret goes and references as they
are) and the secrets by field path, each sealed in its own envelope by whoever owns the row. A path
joins names with dots; a name that holds ``.`` or ``%`` is percent-encoded.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from certctl_core.contracts.options.errors import ConfigInvalid, SecretNeedsReentry
from certctl_core.contracts.options.fields import Host, PemBundle, Url
from certctl_core.contracts.options.model import ConfigModel, PluginConfig, metadata, nested_models
from certctl_core.contracts.options.references import (
    Reference,
    is_reference,
    parse_reference,
)
from certctl_core.kernel.errors import FieldError
from certctl_core.kernel.events import JSON, to_json
from certctl_core.kernel.json_merge import merged
from certctl_core.kernel.secrets import MASK, Redactor, Secret
from certctl_core.values import dataclass

VERSION_KEY = "schema_version"
_MISSING = object()

Path = tuple[str | int, ...]
Config = TypeVar("Config", bound=PluginConfig)


def validate_config(model: type[Config], raw: Mapping[str, object]) -> Config:
    """Validate a configuration given by a person or read from the store.

    References in secret and PEM fields are checked for form, not resolved.

    Raises:
        ConfigInvalid: One ``FieldError`` per problem; no message repeats a value.
    """
    try:
        config = model.model_validate(raw)
    except ValidationError as error:
        fields = [
            FieldError(field=_shown_path(problem["loc"]), message=_message(problem, raw))
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise ConfigInvalid(fields=fields) from None
    bad = [
        FieldError(field=path_name(path), message="is not of the form secretref:<kind>:<path>")
        for path, value in _leaves(config)
        if isinstance(value, Secret)
        and is_reference(value.reveal())
        and not _is_well_formed(value.reveal())
    ]
    masked = [
        FieldError(field=path_name(path), message="there is no stored secret to keep")
        for path, value in _leaves(config)
        if isinstance(value, Secret) and value.reveal() == MASK
    ]
    if bad or masked:
        raise ConfigInvalid(fields=[*bad, *masked])
    return config


def split_secrets(config: PluginConfig) -> tuple[dict[str, JSON], dict[str, str]]:
    """Take a configuration apart for storage.

    Returns:
        The plain JSON with ``schema_version``, and the literal secrets by field path.
    """
    plain: dict[str, JSON] = config.model_dump(mode="json")
    secrets: dict[str, str] = {}
    for path, value in _leaves(config):
        if isinstance(value, Secret):
            text = value.reveal()
            if is_reference(text):
                _put(plain, path, text)
            else:
                secrets[path_name(path)] = text
    plain[VERSION_KEY] = type(config).schema_version
    return plain, secrets


def join_secrets(plain: Mapping[str, JSON], secrets: Mapping[str, str]) -> dict[str, JSON]:
    """Put stored secrets back into their places; the result is raw input again.

    A secret whose place is gone is left out. ``schema_version`` stays.
    """
    raw = copy.deepcopy(dict(plain))
    for name, text in secrets.items():
        path = parse_path(name)
        if _get(raw, path) is not _MISSING:
            _put(raw, path, text)
    return raw


def load_config(
    model: type[Config], plain: Mapping[str, JSON], secrets: Mapping[str, str]
) -> Config:
    """Make the configuration from what is stored, upgrading an older form.

    Raises:
        ConfigInvalid: It does not validate, is from a newer version, or cannot be upgraded.
    """
    raw = join_secrets(plain, secrets)
    version = raw.pop(VERSION_KEY, 1)
    if not isinstance(version, int) or version > model.schema_version:
        problem = "was stored by a newer version of the plugin"
        raise ConfigInvalid(fields=[FieldError(field=VERSION_KEY, message=problem)])
    if version < model.schema_version:
        try:
            raw = model.upgrade(raw, version)
        except (ValueError, KeyError, TypeError) as error:
            message = Redactor(secrets.values()).text(f"cannot be upgraded: {error}")
            raise ConfigInvalid(fields=[FieldError(field=VERSION_KEY, message=message)]) from None
    return validate_config(model, raw)


def resolve_references(config: Config, lookup: Callable[[Reference], str]) -> Config:
    """Replace references in secret and PEM fields by what they name.

    Args:
        config: A validated configuration.
        lookup: Gives the text that a reference names; its errors pass through.

    Raises:
        ConfigInvalid: A resolved value does not validate.
    """
    found: list[tuple[Path, str]] = []
    for path, value in _leaves(config):
        text = value.reveal() if isinstance(value, Secret) else value
        if isinstance(value, Secret | PemBundle) and is_reference(str(text)):
            found.append((path, lookup(parse_reference(str(text)))))
    if not found:
        return config
    plain, secrets = split_secrets(config)
    raw = join_secrets(plain, secrets)
    raw.pop(VERSION_KEY)
    for path, text in found:
        _put(raw, path, text)
    return validate_config(type(config), raw)


def public_config(
    model: type[PluginConfig],
    plain: Mapping[str, JSON],
    *,
    updated_at: Mapping[str, datetime] | None = None,
) -> dict[str, JSON]:
    """The stored configuration as an API shows it: a secret is ``{"set": true, …}``.

    Args:
        model: The configuration model.
        plain: The stored plain JSON; read only.
        updated_at: When each secret was last set, by field path.

    Returns:
        JSON without ``schema_version``; a set secret has ``updated_at`` where known, one that is a
        reference has ``ref``; a secret that is not set is null.
    """
    times = updated_at or {}
    shown = copy.deepcopy(dict(plain))
    shown.pop(VERSION_KEY, None)
    for path, value in list(_plain_leaves(shown)):
        is_secret = value == MASK or (
            isinstance(value, str) and is_reference(value) and is_secret_path(model, path)
        )
        if is_secret:
            entry: dict[str, JSON] = {"set": True}
            if (at := times.get(path_name(path))) is not None:
                entry["updated_at"] = to_json(at)
            if value != MASK:
                entry["ref"] = value
            _put(shown, path, entry)
    return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A changed configuration before validation.

    Attributes:
        raw: Input for ``validate_config``, secrets in place. Never log it.
        kept: Field paths of stored literal secrets that were kept.
    """

    raw: dict[str, JSON]
    kept: frozenset[str]


def merge_config(
    model: type[PluginConfig],
    plain: Mapping[str, JSON],
    secrets: Mapping[str, str],
    changes: Mapping[str, JSON],
    *,
    replace: bool,
) -> Merged:
    """Apply a change to a stored configuration (spec 06 §3.2).

    ``********`` and the shown form ``{"set": true}`` keep a stored secret, nested ones too; null
    clears; anything else replaces.

    Args:
        model: The configuration model.
        plain: Stored plain JSON.
        secrets: Stored literal secrets by field path.
        changes: A merge patch (RFC 7396), or the whole new configuration.
        replace: True for the whole (PUT): plain fields left out return to their defaults, omitted
            secrets are kept. False for the patch.

    Raises:
        ConfigInvalid: A secret is to be kept where none is stored.
    """
    stored = join_secrets(plain, secrets)
    stored.pop(VERSION_KEY, None)
    given = copy.deepcopy(dict(changes))
    problems: list[FieldError] = []
    for path, value in list(_keep_marks(given)):
        known = _get(stored, path)
        if known is _MISSING or known is None or not is_secret_path(model, path):
            message = "there is no stored secret to keep"
            if value == MASK and not is_secret_path(model, path):
                continue  # Eight stars are a legal text in a plain field.
            problems.append(FieldError(field=path_name(path), message=message))
        else:
            _put(given, path, cast("JSON", known))
    if problems:
        raise ConfigInvalid(fields=problems)
    if replace:
        raw = given
        for name in secret_fields(model):
            path = parse_path(name)
            known = _get(stored, path)
            parent = _get(raw, path[:-1])
            absent = isinstance(parent, dict) and path[-1] not in parent
            if absent and isinstance(known, str):
                _put(raw, path, known)
    else:
        raw = cast("dict[str, JSON]", merged(stored, given))
    kept = {name for name, text in secrets.items() if _get(raw, parse_path(name)) == text}
    return Merged(raw=raw, kept=frozenset(kept))


def check_reentry(old: PluginConfig, new: PluginConfig, kept: frozenset[str]) -> None:
    """Refuse to send a stored secret to a host other than the one it was saved with.

    Raises:
        SecretNeedsReentry: A URL or host field changed its destination while literal secrets
            were kept; ``fields`` names them.
    """
    if kept and destinations(new) - destinations(old):
        fields = [
            FieldError(field=name, message="enter it again: the host has changed")
            for name in sorted(kept)
        ]
        raise SecretNeedsReentry(fields=fields)


def destinations(config: PluginConfig) -> frozenset[str]:
    """The ``host:port`` of each URL field and the host of each host field."""
    result: set[str] = set()
    for _, value in _leaves(config):
        if isinstance(value, Url):
            result.add(f"{value.host}:{value.port}")
        elif isinstance(value, Host):
            result.add(value)
    return frozenset(result)


def secret_values(config: PluginConfig) -> tuple[Secret, ...]:
    """All secrets of a configuration, for a redactor."""
    return tuple(value for _, value in _leaves(config) if isinstance(value, Secret))


def secret_fields(model: type[ConfigModel]) -> tuple[str, ...]:
    """The paths of single secret fields, nested ones too; maps and lists of secrets are not in it."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        mark = metadata(field).get("secret")
        if mark == "value":
            names.append(name)
        for nested in nested_models(field.annotation):
            names.extend(f"{name}.{inner}" for inner in secret_fields(nested))
    return tuple(names)


def is_secret_path(model: type[ConfigModel], path: Path) -> bool:
    """Whether a path names a secret, or an item of a map or list of secrets."""
    head, *rest = path
    field = model.model_fields.get(str(head))
    if field is None:
        return False
    if metadata(field).get("secret") == "value":
        return True
    nested = tuple(nested_models(field.annotation))
    return bool(rest) and any(is_secret_path(inner, tuple(rest)) for inner in nested)


def path_name(path: Path) -> str:
    """Write a path as text: names joined by dots."""
    return ".".join(str(part).replace("%", "%25").replace(".", "%2E") for part in path)


def parse_path(name: str) -> Path:
    """Read a path written by ``path_name``; numbers become list positions where a list is."""
    return tuple(part.replace("%2E", ".").replace("%25", "%") for part in name.split("."))


def _is_well_formed(text: str) -> bool:
    try:
        parse_reference(text)
    except ValueError:
        return False
    return True


def _shown_path(loc: tuple[int | str, ...]) -> str:
    return path_name(loc) or "config"


def _message(problem: Any, raw: Mapping[str, object]) -> str:
    text = str(problem["msg"]).removeprefix("Value error, ")
    values = [value for _, value in _plain_leaves(cast("JSON", raw)) if isinstance(value, str)]
    # A validator of a plugin may quote what it was given; whatever was given may be secret.
    return Redactor(value for value in values if len(value) > 7).text(text)  # noqa: PLR2004


def _leaves(config: ConfigModel) -> Iterator[tuple[Path, object]]:
    for name in type(config).model_fields:
        yield from _leaves_of(getattr(config, name), (name,))


def _leaves_of(value: object, path: Path) -> Iterator[tuple[Path, object]]:
    if isinstance(value, ConfigModel):
        for name in type(value).model_fields:
            yield from _leaves_of(getattr(value, name), (*path, name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves_of(item, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves_of(item, (*path, index))
    else:
        yield path, value


def _plain_leaves(value: JSON, path: Path = ()) -> Iterator[tuple[Path, JSON]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _plain_leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _plain_leaves(item, (*path, index))
    else:
        yield path, value


def _keep_marks(value: JSON, path: Path = ()) -> Iterator[tuple[Path, JSON]]:
    if isinstance(value, dict):
        if value.get("set") is True and set(value) <= {"set", "updated_at", "ref"}:
            yield path, value
            return
        for key, item in value.items():
            yield from _keep_marks(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _keep_marks(item, (*path, index))
    elif value == MASK:
        yield path, value


def _get(value: object, path: Path) -> object:
    for part in path:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and str(part).isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return _MISSING
    return value


def _put(value: dict[str, JSON], path: Path, new: JSON) -> None:
    parent = _get(value, path[:-1])
    if isinstance(parent, dict):
        parent[str(path[-1])] = new
    elif isinstance(parent, list):
        parent[int(path[-1])] = new
