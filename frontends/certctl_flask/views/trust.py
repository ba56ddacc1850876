"""Issuers and profiles."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.wrappers.response import Response as AnyResponse

from certctl_core.kernel.errors import CertctlError, FieldError, Invalid, NotFound
from certctl_core.kernel.operations import File
from certctl_flask.views.base import (
    Pages,
    Values,
    download,
    lines,
    list_state,
    problem_of,
)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}
_LENGTH = re.compile(r"\s*(\d{1,9})\s*([smhd]?)\s*")
_FLAGS = (
    "allow_short_lived",
    "must_staple",
    "requires_approval",
    "reuse_key",
    "include_aia",
    "include_cdp",
    "enabled",
)

_FIELDS = {
    "allowed_ekus": "ekus",
    "allowed_key_algorithms": "key_algorithms",
    "default_validity_seconds": "default_validity",
    "max_ttl_seconds": "max_ttl",
}
"""Members of a profile that the editor calls otherwise."""


def add(blueprint: Blueprint, pages: Pages) -> None:
    """Mount everything below ``/ui/issuers`` and ``/ui/profiles``."""
    _issuers(blueprint, pages)
    _profiles(blueprint, pages)


def _issuers(blueprint: Blueprint, pages: Pages) -> None:
    @blueprint.get("/ui/issuers")
    def issuers() -> AnyResponse:
        state = list_state("kind", "enabled", "health")
        page = pages.call("issuers.list", query=state.parameters)
        types = pages.rows("issuer_types.list")
        counts: dict[str, int] = {}
        for row in page["data"]:
            counts[row["kind"]] = counts.get(row["kind"], 0) + 1
        return pages.render(
            "issuers/list.html",
            "issuers",
            page=page,
            query=state.query,
            types=[
                {**item, "reason": item.get("error") or "", "count": counts.get(item["kind"], 0)}
                for item in types
            ],
        )

    @blueprint.get("/ui/issuers/<issuer_id>")
    def issuer(issuer_id: str) -> AnyResponse:
        return issuer_page(pages, issuer_id)

    @blueprint.get("/ui/issuers/<issuer_id>/ca.pem")
    def issuer_certificate(issuer_id: str) -> Response:
        found = pages.call("issuers.ca_keys", {"issuer_id": issuer_id})
        wanted = request.args.get("key", "")
        for key in found["data"]:
            if key["ca_key_id"] == wanted or not wanted:
                return download(
                    File(
                        content=key["certificate_pem"].encode(),
                        media_type="application/x-pem-file",
                        filename=f"{issuer_id}-{key['ca_key_id'][:8]}.pem",
                    )
                )
        raise NotFound

    @blueprint.post("/ui/issuers/<issuer_id>/<verb>")
    def change_issuer(issuer_id: str, verb: str) -> AnyResponse:
        names = {
            "test": "issuers.test",
            "enable": "issuers.enable",
            "disable": "issuers.disable",
            "regenerate": "crl.regenerate",
            "rotate-responder": "ocsp.rotate",
        }
        if verb not in names:
            raise NotFound

        def act() -> tuple[str, str]:
            result = pages.call(names[verb], {"issuer_id": issuer_id})
            done = {
                "enable": "The issuer is enabled.",
                "disable": "The issuer is disabled.",
                "regenerate": "New revocation lists are in force.",
                "rotate-responder": "The OCSP responder has a new key and certificate.",
            }
            text = done.get(verb) or (
                "The test succeeded." if result.get("ok") else "The test failed; see below."
            )
            return f"/ui/issuers/{issuer_id}", text

        return pages.submit(act, lambda values: issuer_page(pages, issuer_id, **values))


def issuer_page(pages: Pages, issuer_id: str, *, status: int = 200, **values: Any) -> AnyResponse:
    """An issuer with its CA keys; also what a refused action shows again."""
    path = {"issuer_id": issuer_id}
    found = pages.maybe("issuers.ca_keys", path) or {"data": []}
    crls = pages.maybe("crl.state") or {"cache_rows": []}
    ocsp = pages.maybe("ocsp.state") or {"responders": [], "cache": []}
    certificates = pages.maybe(
        "certificates.list", query={"issuer_id": issuer_id, "page_size": "5"}
    ) or {"data": [], "total": 0}
    return pages.render(
        "issuers/detail.html",
        "issuers",
        status=status,
        issuer=pages.call("issuers.get", path),
        keys=found["data"],
        crls=[row for row in crls["cache_rows"] if row["issuer_id"] == issuer_id],
        responders=[row for row in ocsp["responders"] if row["issuer_id"] == issuer_id],
        ocsp_answers=next((row for row in ocsp["cache"] if row["issuer_id"] == issuer_id), None),
        certificates=certificates["data"],
        certificate_total=certificates["total"],
        **values,
    )


def _profiles(blueprint: Blueprint, pages: Pages) -> None:
    @blueprint.get("/ui/profiles")
    def profiles() -> AnyResponse:
        state = list_state("enabled")
        return pages.render(
            "profiles/list.html",
            "profiles",
            page=pages.call("profiles.list", query=state.parameters),
            query=state.query,
        )

    @blueprint.get("/ui/profiles/new")
    def new_profile() -> AnyResponse:
        pages.require("profile.edit")
        return pages.render("profiles/form.html", "profiles", profile=None, form=_BLANK)

    @blueprint.post("/ui/profiles/new")
    def create_profile() -> AnyResponse:
        def act() -> tuple[str, str]:
            created = pages.call("profiles.create", body=_profile_body())
            return f"/ui/profiles/{created['id']}", f"The profile {created['name']} was created."

        return pages.submit(act, lambda values: _profile_form(pages, None, **values))

    @blueprint.post("/ui/profiles/preview")
    def preview_profile() -> AnyResponse:
        pages.require("profile.read")
        names = request.form.get("sample_names", "").replace(",", " ").split()
        preview, problem = None, None
        try:
            body: Values = {"profile": {**_profile_body(), "name": "sample"}}
            if names:
                body["names"] = names[:20]
            body["subject"] = request.form.get("sample_subject", "").strip()
            preview = pages.call("profiles.preview", body=body)
        except CertctlError as error:
            problem = problem_of(error)
        return pages.render("profiles/_preview.html", "profiles", preview=preview, problem=problem)

    @blueprint.get("/ui/profiles/<profile_id>")
    def profile(profile_id: str) -> AnyResponse:
        return _profile_page(pages, profile_id)

    @blueprint.get("/ui/profiles/<profile_id>/edit")
    def edit_profile(profile_id: str) -> AnyResponse:
        pages.require("profile.edit")
        view = pages.call("profiles.get", {"profile_id": profile_id})
        return pages.render("profiles/form.html", "profiles", profile=view, form=_form_of(view))

    @blueprint.post("/ui/profiles/<profile_id>/edit")
    def save_profile(profile_id: str) -> AnyResponse:
        def act() -> tuple[str, str]:
            version = request.form.get("version", "")
            pages.call(
                "profiles.replace",
                {"profile_id": profile_id},
                body=_profile_body(),
                if_match=int(version) if version.isdigit() else None,
            )
            return f"/ui/profiles/{profile_id}", "The profile was saved."

        view = pages.call("profiles.get", {"profile_id": profile_id})
        return pages.submit(act, lambda values: _profile_form(pages, view, **values))

    @blueprint.post("/ui/profiles/<profile_id>/delete")
    def delete_profile(profile_id: str) -> AnyResponse:
        def act() -> tuple[str, str]:
            pages.call("profiles.delete", {"profile_id": profile_id})
            return "/ui/profiles", "The profile was deleted."

        return pages.submit(
            act, lambda values: _profile_page(pages, profile_id, "delete", **values)
        )


def _profile_page(
    pages: Pages, profile_id: str, open_dialog: str = "", *, status: int = 200, **values: Any
) -> AnyResponse:
    used = pages.maybe("certificates.list", query={"profile_id": profile_id, "page_size": "1"})
    return pages.render(
        "profiles/detail.html",
        "profiles",
        status=status,
        profile=pages.call("profiles.get", {"profile_id": profile_id}),
        certificate_total=used["total"] if used else 0,
        open_dialog=open_dialog,
        **values,
    )


def _profile_form(
    pages: Pages, profile: Values | None, *, form: Values, status: int = 200, **values: Any
) -> AnyResponse:
    chosen = form.get("key_algorithms") or []
    form["key_algorithms"] = chosen if isinstance(chosen, list) else [chosen]
    if "errors" in values:
        errors = values["errors"].items()
        values["errors"] = {_FIELDS.get(name, name): message for name, message in errors}
    return pages.render(
        "profiles/form.html", "profiles", status=status, profile=profile, form=form, **values
    )


def _profile_body() -> Values:
    form = request.form
    sizes = {"RSA": form.get("min_size_RSA"), "ECDSA": form.get("min_size_ECDSA")}
    return {
        "name": form.get("name", "").strip(),
        "description": form.get("description", "").strip(),
        "allowed_key_algorithms": [
            {"algorithm": name, "min_size": int(sizes.get(name) or 0)}
            for name in form.getlist("key_algorithms")
        ],
        "default_validity_seconds": _seconds("default_validity"),
        "max_ttl_seconds": _seconds("max_ttl"),
        "allowed_ekus": lines(form.get("ekus")),
        "required_san_patterns": lines(form.get("required_san_patterns")),
        "spiffe_uri_pattern": form.get("spiffe_uri_pattern", "").strip(),
        "allowed_subject_attributes": form.get("allowed_subject_attributes", "")
        .replace(",", " ")
        .split(),
        **{name: form.get(name) in {"true", "on"} for name in _FLAGS},
    }


def _seconds(name: str) -> int:
    text = request.form.get(name, "").strip()
    if not text:
        return 0
    match = _LENGTH.fullmatch(text)
    if match is None:
        message = "is not a length of time such as 90d, 12h or 30m"
        raise Invalid(fields=[FieldError(field=name, message=message)])
    return int(match[1]) * _UNITS[match[2]]


def _length(seconds: int) -> str:
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return str(seconds) if seconds else ""


def _form_of(view: Values) -> Values:
    sizes = {rule["algorithm"]: rule["min_size"] for rule in view["allowed_key_algorithms"]}
    return {
        **view,
        "key_algorithms": list(sizes),
        "min_size_RSA": sizes.get("RSA", 2048),
        "min_size_ECDSA": sizes.get("ECDSA", 256),
        "ekus": "\n".join(view["allowed_ekus"]),
        "default_validity": _length(view["default_validity_seconds"]),
        "max_ttl": _length(view["max_ttl_seconds"]),
        "required_san_patterns": "\n".join(view["required_san_patterns"]),
        "allowed_subject_attributes": " ".join(view["allowed_subject_attributes"]),
    }


_BLANK: Values = {
    "name": "",
    "description": "",
    "key_algorithms": ["ECDSA", "RSA", "Ed25519"],
    "min_size_RSA": 2048,
    "min_size_ECDSA": 256,
    "ekus": "serverAuth",
    "default_validity": "90d",
    "max_ttl": "",
    "required_san_patterns": "",
    "spiffe_uri_pattern": "",
    "allowed_subject_attributes": "",
    "include_aia": True,
    "include_cdp": True,
    "enabled": True,
}
