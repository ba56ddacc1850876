"""The pages: each view asks the operation table, as any API client would, and fills a template."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, request

from certctl_flask.edge import context_of
from certctl_flask.views import (
    ca_keys,
    certificates,
    choices,
    delivery,
    evidence,
    fleet,
    hierarchy,
    home,
    issuers,
    notification_routes,
    notifiers,
    people,
    policies,
    profiles,
    revocation,
    session,
    static,
    trust_bundles,
)
from certctl_flask.views.base import Pages, error_page, wants_page

if TYPE_CHECKING:
    from certctl_core.app import Core

__all__ = ["create_ui", "error_page", "wants_page"]

_PUBLIC = frozenset({"/ui/preferences"})  # how the sign-in page looks


def create_ui(core: Core) -> Blueprint:
    """The blueprint with every page of the web interface."""
    blueprint = Blueprint("ui", "certctl_flask", template_folder="ui/templates")
    pages = Pages(core, blueprint)
    for module in (
        static,
        session,
        home,
        revocation,
        certificates,
        choices,
        issuers,
        profiles,
        policies,
        trust_bundles,
        ca_keys,
        hierarchy,
        fleet,
        delivery,
        people,
        evidence,
        notifiers,
        notification_routes,
    ):
        module.add(blueprint, pages)

    @blueprint.before_request
    def require_sign_in() -> None:
        """Ask who it is before a view looks at what was sent."""
        if request.path.startswith("/ui") and request.path not in _PUBLIC:
            context_of(request.environ).require_actor()

    return blueprint
