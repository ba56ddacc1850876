"""Sign in, sign out, preferences."""

from __future__ import annotations

from flask import Blueprint, jsonify, make_response, redirect, render_template, request
from werkzeug.wrappers.response import Response

from certctl_core.kernel.errors import Unauthenticated
from certctl_core.people.identity import CSRF_COOKIE, SESSION_COOKIE, BadCredential, NewSession
from certctl_flask.edge import context_of, refuse_foreign_origin
from certctl_flask.views.base import Pages

_YEAR = 31536000
_PREFERENCES = ("theme", "density", "times")
_MAX_KEY = 512


def add(blueprint: Blueprint, pages: Pages) -> None:
    """Mount ``/login``, ``/auth/logout`` and ``/ui/preferences``."""
    sessions = pages.core.sessions
    samesite = str(pages.core.settings.sessions.samesite)

    def form(status: int = 200, problem: dict[str, str] | None = None) -> Response:
        return make_response(
            render_template(
                "login.html",
                csrf_token="",
                next=_safe(request.values.get("next", "")),
                problem=problem,
                signed_out=request.args.get("signed_out") == "1",
                expired=request.args.get("expired") == "1",
            ),
            status,
        )

    @blueprint.get("/login")
    def login_form() -> Response:
        if context_of(request.environ).session is not None:
            return redirect("/ui/")
        return form()

    @blueprint.post("/login")
    def login() -> Response:
        refuse_foreign_origin(request.environ)
        context = context_of(request.environ)
        key = request.form.get("api_key", "").strip()
        try:
            if not 0 < len(key) <= _MAX_KEY:
                raise BadCredential
            new = sessions.login_with_key(
                key, ip=context.client_ip, user_agent=request.headers.get("User-Agent", "")
            )
        except Unauthenticated:
            detail = "This API key is not valid. Check that it was copied whole and has not ended."
            return form(401, {"title": "Sign-in failed", "detail": detail})
        response = redirect(_safe(request.form.get("next", "")) or "/ui/", code=303)
        _set_cookies(response, new, samesite)
        return response

    @blueprint.post("/auth/logout")
    def logout() -> Response:
        session = context_of(request.environ).session
        if session is not None:
            with pages.core.begin(session.actor) as uow:
                sessions.revoke(uow, session.id)
                sessions.rotate_csrf(uow, actor_type=session.actor.type, actor_id=session.actor.id)
        context_of(request.environ).session = None
        response: Response
        if request.accept_mimetypes.best == "application/json":
            response = jsonify({"redirect": None})
        else:
            response = redirect("/login?signed_out=1", code=303)
        for name in (SESSION_COOKIE, CSRF_COOKIE):
            response.delete_cookie(name, path="/", secure=True)
        return response

    @blueprint.post("/ui/preferences")
    def preferences() -> Response:
        response = redirect(_safe(request.form.get("next", "")) or "/ui/", code=303)
        for name in _PREFERENCES:
            value = request.form.get(name, "")
            if name == "times" and value == "zone":
                value = request.form.get("zone", "").strip() or "utc"
            if value:
                response.set_cookie(
                    f"certctl_{name}", value[:64], max_age=_YEAR, path="/", secure=True
                )
        return response


def _set_cookies(response: Response, new: NewSession, samesite: str) -> None:
    response.set_cookie(
        SESSION_COOKIE,
        new.cookie.reveal(),
        expires=new.session.absolute_expires_at,
        path="/",
        secure=True,
        httponly=True,
        samesite=samesite,
    )
    response.set_cookie(
        CSRF_COOKIE,
        new.session.csrf_token,
        expires=new.session.absolute_expires_at,
        path="/",
        secure=True,
        samesite=samesite,
    )


def _safe(target: str) -> str:
    """A path on this server, or empty: never an address elsewhere."""
    if not target.startswith("/") or target.startswith(("//", "/\\")) or "\n" in target:
        return ""
    return target[:2000]
