"""The form of a plugin's configuration, made from its JSON Schema."""

from __future__ import annotations

import re
import shlex
from typing import Any

from werkzeug.datastructures import MultiDict

from certctl_flask.views.base import Values, lines

_TYPES = {"boolean": "bool", "integer": "number", "number": "number", "array": "list"}
_EXTRA = "x-certctl"
_ISO = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")


def fields_of(schema: Values | None) -> list[Values]:
    """One entry a setting, by group and in the order that the plugin wants.

    Members of a nested object are settings of their own, named ``outer.inner``.

    Args:
        schema: JSON Schema of an object, as the catalogue of kinds gives it.
    """
    if not schema:
        return []
    found = list(_members(schema, schema))
    first: dict[str, int] = {}
    for field in found:
        first[field["group"]] = min(first.get(field["group"], field["order"]), field["order"])
    return sorted(found, key=lambda field: (first[field["group"]], field["order"]))


def config_of(schema: Values | None, form: MultiDict[str, str]) -> dict[str, object]:
    """What was entered, as the API wants it.

    What is empty or stands at its default is left out, so that a default stays a default.
    """
    config: dict[str, object] = {}
    for field in fields_of(schema):
        text = form.get(f"config[{field['name']}]", "").strip()
        if field["type"] == "bool":
            value: object = bool(text)
            if value == bool(field["default"]):
                continue
        elif not text or text == field["default"]:
            continue
        else:
            value = _value(field["type"], text)
        outer, _, inner = field["name"].partition(".")
        if inner:
            nested = config.setdefault(outer, {})
            assert isinstance(nested, dict)  # noqa: S101 - only made here
            nested[inner] = value
        else:
            config[outer] = value
    return config


def initial(fields: list[Values]) -> Values:
    """The form before anything was entered: the defaults of the kind."""
    return {f"config[{field['name']}]": field["default"] for field in fields}


def field_name(path: str) -> str:
    """The form's field for a place in the configuration: ``verify.attempts``, ``hosts.0``."""
    parts = [part for part in path.split(".") if not part.isdigit()]
    return f"config[{'.'.join(parts[:2])}]"


def _members(holder: Values, schema: Values, outer: str = "", extra: Values | None = None) -> Any:
    required = set(holder.get("required", ()))
    for name, raw in holder.get("properties", {}).items():
        member = _flat(raw, schema)
        if member.get("properties") and not outer:
            yield from _members(member, schema, name, {**member, **member.get(_EXTRA, {})})
        else:
            yield _field(f"{outer}.{name}" if outer else name, member, extra, name in required)


def _value(kind: str, text: str) -> object:
    if kind == "list":
        return lines(text)
    if kind == "number" and text.lstrip("-").isdigit():
        return int(text)
    return text


def _flat(member: Values, schema: Values) -> Values:
    """A property without references and without its null alternative."""
    found = dict(member)
    options = [option for option in found.pop("anyOf", ()) if option.get("type") != "null"]
    if options:
        found = {**options[0], **found}
        found["is_words"] = {option.get("type") for option in options} == {"string", "array"}
    reference = found.pop("$ref", "")
    if reference:
        target: Any = schema
        for step in reference.removeprefix("#/").split("/"):
            target = target.get(step, {})
        found = {**target, **found}
    return found


def _field(name: str, member: Values, outer: Values | None, is_required: bool) -> Values:  # noqa: FBT001 - a row of the table above
    extra = member.get(_EXTRA, {})
    choices = member.get("enum")
    if member.get("writeOnly") or member.get("format") == "password" or extra.get("secret"):
        kind = "secret"
    elif choices:
        kind = "choice"
    elif member.get("format") == "certctl-duration":
        kind = "text"
    else:
        kind = _TYPES.get(str(member.get("type")), "text")
    last = name.rpartition(".")[2]
    return {
        "name": name,
        "title": member.get("title") or last.replace("_", " ").capitalize(),
        "help": member.get("description", ""),
        "type": kind,
        "required": is_required and outer is None,
        "choices": [(choice, str(choice)) for choice in choices or ()],
        "placeholder": next(iter(member.get("examples", ())), ""),
        "group": (outer or {}).get("title") or extra.get("group", ""),
        "order": (outer or {}).get("order", extra.get("order", 0)),
        "advanced": not is_required and bool(extra.get("advanced") or outer),
        "default": _default(member, kind),
    }


def _default(member: Values, kind: str) -> Any:
    """The default as the form shows it."""
    default = member.get("default")
    if isinstance(default, list):
        return "\n".join(default) if kind == "list" else shlex.join(default)
    if member.get("format") == "certctl-duration" and isinstance(default, str):
        found = _ISO.fullmatch(default)
        if found and any(found.groups()):
            return "".join(
                f"{n}{unit}" for n, unit in zip(found.groups(), "dhms", strict=True) if n
            )
    if kind == "number" and default is not None:
        return str(default)
    return default
