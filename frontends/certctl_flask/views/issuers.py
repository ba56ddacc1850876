"""Issuers: the list, one of them, and what makes, changes, tests and deletes one."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request
from werkzeug.wrappers.response import Response as AnyResponse

from certctl_core.kernel.errors import CertctlError, NotFound
from certctl_core.kernel.operations import File
from certctl_flask.views.base import (
    Pages,
    Values,
    download,
    form_values,
    list_state,
    problem_of,
)
from certctl_flask.views.config_form import (
    config_after,
    config_of,
    filled,
    placed,
    stored_fields,
)

_VERBS = {
    "test": "issuers.test",
    "enable": "issuers.enable",
    "disable": "issuers.disable",
    "regenerate": "crl.regenerate",
    "rotate-responder": "ocsp.rotate",
}
_DONE = {
    "enable": "The issuer is enabled.",
    "disable": "The issuer is disabled.",
    "regenerate": "New revocation lists are in force.",
    "rotate-responder": "The OCSP responder has a new key and certificate.",
}
_FIELDS = {"name_taken": "name", "id_taken": "id"}
"""Refusals that belong to a field."""


def add(blueprint: Blueprint, pages: Pages) -> None:
    """Mount ``/ui/issuers`` and what lies below it, but for the CA keys and the CA tree."""
    _reading(blueprint, pages)
    _creating(blueprint, pages)
    _changing(blueprint, pages)


def _reading(blueprint: Blueprint, pages: Pages) -> None:
    @blueprint.get("/ui/issuers")
    def issuers() -> AnyResponse:
        state = list_state("kind", "enabled", "health")
        page = pages.call("issuers.list", query=state.parameters)
        counts: dict[str, int] = {}
        for row in page["data"]:
            counts[row["kind"]] = counts.get(row["kind"], 0) + 1
        return pages.render(
            "issuers/list.html",
            "issuers",
            page=page,
            query=state.query,
            types=[{**item, "count": counts.get(item["kind"], 0)} for item in _types(pages)],
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


def _creating(blueprint: Blueprint, pages: Pages) -> None:
    @blueprint.get("/ui/issuers/new")
    def new_issuer() -> AnyResponse:
        pages.require("issuer.edit")
        form = {"enabled": "true", "test": "true"}
        return _form(pages, None, request.args.get("kind", ""), form=form)

    @blueprint.post("/ui/issuers/new")
    def create_issuer() -> AnyResponse:
        form = request.form
        kind = form.get("kind", "")
        schema = _kind(pages, kind)["schema"]
        if "try" in form:
            return _form(pages, None, kind, form=form_values(form), **_trial(pages, None))

        def act() -> tuple[str, str]:
            body: Values = {
                "kind": kind,
                "name": form.get("name", ""),
                "enabled": bool(form.get("enabled")),
                "test": bool(form.get("test")),
                "config": config_of(schema, form),
            }
            if form.get("id", "").strip():
                body["id"] = form["id"].strip()
            made = pages.call("issuers.create", body=body)
            return f"/ui/issuers/{made['id']}", f"The issuer {made['name']} was created."

        return pages.submit(act, lambda values: _form(pages, None, kind, **values))

    @blueprint.post("/ui/issuers/try")
    def try_issuer() -> AnyResponse:
        """What a test of the form finds, as a part of the page."""
        issuer_id = request.form.get("base_id", "")
        pages.require("issuer.edit")
        found = pages.call("issuers.get", {"issuer_id": issuer_id}) if issuer_id else None
        trial = _trial(pages, found)
        fields = stored_fields(
            _schema(pages, found["kind"] if found else request.form.get("kind", "")), {}
        )
        errors, faults = placed(trial.pop("errors"), fields)
        titles = {f"config[{field['name']}]": field["title"] for field in fields}
        faults += [f"{titles.get(name, name)}: {text}" for name, text in errors.items()]
        return pages.render("issuers/_trial.html", "issuers", faults=faults, **trial)


def _changing(blueprint: Blueprint, pages: Pages) -> None:
    @blueprint.get("/ui/issuers/<issuer_id>/edit")
    def edit_issuer(issuer_id: str) -> AnyResponse:
        pages.require("issuer.edit")
        view = pages.call("issuers.get", {"issuer_id": issuer_id})
        return _form(pages, view, view["kind"])

    @blueprint.post("/ui/issuers/<issuer_id>/edit")
    def save_issuer(issuer_id: str) -> AnyResponse:
        form, path = request.form, {"issuer_id": issuer_id}
        view = pages.call("issuers.get", path)
        if "try" in form:
            shown = form_values(form)
            return _form(pages, view, view["kind"], form=shown, **_trial(pages, view))

        def act() -> tuple[str, str]:
            version = form.get("version", "")
            body: Values = {
                "name": form.get("name", ""),
                "enabled": bool(form.get("enabled")),
            }
            config = config_after(_schema(pages, view["kind"]), form, view["config"])
            is_changed = config != view["config"]
            if is_changed:
                body["config"] = config
            pages.call(
                "issuers.replace" if is_changed else "issuers.update",
                path,
                body=body,
                if_match=int(version) if version.isdigit() else None,
            )
            return f"/ui/issuers/{issuer_id}", "The issuer was saved."

        return pages.submit(act, lambda values: _form(pages, view, view["kind"], **values))

    @blueprint.post("/ui/issuers/<issuer_id>/delete")
    def delete_issuer(issuer_id: str) -> AnyResponse:
        def act() -> tuple[str, str]:
            pages.call("issuers.delete", {"issuer_id": issuer_id})
            return "/ui/issuers", "The issuer was deleted."

        return pages.submit(
            act, lambda values: issuer_page(pages, issuer_id, open_dialog="delete", **values)
        )

    verbs = ", ".join(f"'{verb}'" for verb in _VERBS)

    @blueprint.post(f"/ui/issuers/<issuer_id>/<any({verbs}):verb>")
    def change_issuer(issuer_id: str, verb: str) -> AnyResponse:
        def act() -> tuple[str, str]:
            result = pages.call(_VERBS[verb], {"issuer_id": issuer_id})
            text = _DONE.get(verb) or (
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


def _types(pages: Pages) -> list[Values]:
    """The installed kinds; ``reason`` says why the reader cannot use one."""
    may_execute = "issuer.execute" in pages.permissions()
    found: list[Values] = []
    for item in pages.rows("issuer_types.list"):
        reason = item.get("error") or ""
        if not reason and "EXECUTES_CODE" in item["capabilities"] and not may_execute:
            reason = (
                "It runs commands of the operator, which your roles do not allow you to set up."
            )
        found.append({**item, "reason": reason})
    return found


def _kind(pages: Pages, kind: str) -> Values:
    """A kind of the catalogue.

    Raises:
        NotFound: It is not installed.
    """
    for item in _types(pages):
        if kind == item["kind"] or kind in item["aliases"]:
            return item
    raise NotFound


def _schema(pages: Pages, kind: str) -> Values | None:
    """The schema of a stored issuer's kind; None when its plugin is gone."""
    try:
        schema: Values | None = _kind(pages, kind)["schema"]
    except NotFound:
        return None
    return schema


