"""Trust bundles: what is in force, and reading a file again."""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from werkzeug.wrappers.response import Response

from certctl_flask.views.base import Pages, Values


def add(blueprint: Blueprint, pages: Pages) -> None:
    """Mount everything below ``/ui/trust-bundles``."""

    @blueprint.get("/ui/trust-bundles")
    def trust_bundles() -> Response:
        return _page(pages)

    @blueprint.post("/ui/trust-bundles/<name>/reload")
    def reload_trust_bundle(name: str) -> Response:
        def act() -> tuple[str, str]:
            done = pages.call("trust_bundles.reload", {"name": name})
            count, added, removed = (
                done["certs_loaded"], len(done["added"]), len(done["removed"]),
            )  # fmt: skip
            text = f"{name}: {count} certificates are in force, {added} new, {removed} gone."
            return "/ui/trust-bundles", text

        def again(values: Values) -> Response:
            return _page(pages, **{**values, "open_dialog": f"reload-{name}"})

        return pages.submit(act, again)


def _page(pages: Pages, *, status: int = 200, **values: Any) -> Response:
    return pages.render(
        "trust/bundles.html",
        "trust-bundles",
        status=status,
        bundles=pages.call("trust_bundles.show")["data"],
        **values,
    )
