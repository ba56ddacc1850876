"""Pages that make and change issuers and renewal policies: name → (template, context)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from certctl_flask.views.config_form import initial, stored_fields, stored_form

from certctl_core.contracts.options import config_schema
from certctl_core.lifecycle.policies import RenewalPolicyBody, explain_policy, usual_renewal
from tests.frontends.flask.vendor import WidgetsConfig
from tests.frontends.ui import samples_data as data

Context = dict[str, Any]
_SCHEMA = config_schema(WidgetsConfig)
_STORED = {
    "base_url": "https://ca.example.com",
    "api_key": {"set": True, "updated_at": data.at(days=40)},
    "webhook_key": {"set": True, "ref": "secretref:env:WIDGETS_WEBHOOK_KEY"},
    "plan": "large",
    "is_strict": True,
    "regions": ["eu", "us"],
    "labels": {"rank": 1},
    "client": {"cert": "-----BEGIN CERTIFICATE-----\nMIIB", "key": {"set": True}},
}
_FIELDS = stored_fields(_SCHEMA, _STORED)
_REPORT = {
    "ok": False,
    "duration_ms": 214,
    "checks": [
        {"name": "connection", "ok": True, "detail": "TLS 1.3", "hint": ""},
        {
            "name": "authentication",
            "ok": False,
            "detail": "the key is unknown",
            "hint": "Take a new key from the portal.",
        },
    ],
}
_CONFLICT = {
    "title": "Precondition failed",
    "detail": "Issuer iss-widgets has changed since you read it.",
    "code": "precondition_failed",
    "request_id": "8c3b6f0e-6c1f-4ab2-9f2e-5f4f3e0a9b11",
}
_POLICIES = [
    {
        "id": f"rp-{name.lower()}",
        "name": name,
        "renewal_window_days": 30,
        "renew_at_percent": percent,
        "auto_renew": auto,
        "max_retries": 3,
        "retry_interval_seconds": 86400,
        "version": 4,
        "created_at": data.at(days=200),
        "updated_at": data.at(days=3),
    }
    for name, percent, auto in (("Default", 67, True), ("Late", 95, True), ("Manual", 67, False))
]


def _body(policy: Context) -> RenewalPolicyBody:
    return RenewalPolicyBody.model_validate(
        {name: policy[name] for name in RenewalPolicyBody.model_fields}
    )


def pages(
    common: Callable[..., Context],
    rows: Callable[..., Context],
    query: Callable[..., Context],
    types: list[Context],
) -> dict[str, tuple[str, Context]]:
    """The samples; ``common`` and the others are those of ``samples``."""
    new = common(
        nav="issuers",
        issuer=None,
        kind={"kind": "widgets", "title": "Widgets CA", "schema": _SCHEMA},
        types=types,
        fields=stored_fields(_SCHEMA, {}),
        form=initial(_FIELDS) | {"enabled": "true", "test": "true"},
        faults=[],
        report=None,
    )
    edit = new | {
        "issuer": data.ISSUERS[0] | {"name": "Widgets", "id": "iss-widgets"},
        "fields": _FIELDS,
        "form": stored_form(_FIELDS, _STORED) | {"name": "Widgets", "enabled": True, "version": 3},
    }
    policy = common(
        nav="renewal-policies",
        policy=_POLICIES[0],
        sentences=explain_policy(_body(_POLICIES[0])),
        is_default=True,
    )
    form = common(
        nav="renewal-policies",
        policy=None,
        form=_POLICIES[0] | {"name": "", "retry_interval": "1h"},
    )
    listed = [item | {"usual": usual_renewal(_body(item))} for item in _POLICIES]
    late = explain_policy(_body(_POLICIES[1]))
    wrong = _CONFLICT | {"fields": [{"field": "max_retries", "message": "is too many"}]}
    return {
        "issuer-kinds": ("issuers/form.html", new | {"kind": None, "fields": []}),
        "issuer-new": ("issuers/form.html", new),
        "issuer-new-refused": (
            "issuers/form.html",
            new
            | {
                "problem": _CONFLICT | {"code": "connection_test_failed"},
                "errors": {"config[api_key]": "Enter it again.", "name": "Taken."},
                "faults": ["There is no such product in this region."],
                "report": _REPORT,
            },
        ),
        "issuer-edit": ("issuers/form.html", edit),
        "issuer-edit-changed": ("issuers/form.html", edit | {"problem": _CONFLICT}),
        "issuer-edit-unavailable": (
            "issuers/form.html",
            edit | {"kind": {"kind": "old", "title": "old", "schema": None}, "fields": []},
        ),
        "issuer-trial": ("issuers/_trial.html", common(report=_REPORT, problem=None, faults=[])),
        "issuer-trial-refused": (
            "issuers/_trial.html",
            common(report=None, problem=_CONFLICT, faults=["API address: Field required"]),
        ),
        "renewal-policies": (
            "renewal_policies/list.html",
            common(
                nav="renewal-policies", page=rows(listed), query=query(), default_id="rp-default"
            ),
        ),
        "renewal-policies-no-match": (
            "renewal_policies/list.html",
            common(
                nav="renewal-policies", page=rows([]), query=query(q="x"), default_id="rp-default"
            ),
        ),
        "renewal-policy": ("renewal_policies/detail.html", policy),
        "renewal-policy-in-use": (
            "renewal_policies/detail.html",
            policy
            | {
                "policy": _POLICIES[1],
                "sentences": late,
                "is_default": False,
                "problem": _CONFLICT,
                "open_dialog": "delete",
            },
        ),
        "renewal-policy-new": ("renewal_policies/form.html", form),
        "renewal-policy-edit": (
            "renewal_policies/form.html",
            form
            | {
                "policy": _POLICIES[1],
                "form": _POLICIES[1] | {"retry_interval": "2d"},
                "problem": _CONFLICT,
                "errors": {"retry_interval": "is too long"},
            },
        ),
        "renewal-policy-preview": (
            "renewal_policies/_preview.html",
            common(sentences=late, problem=None),
        ),
        "renewal-policy-preview-incomplete": (
            "renewal_policies/_preview.html",
            common(sentences=None, problem=wrong),
        ),
    }
