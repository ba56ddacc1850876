"""What every view shares: calling operations, the frame's data, lists, forms, messages."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import Blueprint, Response, make_response, redirect, render_template, request
from jinja2 import StrictUndefined
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers.request import Request
from werkzeug.wrappers.response import Response as AnyResponse

from certctl_core.api import problem
from certctl_core.api.problems import typed_error
from certctl_core.kernel.actors import Actor
from certctl_core.kernel.errors import CertctlError, ErrorKind, Unauthenticated
from certctl_core.kernel.operations import File, Page
from certctl_core.people.access import PermissionDenied
from certctl_core.values import dataclass
from certctl_flask.edge import Context, context_of
from certctl_flask.ui import filters
from certctl_flask.views.names import NameCache, Names

if TYPE_CHECKING:
    from certctl_core.app import Core

Values = dict[str, Any]
_FLASH = "__Host-certctl_flash"
_PREFERENCES = {
    "theme": ("auto", "light", "dark"),
    "density": ("comfortable", "compact"),
    "sidebar": ("open", "collapsed"),
    "times": ("relative", "local", "utc"),
}
_STATIC = Path(__file__).parent.parent / "ui" / "static"
_PAGE_SIZE = 50
_NOTHING = frozenset(
    {ErrorKind.FORBIDDEN, ErrorKind.NOT_FOUND, ErrorKind.CONFLICT, ErrorKind.NOT_SUPPORTED}
)


def wants_page(incoming: Request) -> bool:
    """Whether a failure is shown as a page: a browser asked for something that is no API."""
    return not incoming.path.startswith("/api/") and "text/html" in incoming.headers.get(
        "Accept", ""
    )


def error_page(error: CertctlError, context: Context) -> AnyResponse:
    """An error as a page; somebody who is signed out is sent to the sign-in instead."""
    found = problem(error, request_id=context.request_id)
    if error.kind is ErrorKind.UNAUTHENTICATED and request.method == "GET":
        expired = "&expired=1" if error.code == "session_invalid" else ""
        return redirect(f"/login?next={quote(request.full_path.rstrip('?'))}{expired}")
    signed_in = context.session is not None
    return make_response(
        render_template(
            "error.html",
            status=found.status,
            title=found.document["title"],
            detail=found.document["detail"],
            request_id=context.request_id,
            actor=context.actor if signed_in else None,
        ),
        found.status,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListState:
    """A list's place in the address: search, order, filters, cursor."""

    query: Values
    parameters: Values


