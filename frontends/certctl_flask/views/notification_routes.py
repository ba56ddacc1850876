"""Notification routes: which events go to which notifiers."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request
from werkzeug.wrappers.response import Response

from certctl_core.insight.notifications import ALL_NOTIFIERS
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.events import Event, Severity
from certctl_flask.views.base import Pages, Values, lines, list_state, problem_of
from certctl_flask.views.choices import choices
from certctl_flask.views.route_words import event_groups, sentence

_LISTS = ("events", "severities", "issuer_ids", "profile_ids", "notifiers")
_BLANK: Values = {
    "name": "",
    "priority": 100,
    "enabled": True,
    "continue": True,
    "environments": "",
    "events": [],
    "severities": [],
    "issuer_ids": [],
    "profile_ids": [],
    "notifiers": [],
}


def add(blueprint: Blueprint, pages: Pages) -> None:
    """Mount everything below ``/ui/notification-routes``."""
    if pages.has("notification_routes.list"):
        _reading(blueprint, pages)
        _changing(blueprint, pages)


def _reading(blueprint: Blueprint, pages: Pages) -> None:
    @blueprint.get("/ui/notification-routes")
    def notification_routes() -> Response:
        state = list_state("enabled")
        page = pages.call("notification_routes.list", query=state.parameters)
        names = pages.names()
        tried: Values = {name: request.args.get(name, "") for name in ("event", "severity")}
        preview, problem = None, None
        if tried["event"]:
            try:
                preview = pages.call(
                    "notification_routes.preview",
                    body={name: value for name, value in tried.items() if value},
                )
            except CertctlError as error:
                problem = problem_of(error)
        return pages.render(
            "notification_routes/list.html",
            "notifiers",
            page=page,
            query=state.query,
            sentences={row["id"]: sentence(row, names) for row in page["data"]},
            events=[(tag, tag) for tag in sorted(Event.catalogue)],
            severities=[(item.value, item.value.capitalize()) for item in Severity],
            form=tried,
            preview=preview,
            problem=problem,
        )

    @blueprint.get("/ui/notification-routes/<route_id>")
    def notification_route(route_id: str) -> Response:
        return _page(pages, route_id)


def _changing(blueprint: Blueprint, pages: Pages) -> None:
    @blueprint.get("/ui/notification-routes/new")
    def new_notification_route() -> Response:
        pages.require("notifier.edit")
        return _form(pages, None, form=_BLANK)

    @blueprint.post("/ui/notification-routes/new")
    def create_notification_route() -> Response:
        def act() -> tuple[str, str]:
            made = pages.call("notification_routes.create", body=_body())
            return f"/ui/notification-routes/{made['id']}", "The route is created."

        return pages.submit(act, lambda values: _form(pages, None, **values))

    @blueprint.get("/ui/notification-routes/<route_id>/edit")
    def edit_notification_route(route_id: str) -> Response:
        pages.require("notifier.edit")
        view = pages.call("notification_routes.get", {"route_id": route_id})
        form = {**view, **view["match"], "environments": "\n".join(view["match"]["environments"])}
        return _form(pages, view, form=form)

    @blueprint.post("/ui/notification-routes/<route_id>/edit")
    def save_notification_route(route_id: str) -> Response:
        version = request.form.get("version", "")

        def act() -> tuple[str, str]:
            pages.call(
                "notification_routes.replace",
                {"route_id": route_id},
                body=_body(),
                if_match=int(version) if version.isdigit() else None,
            )
            return f"/ui/notification-routes/{route_id}", "The route is saved."

        view = pages.call("notification_routes.get", {"route_id": route_id})
        return pages.submit(act, lambda values: _form(pages, view, **values))

    @blueprint.post("/ui/notification-routes/<route_id>/delete")
    def delete_notification_route(route_id: str) -> Response:
        def act() -> tuple[str, str]:
            pages.call("notification_routes.delete", {"route_id": route_id})
            return "/ui/notification-routes", "The route is deleted."

        return pages.submit(
            act, lambda values: _page(pages, route_id, open_dialog="delete", **values)
        )


def _body() -> Values:
    form = request.form
    return {
        "name": form.get("name", "").strip(),
        "priority": form.get("priority", "").strip() or _BLANK["priority"],
        "enabled": bool(form.get("enabled")),
        "continue": bool(form.get("continue")),
        "notifiers": form.getlist("notifiers"),
        "match": {
            "events": form.getlist("events"),
            "severities": form.getlist("severities"),
            "environments": lines(form.get("environments")),
            "issuer_ids": form.getlist("issuer_ids"),
            "profile_ids": form.getlist("profile_ids"),
        },
    }


def _form(
    pages: Pages, route: Values | None, *, form: Values, status: int = 200, **values: Any
) -> Response:
    if request.method == "POST":
        form = {**form, **{name: request.form.getlist(name) for name in _LISTS}}
    if "errors" in values:
        errors = values["errors"].items()
        values["errors"] = {
            name.removeprefix("match.").partition(".")[0]: message for name, message in errors
        }
    known = [(row["id"], row["name"], None) for row in pages.every("notifiers.list", sort="name")]
    every = (ALL_NOTIFIERS, "Every enabled notifier", "Those that are made later, too.")
    return pages.render(
        "notification_routes/form.html",
        "notifiers",
        status=status,
        route=route,
        form=form,
        groups=event_groups(form["events"]),
        severities=[(item.value, item.value.capitalize(), None) for item in Severity],
        notifiers=[every, *known],
        issuers=choices(pages, "issuers", "issuer_ids"),
        profiles=choices(pages, "profiles", "profile_ids"),
        **values,
    )


def _page(pages: Pages, route_id: str, *, status: int = 200, **values: Any) -> Response:
    route = pages.call("notification_routes.get", {"route_id": route_id})
    return pages.render(
        "notification_routes/detail.html",
        "notifiers",
        status=status,
        route=route,
        sentence=sentence(route, pages.names()),
        **values,
    )
