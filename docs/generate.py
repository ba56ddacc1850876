"""The generated parts of the reference: Markdown, made from the program itself.

Not shipped. Each page below ``docs/reference`` calls one function in a cog block; bring them up to
date with ``python docs/generate.py``, which is ``cog -r`` over those pages. A test compares.
"""

from __future__ import annotations

import inspect
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from itertools import groupby
from pathlib import Path
from types import FunctionType
from typing import Any, get_args

from pydantic import BaseModel

from certctl_core import CertctlError, Core
from certctl_core.contracts.host.discover import HOOK_MODULES
from certctl_core.contracts.options import ConfigModel, config_schema
from certctl_core.contracts.plugin import PROJECT
from certctl_core.kernel.config.docs import settings_markdown
from certctl_core.kernel.errors import HTTP_STATUS
from certctl_core.kernel.events import Event
from certctl_core.kernel.operations import Access, ListQuery, Operation
from certctl_core.people.access.catalogue import PERMISSIONS, ROLES, permissions_of

PAGES = Path(__file__).parent / "reference"
Schema = Mapping[str, Any]
_SPEC = re.compile(r" \((?:spec |DESIGN )?[^()]*(?:[A-Z]{2,}-\d+|§)[^()]*\)")
"""References to the specification: for those who read the code."""


@cache
def _core() -> Core:
    """An installation to ask; it lives as long as the process."""
    folder = tempfile.TemporaryDirectory()
    core = Core.open(folder.name)
    core.__dict__["_folder"] = folder
    return core


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        cells = (" ".join(cell.split()).replace("|", "\\|") for cell in row)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _code(text: object) -> str:
    return f"`{text}`" if text not in {"", None} else ""


def _first_sentence(item: object) -> str:
    """The first paragraph of a docstring, on one line, with Markdown code spans."""
    paragraph = (inspect.getdoc(item) or "").partition("\n\n")[0]
    return _SPEC.sub("", " ".join(paragraph.split())).replace("``", "`")


# -- JSON Schema as tables ------------------------------------------------------------------------


def _type(schema: Schema, definitions: Schema) -> str:
    """One JSON Schema as a few words."""
    if "$ref" in schema:
        return _type(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "enum" in schema:
        return ", ".join(_code(value) for value in schema["enum"])
    if "const" in schema:
        return _code(schema["const"])
    if "anyOf" in schema or "oneOf" in schema:
        parts = schema.get("anyOf") or schema["oneOf"]
        named = [_type(part, definitions) for part in parts if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(named))
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}), definitions)}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map to {_type(schema['additionalProperties'], definitions)}"
    return {"date-time": "RFC 3339 time", "certctl-duration": "duration"}.get(
        schema.get("format", ""), kind
    )


def _bounds(schema: Schema) -> str:
    names = {
        "minimum": "at least {}",
        "maximum": "at most {}",
        "minLength": "at least {} characters",
        "maxLength": "at most {} characters",
        "minItems": "at least {} items",
        "maxItems": "at most {} items",
    }
    parts = [schema, *(part for part in schema.get("anyOf", ()) if part.get("type") != "null")]
    found = [text.format(part[key]) for part in parts for key, text in names.items() if key in part]
    return ", ".join(found)


def _default(schema: Schema, name: str, needed: Sequence[str]) -> str:
    if name in needed:
        return "**needed**"
    value = schema.get("default")
    if value is None or value == "" or isinstance(value, dict | list):
        return "–"
    return _code(str(value).lower() if isinstance(value, bool) else value)


def _members(schema: Schema, definitions: Schema, prefix: str = "") -> Iterator[tuple[str, ...]]:
    for name, part in schema.get("properties", {}).items():
        meaning = str(part.get("description", ""))
        title = str(part.get("title", ""))
        if not meaning and title.replace(" ", "_").lower() != name:
            meaning = f"{title}."
        bounds = _bounds(part)
        kind = _type(part, definitions) + (f"; {bounds}" if bounds else "")
        if part.get("writeOnly"):
            kind += "; *secret*"
        default = _default(part, name, schema.get("required", ()))
        yield (_code(prefix + name), kind, default, meaning)
        reference = part.get("$ref", "").rpartition("/")[2]
        if reference and "properties" in definitions[reference]:
            yield from _members(definitions[reference], definitions, f"{prefix}{name}.")


def _schema_table(schema: Schema, head: str) -> str:
    rows = list(_members(schema, schema.get("$defs", {})))
    return _table((head, "Type", "Default", "Meaning"), rows) if rows else ""


# -- the pages ------------------------------------------------------------------------------------


