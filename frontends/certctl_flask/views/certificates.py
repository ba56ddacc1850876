"""Certificates: list, page, issue, renew, revoke, archive, download."""

from __future__ import annotations

import base64
import re
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.wrappers.response import Response as AnyResponse

from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.operations import File
from certctl_flask.views.base import Pages, Values, download, lines, list_state
from certctl_flask.views.choices import choices

_FILTERS = (
    "status",
    "environment",
    "issuer_id",
    "profile_id",
    "source",
    "spki_sha256",
    "expires_before",
    "expires_after",
    "include_archived",
)
_TABS = ("overview", "versions", "deployments", "events")
_OPEN_JOBS = ("Pending", "Running", "AwaitingCSR", "AwaitingApproval", "AwaitingIssuer")
_BASE = "/ui/certificates"
_COMMON_NAME = re.compile(r"(?:^|,)CN=([^,]+)")


def add(blueprint: Blueprint, pages: Pages) -> None:
    """Mount everything below ``/ui/certificates``."""

    @blueprint.get(_BASE)
    def certificates() -> AnyResponse:
        state = list_state(*_FILTERS)
        return pages.render(
            "certificates/list.html",
            "certificates",
            page=pages.call("certificates.list", query=state.parameters),
            query=state.query,
            issuers=choices(pages, "issuers", "issuer_id"),
            profiles=choices(pages, "profiles", "profile_id"),
        )

    @blueprint.get(f"{_BASE}/new")
    def new_certificate() -> AnyResponse:
        pages.require("certificate.issue")
        renewing = request.args.get("renew")
        view = pages.call("certificates.get", {"certificate_id": renewing}) if renewing else None
        return _form(pages, renewing=view, form=_renewal_form(view) if view else {})

    @blueprint.post(f"{_BASE}/new")
    def create_certificate() -> AnyResponse:
        def act() -> tuple[str, str]:
            created = pages.call("certificates.create", body=_body(request.form))
            target_id = request.form.get("target_id", "")
            if target_id and pages.has("certificates.link_target"):
                pages.call(
                    "certificates.link_target",
                    {"certificate_id": created["id"], "target_id": target_id},
                )
            done = "was issued" if created.get("issued") else "was created"
            return f"{_BASE}/{created['id']}", f"{created['name']} {done}."

        return pages.submit(act, lambda values: _form(pages, renewing=None, **values))

    @blueprint.get(f"{_BASE}/<certificate_id>")
    def certificate(certificate_id: str) -> AnyResponse:
        return _page(pages, certificate_id)

    @blueprint.post(f"{_BASE}/<certificate_id>/renew")
    def renew_certificate(certificate_id: str) -> AnyResponse:
        def act() -> tuple[str, str]:
            csr = request.form.get("csr_pem", "").strip()
            body: Values = {"csr_pem": csr} if csr else {}
            result = pages.call("certificates.renew", {"certificate_id": certificate_id}, body=body)
            done = "A new version was issued." if result["issued"] else "The renewal has started."
            return f"{_BASE}/{certificate_id}", done

        return pages.submit(act, lambda values: _page(pages, certificate_id, "renew", **values))

    @blueprint.post(f"{_BASE}/<certificate_id>/revoke")
    def revoke_certificate(certificate_id: str) -> AnyResponse:
        def act() -> tuple[str, str]:
            body = {
                "reason": request.form.get("reason", "unspecified"),
                "scope": request.form.get("scope") or None,
            }
            pages.call("certificates.revoke", {"certificate_id": certificate_id}, body=body)
            return f"{_BASE}/{certificate_id}", "The certificate is revoked."

        return pages.submit(act, lambda values: _page(pages, certificate_id, "revoke", **values))

    @blueprint.post(f"{_BASE}/<certificate_id>/unhold")
    def unhold_certificate(certificate_id: str) -> AnyResponse:
        def act() -> tuple[str, str]:
            pages.call("certificates.unhold", {"certificate_id": certificate_id})
            return f"{_BASE}/{certificate_id}", "The hold is released."

        return pages.submit(act, lambda values: _page(pages, certificate_id, "unhold", **values))

    @blueprint.post(f"{_BASE}/<certificate_id>/archive")
    def archive_certificate(certificate_id: str) -> AnyResponse:
        def act() -> tuple[str, str]:
            pages.call("certificates.archive", {"certificate_id": certificate_id})
            return _BASE, "The certificate is archived."

        return pages.submit(act, lambda values: _page(pages, certificate_id, "archive", **values))

    @blueprint.get(f"{_BASE}/<certificate_id>/edit")
    def edit_certificate(certificate_id: str) -> AnyResponse:
        pages.require("certificate.edit")
        return _edit_form(pages, certificate_id)

    @blueprint.post(f"{_BASE}/<certificate_id>/edit")
    def save_certificate(certificate_id: str) -> AnyResponse:
        def act() -> tuple[str, str]:
            form = request.form
            version, path = form.get("version", ""), {"certificate_id": certificate_id}
            gone = dict.fromkeys(pages.call("certificates.get", path)["tags"])
            pages.call(
                "certificates.update",
                path,
                body={
                    "name": form.get("name", "").strip(),
                    "environment": form.get("environment", "").strip(),
                    "tags": gone | _tags(form),
                    "certificate_profile_id": form.get("certificate_profile_id") or None,
                    "renewal_policy_id": form.get("renewal_policy_id") or None,
                    "managed_renewal": form.get("managed_renewal") in {"true", "on"},
                },
                if_match=int(version) if version.isdigit() else None,
            )
            return f"{_BASE}/{certificate_id}", "The certificate was saved."

        return pages.submit(act, lambda values: _edit_form(pages, certificate_id, **values))

    @blueprint.get(f"{_BASE}/<certificate_id>/download")
    def download_certificate(certificate_id: str) -> Response:
        version = request.args.get("version", "")
        found = pages.call(
            "certificates.download",
            {"certificate_id": certificate_id},
            query={"version_id": version} if version else {},
        )
        wanted = request.args.get("format", "fullchain")
        name = pages.call("certificates.get", {"certificate_id": certificate_id})["common_name"]
        return download(_file(found, wanted, name))


