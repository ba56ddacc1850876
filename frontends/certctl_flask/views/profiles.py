"""Profiles."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request
from werkzeug.wrappers.response import Response as AnyResponse

from certctl_core.kernel.errors import CertctlError
from certctl_flask.views.base import Pages, Values, lines, list_state, problem_of
from certctl_flask.views.lengths import length_of, seconds_of

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
    """Mount everything below ``/ui/profiles``."""

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
        "default_validity_seconds": seconds_of(
            form.get("default_validity", ""), "default_validity"
        ),
        "max_ttl_seconds": seconds_of(form.get("max_ttl", ""), "max_ttl"),
        "allowed_ekus": lines(form.get("ekus")),
        "required_san_patterns": lines(form.get("required_san_patterns")),
        "spiffe_uri_pattern": form.get("spiffe_uri_pattern", "").strip(),
        "allowed_subject_attributes": form.get("allowed_subject_attributes", "")
        .replace(",", " ")
        .split(),
        **{name: form.get(name) in {"true", "on"} for name in _FLAGS},
    }


def _form_of(view: Values) -> Values:
    sizes = {rule["algorithm"]: rule["min_size"] for rule in view["allowed_key_algorithms"]}
    return {
        **view,
        "key_algorithms": list(sizes),
        "min_size_RSA": sizes.get("RSA", 2048),
        "min_size_ECDSA": sizes.get("ECDSA", 256),
        "ekus": "\n".join(view["allowed_ekus"]),
        "default_validity": length_of(view["default_validity_seconds"]),
        "max_ttl": length_of(view["max_ttl_seconds"]),
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
