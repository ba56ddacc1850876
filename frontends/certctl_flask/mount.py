"""Operations → routes: each operation of the table becomes one Flask rule, and nothing else does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from flask import Flask, Response, request
from pydantic_core import to_json
from typing_extensions import override
from werkzeug.routing import Rule

from certctl_core.api import Answer, Dispatcher, HTTPRequest, problem
from certctl_core.api.table import BASE_PATH
from certctl_core.kernel.operations import Access, Operation
from certctl_flask.edge import context_of
from certctl_flask.failures import noted

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from certctl_core.app import Core

_WITHOUT_BODY = frozenset({204, 304})
_PARAMETER = re.compile(r"\{([a-z_]+)\}")


class LateRule(Rule):
    """A rule that learns to build its URL when one is asked for; most are only ever matched.

    Werkzeug compiles two functions for that when a rule is added, which would be most of the time
    that the application takes to come up.
    """

    @override
    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        make = super()._compile_builder
        made: list[Callable[..., tuple[str, str]]] = []

        def build(rule: Rule, /, **values: object) -> tuple[str, str]:
            if not made:
                made.append(make(append_unknown))
            return made[0](rule, **values)

        return build


def mount_operations(app: Flask, core: Core) -> None:
    """Add a route for every operation of the installation."""
    for operation in core.table:
        app.add_url_rule(
            BASE_PATH + _PARAMETER.sub(r"<\1>", operation.path),
            endpoint=f"api:{operation.name}",
            view_func=_view(core, operation),
            methods=[operation.method],
            provide_automatic_options=False,
        )


class ShortWay:
    """The WSGI application before Flask: it answers the operations whose path has no parameter.

    They need neither Werkzeug's matching nor its request and response objects, which take longer
    than many an operation. Everything else goes on to Flask, whose rules know them, too.
    """

    def __init__(self, core: Core, app: WSGIApplication) -> None:
        self._app = app
        self._dispatcher = core.dispatcher
        self._denials = core.denials
        self._operations = {
            (operation.method, BASE_PATH + operation.path): operation
            for operation in core.table
            if "{" not in operation.path
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        operation = self._operations.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if operation is None:
            return self._app(environ, start_response)
        try:
            answer = _answer(self._dispatcher, operation, environ, {})
        except Exception as error:  # noqa: BLE001 - the edge is where everything ends
            context = context_of(environ)
            typed = noted(error, environ, self._denials)
            found = problem(typed, request_id=context.request_id)
            return _send(
                start_response,
                found.status,
                to_json(found.document),
                [("Content-Type", "application/problem+json"), *found.headers],
            )
        return _send(start_response, answer.status, answer.body, _headers(answer))


def _send(
    start_response: StartResponse, status: int, body: bytes, headers: list[tuple[str, str]]
) -> list[bytes]:
    if status not in _WITHOUT_BODY:
        headers.append(("Content-Length", str(len(body))))
    start_response(f"{status} {HTTPStatus(status).phrase}", headers)
    return [body]


def _headers(answer: Answer) -> list[tuple[str, str]]:
    if answer.status in _WITHOUT_BODY:
        return list(answer.headers)
    return [("Content-Type", answer.media_type), *answer.headers]


def _answer(
    dispatcher: Dispatcher, operation: Operation, environ: WSGIEnvironment, path: dict[str, str]
) -> Answer:
    context = context_of(environ)
    is_public = operation.access is Access.PUBLIC
    query = environ.get("QUERY_STRING", "")
    return dispatcher.http(
        operation,
        HTTPRequest(
            actor=context.actor if is_public else context.require_actor(),
            request_id=context.request_id,
            path=path,
            query=parse_qsl(query, keep_blank_values=True, max_num_fields=100) if query else (),
            body=context.body,
            content_type=environ.get("CONTENT_TYPE", ""),
            if_match=environ.get("HTTP_IF_MATCH", ""),
            if_none_match=environ.get("HTTP_IF_NONE_MATCH", ""),
            idempotency_key=environ.get("HTTP_IDEMPOTENCY_KEY", ""),
            client_ip=context.client_ip,
        ),
    )


def _view(core: Core, operation: Operation) -> Callable[..., Response]:
    dispatcher = core.dispatcher

    def view(**path: str) -> Response:
        answer = _answer(dispatcher, operation, request.environ, path)
        response = Response(answer.body, status=answer.status, mimetype=None)
        del response.headers["Content-Type"]
        for name, value in _headers(answer):
            response.headers[name] = value
        return response

    return view