def _page(
    pages: Pages, certificate_id: str, open_dialog: str = "", *, status: int = 200, **values: Any
) -> AnyResponse:
    path = {"certificate_id": certificate_id}
    view = pages.call("certificates.get", path)
    tab = request.args.get("tab", "overview")
    tab = tab if tab in _TABS else "overview"
    state = list_state()

    def part(name: str) -> Values:
        """The page of a tab that is open; the newest row and the number of one that is not."""
        query = state.parameters if tab == name else {"page_size": "1"}
        return pages.page(f"certificates.{name}", path, query=query)

    details = pages.maybe("certificates.details", path) or {}
    jobs = pages.rows("jobs.list", certificate_id=certificate_id, page_size=5)
    version = details.get("version")
    return pages.render(
        "certificates/detail.html",
        "certificates",
        status=status,
        certificate=view,
        tab=tab,
        query=state.query | {"tab": tab},
        version=version,
        details=details.get("details"),
        chain=details.get("chain") or _root(pages, version),
        versions=part("versions"),
        deployments=part("deployments"),
        targets=pages.every("certificates.targets", path),
        events=pages.rows("audit.list", resource_id=certificate_id, page_size=50)
        if tab == "events"
        else [],
        open_job=next((job for job in jobs if job["status"] in _OPEN_JOBS), None),
        revocation=_revocation(pages, details.get("details"), version),
        crl=_said(pages, "crl.check", certificate_id),
        ocsp=_said(pages, "ocsp.check", certificate_id),
        same_key=_same_key(pages, view, version),
        open_dialog=open_dialog,
        **values,
    )


def _same_key(pages: Pages, view: Values, version: Values | None) -> Values | None:
    """What is still valid with the compromised key of a certificate: the first ones, and how many."""
    if view["revocation_reason"] != "keyCompromise" or not version:
        return None
    query = {"spki_sha256": version["spki_sha256"], "include_archived": "true", "page_size": "10"}
    found = pages.call("certificates.list", query=query)
    return found if found["total"] else None


def _root(pages: Pages, version: Values | None) -> list[Values]:
    """The CA of our own that signed, where the certificate comes without a chain."""
    if not version or not version["ca_key_id"]:
        return []
    keys = pages.maybe("issuers.ca_keys", {"issuer_id": version["issuer_id"]}) or {"data": []}
    return [
        {
            "common_name": found[1] if (found := _COMMON_NAME.search(key["subject"])) else "",
            "subject": key["subject"],
            "is_self_issued": True,
            "key": {"name": key["key_algorithm"]},
            "not_after": key["not_after"],
        }
        for key in keys["data"]
        if key["ca_key_id"] == version["ca_key_id"]
    ]


