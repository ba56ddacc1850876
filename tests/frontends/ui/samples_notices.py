"""The sample pages of notifiers and notification routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from certctl_flask.views.choices import Choices
from certctl_flask.views.config_form import initial, stored_fields, stored_form
from certctl_flask.views.route_words import event_groups, sentence

from tests.frontends.ui import samples_data as data

Context = dict[str, Any]
_SCHEMA: Context = {
    "required": ["url"],
    "properties": {
        "url": {"type": "string", "title": "URL", "description": "Receives a POST for each message.", "x-certctl": {"group": "General", "order": 0, "example": "https://hooks.example.com/c"}},
        "format": {"type": "string", "title": "Format", "enum": ["certctl", "cloudevents"], "default": "certctl", "x-certctl": {"group": "General", "order": 1}},
        "secret": {"type": "string", "title": "Signing secret", "description": "Made and shown once if you leave it out.", "writeOnly": True, "x-certctl": {"group": "Signature", "order": 2}},
        "headers": {"type": "object", "title": "Headers", "additionalProperties": {"type": "string"}, "writeOnly": True, "default": {}, "x-certctl": {"group": "General", "order": 3, "advanced": True}},
        "ca_bundle": {"type": "string", "title": "Server CA", "contentMediaType": "application/x-pem-file", "x-certctl": {"group": "TLS", "order": 4}},
    },
}  # fmt: skip
_CONFIG: Context = {
    "url": "https://hooks.example.com/certctl",
    "format": "certctl",
    "secret": {"set": True, "updated_at": data.at(days=3)},
    "headers": {"Authorization": {"set": True}},
    "ca_bundle": None,
}
_KIND = {"kind": "webhook", "title": "Webhook", "summary": "A signed JSON document by POST to any URL.", "available": True, "error": None, "schema": _SCHEMA}  # fmt: skip
_TYPES = [_KIND, _KIND | {"kind": "smtp", "title": "Mail", "available": False, "error": "aiosmtplib is missing: pip install 'certctl[mail]'", "schema": None}]  # fmt: skip


def _report(detail: str, *, ok: bool = True, hint: str = "") -> Context:
    check = {"name": "delivery", "ok": ok, "detail": detail, "hint": hint}
    return {"ok": ok, "checks": [check], "duration_ms": 41}


def _notifier(number: int, name: str, **more: Any) -> Context:
    return {
        "id": f"nfr-{number}",
        "name": name,
        "kind": "webhook",
        "title": "Webhook",
        "config": _CONFIG,
        "capabilities": ["DEDUP"],
        "enabled": True,
        "source": "database",
        "state": "ready",
        "state_reason": "",
        "health": "healthy",
        "test_status": "success",
        "last_tested_at": data.at(minutes=4),
        "last_test_report": _report("HTTP status 204"),
        "created_by": "ak-1",
        "created_at": data.at(days=40),
        "updated_at": data.at(days=3),
        "version": 4,
    } | more


def _delivery(number: int, state: str, **more: Any) -> Context:
    return {
        "id": f"nd-{number}",
        "notification_id": f"ntf-{number}",
        "notifier_id": "nfr-1",
        "state": state,
        "attempts": 1,
        "last_error": None,
        "detail": "HTTP status 204",
        "sent_at": data.at(minutes=40) if state == "sent" else None,
        "created_at": data.at(minutes=41),
        "about": data.NOTIFICATIONS[0],
    } | more


def _route(number: int, name: str, **more: Any) -> Context:
    match: Context = {"events": [], "severities": ["warning", "critical"], "environments": [], "issuer_ids": [], "profile_ids": []}  # fmt: skip
    return {
        "id": f"nr-{number}",
        "name": name,
        "priority": 100 * number,
        "enabled": True,
        "match": match | more.pop("match", {}),
        "notifiers": ["*"],
        "continue": True,
        "created_at": data.at(days=40),
        "updated_at": data.at(days=3),
        "version": 2,
    } | more


_DEAD = _delivery(2, "dead", attempts=9, detail=None, last_error="hooks.example.com answered 503")
_NOTIFIERS = [
    _notifier(1, "Operators"),
    _notifier(2, "Ticket system of the datacentre in the east", health="failing", test_status="failed"),
    _notifier(3, "Former pager", enabled=False, state="disabled", state_reason="The receiver is gone (410).", test_status="untested", last_tested_at=None, last_test_report=None, health="unknown", source="env"),
]  # fmt: skip
_ROUTES = [
    _route(1, "Stolen keys", match={"events": ["certificate.revoked", "key.*"], "environments": ["production"], "issuer_ids": ["iss-local"], "profile_ids": ["prof-default"]}, notifiers=["nfr-1", "nfr-2"], **{"continue": False}),
    _route(2, "Renewals, while we move", enabled=False, match={"events": ["renewal.failed"]}),
    _route(3, "Everything from warning on"),
]  # fmt: skip
_NAMES = {row["id"]: row["name"] for row in _NOTIFIERS} | {
    "iss-local": "Built-in authority",
    "prof-default": "TLS server",
}
_PROBLEM = {"title": "Conflict", "detail": "Notifier nfr-1 is in use.", "code": "notifier_in_use", "request_id": "7e1f8a52"}  # fmt: skip


def pages(
    common: Callable[..., Context], rows: Callable[..., Context], query: Callable[..., Context]
) -> dict[str, tuple[str, Context]]:
    """Name → (template, context), made with what all samples share."""
    permissions = common()["permissions"] | {"notifier.read", "notifier.edit", "notifier.delete"}

    def frame(**more: Any) -> Context:
        return common(nav="notifiers", permissions=permissions, names=_NAMES) | more

    listed = frame(
        page=rows(_NOTIFIERS), query=query(), types=[("webhook", "Webhook")],
        last={"nfr-1": [_delivery(1, "sent")], "nfr-2": [_DEAD], "nfr-3": []},
    )  # fmt: skip
    shown = frame(
        notifier=_NOTIFIERS[0], deliveries=[_delivery(1, "sent"), _DEAD | {"about": None}],
        routes=_ROUTES[:2], report=None,
    )  # fmt: skip
    new, stored = stored_fields(_SCHEMA, {}), stored_fields(_SCHEMA, _CONFIG)
    form = frame(
        kind=_KIND,
        faults=[],
        types=_TYPES,
        notifier=None,
        fields=new,
        form={"enabled": True} | initial(new),
    )
    failed = _report("Connections to hooks.example.com are not allowed.", ok=False, hint="An administrator can allow the host.")  # fmt: skip
    routes = frame(
        page=rows(_ROUTES), query=query(), sentences={row["id"]: sentence(row, _NAMES) for row in _ROUTES},
        events=[("certificate.revoked", "certificate.revoked")], severities=[("info", "Info")],
        form={"event": "", "severity": ""}, preview=None,
    )  # fmt: skip
    told = {"severity": "warning", "is_stored": True, "notifiers": [{"id": "nfr-1", "name": "Operators", "enabled": True, "route_id": "nr-3", "route_name": "Everything from warning on"}]}  # fmt: skip
    blank: Context = {"name": "", "priority": 100, "enabled": True, "continue": True, "environments": "", "events": [], "severities": [], "issuer_ids": [], "profile_ids": [], "notifiers": []}  # fmt: skip
    route_form = frame(
        route=None, form=blank, groups=event_groups([]), severities=[("info", "Info", None), ("warning", "Warning", None)],
        notifiers=[("*", "Every enabled notifier", "Those that are made later, too."), ("nfr-1", "Operators", None)],
        issuers=Choices(kind="issuers", rows=data.ISSUERS), profiles=Choices(kind="profiles", rows=data.PROFILES, is_partial=True),
    )  # fmt: skip
    edited = _ROUTES[0] | _ROUTES[0]["match"] | {"environments": "production"}
    return {
        "notifiers": ("notifiers/list.html", listed),
        "notifiers-none": ("notifiers/list.html", listed | {"page": rows([])}),
        "notifiers-no-match": ("notifiers/list.html", listed | {"page": rows([]), "query": query(q="x")}),
        "notifier": ("notifiers/detail.html", shown),
        "notifier-failed": ("notifiers/detail.html", shown | {"notifier": _NOTIFIERS[1] | {"last_test_report": failed}, "report": failed, "deliveries": [], "routes": []}),
        "notifier-elsewhere": ("notifiers/detail.html", shown | {"notifier": _NOTIFIERS[2], "deliveries": []}),
        "notifier-in-use": ("notifiers/detail.html", shown | {"open_dialog": "delete", "problem": _PROBLEM | {"counts": {"routes": 2, "deliveries": 1}}}),
        "notifier-new": ("notifiers/form.html", form | {"kind": None, "fields": []}),
        "notifier-new-webhook": ("notifiers/form.html", form),
        "notifier-refused": ("notifiers/form.html", form | {"errors": {"config[url]": "is not a URL", "config[headers]": "cannot be set"}, "faults": ["The header 'host' cannot be set."], "problem": _PROBLEM | {"report": failed}}),
        "notifier-edit": ("notifiers/form.html", form | {"notifier": _NOTIFIERS[0], "fields": stored, "form": _NOTIFIERS[0] | stored_form(stored, _CONFIG)}),
        "notifier-edit-without-plugin": ("notifiers/form.html", form | {"notifier": _NOTIFIERS[0], "kind": _KIND | {"schema": None}, "fields": [], "form": _NOTIFIERS[0]}),
        "notifier-created": ("notifiers/created.html", frame(notifier=_NOTIFIERS[0], secrets=[("Signing secret", "whsec_c2FtcGxlc2FtcGxlc2FtcGxlc2FtcGxlc2FtcGxl")])),
        "notification-routes": ("notification_routes/list.html", routes),
        "notification-routes-none": ("notification_routes/list.html", routes | {"page": rows([])}),
        "notification-routes-tried": ("notification_routes/list.html", routes | {"form": {"event": "certificate.revoked", "severity": ""}, "preview": told}),
        "notification-routes-nobody": ("notification_routes/list.html", routes | {"form": {"event": "certificate.revoked", "severity": "info"}, "preview": told | {"notifiers": [], "is_stored": False}}),
        "notification-route": ("notification_routes/detail.html", frame(route=_ROUTES[0], sentence=sentence(_ROUTES[0], _NAMES))),
        "notification-route-everything": ("notification_routes/detail.html", frame(route=_ROUTES[2] | {"match": {key: [] for key in _ROUTES[2]["match"]}}, sentence="Everything.", open_dialog="delete", problem=_PROBLEM)),
        "notification-route-new": ("notification_routes/form.html", route_form),
        "notification-route-edit": ("notification_routes/form.html", route_form | {"route": _ROUTES[0], "form": edited, "groups": event_groups(edited["events"]), "errors": {"events": "there is no event 'x'", "notifiers": "there is no notifier nfr-9"}, "problem": _PROBLEM}),
    }  # fmt: skip
