"""Jobs."""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from werkzeug.wrappers.response import Response

from certctl_core.kernel.errors import NotFound
from certctl_flask.views.base import Pages, list_state

_TYPES = (
    ("Issuance", "Issuance"),
    ("Renewal", "Renewal"),
    ("Deployment", "Deployment"),
    ("Validation", "Validation"),
    ("RevocationNotice", "Revocation notice"),
)


def add(blueprint: Blueprint, pages: Pages) -> None:
    """Mount everything below ``/ui/jobs``."""

    @blueprint.get("/ui/jobs")
    def jobs() -> Response:
        return _list(pages)

    @blueprint.get("/ui/jobs/<job_id>")
    def job(job_id: str) -> Response:
        return _page(pages, job_id)

    @blueprint.post("/ui/jobs/<job_id>/<verb>")
    def change_job(job_id: str, verb: str) -> Response:
        if verb not in {"cancel", "retry"}:
            raise NotFound

        def act() -> tuple[str, str]:
            pages.call(f"jobs.{verb}", {"job_id": job_id})
            done = "cancelled" if verb == "cancel" else "due again"
            return f"/ui/jobs/{job_id}", f"The job is {done}."

        return pages.submit(act, lambda values: _page(pages, job_id, **values))


def _list(pages: Pages) -> Response:
    state = list_state("status", "type", "certificate_id", "target_id", "agent_id")
    waiting = pages.maybe("jobs.list", query={"status": "AwaitingApproval", "page_size": "1"})
    return pages.render(
        "jobs/list.html",
        "jobs",
        page=pages.call("jobs.list", query=state.parameters),
        query=state.query,
        types=_TYPES,
        waiting=waiting["total"] if waiting else 0,
    )


def _page(pages: Pages, job_id: str, *, status: int = 200, **values: Any) -> Response:
    return pages.render(
        "jobs/detail.html",
        "jobs",
        status=status,
        job=pages.call("jobs.get", {"job_id": job_id}),
        events=pages.rows("audit.list", resource_id=job_id, page_size=50),
        **values,
    )