def _revocation(pages: Pages, details: Values | None, version: Values | None) -> Values | None:
    if not details or not version:
        return None
    crls, ocsp = details.get("crl_urls") or [], details.get("ocsp_urls") or []
    state = pages.maybe("crl.state") or {"cache_rows": []}
    row = next(
        (item for item in state["cache_rows"] if item["ca_key_id"] == version["ca_key_id"]), None
    )
    if not crls and not ocsp and row is None:
        return None
    path = f"/.well-known/pki/crl/{version['issuer_id']}/{version['ca_key_id']}"
    url = crls[0] if crls else (path if row else None)
    shown = _list_of(row, url or "") if row else None
    return {
        "crl_url": url,
        "ocsp_url": ocsp[0] if ocsp else None,
        "is_checked": row is not None or bool(version["ca_key_id"]),
        "state": None if row is None else _state(shown),
        "crl_number": shown["crl_number"] if shown else None,
        "next_update": shown["next_update"] if shown else None,
    }


def _list_of(row: Values, url: str) -> Values | None:
    """The partition that the address names, else the complete list; None before it is made."""
    _, found, part = url.partition(f"/{row['ca_key_id']}/")
    if found:
        return next((item for item in row["parts"] if item["part"] == part), None)
    return row if row["cache_present"] else None


def _state(shown: Values | None) -> str:
    if shown is None:
        return "not generated"
    return "stale" if shown["is_stale"] else "fresh"


def _said(pages: Pages, operation: str, certificate_id: str) -> Values | None:
    """What a check that the reader asked for says, or why it cannot be said."""
    if request.args.get("check") != operation.partition(".")[0]:
        return None
    try:
        found: Values = pages.call(operation, {"certificate_id": certificate_id})
    except CertctlError as error:
        return {"failure": error.detail}
    return {"failure": None, **found}


def _form(
    pages: Pages, *, renewing: Values | None, form: Values, status: int = 200, **values: Any
) -> AnyResponse:
    return pages.render(
        "certificates/new.html",
        "certificates",
        status=status,
        renewing=renewing,
        form=form,
        issuers=choices(pages, "issuers", "issuer_id"),
        profiles=choices(pages, "enabled-profiles", "certificate_profile_id"),
        policies=choices(pages, "policies", "renewal_policy_id"),
        targets=choices(pages, "targets", "target_id"),
        **values,
    )


def _renewal_form(view: Values) -> Values:
    return {
        "key_mode": "browser",
        "common_name": view["common_name"],
        "sans": "\n".join(view["sans"]),
        "name": view["name"],
        "issuer_id": view["issuer_id"],
        "certificate_profile_id": view["certificate_profile_id"],
        "renewal_policy_id": view["renewal_policy_id"],
        "environment": view["environment"],
    }


def _body(form: Any) -> Values:
    body: Values = {
        "common_name": form.get("common_name", "").strip() or None,
        "environment": form.get("environment", "").strip(),
        "tags": _tags(form),
    }
    for name in ("name", "issuer_id", "certificate_profile_id", "renewal_policy_id"):
        if form.get(name, "").strip():
            body[name] = form[name].strip()
    names = lines(form.get("sans"))
    if names:
        body["sans"] = names
    if form.get("key_mode") == "agent":
        body["managed_renewal"] = True
    else:
        body["csr_pem"] = form.get("csr_pem", "").strip()
        body["managed_renewal"] = form.get("managed_renewal") in {"true", "on"}
    return {key: value for key, value in body.items() if value is not None}


def _tags(form: Any) -> dict[str, str]:
    return {
        line.partition("=")[0].strip(): line.partition("=")[2].strip()
        for line in lines(form.get("tags"))
        if "=" in line
    }


def _edit_form(
    pages: Pages, certificate_id: str, *, status: int = 200, form: Values | None = None, **more: Any
) -> AnyResponse:
    view = pages.call("certificates.get", {"certificate_id": certificate_id})
    stored = {**view, "tags": "\n".join(f"{key}={text}" for key, text in view["tags"].items())}
    return pages.render(
        "certificates/edit.html",
        "certificates",
        status=status,
        certificate=view,
        form=form or stored,
        profiles=choices(pages, "profiles", "certificate_profile_id"),
        policies=choices(pages, "policies", "renewal_policy_id"),
        **more,
    )


def _file(found: Values, wanted: str, common_name: str) -> File:
    stem = "".join(ch if ch.isalnum() or ch in "-._" else "_" for ch in common_name)[:100]
    if wanted == "der":
        body = "".join(found["cert_pem"].strip().splitlines()[1:-1])
        return File(
            content=base64.b64decode(body),
            media_type="application/pkix-cert",
            filename=f"{stem}.cer",
        )
    member, suffix = {
        "cert": ("cert_pem", "cert"),
        "chain": ("chain_pem", "chain"),
    }.get(wanted, ("full_pem", "fullchain"))
    return File(
        content=found[member].encode(),
        media_type="application/x-pem-file",
        filename=f"{stem}-{suffix}.pem",
    )
