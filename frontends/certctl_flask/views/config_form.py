"""The form of a plugin's configuration, made from its JSON Schema."""

from __future__ import annotations

import copy
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from werkzeug.datastructures import MultiDict

from certctl_flask.views.base import Values, lines

_TYPES = {
    "boolean": "bool",
    "integer": "number",
    "number": "number",
    "array": "list",
    "object": "json",
}
_EXTRA = "x-certctl"
_PEM = "application/x-pem-file"
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
        elif not text or (field["default"] and _is_same(field, text, field["default"])):
            continue
        else:
            value = _value(field, text)
        _put(config, field["name"], value)
    return config


def config_after(
    schema: Values | None, form: MultiDict[str, str], stored: Values
) -> dict[str, object]:
    """The whole configuration after an edit.

    What the form cannot show, what was left as it is, and secrets that were not entered again stay
    as they are stored; what was emptied returns to its default.

    Args:
        schema: As for ``fields_of``.
        form: What was sent; ``clear[NAME]`` takes a stored secret away.
        stored: The configuration as the API shows it.
    """
    whole: dict[str, object] = copy.deepcopy(stored)
    for field in fields_of(schema):
        name, key = field["name"], f"config[{field['name']}]"
        before, text = _shown(field, stored), form.get(key, "").strip()
        if field["is_secret"]:
            if text:
                _put(whole, name, _value(field, text))
            elif form.get(f"clear[{name}]"):
                _put(whole, name, None)
        elif field["type"] == "bool":
            if bool(text) != bool(before):
                _put(whole, name, bool(text))
        elif text and not _is_same(field, text, before):
            _put(whole, name, _value(field, text))
        elif key in form and before and not text:
            _take(whole, name)
    for part in _emptied(fields_of(schema), form, stored):
        whole[part] = None
    return whole


def stored_fields(schema: Values | None, stored: Values) -> list[Values]:
    """The fields of a stored configuration: a secret says whether it is set (``stored``)."""
    found = fields_of(schema)
    for field in found:
        value = _member(stored, field["name"])
        if field["is_secret"] and value:
            field["stored"] = value if isinstance(value, dict) and "set" in value else {"set": True}
    return found


def stored_form(fields: list[Values], stored: Values) -> Values:
    """The form of a stored configuration; secrets are not in it."""
    return {f"config[{field['name']}]": _shown(field, stored) for field in fields}


def unchecked(fields: list[Values], sent: Mapping[str, object]) -> Values:
    """The boxes that a form which is shown again was sent without: browsers leave them out."""
    names = [f"config[{field['name']}]" for field in fields if field["type"] == "bool"]
    return {name: False for name in names if name not in sent}


def secrets_again(fields: list[Values], form: Mapping[str, object]) -> Values:
    """What a form that is shown again says of secrets: no page sends them back."""
    names = [f"config[{field['name']}]" for field in fields if field["is_secret"]]
    return {name: "Enter it again: a page does not keep it." for name in names if form.get(name)}


def placed(errors: Mapping[str, str], fields: Iterable[Values]) -> tuple[Values, list[str]]:
    """Errors by the name of their field, and the messages of those that have none.

    Args:
        errors: ``config.key_path`` → message, as the API names them.
        fields: The fields of the form's configuration.
    """
    known = {f"config[{field['name']}]": field for field in fields}
    found: Values = {}
    rest = []
    for path, message in errors.items():
        head, _, inside = path.partition(".")
        name = field_name(inside) if inside else path
        if head != "config":
            found[path] = message
        elif name in known:
            found[name] = message
        elif outer := _near(inside, known):
            found[outer] = message
        else:
            rest.append(message)
    return found, rest


def filled(
    fields: list[Values],
    stored: Values | None,
    sent: Values,
    errors: Mapping[str, str],
    *,
    is_sent: bool,
) -> Values:
    """What a page shows in its form: ``fields``, ``form``, ``errors`` and ``faults``.

    Args:
        fields: Of the configuration.
        stored: The configuration that is edited; None for a new one.
        sent: What was entered, in this part of the form and around it.
        errors: As for ``placed``.
        is_sent: The form came back: boxes that it lacks were unticked.
    """
    shown = initial(fields) if stored is None else stored_form(fields, stored)
    if is_sent:
        shown |= unchecked(fields, sent)
    beside, faults = placed(errors, fields)
    again = secrets_again(fields, sent)
    return {"fields": fields, "form": shown | sent, "errors": again | beside, "faults": faults}


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


