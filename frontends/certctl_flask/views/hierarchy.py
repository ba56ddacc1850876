"""The CAs of an issuer's tree (02 §9): the picture, one CA, and what can be done with it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, request
from werkzeug.wrappers.response import Response as AnyResponse

from certctl_core.kernel.errors import NotFound
from certctl_core.kernel.operations import File
from certctl_flask.views.base import Pages, Values, download, lines
from certctl_flask.views.ca_picture import draw

_ALGORITHMS = (
    ("ECDSA-P256", "ECDSA P-256"),
    ("ECDSA-P384", "ECDSA P-384"),
    ("ECDSA-P521", "ECDSA P-521"),
    ("RSA-2048", "RSA 2048"),
    ("RSA-3072", "RSA 3072"),
    ("RSA-4096", "RSA 4096"),
    ("Ed25519", "Ed25519"),
    ("ML-DSA-44", "ML-DSA-44"),
    ("ML-DSA-65", "ML-DSA-65"),
    ("ML-DSA-87", "ML-DSA-87"),
)
_REASONS = (
    ("unspecified", "Not told"),
    ("keyCompromise", "Its key is in strange hands"),
    ("cACompromise", "The CA is in strange hands"),
    ("affiliationChanged", "It belongs to somebody else now"),
    ("superseded", "Another CA replaces it"),
    ("cessationOfOperation", "It is not needed any more"),
    ("privilegeWithdrawn", "It may not issue any more"),
)
_PARTS = ("organization", "organizational_unit", "country")
_DEFAULTS = {"algorithm": "ECDSA-P256", "ttl_days": "1825"}
_DONE = {
    "import": "The CA is in service.",
    "use": "The CA issues from now on.",
    "retire": "The CA signs nothing new any more.",
    "confirm": "The CA is retired.",
    "revoke": "The CA is revoked.",
}


def add(blueprint: Blueprint, pages: Pages) -> None:
    """Mount everything below ``/ui/issuers/<issuer_id>/hierarchy``."""
    base = "/ui/issuers/<issuer_id>/hierarchy"

    @blueprint.get(base)
    def hierarchy(issuer_id: str) -> AnyResponse:
        return _page(pages, issuer_id, request.args.get("ca", ""))

    @blueprint.get(f"{base}/root")
    def new_root(issuer_id: str) -> AnyResponse:
        pages.require("ca.hierarchy.manage")
        present = _present(pages, issuer_id)
        return _form(pages, issuer_id, None, form={"root_cert_pem": present or ""})

    @blueprint.post(f"{base}/root")
    def create_root(issuer_id: str) -> AnyResponse:
        def act() -> tuple[str, str]:
            body = {
                "name": request.form.get("name", ""),
                "root_cert_pem": request.form.get("root_cert_pem", ""),
                "key_driver_id": request.form.get("key_driver_id", "").strip() or None,
            }
            made = pages.call("intermediates.create", {"issuer_id": issuer_id}, body=body)
            return _at(issuer_id, made["id"]), "The tree has a root."

        return pages.submit(act, lambda values: _form(pages, issuer_id, None, **values))

    @blueprint.get(f"{base}/new")
    def new_ca(issuer_id: str) -> AnyResponse:
        pages.require("ca.hierarchy.manage")
        parent = _ca(pages, issuer_id, request.args.get("parent", ""))
        return _form(pages, issuer_id, parent, form=_DEFAULTS)

    @blueprint.post(f"{base}/new")
    def create_ca(issuer_id: str) -> AnyResponse:
        parent = _ca(pages, issuer_id, request.form.get("parent", ""))

        def act() -> tuple[str, str]:
            body = _body(parent)
            made = pages.call("intermediates.create", {"issuer_id": issuer_id}, body=body)
            return _at(issuer_id, made["id"]), f"The CA {made['name']} was created."

        return pages.submit(act, lambda values: _form(pages, issuer_id, parent, **values))

    @blueprint.get(f"{base}/<ca_id>/<any('certificate.pem', 'request.csr'):file>")
    def ca_file(issuer_id: str, ca_id: str, file: str) -> Response:
        found = _ca(pages, issuer_id, ca_id)
        content = found["cert_pem" if file == "certificate.pem" else "csr_pem"]
        if not content:
            raise NotFound
        return download(
            File(
                content=content.encode(),
                media_type="application/x-pem-file",
                filename=f"{ca_id}{file[file.index('.') :]}",
            )
        )

    @blueprint.post(f"{base}/<ca_id>/<any({', '.join(_DONE)}):verb>")
    def change_ca(issuer_id: str, ca_id: str, verb: str) -> AnyResponse:
        _ca(pages, issuer_id, ca_id)

        def act() -> tuple[str, str]:
            more = _ACTS[verb](pages, issuer_id, ca_id) or ""
            return _at(issuer_id, ca_id), _DONE[verb] + more

        return pages.submit(
            act, lambda values: _page(pages, issuer_id, ca_id, open_dialog=verb, **values)
        )


def _import(pages: Pages, _issuer_id: str, ca_id: str) -> None:
    body = {
        "cert_pem": request.form.get("cert_pem", ""),
        "chain_pem": request.form.get("chain_pem", "").strip() or None,
    }
    pages.call("intermediates.install", {"intermediate_id": ca_id}, body=body)


def _use(pages: Pages, issuer_id: str, ca_id: str) -> None:
    config = {"hierarchy_mode": "tree", "issuing_ca_id": ca_id}
    pages.call("issuers.update", {"issuer_id": issuer_id}, body={"config": config})


def _retire(pages: Pages, _issuer_id: str, ca_id: str, *, confirm: bool = False) -> None:
    body = {"note": request.form.get("retire_note", ""), "confirm": confirm}
    pages.call("intermediates.retire", {"intermediate_id": ca_id}, body=body)


def _confirm(pages: Pages, issuer_id: str, ca_id: str) -> None:
    _retire(pages, issuer_id, ca_id, confirm=True)


def _revoke(pages: Pages, _issuer_id: str, ca_id: str) -> str:
    body = {
        "reason": request.form.get("reason", "unspecified"),
        "note": request.form.get("revoke_note", ""),
    }
    result = pages.call("intermediates.revoke", {"intermediate_id": ca_id}, body=body)
    if result["on_crl"]:
        return ""
    return (
        " No CRL of this server tells it: revoke it at the CA that signed it;"
        " take a root out of every trust store."
    )


_ACTS: dict[str, Any] = {
    "import": _import,
    "use": _use,
    "retire": _retire,
    "confirm": _confirm,
    "revoke": _revoke,
}


def _path(issuer_id: str) -> str:
    return f"/ui/issuers/{quote(issuer_id, safe='')}/hierarchy"


def _at(issuer_id: str, ca_id: str) -> str:
    return f"{_path(issuer_id)}?ca={quote(ca_id, safe='')}"


def _ca(pages: Pages, issuer_id: str, ca_id: str) -> Values:
    """A CA of this issuer's tree.

    Raises:
        NotFound: There is none of that id in it.
    """
    found: Values = pages.call("intermediates.get", {"intermediate_id": ca_id or "ica-none"})
    if found["owning_issuer_id"] != issuer_id:
        raise NotFound
    return found


def _present(pages: Pages, issuer_id: str) -> str | None:
    """The certificate of the CA that the issuer has now, if it can be a root."""
    found = pages.maybe("issuers.ca_keys", {"issuer_id": issuer_id}) or {"data": []}
    for key in found["data"]:
        if key["state"] == "current":
            pem: str = key["certificate_pem"]
            return pem
    return None


def _page(
    pages: Pages, issuer_id: str, ca_id: str, *, status: int = 200, **values: Any
) -> AnyResponse:
    path = {"issuer_id": issuer_id}
    cas = pages.call("intermediates.list", path)["data"]
    keys = pages.maybe("issuers.ca_keys", path) or {"data": []}
    crls = pages.maybe("crl.state") or {"cache_rows": []}
    responders = pages.maybe("ocsp.state") or {"responders": []}
    picture = draw(cas)
    fallback = next((ca for ca in cas if ca["is_issuing"]), cas[0] if cas else None)
    return pages.render(
        "hierarchy/tree.html",
        "issuers",
        status=status,
        issuer=pages.call("issuers.get", path),
        path=_path(issuer_id),
        cas=cas,
        picture=picture,
        chosen=next((ca for ca in cas if ca["id"] == ca_id), fallback),
        mode="tree" if any(ca["is_issuing"] for ca in cas) else "single",
        has_root=any(ca["parent_ca_id"] is None and ca["state"] == "active" for ca in cas),
        keys=keys["data"],
        crls=[row for row in crls["cache_rows"] if row["issuer_id"] == issuer_id],
        responders=[row for row in responders["responders"] if row["issuer_id"] == issuer_id],
        reasons=_REASONS,
        **values,
    )


def _form(
    pages: Pages,
    issuer_id: str,
    parent: Values | None,
    *,
    form: Values,
    status: int = 200,
    **values: Any,
) -> AnyResponse:
    return pages.render(
        "hierarchy/form.html",
        "issuers",
        status=status,
        issuer=pages.call("issuers.get", {"issuer_id": issuer_id}),
        path=_path(issuer_id),
        parent=parent,
        present=None if parent else _present(pages, issuer_id),
        algorithms=_ALGORITHMS,
        form=form,
        **values,
    )


def _body(parent: Values) -> Values:
    form = request.form
    name = form.get("name", "").strip()
    subject: Values = {part: [text] for part in _PARTS if (text := form.get(part, "").strip())}
    subject["common_name"] = form.get("common_name", "").strip() or name
    permitted, excluded = lines(form.get("permitted")), lines(form.get("excluded"))
    body: Values = {
        "name": name,
        "parent_ca_id": parent["id"],
        "subject": subject,
        "algorithm": form.get("algorithm", "ECDSA-P256"),
        "ttl_days": form.get("ttl_days", "") or 1825,
        "csr_only": form.get("csr_only") in {"true", "on"},
        "ocsp_responder_url": form.get("ocsp_responder_url", "").strip() or None,
    }
    if form.get("path_len_constraint", "").strip():
        body["path_len_constraint"] = form["path_len_constraint"].strip()
    if permitted or excluded:
        body["name_constraints"] = [{"permitted": permitted, "excluded": excluded}]
    return body
