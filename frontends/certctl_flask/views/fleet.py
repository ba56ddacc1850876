"""Agents and targets."""

from __future__ import annotations

import shlex
from typing import Any

from flask import Blueprint, request
from werkzeug.wrappers.response import Response

from certctl_core.kernel.errors import CertctlError, NotFound
from certctl_flask.views.base import Pages, Values, list_state
from certctl_flask.views.choices import choices
from certctl_flask.views.config_form import (
    config_of,
    fields_of,
    filled,
)

_STATUSES = ("Online", "Offline", "Degraded")


def add(blueprint: Blueprint, pages: Pages) -> None:
    """Mount everything below ``/ui/agents`` and ``/ui/targets``."""
    _agents(blueprint, pages)
    _targets(blueprint, pages)


# -- agents -----------------------------------------------------------------------------------


def _agents(blueprint: Blueprint, pages: Pages) -> None:
    @blueprint.get("/ui/agents")
    def agents() -> Response:
        return _agent_list(pages, view="active")

    @blueprint.get("/ui/agents/retired")
    def retired_agents() -> Response:
        return _agent_list(pages, view="retired")

    @blueprint.post("/ui/agents/tokens")
    def new_token() -> Response:
        form = request.form
        body: Values = {"label": form.get("label", "")}
        for name in ("expires_in_seconds", "max_uses"):
            if form.get(name):
                body[name] = form[name]
        try:
            made = pages.call("enrollment_tokens.create", body=body)
        except CertctlError as error:
            failed = error
            return pages.submit(
                lambda: _raise(failed),
                lambda values: _agent_list(pages, view="active", open_dialog="enroll", **values),
            )
        server = str(pages.core.settings.server.public_url or request.host_url).rstrip("/")
        enroll = f"certctl agent enroll --server {shlex.quote(server)} --token {made['token']}"
        response = pages.render(
            "agents/token.html",
            "agents",
            token=made,
            value=made["token"],
            commands=[
                {"title": "Enroll", "command": f"{enroll} --ca-bundle ca.crt"},
                {"title": "Run", "command": "certctl agent run"},
            ],
        )
        response.headers["Cache-Control"] = "no-store"
        return response

    @blueprint.post("/ui/agents/tokens/<token_id>/revoke")
    def revoke_token(token_id: str) -> Response:
        def act() -> tuple[str, str]:
            pages.call("enrollment_tokens.revoke", {"token_id": token_id})
            return "/ui/agents", "The enrollment token is revoked."

        return pages.submit(act, lambda values: _agent_list(pages, view="active", **values))

    @blueprint.get("/ui/agents/<agent_id>")
    def agent(agent_id: str) -> Response:
        return _agent_page(pages, agent_id)

    @blueprint.post("/ui/agents/<agent_id>/retire")
    def retire_agent(agent_id: str) -> Response:
        query = {"reason": request.form.get("reason", "")}
        if request.form.get("force"):
            query["force"] = "true"

        def act() -> tuple[str, str]:
            pages.call("agents.retire", {"agent_id": agent_id}, query=query)
            return f"/ui/agents/{agent_id}", "The agent is retired."

        return pages.submit(
            act, lambda values: _agent_page(pages, agent_id, open_dialog="retire", **values)
        )


def _raise(error: CertctlError) -> tuple[str, str]:
    raise error


def _agent_list(pages: Pages, *, view: str, status: int = 200, **values: Any) -> Response:
    state = list_state("status")
    lists = {"active": "agents.list", "retired": "agents.list_retired"}
    active = pages.call("agents.list", query={"page_size": "1"})
    retired = pages.call("agents.list_retired", query={"page_size": "1"})
    by_status = []
    for name in _STATUSES:
        found = pages.call("agents.list", query={"status": name, "page_size": "1"})
        by_status.append({"status": name, "count": found["total"]})
    return pages.render(
        "agents/list.html",
        "agents",
        status=status,
        page=pages.call(lists[view], query=state.parameters),
        query=state.query,
        view=view,
        counts={"active": active["total"], "retired": retired["total"]},
        by_status=by_status,
        tokens=pages.every("enrollment_tokens.list"),
        **values,
    )


def _agent_page(pages: Pages, agent_id: str, *, status: int = 200, **values: Any) -> Response:
    problem = values.get("problem") or {}
    return pages.render(
        "agents/detail.html",
        "agents",
        status=status,
        agent=pages.call("agents.get", {"agent_id": agent_id}),
        targets=pages.every("targets.list", agent_id=agent_id),
        jobs=pages.rows("jobs.list", agent_id=agent_id, page_size=10),
        blocked=problem.get("counts"),
        **values,
    )


