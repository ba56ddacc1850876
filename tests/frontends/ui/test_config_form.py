"""The form of a plugin's configuration: what it shows, and what it sends."""

from __future__ import annotations

from typing import Any

from certctl_flask.views.config_form import config_of, field_name, fields_of, initial
from werkzeug.datastructures import MultiDict

SCHEMA: dict[str, Any] = {
    "required": ["cert_path"],
    "$defs": {
        "Verify": {
            "type": "object",
            "properties": {
                "enabled": {"type": "boolean", "default": True},
                "attempts": {"type": "integer", "default": 3},
            },
        }
    },
    "properties": {
        "verify": {
            "$ref": "#/$defs/Verify",
            "title": "Verification",
            "x-certctl": {"group": "Verification", "order": 9},
        },
        "reload_command": {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            "default": ["nginx", "-s", "reload"],
            "x-certctl": {"group": "Commands", "order": 5},
        },
        "timeout": {
            "type": "string",
            "format": "certctl-duration",
            "default": "PT1M30S",
            "x-certctl": {"group": "Commands", "order": 6},
        },
        "owner": {
            "anyOf": [{"type": "string"}, {"type": "null"}],
            "default": None,
            "x-certctl": {"group": "Files", "order": 1, "advanced": True},
        },
        "cert_path": {"type": "string", "x-certctl": {"group": "Files", "order": 0}},
        "hosts": {"type": "array", "items": {"type": "string"}},
        "token": {"type": "string", "writeOnly": True},
        "mode": {"enum": ["a", "b"], "default": "a"},
    },
}


def _shown() -> MultiDict[str, str]:
    """The form as a browser sends it when nobody changes anything."""
    form: MultiDict[str, str] = MultiDict()
    for name, value in initial(fields_of(SCHEMA)).items():
        if value is True:
            form[name] = "true"
        elif value is not False:
            form[name] = value or ""
    return form


def test_fields_stand_in_the_order_of_their_groups() -> None:
    fields = {field["name"]: field for field in fields_of(SCHEMA)}

    assert [name for name in fields if fields[name]["group"]] == [
        "cert_path",
        "owner",
        "reload_command",
        "timeout",
        "verify.enabled",
        "verify.attempts",
    ]
    assert [fields[name]["type"] for name in ("hosts", "token", "mode", "verify.enabled")] == [
        "list",
        "secret",
        "choice",
        "bool",
    ]
    assert fields["cert_path"]["required"]
    assert fields["owner"]["advanced"]
    assert fields["verify.attempts"]["group"] == "Verification"


def test_defaults_are_shown_as_one_would_write_them() -> None:
    form = initial(fields_of(SCHEMA))

    assert form["config[reload_command]"] == "nginx -s reload"
    assert form["config[timeout]"] == "1m30s"
    assert form["config[verify.attempts]"] == "3"


def test_what_nobody_changed_is_not_sent() -> None:
    assert config_of(SCHEMA, _shown()) == {}


def test_changes_are_sent_with_their_types() -> None:
    form = _shown()
    form["config[cert_path]"] = " /etc/web.crt "
    form["config[hosts]"] = "a.example.test\r\n\r\nb.example.test"
    form["config[verify.attempts]"] = "5"
    form["config[timeout]"] = "2m"
    del form["config[verify.enabled]"]

    assert config_of(SCHEMA, form) == {
        "cert_path": "/etc/web.crt",
        "hosts": ["a.example.test", "b.example.test"],
        "verify": {"attempts": 5, "enabled": False},
        "timeout": "2m",
    }


def test_an_error_finds_its_field() -> None:
    assert field_name("verify.attempts") == "config[verify.attempts]"
    assert field_name("hosts.1") == "config[hosts]"
    assert field_name("key_path") == "config[key_path]"
