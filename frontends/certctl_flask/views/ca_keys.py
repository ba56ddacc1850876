"""What may be done with the CA keys of an issuer: rotate, end a stolen one, retire one."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, request
from werkzeug.wrappers.response import Response

from certctl_flask.views.base import Pages, Values
from certctl_flask.views.issuers import issuer_page


def add(blueprint: Blueprint, pages: Pages) -> None:
    """Mount everything below ``/ui/issuers/ID/ca``."""

    @blueprint.post("/ui/issuers/<issuer_id>/ca/rotate")
    def rotate_ca(issuer_id: str) -> Response:
        def act() -> tuple[str, str]:
            form = request.form
            body: Values = {"cross_sign": form.get("cross_sign") == "true"}
            if form.get("common_name", "").strip():
                body["common_name"] = form["common_name"].strip()
            if form.get("algorithm"):
                body["algorithm"] = form["algorithm"]
            if form.get("validity_days", "").strip():
                body["validity_days"] = form["validity_days"].strip()
            made = pages.call("ca.rotate", {"issuer_id": issuer_id}, body=body)
            text = f"{made['current']['subject']} issues from now on."
            return f"/ui/issuers/{issuer_id}", text

        return _submit(pages, issuer_id, act, "rotate-ca")

    @blueprint.post("/ui/issuers/<issuer_id>/ca/<ca_key_id>/compromised")
    def mark_ca_compromised(issuer_id: str, ca_key_id: str) -> Response:
        def act() -> tuple[str, str]:
            body = {
                "note": request.form.get(f"note_{ca_key_id[:8]}", "").strip(),
                "renew": request.form.get("renew") == "true",
            }
            path = {"issuer_id": issuer_id, "ca_key_id": ca_key_id}
            done = pages.call("ca.mark_compromised", path, body=body)
            count = done["unexpired"]
            text = f"The key signs nothing any more; {count} certificates of it have not expired."
            return f"/ui/issuers/{issuer_id}", text

        return _submit(pages, issuer_id, act, f"compromised-{ca_key_id}")

    @blueprint.post("/ui/issuers/<issuer_id>/ca/<ca_key_id>/retire")
    def retire_ca(issuer_id: str, ca_key_id: str) -> Response:
        def act() -> tuple[str, str]:
            pages.call("ca.retire", {"issuer_id": issuer_id, "ca_key_id": ca_key_id})
            return f"/ui/issuers/{issuer_id}", "The CA key is retired."

        return _submit(pages, issuer_id, act, f"retire-{ca_key_id}")


def _submit(
    pages: Pages, issuer_id: str, act: Callable[[], tuple[str, str]], dialog: str
) -> Response:
    def again(values: Values) -> Response:
        return issuer_page(pages, issuer_id, **{**values, "open_dialog": dialog})

    return pages.submit(act, again)
