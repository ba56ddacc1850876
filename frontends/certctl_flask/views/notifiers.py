"""Notifiers: where messages go, whether they arrive."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request
from werkzeug.wrappers.response import Response

from certctl_core.insight.notifications import ALL_NOTIFIERS
from certctl_flask.views.base import Pages, Values, list_state
from certctl_flask.views.config_form import (
    config_after,
    config_of,
    filled,
    stored_fields,
)

_NEWEST = 10


def add(blueprint: Blueprint, pages: Pages) -> None:
    """Mount everything below ``/ui/notifiers``."""
    if pages.has("notifiers.list"):
        _reading(blueprint, pages)
        _making(blueprint, pages)
        _changing(blueprint, pages)


def _reading(blueprint: Blueprint, pages: Pages) -> None:
    @blueprint.get("/ui/notifiers")
    def notifiers() -> Response:
        state = list_state("kind", "enabled", "health")
        page = pages.call("notifiers.list", query=state.parameters)
        return pages.render(
            "notifiers/list.html",
            "notifiers",
            page=page,
            query=state.query,
            types=[(item["kind"], item["title"]) for item in pages.rows("notifier_types.list")],
            last={row["id"]: _deliveries(pages, row["id"], 1) for row in page["data"]},
        )

    @blueprint.get("/ui/notifiers/<notifier_id>")
    def notifier(notifier_id: str) -> Response:
        return _page(pages, notifier_id)

    @blueprint.post("/ui/notifiers/<notifier_id>/test")
    def test_notifier(notifier_id: str) -> Response:
        send = bool(request.form.get("send"))
        failed: list[Values] = []

        def act() -> tuple[str, str]:
            path = {"notifier_id": notifier_id}
            report = pages.call("notifiers.test", path, body={"send": send})
            if not report["ok"]:
                failed.append(report)
            done = "The test message is delivered" if send else "The connection works"
            found = "; ".join(check["detail"] for check in report["checks"] if check["detail"])
            return f"/ui/notifiers/{notifier_id}", f"{done}: {found}." if found else f"{done}."

        response = pages.submit(act, lambda values: _page(pages, notifier_id, **values))
        return _page(pages, notifier_id, report=failed[0]) if failed else response


def _making(blueprint: Blueprint, pages: Pages) -> None:
    @blueprint.get("/ui/notifiers/new")
    def new_notifier() -> Response:
        pages.require("notifier.edit")
        kind = request.args.get("kind")
        found = pages.call("notifier_types.get", {"kind": kind}) if kind else None
        return _form(pages, kind=found, form={"enabled": True})

    @blueprint.post("/ui/notifiers/new")
    def create_notifier() -> Response:
        kind = pages.call("notifier_types.get", {"kind": request.form.get("kind", "")})
        made: list[Values] = []

        def act() -> tuple[str, str]:
            body = {
                "kind": kind["kind"],
                **_members(),
                "config": config_of(kind["schema"], request.form),
                "test": bool(request.form.get("test")),
            }
            made.append(pages.call("notifiers.create", body=body))
            return f"/ui/notifiers/{made[0]['id']}", "The notifier is created."

        response = pages.submit(act, lambda values: _form(pages, kind=kind, **values))
        if not made or not made[0]["generated_secrets"]:
            return response
        titles = {field["name"]: field["title"] for field in stored_fields(kind["schema"], {})}
        response = pages.render(
            "notifiers/created.html",
            "notifiers",
            notifier=made[0],
            secrets=[
                (titles.get(name, name), value)
                for name, value in made[0]["generated_secrets"].items()
            ],
        )
        response.headers["Cache-Control"] = "no-store"
        return response


def _changing(blueprint: Blueprint, pages: Pages) -> None:
    @blueprint.get("/ui/notifiers/<notifier_id>/edit")
    def edit_notifier(notifier_id: str) -> Response:
        pages.require("notifier.edit")
        view, kind = _stored(pages, notifier_id)
        form = {name: view[name] for name in ("name", "enabled", "version")}
        return _form(pages, kind=kind, notifier=view, form=form)

    @blueprint.post("/ui/notifiers/<notifier_id>/edit")
    def save_notifier(notifier_id: str) -> Response:
        view, kind = _stored(pages, notifier_id)
        version = request.form.get("version", "")

        def act() -> tuple[str, str]:
            body = _members()
            if kind["schema"]:
                body["config"] = config_after(kind["schema"], request.form, view["config"])
            pages.call(
                "notifiers.replace" if kind["schema"] else "notifiers.update",
                {"notifier_id": notifier_id},
                body=body,
                if_match=int(version) if version.isdigit() else None,
            )
            return f"/ui/notifiers/{notifier_id}", "The notifier is saved."

        return pages.submit(act, lambda values: _form(pages, kind=kind, notifier=view, **values))

    @blueprint.post("/ui/notifiers/<notifier_id>/delete")
    def delete_notifier(notifier_id: str) -> Response:
        query = {"force": "true"} if request.form.get("force") else {}

        def act() -> tuple[str, str]:
            pages.call("notifiers.delete", {"notifier_id": notifier_id}, query=query)
            return "/ui/notifiers", "The notifier is deleted."

        return pages.submit(
            act, lambda values: _page(pages, notifier_id, open_dialog="delete", **values)
        )


def _members() -> Values:
    form = request.form
    return {"name": form.get("name", "").strip(), "enabled": bool(form.get("enabled"))}


def _stored(pages: Pages, notifier_id: str) -> tuple[Values, Values]:
    """A notifier and its kind, which has no schema where the plugin is gone."""
    view = pages.call("notifiers.get", {"notifier_id": notifier_id})
    kind = pages.maybe("notifier_types.get", {"kind": view["kind"]})
    return view, kind or {"kind": view["kind"], "title": view["title"], "schema": None}


def _deliveries(pages: Pages, notifier_id: str, count: int) -> list[Values]:
    """Its newest deliveries, as far as the reader may see them."""
    return pages.rows("notification_deliveries.list", notifier_id=notifier_id, page_size=count)


def _form(
    pages: Pages,
    *,
    kind: Values | None,
    form: Values,
    notifier: Values | None = None,
    status: int = 200,
    **values: Any,
) -> Response:
    stored = notifier["config"] if notifier else None
    fields = stored_fields(kind["schema"], stored or {}) if kind else []
    errors = values.pop("errors", {})
    return pages.render(
        "notifiers/form.html",
        "notifiers",
        status=status,
        kind=kind,
        types=pages.rows("notifier_types.list"),
        notifier=notifier,
        **filled(fields, stored, form, errors, is_sent=request.method == "POST"),
        **values,
    )


def _page(
    pages: Pages,
    notifier_id: str,
    *,
    status: int = 200,
    report: Values | None = None,
    **values: Any,
) -> Response:
    deliveries = _deliveries(pages, notifier_id, _NEWEST)
    told = {
        item["notification_id"]: pages.maybe(
            "notifications.get", {"notification_id": item["notification_id"]}
        )
        for item in deliveries
    }
    return pages.render(
        "notifiers/detail.html",
        "notifiers",
        status=status,
        notifier=pages.call("notifiers.get", {"notifier_id": notifier_id}),
        deliveries=[{**item, "about": told[item["notification_id"]]} for item in deliveries],
        routes=[
            route
            for route in pages.every("notification_routes.list")
            if {notifier_id, ALL_NOTIFIERS} & set(route["notifiers"])
        ],
        report=report,
        **values,
    )
