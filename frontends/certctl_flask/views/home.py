"""Dashboard and search."""

from __future__ import annotations

from flask import Blueprint, request
from werkzeug.wrappers.response import Response

from certctl_flask.views.base import Pages, Values

_TIMELINE_DAYS = 91
_TREND_DAYS = 30
_MAX_QUERY = 256
_SHORT, _FEW = 6, 4
_AGENTS = {
    "": "total_agents",
    "Online": "active_agents",
    "Degraded": "degraded_agents",
    "Offline": "offline_agents",
}


def add(blueprint: Blueprint, pages: Pages) -> None:
    """Mount ``/ui/`` and ``/ui/search``."""

    @blueprint.get("/ui/")
    @blueprint.get("/ui")
    def dashboard() -> Response:
        return pages.render(
            "dashboard.html",
            "dashboard",
            summary=_summary(pages),
            by_status=(pages.maybe("stats.by_status") or {"data": []})["data"],
            timeline=_days(pages, "stats.expirations", _TIMELINE_DAYS),
            issuance=[
                {"date": item["date"], "issued_count": item["count"]}
                for item in _days(pages, "stats.issuance", _TREND_DAYS)
            ],
            job_trends=_days(pages, "stats.jobs", _TREND_DAYS),
            expiring=pages.rows(
                "certificates.list",
                page_size=_SHORT,
                sort="expires_at",
                expires_after=pages.core.clock.now().isoformat(),
            ),
            recent_jobs=pages.rows("jobs.list", page_size=_FEW),
            activity=pages.rows("audit.list", page_size=_SHORT),
        )

    @blueprint.get("/ui/search")
    def search() -> Response:
        text = request.args.get("q", "").strip()[:_MAX_QUERY]
        return pages.render(
            "search.html",
            "",
            q=text,
            certificates=pages.rows("certificates.list", page_size=20, q=text) if text else [],
            issuers=pages.rows("issuers.list", page_size=10, q=text) if text else [],
        )


def _days(pages: Pages, name: str, days: int) -> list[Values]:
    if not pages.has(name):
        return []
    found = pages.maybe(name, query={"days": str(days)})
    data: list[Values] = found["data"] if found else []
    return data


def _summary(pages: Pages) -> Values:
    """The figures; agents are counted by their list, which the reader may see or not."""
    summary: Values = pages.maybe("stats.summary") or dict(_EMPTY)
    for status, member in _AGENTS.items():
        query = {"page_size": "1"} | ({"status": status} if status else {})
        found = pages.maybe("agents.list", query=query)
        summary[member] = found["total"] if found else 0
    summary["active_agents"] += summary.pop("degraded_agents")
    return summary


_EMPTY = dict.fromkeys(
    (
        "total_certificates",
        "expiring_certificates",
        "expired_certificates",
        "revoked_certificates",
        "total_agents",
        "active_agents",
        "offline_agents",
        "pending_jobs",
        "failed_jobs",
        "complete_jobs",
    ),
    0,
)