def settings() -> str:
    """Every setting."""
    return (
        settings_markdown().partition("\n## ")[1].lstrip()
        + settings_markdown().partition("\n## ")[2]
    )


def api() -> str:
    """Every operation with its inputs and answers."""
    parts = []
    operations = sorted(_core().table, key=lambda item: (_group(item), item.path, item.method))
    for group, found in groupby(operations, key=_group):
        members = list(found)
        rows = [
            (
                _code(item.name),
                f"{_code(item.method)} {_code(item.path)}",
                _permission(item),
                item.summary,
            )
            for item in members
        ]
        parts.append(f"\n## {group}\n\n")
        parts.append(_table(("Operation", "Route", "Permission", "What it does"), rows))
        parts += [_operation(item) for item in members]
    return "".join(parts)


def _group(operation: Operation) -> str:
    return operation.name.partition(".")[0].replace("_", " ").capitalize()


def _permission(operation: Operation) -> str:
    if operation.access is Access.GATED:
        return _code(operation.permission)
    return {Access.PUBLIC: "nobody need be known", Access.AUTHENTICATED: "anybody who is known"}[
        operation.access
    ]


def _operation(operation: Operation) -> str:
    lines = [f"\n### {operation.name}\n\n`{operation.method} /api/v1{operation.path}`"]
    answer = f"Answers {operation.status}"
    if operation.output is not None:
        kind = "a list of" if operation.is_list else ""
        answer += f" with {kind} `{operation.output.__name__}`".replace("  ", " ")
    elif operation.media_type != "application/json":
        answer += f" with `{operation.media_type}`"
    lines.append(f"{answer}.")
    if operation.also_statuses:
        lines.append(f"Also {', '.join(map(str, operation.also_statuses))}.")
    if operation.errors:
        codes = sorted({_code(error.code) for error in operation.errors})
        lines.append(f"Errors of its own: {', '.join(codes)}.")
    if operation.shows_secret:
        lines.append("The answer shows a secret, this once.")
    text = "\n".join(lines) + "\n"
    if operation.sorts:
        text += f"\nSorts by {', '.join(map(_code, operation.sorts))}.\n"
    if operation.query is not None:
        text += _input(operation.query, "Parameter", without=set(ListQuery.model_fields))
    if operation.body is not None:
        if not operation.body_required:
            text += "\nThe body may be left out.\n"
        text += _input(operation.body, "Member")
    return text


def _input(model: type[BaseModel], head: str, *, without: set[str] | None = None) -> str:
    schema = dict(model.model_json_schema())
    schema["properties"] = {
        name: part
        for name, part in schema.get("properties", {}).items()
        if name not in (without or set())
    }
    table = _schema_table(schema, head)
    return f"\n{table}" if table else ""


def list_parameters() -> str:
    """The parameters that every list takes."""
    return _schema_table(ListQuery.model_json_schema(), "Parameter")


def permissions() -> str:
    """Every permission, and which seeded role holds it."""
    roles = list(ROLES)
    holders = {role: permissions_of(role) for role in roles}
    used: dict[str, list[str]] = {}
    for item in _core().table:
        if item.permission:
            used.setdefault(item.permission, []).append(_code(item.name))
    people = _table(("Role", "Name", "For"), [(_code(role), *ROLES[role]) for role in roles])
    heads = [role.removeprefix("r-") for role in roles]
    rows = [
        (
            _code(name),
            *("✓" if name in holders[role] else "" for role in roles),
            ", ".join(used.get(name, ())),
        )
        for name in PERMISSIONS
    ]
    return (
        f"## Roles\n\n{people}\n## Permissions\n\n"
        f"{_table(('Permission', *heads, 'Needed by'), rows)}"
    )


def events() -> str:
    """Every event that the running product knows."""
    _core()
    rows = [
        (
            _code(tag),
            str(event.category),
            str(event.severity),
            _first_sentence(event),
            ", ".join(_code(item.name) for item in fields(event) if item.name != "resource_id"),
        )
        for tag, event in sorted(Event.catalogue.items())
    ]
    return _table(("Event", "Audit category", "Severity", "When", "Details"), rows)


def hooks() -> str:
    """Every hook with its signature, and the class that a plugin fills in."""
    parts = []
    for module in HOOK_MODULES:
        for name, function in vars(module).items():
            if isinstance(function, FunctionType) and hasattr(function, f"{PROJECT}_spec"):
                parts.append(_hook(name, function))
    return "".join(parts)


