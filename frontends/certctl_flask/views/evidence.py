"""The audit log and notifications."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.wrappers.response import Response as AnyResponse

from certctl_core.kernel.errors import NotFound, RateLimited
from certctl_core.kernel.events import Event
from certctl_flask.views.base import Pages, Values, download, list_state

_FILTERS = (
    "category",
    "actor",
    "actor_type",
    "action",
    "resource_type",
    "resource_id",
    "since",
    "until",
)
_EXPORT_DAYS = 30
_VIEWS: dict[str, Values] = {"all": {}, "unread": {"unread": "true"}, "dead": {"status": "dead"}}


def add(blueprint: Blueprint, pages: Pages) -> None:
    """Mount everything below ``/ui/audit`` and ``/ui/notifications``."""

    @blueprint.get("/ui/audit")
    def audit() -> AnyResponse:
        return _audit_page(pages)

    @blueprint.post("/ui/audit/verify")
    def verify_audit() -> AnyResponse:
        def act() -> tuple[str, str]:
            try:
                report = pages.call("audit.verify", body={})
            except RateLimited as error:
                return "/ui/audit", str(error)
            text = "The log is intact." if report["ok"] else "The log is broken; see below."
            return "/ui/audit", text

        return pages.submit(act, lambda values: _audit_page(pages, **values))

    @blueprint.get("/ui/audit/export")
    def export_audit() -> Response:
        query = {
            name: f"{request.args[name]}T00:00:00Z"
            for name in ("from", "to")
            if name in request.args
        }
        if request.args.get("format"):
            query["format"] = request.args["format"]
        return download(pages.call("audit.export", query=query))

    if pages.has("notifications.list"):
        _notifications(blueprint, pages)


def _audit_page(pages: Pages, *, status: int = 200, **values: Any) -> AnyResponse:
    state = list_state(*_FILTERS)
    log = pages.maybe("audit.checkpoint")
    today = pages.core.clock.now().date()
    return pages.render(
        "audit/list.html",
        "audit",
        status=status,
        page=pages.call("audit.list", query=state.parameters),
        query=state.query,
        log={**log, "signed_at": log["created_at"], "unsealed": 0} if log else None,
        report=log["last_verification"] if log else None,
        export_from=(today - timedelta(days=_EXPORT_DAYS)).isoformat(),
        export_to=(today + timedelta(days=1)).isoformat(),
        **values,
    )


def _notifications(blueprint: Blueprint, pages: Pages) -> None:
    @blueprint.get("/ui/notifications")
    def notifications() -> AnyResponse:
        return _notification_page(pages, "all")

    @blueprint.get("/ui/notifications/<view>")
    def notifications_part(view: str) -> AnyResponse:
        if view not in _VIEWS:
            raise NotFound
        return _notification_page(pages, view)

    @blueprint.post("/ui/notifications/<notification_id>/<verb>")
    def change_notification(notification_id: str, verb: str) -> AnyResponse:
        if verb not in {"read", "unread", "requeue"}:
            raise NotFound

        def act() -> tuple[str, str]:
            pages.call(f"notifications.{verb}", {"notification_id": notification_id})
            return "/ui/notifications", ""

        return pages.submit(act, lambda _values: notifications())

    @blueprint.post("/ui/notifications/read-all")
    def read_all_notifications() -> AnyResponse:
        def act() -> tuple[str, str]:
            pages.call("notifications.read_all")
            return "/ui/notifications", "All notifications are read."

        return pages.submit(act, lambda _values: notifications())


def _notification_page(pages: Pages, view: str) -> AnyResponse:
    state = list_state("event", "severity", "certificate_id")
    return pages.render(
        "notifications/list.html",
        "notifications",
        page=pages.call("notifications.list", query=state.parameters | _VIEWS[view]),
        query=state.query,
        view=view,
        counts=pages.call("notifications.counts"),
        events=[(tag, tag) for tag in sorted(Event.catalogue)],
    )