def _near(path: str, known: Mapping[str, Values]) -> str:
    """A field that an error inside of it, or of the group that it begins, can stand at."""
    part = path.partition(".")[0]
    return next(
        (name for name in known if part and re.match(rf"config\[{re.escape(part)}[.\]]", name)), ""
    )


def _value(field: Values, text: str) -> object:
    kind = field["type"]
    if kind == "list":
        return lines(text)
    if kind == "number" and text.lstrip("-").isdigit():
        return int(text)
    if kind == "choice":
        return next((value for value, shown in field["choices"] if shown == text), text)
    if kind == "json":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _is_same(field: Values, text: str, before: object) -> bool:
    """Whether a field holds what it was shown with; browsers change the ends of lines."""
    if field["type"] in {"list", "json"}:
        return _value(field, text) == _value(field, str(before))
    return text.replace("\r\n", "\n") == str(before).strip()


def _shown(field: Values, stored: Values) -> Any:
    """A stored value as the form shows it."""
    if field["is_secret"]:
        return ""
    value = _member(stored, field["name"], field)
    if value is field or value is None:
        return field["default"] if value is field else ""
    if field["type"] == "json":
        return json.dumps(value, indent=2, ensure_ascii=False)
    if isinstance(value, list):
        return "\n".join(value) if field["type"] == "list" else shlex.join(value)
    return value if field["type"] == "bool" else str(value)


def _member(config: Mapping[str, Any], name: str, absent: Any = None) -> Any:
    outer, _, inner = name.partition(".")
    holder: Any = config.get(outer) if inner else config
    return holder.get(inner or outer, absent) if isinstance(holder, dict) else absent


def _put(config: dict[str, object], name: str, value: object) -> None:
    outer, _, inner = name.partition(".")
    if not inner:
        config[outer] = value
        return
    holder = config.get(outer)
    if not isinstance(holder, dict):
        config[outer] = holder = {}
    holder[inner] = value


def _take(config: dict[str, object], name: str) -> None:
    outer, _, inner = name.partition(".")
    holder = config.get(outer) if inner else config
    if isinstance(holder, dict):
        holder.pop(inner or outer, None)


def _emptied(fields: list[Values], form: MultiDict[str, str], stored: Values) -> list[str]:
    """The optional parts that are set and of which every text was emptied."""
    found = []
    for part in sorted({field["part"] for field in fields if field["part"]}):
        inside = [field for field in fields if field["part"] == part and field["type"] != "bool"]
        texts = [field for field in inside if not field["is_secret"] and not field["default"]]
        is_sent = all(f"config[{field['name']}]" in form for field in texts)
        is_empty = not any(form.get(f"config[{field['name']}]", "").strip() for field in inside)
        if texts and is_sent and is_empty and isinstance(stored.get(part), dict):
            found.append(part)
    return found


def _flat(member: Values, schema: Values) -> Values:
    """A property without references and without its null alternative."""
    found = dict(member)
    every = found.pop("anyOf", ())
    options = [option for option in every if option.get("type") != "null"]
    if options:
        found = {**options[0], **found}
        found["is_nullable"] = len(options) < len(every)
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
    is_secret = bool(
        member.get("writeOnly") or member.get("format") == "password" or extra.get("secret")
    )
    kind = "choice" if choices else _TYPES.get(str(member.get("type")), "text")
    if member.get("contentMediaType") == _PEM:
        kind = "pem"
    elif kind == "list" and member.get("items", {"type": "string"}).get("type") != "string":
        kind = "json"
    if is_secret and kind not in {"json", "list", "pem"}:
        kind = "secret"
    last = name.rpartition(".")[2]
    return {
        "name": name,
        "title": member.get("title") or last.replace("_", " ").capitalize(),
        "help": member.get("description", ""),
        "type": kind,
        "is_secret": is_secret,
        "stored": None,
        "clearable": is_secret and not is_required,
        "required": is_required and outer is None,
        "choices": [(choice, str(choice)) for choice in choices or ()],
        "placeholder": extra.get("placeholder")
        or extra.get("example")
        or next(iter(member.get("examples", ())), ""),
        "group": (outer or {}).get("title") or extra.get("group", ""),
        "part": name.partition(".")[0] if outer and outer.get("is_nullable") else "",
        "order": (outer or {}).get("order", extra.get("order", 0)),
        "advanced": not is_required and bool(extra.get("advanced") or outer),
        "default": "" if is_secret else _default(member, kind),
    }


def _default(member: Values, kind: str) -> Any:
    """The default as the form shows it."""
    default = member.get("default")
    if kind == "json":
        return json.dumps(default, indent=2, ensure_ascii=False) if default else ""
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