# -- targets ----------------------------------------------------------------------------------


def _targets(blueprint: Blueprint, pages: Pages) -> None:
    @blueprint.get("/ui/targets")
    def targets() -> Response:
        state = list_state("kind", "agent_id", "enabled")
        return pages.render(
            "targets/list.html",
            "targets",
            page=pages.call("targets.list", query=state.parameters),
            query=state.query,
            types=[(item["kind"], item["title"]) for item in pages.rows("target_types.list")],
            agents=choices(pages, "agents", "agent_id"),
        )

    @blueprint.get("/ui/targets/new")
    def new_target() -> Response:
        pages.require("target.edit")
        kind = request.args.get("kind", "")
        agent_id = request.args.get("agent_id", "")
        return _target_form(pages, kind, form={"agent_id": agent_id, "enabled": "true"})

    @blueprint.post("/ui/targets/new")
    def create_target() -> Response:
        form = request.form
        kind = form.get("kind", "")
        schema = _kind(pages, kind)["schema"]

        def act() -> tuple[str, str]:
            body: Values = {
                "kind": kind,
                "name": form.get("name", ""),
                "agent_id": form.get("agent_id", ""),
                "enabled": bool(form.get("enabled")),
                "config": config_of(schema, form),
            }
            made = pages.call("targets.create", body=body)
            return f"/ui/targets/{made['id']}", "The target is created."

        return pages.submit(act, lambda values: _target_form(pages, kind, **values))

    @blueprint.get("/ui/targets/<target_id>")
    def target(target_id: str) -> Response:
        return _target_page(pages, target_id)

    @blueprint.post("/ui/targets/<target_id>/test")
    def test_target(target_id: str) -> Response:
        def act() -> tuple[str, str]:
            pages.call("targets.test", {"target_id": target_id})
            return f"/ui/targets/{target_id}", "The agent tests the target with its next visit."

        return pages.submit(act, lambda values: _target_page(pages, target_id, **values))

    @blueprint.post("/ui/targets/<target_id>/link")
    def link_target(target_id: str) -> Response:
        path = {"certificate_id": request.form.get("certificate_id", ""), "target_id": target_id}

        def act() -> tuple[str, str]:
            pages.call("certificates.link_target", path, body={})
            return f"/ui/targets/{target_id}", "The certificate is linked."

        return pages.submit(
            act, lambda values: _target_page(pages, target_id, open_dialog="link", **values)
        )

    @blueprint.post("/ui/targets/<target_id>/delete")
    def delete_target(target_id: str) -> Response:
        query = {"force": "true"} if request.form.get("force") else {}

        def act() -> tuple[str, str]:
            pages.call("targets.delete", {"target_id": target_id}, query=query)
            return "/ui/targets", "The target is deleted."

        return pages.submit(
            act, lambda values: _target_page(pages, target_id, open_dialog="delete", **values)
        )


def _kind(pages: Pages, kind: str) -> Values:
    for item in pages.rows("target_types.list"):
        if item["kind"] == kind:
            found: Values = item
            return found
    raise NotFound


def _target_form(pages: Pages, kind: str, *, status: int = 200, **values: Any) -> Response:
    types = pages.rows("target_types.list")
    chosen = _kind(pages, kind) if kind else None
    fields = fields_of(chosen["schema"]) if chosen else []
    sent = values.pop("form", {})
    errors = values.pop("errors", {})
    return pages.render(
        "targets/form.html",
        "targets",
        status=status,
        kind=chosen,
        types=[{**item, "reason": item.get("error") or ""} for item in types],
        agents=choices(pages, "agents", "agent_id"),
        **filled(fields, None, sent, errors, is_sent=request.method == "POST"),
        **values,
    )


def _target_page(pages: Pages, target_id: str, *, status: int = 200, **values: Any) -> Response:
    path = {"target_id": target_id}
    state = list_state()
    linked = pages.every("targets.certificates", path)
    known = {row["id"] for row in linked}
    return pages.render(
        "targets/detail.html",
        "targets",
        status=status,
        target=pages.call("targets.get", path),
        certificates=linked,
        deployments=pages.page("targets.deployments", path, query=state.parameters),
        query=state.query,
        linkable=choices(pages, "certificates", "certificate_id", without=known),
        **values,
    )
