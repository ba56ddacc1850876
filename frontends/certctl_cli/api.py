"""``certctl api``: any operation of the REST API, also those without a command of their own."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from certctl_cli.lazy import Command
from certctl_cli.options import state
from certctl_cli.values import pairs

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@click.command("api", cls=Command)
@click.argument("method", type=click.Choice(_METHODS, case_sensitive=False))
@click.argument("path")
@click.option("--query", multiple=True, metavar="NAME=VALUE", help="A query parameter.")
@click.option(
    "--data", type=click.File("r"), metavar="FILE", help="The body, JSON in a file (- is stdin)."
)
@click.option("--if-match", metavar="ETAG", help="Only if the object still has this version.")
def api(method: str, path: str, query: tuple[str, ...], data: Any, if_match: str | None) -> None:
    """Call the REST API and print what it answers.

    PATH is below /api/v1, as /issuers; /api/v1/openapi.json describes all of it.
    """
    body: object = None
    if data is not None:
        try:
            body = json.loads(data.read())
        except ValueError as error:
            message = f"--data is not JSON: {error}."
            raise click.UsageError(message) from error
    full = path if path.startswith("/api/") else f"/api/v1/{path.lstrip('/')}"
    answer = (
        state()
        .client()
        .http.send(
            method.upper(),
            full,
            query=pairs(query, "--query"),
            body=body,
            headers={"If-Match": if_match} if if_match else None,
        )
    )
    if answer.media_type == "application/json" and answer.content:
        state().output.document(answer.json())
    else:
        sys.stdout.buffer.write(answer.content)