def _trial(pages: Pages, issuer: Values | None) -> Values:
    """Test what stands in the form; nothing is saved."""
    form = request.form
    kind = issuer["kind"] if issuer else form.get("kind", "")
    schema = _schema(pages, kind)
    body: Values = {"kind": kind}
    if issuer:
        body |= {"base_id": issuer["id"], "config": config_after(schema, form, issuer["config"])}
    else:
        body["config"] = config_of(schema, form)
    try:
        return {"report": pages.call("issuers.try", body=body), "problem": None, "errors": {}}
    except CertctlError as error:
        errors = {item.field: item.message for item in error.fields}
        return {"report": None, "problem": problem_of(error), "errors": errors}


def _form(
    pages: Pages,
    issuer: Values | None,
    kind: str,
    *,
    form: Values | None = None,
    status: int = 200,
    **values: Any,
) -> AnyResponse:
    try:
        chosen = _kind(pages, kind) if kind else None
    except NotFound:
        if issuer is None:
            raise
        chosen = {"kind": kind, "title": issuer["title"], "schema": None}
    stored = issuer["config"] if issuer else None
    fields = stored_fields(chosen["schema"], stored or {}) if chosen else []
    if form is None and issuer:
        form = {"name": issuer["name"], "enabled": issuer["enabled"], "version": issuer["version"]}
    problem = values.pop("problem", None)
    errors = dict(values.pop("errors", {}))
    if problem and problem["code"] in _FIELDS:
        errors[_FIELDS[problem["code"]]] = problem["detail"]
    return pages.render(
        "issuers/form.html",
        "issuers",
        status=status,
        issuer=issuer,
        kind=chosen,
        types=[] if chosen else _types(pages),
        problem=problem,
        report=values.pop("report", None) or (problem or {}).get("report"),
        **filled(fields, stored, form or {}, errors, is_sent=request.method == "POST"),
        **values,
    )
