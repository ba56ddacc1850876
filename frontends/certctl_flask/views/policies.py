"""Renewal policies: the list, one of them, and the editor that says what a policy leads to."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request
from pydantic import ValidationError
from werkzeug.wrappers.response import Response

from certctl_core.api import problem
from certctl_core.kernel.errors import CertctlError
from certctl_core.lifecycle.policies import (
    DEFAULT_POLICY_ID,
    RenewalPolicyBody,
    explain_policy,
    usual_renewal,
)
from certctl_flask.edge import context_of
from certctl_flask.views.base import Pages, Values, list_state
from certctl_flask.views.lengths import length_of, seconds_of

_BASE = "/ui/renewal-policies"
_NAV = "renewal-policies"
_NUMBERS = ("renewal_window_days", "renew_at_percent", "max_retries")


def add(blueprint: Blueprint, pages: Pages) -> None:
    """Mount everything below ``/ui/renewal-policies``."""
    _reading(blueprint, pages)
    _saving(blueprint, pages)


def _reading(blueprint: Blueprint, pages: Pages) -> None:
    @blueprint.get(_BASE)
    def renewal_policies() -> Response:
        state = list_state()
        page = pages.call("renewal_policies.list", query=state.parameters)
        return pages.render(
            "renewal_policies/list.html",
            _NAV,
            page={
                **page,
                "data": [{**row, "usual": usual_renewal(_body_of(row))} for row in page["data"]],
            },
            query=state.query,
            default_id=DEFAULT_POLICY_ID,
        )

    @blueprint.get(f"{_BASE}/<policy_id>")
    def renewal_policy(policy_id: str) -> Response:
        return _page(pages, policy_id)


def _saving(blueprint: Blueprint, pages: Pages) -> None:
    @blueprint.get(f"{_BASE}/new")
    def new_renewal_policy() -> Response:
        pages.require("policy.edit")
        blank = RenewalPolicyBody(name="new").model_dump() | {"name": ""}
        return _form(pages, None, form=_form_of(blank))

    @blueprint.post(f"{_BASE}/new")
    def create_renewal_policy() -> Response:
        def act() -> tuple[str, str]:
            made = pages.call("renewal_policies.create", body=_sent())
            return f"{_BASE}/{made['id']}", f"The renewal policy {made['name']} was created."

        return pages.submit(act, lambda values: _form(pages, None, **values))

    @blueprint.post(f"{_BASE}/preview")
    def preview_renewal_policy() -> Response:
        """What the form leads to, as a part of the page."""
        pages.require("policy.read")
        sentences, refused = None, None
        try:
            sentences = explain_policy(RenewalPolicyBody.model_validate(_sent() | {"name": "new"}))
        except (CertctlError, ValidationError) as error:
            request_id = context_of(request.environ).request_id
            refused = problem(error, request_id=request_id).document
        return pages.render(
            "renewal_policies/_preview.html", _NAV, sentences=sentences, problem=refused
        )

    @blueprint.get(f"{_BASE}/<policy_id>/edit")
    def edit_renewal_policy(policy_id: str) -> Response:
        pages.require("policy.edit")
        view = pages.call("renewal_policies.get", {"renewal_policy_id": policy_id})
        return _form(pages, view, form=_form_of(view))

    @blueprint.post(f"{_BASE}/<policy_id>/edit")
    def save_renewal_policy(policy_id: str) -> Response:
        path = {"renewal_policy_id": policy_id}

        def act() -> tuple[str, str]:
            version = request.form.get("version", "")
            pages.call(
                "renewal_policies.replace",
                path,
                body=_sent(),
                if_match=int(version) if version.isdigit() else None,
            )
            return f"{_BASE}/{policy_id}", "The renewal policy was saved."

        view = pages.call("renewal_policies.get", path)
        return pages.submit(act, lambda values: _form(pages, view, **values))

    @blueprint.post(f"{_BASE}/<policy_id>/delete")
    def delete_renewal_policy(policy_id: str) -> Response:
        def act() -> tuple[str, str]:
            pages.call("renewal_policies.delete", {"renewal_policy_id": policy_id})
            return _BASE, "The renewal policy was deleted."

        return pages.submit(
            act, lambda values: _page(pages, policy_id, open_dialog="delete", **values)
        )


def _page(pages: Pages, policy_id: str, *, status: int = 200, **values: Any) -> Response:
    view = pages.call("renewal_policies.get", {"renewal_policy_id": policy_id})
    return pages.render(
        "renewal_policies/detail.html",
        _NAV,
        status=status,
        policy=view,
        sentences=explain_policy(_body_of(view)),
        is_default=view["id"] == DEFAULT_POLICY_ID,
        **values,
    )


def _form(
    pages: Pages, policy: Values | None, *, form: Values, status: int = 200, **values: Any
) -> Response:
    refused = values.get("problem")
    errors = dict(values.pop("errors", {}))
    if "retry_interval_seconds" in errors:
        errors["retry_interval"] = errors.pop("retry_interval_seconds")
    if refused and refused["code"] == "renewal_policy_name_taken":
        errors["name"] = refused["detail"]
    return pages.render(
        "renewal_policies/form.html",
        _NAV,
        status=status,
        policy=policy,
        form=form,
        errors=errors,
        **values,
    )


def _body_of(view: Values) -> RenewalPolicyBody:
    """The members of a stored policy that say what it does."""
    return RenewalPolicyBody.model_validate(
        {name: view[name] for name in RenewalPolicyBody.model_fields}
    )


def _form_of(view: Values) -> Values:
    return {**view, "retry_interval": length_of(view["retry_interval_seconds"])}


def _sent() -> Values:
    """The body that the form means; an empty number is its default."""
    form = request.form
    body: Values = {"name": form.get("name", ""), "auto_renew": bool(form.get("auto_renew"))}
    body |= {name: form[name].strip() for name in _NUMBERS if form.get(name, "").strip()}
    if wait := seconds_of(form.get("retry_interval", ""), "retry_interval"):
        body["retry_interval_seconds"] = wait
    return body
