"""API keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Blueprint, request
from werkzeug.wrappers.response import Response

from certctl_core.kernel.errors import CertctlError
from certctl_flask.views.base import Pages, Values, form_values, list_state, plain


def add(blueprint: Blueprint, pages: Pages) -> None:
    """Mount everything below ``/ui/api-keys``."""

    @blueprint.get("/ui/api-keys")
    def api_keys() -> Response:
        state = list_state()
        if state.query["sort"].lstrip("-") == "expires_at":
            state.parameters.pop("sort")
        page = pages.call("api_keys.list", query=state.parameters)
        actor = pages.actor
        return pages.render(
            "api_keys/list.html",
            "api-keys",
            page={**page, "data": [{**row, "role_ids": row["roles"]} for row in page["data"]]},
            query=state.query,
            names=_role_names(pages, page["data"]),
            own_key_id=actor.id,
        )

    @blueprint.get("/ui/api-keys/new")
    def new_api_key() -> Response:
        pages.require("auth.key.create")
        form = {"name": "", "role_ids": ["r-viewer"], "expires_in_days": "90"}
        return _form(pages, form=form)

    @blueprint.post("/ui/api-keys/new")
    def create_api_key() -> Response:
        days = request.form.get("expires_in_days", "")
        body: Values = {
            "name": request.form.get("name", "").strip(),
            "role_ids": request.form.getlist("role_ids"),
        }
        if days.isdigit():
            body["expires_at"] = pages.core.clock.now() + timedelta(days=int(days))
        else:
            body["no_expiry"] = True
        shown: list[Values] = []

        def act() -> tuple[str, str]:
            shown.append(pages.call("api_keys.create", body=body))
            return "/ui/api-keys", ""

        def again(values: Values) -> Response:
            values["form"]["role_ids"] = body["role_ids"]
            return _form(pages, **values)

        response = pages.submit(act, again)
        if not shown:
            return response
        created = shown[0]
        response = pages.render(
            "api_keys/created.html",
            "api-keys",
            key={**created, "role_ids": created["roles"], "key_value": ""},
            value=created["key_value"],
            names=_role_names(pages),
        )
        response.headers["Cache-Control"] = "no-store"
        return response

    @blueprint.post("/ui/api-keys/<key_id>/revoke")
    def revoke_api_key(key_id: str) -> Response:
        def act() -> tuple[str, str]:
            pages.call("api_keys.revoke", {"key_id": key_id})
            return "/ui/api-keys", "The key no longer works."

        def again(values: Values) -> Response:
            page = pages.call("api_keys.list", query={"page_size": "50"})
            rows = [{**row, "role_ids": row["roles"]} for row in page["data"]]
            return pages.render(
                "api_keys/list.html",
                "api-keys",
                page={**page, "data": rows},
                query=list_state().query,
                own_key_id=pages.actor.id,
                **{**values, "names": _role_names(pages), "form": form_values(request.form)},
            )

        return pages.submit(act, again)


def _form(pages: Pages, *, form: Values, status: int = 200, **values: Any) -> Response:
    roles = [
        {"id": row["id"], "name": row["name"], "description": row["description"]}
        for row in _roles(pages)
    ]
    return pages.render(
        "api_keys/form.html", "api-keys", status=status, roles=roles, form=form, **values
    )


def _roles(pages: Pages) -> list[Values]:
    found: list[Values] = []
    query = {"page_size": "200"}
    try:
        while True:
            page = plain(pages.core.dispatcher.call("auth.roles", query=query))
            found += page["data"]
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]
    except CertctlError:
        return []


def _role_names(pages: Pages, keys: list[Values] | None = None) -> Values:
    """Id → name of roles, and of the keys that made other keys."""
    return {row["id"]: row["name"] for row in [*_roles(pages), *(keys or [])]}
