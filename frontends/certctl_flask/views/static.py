"""Style, scripts and pictures: immutable under a version in the address."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, request, send_from_directory

from certctl_flask.views.base import Pages

_FOLDER = Path(__file__).parent.parent / "ui" / "static"
_YEAR = 31536000


def add(blueprint: Blueprint, _pages: Pages) -> None:
    """Mount ``/static``."""

    @blueprint.get("/static/<path:name>")
    def static(name: str) -> Response:
        response = send_from_directory(_FOLDER, name, conditional=True)
        versioned = "v" in request.args
        age = f"public, max-age={_YEAR}, immutable" if versioned else "public, max-age=300"
        response.headers["Cache-Control"] = age
        return response

    @blueprint.get("/favicon.ico")
    def favicon() -> Response:
        return send_from_directory(_FOLDER, "favicon.svg", mimetype="image/svg+xml")