def _hook(name: str, function: FunctionType) -> str:
    parameters = inspect.signature(function).parameters.values()
    taken = ", ".join(f"{item.name}: {item.annotation}" for item in parameters)
    returned = inspect.signature(function).return_annotation
    text = inspect.getdoc(function) or ""
    text = _SPEC.sub("", text).replace("``", "`").replace("Args:\n", "")
    text = "\n".join(line.strip() for line in text.splitlines())
    parts = [f"\n## {name}\n\n```text\ndef {name}({taken}) -> {returned}\n```\n\n{text}\n"]
    contract = _contract(function)
    if contract is not None:
        place = f"{contract.__module__}.{contract.__name__}"
        parts.append(f"\nThe class is `{place}`: {_first_sentence(contract)}\n\n")
        parts.append(_table(("Method", "", "What it does"), _methods(contract)))
    return "".join(parts)


def _contract(function: FunctionType) -> type | None:
    """The X of ``list[type[X]]``."""
    returned = inspect.get_annotations(function, eval_str=True).get("return")
    inner = [part for item in get_args(returned) for part in get_args(item)]
    return inner[0] if inner and isinstance(inner[0], type) else None


def _methods(contract: type) -> list[tuple[str, str, str]]:
    abstract: frozenset[str] = getattr(contract, "__abstractmethods__", frozenset())
    found = {
        name: member
        for base in reversed(contract.__mro__)
        if base.__module__.startswith("certctl_core.contracts")
        for name, member in vars(base).items()
        if isinstance(member, FunctionType) and not name.startswith("_")
    }
    ordered = sorted(found.items(), key=lambda item: item[0] not in abstract)
    return [
        (_code(name), "must" if name in abstract else "may", _first_sentence(member))
        for name, member in ordered
    ]


def plugins() -> str:
    """Every kind that comes with certctl, with its options."""
    parts = []
    for table in _core().plugins.tables():
        for entry in table.values():
            info = entry.info
            if info.distribution != "certctl" or not info.available:
                continue
            parts.append(f"\n## {info.title}\n\n")
            parts.append(f"`{info.kind}`, by hook `{info.hook}`. {entry.plugin.summary}\n")
            if info.capabilities:
                parts.append(f"It can: {', '.join(map(_code, info.capabilities))}.\n")
            config: type[ConfigModel] = entry.plugin.Config
            options = _schema_table(config_schema(config), "Option")
            parts.append(f"\n{options}" if options else "\nIt has no options.\n")
    return "".join(parts)


def errors() -> str:
    """Every error code that a room or the API gives out."""
    _core()
    rows: dict[str, tuple[str, ...]] = {}
    for error in _tree(CertctlError):
        if "code" in vars(error) and error.__module__.startswith("certctl_core."):
            status = str(HTTP_STATUS[error.kind])
            rows.setdefault(error.code, (_code(error.code), status, error.text, error.hint))
    return _table(("Code", "Status", "Text", "What to do"), (rows[key] for key in sorted(rows)))


def _tree(error: type[CertctlError]) -> Iterator[type[CertctlError]]:
    yield error
    for below in error.__subclasses__():
        yield from _tree(below)


def cli() -> str:
    """Every command."""
    from certctl_cli.docs import cli_markdown

    return cli_markdown()


def exit_codes() -> str:
    """How processes end."""
    from certctl_cli.failures import EXIT_HELP
    from certctl_server.exits import Exit

    meanings = {
        Exit.OK: "stopped as asked: SIGTERM or SIGINT, drained",
        Exit.INTERNAL: "a failure that nobody foresaw; the log has the trace",
        Exit.CONFIG: "a setting, or the command line, is not usable",
        Exit.DATABASE: "the database does not answer, or refuses",
        Exit.SCHEMA: "the schema is not that of this release",
        Exit.KEYRING: "the encryption keys are missing or do not open the database",
        Exit.CREDENTIALS: "an API key or a token of the settings is not usable",
        Exit.AUTHORITY: "the CA cannot be loaded",
        Exit.TLS: "the server's certificate or its key is not usable",
        Exit.BIND: "an address cannot be listened on",
        Exit.PART_LOST: "a part of the server ended again and again",
        Exit.INTERRUPTED: "interrupted",
    }
    client = [(str(int(code)), text) for code, text in EXIT_HELP.items()]
    server = [(str(int(code)), meanings[code]) for code in Exit]
    return (
        "## Commands that ask a server\n\n"
        f"{_table(('Code', 'Meaning'), client)}\n"
        "## Commands that run the server\n\n"
        f"{_table(('Code', 'Meaning'), server)}"
    )


if __name__ == "__main__":
    from cogapp import Cog  # type: ignore[import-untyped]  # ships none

    sys.path.insert(0, str(PAGES.parents[1]))
    pages = [str(page) for page in sorted(PAGES.glob("*.md"))]
    sys.exit(Cog().main(["cog", "-r", "-P", *pages]))