class Pages:
    """Views use it to talk to the installation and to render."""

    def __init__(self, core: Core, blueprint: Blueprint) -> None:
        self.core = core
        self._asset_version = _digest(_STATIC)
        self._cache = NameCache(core.clock.monotonic)
        blueprint.record_once(lambda state: self._install(state.app.jinja_env))
        blueprint.app_context_processor(self._common)

    def _install(self, environment: Any) -> None:
        filters.install(environment)
        environment.undefined = StrictUndefined
        environment.trim_blocks = False

    # -- operations ---------------------------------------------------------------------------

    @property
    def actor(self) -> Actor:
        """Who looks at the page.

        Raises:
            Unauthenticated: Nobody is signed in.
        """
        return context_of(request.environ).require_actor()

    def call(
        self,
        name: str,
        path: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
        if_match: int | None = None,
    ) -> Any:
        """Run an operation as the reader and get plain data, exactly as the API answers it."""
        context = context_of(request.environ)
        result = self.core.dispatcher.call(
            name,
            actor=context.require_actor(),
            request_id=context.request_id,
            path=path,
            query=query,
            body=body,
            if_match=if_match,
        )
        return plain(result)

    def maybe(self, name: str, path: Mapping[str, str] | None = None, **rest: Any) -> Any:
        """As ``call``; None when the reader may not, or there is nothing."""
        try:
            return self.call(name, path, **rest)
        except CertctlError as error:
            if error.kind in _NOTHING:
                return None
            raise

    def rows(self, name: str, path: Mapping[str, str] | None = None, **query: object) -> list[Any]:
        """The rows of a short list, or none where the reader may not see it."""
        if name not in self.core.table:
            return []
        found = self.maybe(name, path, query={key: str(value) for key, value in query.items()})
        return found["data"] if found else []

    def page(
        self, name: str, path: Mapping[str, str] | None = None, *, query: Mapping[str, str]
    ) -> Values:
        """A page of a list, or an empty one where the reader may not see it."""
        found = self.maybe(name, path, query=query) if name in self.core.table else None
        return found or {"data": [], "total": 0, "next_cursor": None}

    def every(self, name: str, path: Mapping[str, str] | None = None, **query: str) -> list[Any]:
        """All rows of a list that is shown whole, however many; none where the reader may not."""
        wanted = {**query, "page_size": "200"}
        found: list[Any] = []
        while True:
            page = self.page(name, path, query=wanted)
            found += page["data"]
            if page.get("next_cursor") is None:
                return found
            wanted["cursor"] = page["next_cursor"]

    def has(self, name: str) -> bool:
        """Whether this installation offers the operation."""
        return name in self.core.table

    def permissions(self) -> frozenset[str]:
        """What the reader holds anywhere, for hiding what it may not use; ten seconds old at most."""
        found: frozenset[str] = self._cache.get(self._reader(), "permissions", self._permissions)
        return found

    def require(self, permission: str) -> None:
        """Refuse a page that leads to what the reader may not do anywhere.

        Raises:
            PermissionDenied: It lacks the permission.
        """
        if permission not in self.permissions():
            raise PermissionDenied(permission=permission)

    def _permissions(self) -> frozenset[str]:
        with self.core.units.read(self.actor) as uow:
            me = self.core.rooms.access.me(uow, self.actor)
        return frozenset(entry.permission for entry in me.effective_permissions)

    def _reader(self) -> str:
        return f"{self.actor.type}:{self.actor.id}"

    def _counts(self) -> Values:
        """What the navigation counts: unread notifications."""
        if not self.has("notifications.counts"):
            return {}
        found = self.maybe("notifications.counts")
        return {"notifications": found["unread"]} if found else {}

    def names(self) -> Mapping[str, str]:
        """Id → name of whatever a page mentions, as far as the reader may know it."""
        return Names(self.call, self._cache, self._reader())

    # -- rendering ----------------------------------------------------------------------------

    def render(self, template: str, nav: str, *, status: int = 200, **values: Any) -> AnyResponse:
        """A page inside the frame."""
        context = context_of(request.environ)
        session = context.session
        actor = self.actor
        response = make_response(
            render_template(
                template,
                **{
                    "nav": nav,
                    "actor": {"id": actor.id, "type": actor.type.value, "name": actor.label},
                    "permissions": self.permissions(),
                    "csrf_token": session.csrf_token if session else "",
                    "nav_counts": self._cache.get(self._reader(), "counts", self._counts),
                    "flashes": _flashes(),
                    "request_path": request.path,
                    "names": self.names(),
                    "problem": None,
                    "errors": {},
                    "form": {},
                    "open_dialog": "",
                    **values,
                },
            ),
            status,
        )
        if request.cookies.get(_FLASH):
            response.delete_cookie(_FLASH, path="/", secure=True, httponly=True)
        return response

    def submit(
        self,
        action: Callable[[], tuple[str, str]],
        again: Callable[[Values], AnyResponse],
    ) -> AnyResponse:
        """Carry out a form: on success go to (address, message), else show it with what is wrong.

        One that only searches for a choice of a field is shown again with what was found.
        """
        if "find" in request.form:
            return again(
                {
                    "problem": None,
                    "errors": {},
                    "form": form_values(request.form),
                    "status": HTTPStatus.OK,
                }
            )
        try:
            address, message = action()
        except (CertctlError, ValidationError) as error:
            typed = typed_error(error)
            if isinstance(typed, Unauthenticated) or typed.kind is ErrorKind.INTERNAL:
                raise
            context = context_of(request.environ)
            found = problem(typed, request_id=context.request_id)
            return again(
                {
                    "problem": found.document,
                    "errors": {item.field: item.message for item in typed.fields},
                    "form": form_values(request.form),
                    "status": found.status,
                }
            )
        self._cache.forget()
        response = redirect(address, code=303)
        if message:
            _set_flash(response, "good", message)
        return response

    def _common(self) -> Values:
        return {
            "app": {"version": self.core.version, "asset_version": self._asset_version},
            "prefs": preferences(),
            "now": self.core.clock.now(),
        }


