"""Revoking many certificates, and the keys that are never certified again."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, request
from werkzeug.wrappers.response import Response

from certctl_core.kernel.errors import FieldError, Invalid
from certctl_flask.views.base import Pages, Values, lines, list_state
from certctl_flask.views.choices import choices

_CRITERIA = ("profile_id", "issuer_id", "agent_id", "ca_key_id", "spki_sha256", "source")
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
_MARKS = (
    ("-----BEGIN CERTIFICATE-----", "certificate_pem"),
    ("CERTIFICATE REQUEST-----", "csr_pem"),
    ("-----BEGIN PUBLIC KEY-----", "public_key_pem"),
)


def add(blueprint: Blueprint, pages: Pages) -> None:
    """Mount ``/ui/certificates/revoke-many`` and what is below ``/ui/blocked-keys``."""
    _many(blueprint, pages)
    _blocked_keys(blueprint, pages)


def _many(blueprint: Blueprint, pages: Pages) -> None:
    @blueprint.get("/ui/certificates/revoke-many")
    def revoke_many() -> Response:
        pages.require("certificate.bulk_revoke")
        form = {name: request.args.get(name, "") for name in (*_CRITERIA, "reason")}
        return _many_page(pages, form=form)

    @blueprint.post("/ui/certificates/revoke-many/preview")
    def preview_many() -> Response:
        shown: list[Values] = []

        def act() -> tuple[str, str]:
            shown.append(pages.call("certificates.bulk_revoke", body=_body(dry_run=True)))
            return "/ui/certificates/revoke-many", ""

        answer = pages.submit(act, lambda values: _many_page(pages, **values))
        if not shown:
            return answer
        return _many_page(pages, form=request.form.to_dict(), preview=shown[0])

    @blueprint.post("/ui/certificates/revoke-many")
    def do_revoke_many() -> Response:
        shown: list[Values] = []

        def act() -> tuple[str, str]:
            counted = request.form.get("expected_count", "")
            if request.form.get("confirm", "").strip() != request.form.get("to_revoke"):
                message = "is not the number of certificates to revoke"
                raise Invalid(fields=[FieldError(field="confirm", message=message)])
            body = _body(expected_count=int(counted) if counted.isdigit() else None)
            shown.append(pages.call("certificates.bulk_revoke", body=body))
            return "/ui/certificates", ""

        def again(values: Values) -> Response:
            preview = pages.maybe("certificates.bulk_revoke", body=_body(dry_run=True))
            return _many_page(pages, preview=preview, **values)

        answer = pages.submit(act, again)
        return _many_page(pages, form={}, result=shown[0]) if shown else answer


def _many_page(
    pages: Pages,
    *,
    form: Values,
    status: int = 200,
    preview: Values | None = None,
    result: Values | None = None,
    **values: Any,
) -> Response:
    return pages.render(
        "certificates/revoke_many.html",
        "certificates",
        status=status,
        form=form,
        profiles=choices(pages, "profiles", "profile_id"),
        issuers=choices(pages, "issuers", "issuer_id"),
        agents=choices(pages, "agents", "agent_id"),
        preview=preview,
        result=result,
        **values,
    )


def _body(**members: Any) -> Values:
    form = request.form
    body: Values = {name: form[name] for name in _CRITERIA if form.get(name)}
    ids = lines(form.get("certificate_ids"))
    if ids:
        body["certificate_ids"] = ids
    return {**body, "reason": form.get("reason", ""), **members}


def _blocked_keys(blueprint: Blueprint, pages: Pages) -> None:
    @blueprint.get("/ui/blocked-keys")
    def blocked_keys() -> Response:
        return _keys_page(pages)

    @blueprint.post("/ui/blocked-keys")
    def block_key() -> Response:
        def act() -> tuple[str, str]:
            body = {**_key(), "note": request.form.get("note", "").strip()}
            made = pages.call("blocked_keys.create", body=body)
            return "/ui/blocked-keys", f"The key {made['spki_sha256'][:16]}… is blocked."

        return pages.submit(act, lambda values: _keys_page(pages, "block", **values))

    @blueprint.post("/ui/blocked-keys/<digest>/unblock")
    def unblock_key(digest: str) -> Response:
        def act() -> tuple[str, str]:
            pages.call("blocked_keys.delete", {"digest": digest})
            return "/ui/blocked-keys", "The key can be certified again."

        return pages.submit(act, lambda values: _keys_page(pages, **values))

    @blueprint.post("/ui/blocked-key-lists/<name>/delete")
    def delete_key_list(name: str) -> Response:
        def act() -> tuple[str, str]:
            pages.call("blocked_key_lists.delete", {"name": name})
            return "/ui/blocked-keys", f"The list {name} is deleted."

        return pages.submit(act, lambda values: _keys_page(pages, **values))


def _keys_page(
    pages: Pages, open_dialog: str = "", *, status: int = 200, **values: Any
) -> Response:
    state = list_state("source")
    return pages.render(
        "blocked_keys/list.html",
        "profiles",
        status=status,
        page=pages.call("blocked_keys.list", query=state.parameters),
        lists=pages.every("blocked_key_lists.list", sort="name"),
        query=state.query,
        open_dialog=open_dialog,
        **values,
    )


def _key() -> Values:
    text = request.form.get("key", "").strip()
    if _DIGEST.fullmatch(text.replace(":", "")):
        return {"spki_sha256": text.replace(":", "").lower()}
    for mark, member in _MARKS:
        if mark in text:
            return {member: text}
    message = "is neither PEM of a certificate, request or public key nor a SHA-256 in hex"
    raise Invalid(fields=[FieldError(field="key", message=message)])
