"""Metrics over HTTP (spec 08 §8): behind the pipeline, and on a listener of their own."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from flask import Flask, Response, request
from pydantic_core import to_json

from certctl_core.kernel.observability import Reading
from certctl_core.kernel.release import COMMIT, VERSION
from certctl_flask.edge import context_of

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from certctl_core.app import Core
    from certctl_core.kernel.observability import MetricsExport
    from certctl_core.kernel.secrets import Secret

PERMISSION = "metrics.read"


def readings(core: Core) -> list[Reading]:
    """What is counted in the database when somebody looks: a few counter rows, two index ranges."""
    with core.units.read() as uow:
        certificates = uow.counters("certificates.status.")
        jobs = uow.counters("jobs.status.")
        summary = core.rooms.reports.summary(uow)
        untold = core.rooms.revocation.count_unnotified(uow)
    found = [
        Reading(
            name="certctl_build_info",
            documentation="The release that answers.",
            value=1,
            labels={"version": VERSION, "commit": COMMIT or "unknown"},
        ),
        Reading(
            name="certctl_certificate_expiring_soon",
            documentation="Live certificates that end within 30 days.",
            value=summary.expiring_certificates,
        ),
        Reading(
            name="certctl_revocation_issuer_pending",
            documentation="Revocations that a foreign issuer has not taken yet.",
            value=untold,
        ),
    ]
    found += [
        Reading(
            name="certctl_certificates",
            documentation="Managed certificates by state.",
            value=count,
            labels={"status": status},
        )
        for status, count in sorted(certificates.items())
    ]
    found += [
        Reading(
            name="certctl_jobs",
            documentation="Jobs by state.",
            value=count,
            labels={"status": status},
        )
        for status, count in sorted(jobs.items())
    ]
    return found


def mount_metrics(app: Flask, core: Core, export: MetricsExport) -> None:
    """Routes for scrapers that send an API key with ``metrics.read``."""
    export.add_reader(partial(readings, core))

    def require() -> None:
        context = context_of(request.environ)
        actor = context.require_actor()
        with core.units.read(actor, request_id=context.request_id) as uow:
            core.rooms.access.require(uow, actor, PERMISSION)

    def prometheus() -> Response:
        require()
        content_type, body = export.render(request.headers.get("Accept", ""))
        return Response(body, content_type=content_type)

    def document() -> Response:
        require()
        series = [
            {"name": item.name, "labels": dict(item.labels), "value": item.value}
            for item in export.snapshot()
        ]
        return Response(to_json({"metrics": series}), mimetype="application/json")

    app.add_url_rule("/metrics", "metrics", prometheus)
    app.add_url_rule("/api/v1/metrics/prometheus", "metrics-prometheus", prometheus)
    app.add_url_rule("/api/v1/metrics", "metrics-json", document)


def metrics_wsgi(export: MetricsExport, token: Secret | None) -> WSGIApplication:
    """The application of the metrics listener: ``GET /metrics``, with the token where one is set."""

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/metrics" or environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _plain(start_response, "404 Not Found", [])
        if token is not None and not _has(environ, token):
            challenge = [("WWW-Authenticate", 'Bearer realm="certctl"')]
            return _plain(start_response, "401 Unauthorized", challenge)
        content_type, body = export.render(environ.get("HTTP_ACCEPT", ""))
        start_response(
            "200 OK", [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        )
        return [body]

    return serve


def _has(environ: WSGIEnvironment, token: Secret) -> bool:
    scheme, _, value = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(
        value.strip().encode(), token.reveal().encode()
    )


def _plain(
    start_response: StartResponse, status: str, headers: list[tuple[str, str]]
) -> Iterable[bytes]:
    body = status.partition(" ")[2].encode() + b".\n"
    start_response(
        status,
        [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            *headers,
        ],
    )
    return [body]
