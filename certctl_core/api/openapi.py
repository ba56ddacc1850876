"""OpenAPI 3.1, generated from the operation table (spec 01 API-25)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from certctl_core.api.table import BASE_PATH, OperationTable, parameters, wire_names
from certctl_core.kernel.errors import HTTP_STATUS, CertctlError
from certctl_core.kernel.operations import Access, Operation
from certctl_core.kernel.release import facts

_REF = "#/components/schemas/{model}"
_PROBLEM_REF = {"$ref": "#/components/schemas/Problem"}
_PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem document.",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable snake_case word."},
        "request_id": {"type": "string"},
        "hint": {"type": "string"},
        "fields": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
_REPLAYED_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "The answer to a repeated Idempotency-Key: the secret is not shown again.",
    "required": ["replayed", "detail"],
    "properties": {"replayed": {"const": True}, "detail": {"type": "string"}},
}
_ID_SCHEMA = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[A-Za-z0-9._-]+$"}


def openapi(table: OperationTable) -> dict[str, Any]:
    """The OpenAPI document of an installation.

    Args:
        table: Its operations.
    """
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = []
    for operation in table:
        models += [(m, "validation") for m in (operation.body,) if m is not None]
        models += [(m, "serialization") for m in (operation.output,) if m is not None]
    names, definitions = models_json_schema(list(dict.fromkeys(models)), ref_template=_REF)
    schemas = dict(definitions.get("$defs", {}))
    schemas["Problem"] = _PROBLEM_SCHEMA
    schemas["Replayed"] = _REPLAYED_SCHEMA
    paths: dict[str, Any] = {}
    for operation in table:
        path = BASE_PATH + operation.path
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, names)
    build = facts()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "certctl",
            "version": build["version"],
            "x-build": {name: build[name] for name in ("commit", "modified", "build_time")},
            "description": "Certificate lifecycle control plane.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "__Host-certctl_session"},
            },
        },
    }


def _operation(operation: Operation, names: dict[Any, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": list(operation.tags) or [operation.name.partition(".")[0]],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation)],
        "responses": _responses(operation, names),
    }
    if operation.access is Access.PUBLIC:
        entry["security"] = []
    else:
        entry["security"] = [{"apiKey": []}, {"session": []}]
    if operation.permission:
        entry["x-certctl-permission"] = operation.permission
    if operation.body is not None:
        entry["requestBody"] = {
            "required": operation.body_required,
            "content": {"application/json": {"schema": names[operation.body, "validation"]}},
        }
    if operation.method == "POST":
        entry["parameters"].append(
            _header(
                "Idempotency-Key",
                {"type": "string", "maxLength": 255, "minLength": 1, "pattern": "^[ -~]+$"},
            )
        )
    if operation.method in {"PUT", "PATCH", "DELETE"}:
        entry["parameters"].append(
            _header("If-Match", {"type": "string", "pattern": '^"v[0-9]{1,9}"$'})
        )
    return entry


def _header(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": schema}


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": _ID_SCHEMA if name.endswith("_id") else {"type": "string", "minLength": 1},
        }
        for name in parameters(operation)
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    schema = operation.query.model_json_schema(ref_template=_REF)
    required = set(schema.get("required", ()))
    definitions = schema.get("$defs", {})
    found = []
    for name, member in schema["properties"].items():
        shape = _inlined(member, definitions)
        if name == "sort" and operation.sorts:
            fields = "|".join(re.escape(item) for item in operation.sorts)
            shape = {"type": "string", "pattern": f"^-?({fields})$"}
        if name == "fields" and operation.is_list:
            member_names = "|".join(sorted(map(re.escape, wire_names(operation.output))))
            shape["pattern"] = f"^({member_names})(,({member_names}))*$"
        description = shape.pop("description", "")
        shape.pop("title", None)
        found.append(
            {
                "name": name,
                "in": "query",
                "required": name in required,
                "description": description,
                "schema": shape,
            }
        )
    return found


def _inlined(member: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A query parameter is text: null has no form there, and references are written out."""
    shape = dict(member)
    if "anyOf" in shape:
        choices = [item for item in shape.pop("anyOf") if item.get("type") != "null"]
        shape |= choices[0] if len(choices) == 1 else {"anyOf": choices}
        if shape.get("default", ...) is None:
            del shape["default"]
    reference = shape.pop("$ref", None)
    if reference:
        shape = dict(definitions[reference.rpartition("/")[2]]) | shape
    return shape


def _responses(operation: Operation, names: dict[Any, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in (operation.status, *operation.also_statuses):
        responses[str(status)] = _success(operation, names, status)
    if operation.is_list:
        responses["304"] = {"description": "Not modified."}
    expected = {HTTP_STATUS[error.kind] for error in _errors(operation)}
    for status in sorted(expected):
        responses.setdefault(
            str(status),
            {
                "description": "Problem.",
                "content": {"application/problem+json": {"schema": _PROBLEM_REF}},
            },
        )
    responses["default"] = {
        "description": "Problem.",
        "content": {"application/problem+json": {"schema": _PROBLEM_REF}},
    }
    return responses


def _errors(operation: Operation) -> Iterable[type[CertctlError]]:
    return operation.errors


def _success(operation: Operation, names: dict[Any, Any], status: int) -> dict[str, Any]:
    no_body = status == HTTPStatus.NO_CONTENT or (
        operation.output is None and operation.media_type == "application/json"
    )
    if no_body:
        return {"description": "Done."}
    if operation.output is None:
        return {
            "description": "The file.",
            "content": {operation.media_type: {"schema": {"type": "string"}}},
        }
    row = names[operation.output, "serialization"]
    schema = row
    if operation.is_list:
        some = {"type": "object", "description": "The members that `fields` asks for."}
        takes_fields = operation.query is not None and "fields" in operation.query.model_fields
        rows = {"anyOf": [row, some]} if takes_fields else row
        schema = {
            "type": "object",
            "required": ["data", "total"],
            "properties": {
                "data": {"type": "array", "items": rows},
                "total": {"type": "integer"},
                "total_exact": {"type": "boolean"},
                "page": {"type": "integer"},
                "per_page": {"type": "integer"},
                "page_size": {"type": "integer"},
                "next_cursor": {"type": "string"},
            },
        }
    elif operation.shows_secret and operation.method == "POST":
        schema = {"anyOf": [row, {"$ref": _REF.format(model="Replayed")}]}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if operation.media_type not in content:  # the same as a file, when asked for
        content[operation.media_type] = {"schema": {"type": "string"}}
    return {"description": "Success.", "content": content}
