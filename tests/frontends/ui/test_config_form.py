"""The form of a plugin's configuration: what it shows, and what it sends."""

from __future__ import annotations

from typing import Any

from certctl_flask.views.config_form import (
    config_after,
    config_of,
    field_name,
    fields_of,
    initial,
    placed,
    secrets_again,
    stored_fields,
    stored_form,
    unchecked,
)
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


def test_an_error_stands_at_its_field_or_is_told_apart() -> None:
    errors = {
        "name": "taken",
        "config.hosts.1": "no host",
        "config.verify": "does not fit",
        "config": "give both or neither",
        "config.gone": "unknown",
    }

    found, rest = placed(errors, fields_of(SCHEMA))

    assert found == {
        "name": "taken",
        "config[hosts]": "no host",
        "config[verify.enabled]": "does not fit",
    }
    assert rest == ["give both or neither", "unknown"]


def test_what_a_browser_leaves_out_is_off_and_secrets_are_asked_for_again() -> None:
    fields = fields_of(SCHEMA)

    assert unchecked(fields, {"config[mode]": "a"}) == {"config[verify.enabled]": False}
    assert unchecked(fields, {"config[verify.enabled]": "true"}) == {}
    assert list(secrets_again(fields, {"config[token]": "x"})) == ["config[token]"]
    assert secrets_again(fields, {"config[token]": ""}) == {}


STORED: dict[str, Any] = {
    "verify": {"enabled": False, "attempts": 5},
    "reload_command": ["nginx", "-s", "reload"],
    "timeout": "2m",
    "owner": "root",
    "cert_path": "/etc/web.crt",
    "hosts": ["a.example.com", "b.example.com"],
    "token": {"set": True, "updated_at": "2026-01-01T00:00:00Z"},
    "mode": "b",
    "rules": [{"deep": {"er": 1}}],
    "client": {"cert": "PEM", "key": {"set": True}},
}
CLIENT = {
    "properties": {
        **SCHEMA["properties"],
        "rules": {"type": "array", "items": {"type": "object"}},
        "client": {
            "anyOf": [{"$ref": "#/$defs/Client"}, {"type": "null"}],
            "default": None,
            "x-certctl": {"secret": True},
        },
    },
    "$defs": {
        **SCHEMA["$defs"],
        "Client": {
            "type": "object",
            "required": ["cert", "key"],
            "properties": {
                "cert": {"type": "string", "contentMediaType": "application/x-pem-file"},
                "key": {"type": "string", "writeOnly": True},
            },
        },
    },
    "required": SCHEMA["required"],
}


def _edited(**changes: str) -> dict[str, object]:
    """What is stored after an edit of the form that shows ``STORED``."""
    form: MultiDict[str, str] = MultiDict()
    for name, value in stored_form(stored_fields(CLIENT, STORED), STORED).items():
        if value is not False:
            form[name] = "true" if value is True else str(value).replace("\n", "\r\n")
    for name, text in changes.items():
        form[name] = text
    return config_after(CLIENT, form, STORED)


def test_an_edit_without_a_change_changes_nothing() -> None:
    assert _edited() == STORED


def test_an_edit_changes_what_was_written() -> None:
    after = _edited(
        **{
            "config[hosts]": "c.example.com",
            "config[verify.enabled]": "true",
            "config[owner]": "",
            "config[token]": "new",
            "config[client.cert]": "OTHER",
        }
    )

    assert after.pop("owner", "its default") == "its default"
    assert after == {name: value for name, value in STORED.items() if name != "owner"} | {
        "hosts": ["c.example.com"],
        "verify": {"enabled": True, "attempts": 5},
        "token": "new",
        "client": {"cert": "OTHER", "key": {"set": True}},
    }


def test_secrets_and_whole_parts_are_taken_away() -> None:
    after = _edited(**{"clear[token]": "true", "config[client.cert]": ""})

    assert after["token"] is None
    assert after["client"] is None
