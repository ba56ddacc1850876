"""The Flask application and the WSGI callable around it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from flask import Flask, Response, redirect, request
from pydantic_core import to_json
from werkzeug.wrappers.response import Response as AnyResponse

from certctl_core.api import problem
from certctl_core.kernel.observability import MetricsExport
from certctl_flask.edge import Edge, context_of
from certctl_flask.failures import noted
from certctl_flask.metrics import mount_metrics
from certctl_flask.mount import LateRule, ShortWay, mount_operations
from certctl_flask.views import create_ui, error_page, wants_page

if TYPE_CHECKING:
    from certctl_core.app import Core


def create_app(core: Core, *, metrics: MetricsExport | None = None) -> Edge:
    """The WSGI application of an installation: REST, UI, probes and the public PKI paths.

    Args:
        core: The installation.
        metrics: Where the numbers of this process go; those of this process alone when None.
    """
    app = Flask("certctl_flask", static_folder=None)
    app.url_rule_class = LateRule
    app.json.sort_keys = False  # type: ignore[attr-defined] # the default provider has it
    mount_operations(app, core)
    _mount_probes(app, core)
    mount_metrics(app, core, metrics or MetricsExport(clock=core.clock))
    app.register_blueprint(create_ui(core))
    app.register_error_handler(Exception, partial(_failed, core))
    return Edge(core, ShortWay(core, app))


def _mount_probes(app: Flask, core: Core) -> None:
    @app.get("/health")
    def health() -> Response:
        return Response(b'{"status":"healthy"}', mimetype="application/json")

    @app.get("/.well-known/certctl/audit-key")
    def audit_key() -> Response:
        with core.units.read() as uow:
            key = core.rooms.audit.published_key(uow)
        return Response(f"{key}\n", mimetype="text/plain")

    @app.get("/ready")
    def ready() -> Response:
        state = core.readiness()
        return Response(
            to_json(state.document), status=200 if state.ready else 503, mimetype="application/json"
        )

    @app.get("/api/v1/openapi.json")
    def document() -> Response:
        return Response(to_json(core.openapi()), mimetype="application/json")

    @app.get("/")
    def root() -> AnyResponse:
        return redirect("/ui/")


def _failed(core: Core, error: Exception) -> AnyResponse:
    """Every failure in a route, as a page for people and as a problem for programs."""
    context = context_of(request.environ)
    typed = noted(error, request.environ, core.denials)
    if wants_page(request):
        return error_page(typed, context)
    found = problem(typed, request_id=context.request_id)
    response = Response(
        to_json(found.document), status=found.status, mimetype="application/problem+json"
    )
    for name, value in found.headers:
        response.headers[name] = value
    return response