def problem_of(error: CertctlError) -> dict[str, object]:
    """What a page shows of a refusal that it does not pass on."""
    return problem(error, request_id=context_of(request.environ).request_id).document


def plain(result: object) -> Any:
    """A view, page or file as plain data with times as text."""
    if isinstance(result, Page):
        return {
            "data": [row.model_dump(mode="json", by_alias=True) for row in result.data],
            "total": result.total,
            "total_exact": result.total_exact,
            "next_cursor": result.next_cursor,
            "page_size": result.size,
        }
    if isinstance(result, BaseModel):
        return result.model_dump(mode="json", by_alias=True)
    return result


def list_state(*names: str) -> ListState:
    """Read a list's address: ``q``, ``sort``, ``cursor``, ``filter[name]`` of the known names."""
    args = request.args
    found = {name: args.get(f"filter[{name}]", "").strip() for name in names}
    query: Values = {
        "q": args.get("q", "").strip(),
        "sort": args.get("sort", ""),
        "cursor": args.get("cursor", ""),
        "page_size": args.get("page_size", ""),
        "filters": found,
    }
    parameters = {name: value for name, value in found.items() if value}
    for name in ("q", "sort", "cursor"):
        if query[name]:
            parameters[name] = query[name]
    parameters["page_size"] = query["page_size"] or str(_PAGE_SIZE)
    for name in ("expires_before", "expires_after", "since", "until"):
        if len(parameters.get(name, "")) == len("2026-01-31"):
            parameters[name] += "T00:00:00Z"
    return ListState(query=query, parameters=parameters)


def form_values(form: MultiDict[str, str]) -> Values:
    """What a form sent, to fill it again; repeated names as lists."""
    values: Values = {name: form.get(name) for name in form if name != "csrf_token"}
    values |= {name: form.getlist(name) for name in form if len(form.getlist(name)) > 1}
    return values


def lines(text: str | None) -> list[str]:
    """The non-empty lines of a text field."""
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


def preferences() -> Values:
    """How this browser wants its pages; cookies that the page itself writes."""
    chosen = {}
    for name, known in _PREFERENCES.items():
        value = request.cookies.get(f"certctl_{name}", "")
        if name == "times" and "/" in value:
            chosen[name] = value
        else:
            chosen[name] = value if value in known else known[0]
    return chosen


def download(file: File) -> Response:
    """A file to save."""
    response = Response(file.content, mimetype=file.media_type)
    if file.filename:
        response.headers["Content-Disposition"] = f'attachment; filename="{file.filename}"'
    return response


def _set_flash(response: AnyResponse, tone: str, text: str) -> None:
    value = base64.urlsafe_b64encode(json.dumps([{"tone": tone, "text": text}]).encode()).decode()
    response.set_cookie(
        _FLASH, value, max_age=60, path="/", secure=True, httponly=True, samesite="Lax"
    )


def _flashes() -> list[Values]:
    value = request.cookies.get(_FLASH)
    if not value:
        return []
    try:
        found = json.loads(base64.urlsafe_b64decode(value))
    except (binascii.Error, ValueError):
        return []
    return [
        {"tone": str(item.get("tone", "info")), "text": str(item.get("text", ""))[:500]}
        for item in found
        if isinstance(item, dict)
    ]


def _digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(path.read_bytes())
    return total.hexdigest()[:12]
