"""What a field offers to choose from: everything, or what a search finds where that is too much."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from flask import Blueprint, abort, request
from werkzeug.wrappers.response import Response

from certctl_core.values import dataclass

if TYPE_CHECKING:
    from certctl_flask.views.base import Pages, Values

_MOST = 200
"""A longer list is no help to somebody who has to pick one row of it."""

_KINDS: dict[str, tuple[str, dict[str, str]]] = {
    "issuers": ("issuers.list", {}),
    "profiles": ("profiles.list", {}),
    "enabled-profiles": ("profiles.list", {"enabled": "true"}),
    "policies": ("renewal_policies.list", {}),
    "agents": ("agents.list", {}),
    "targets": ("targets.list", {}),
    "certificates": ("certificates.list", {}),
}
_FIELDS = frozenset(
    {
        "agent_id",
        "certificate_id",
        "certificate_profile_id",
        "issuer_id",
        "profile_id",
        "renewal_policy_id",
        "target_id",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The rows that a field offers.

    Attributes:
        kind: What they are, as the path below ``/ui/choices`` names it.
        rows: Views of the list operation.
        text: What was searched for.
        is_partial: There are more; the field has a search.
    """

    kind: str
    rows: list[Values]
    text: str = ""
    is_partial: bool = False

    @property
    def options(self) -> list[tuple[str, str]]:
        """Id and name of each row, in the order of the names."""
        return [(row["id"], row["name"]) for row in self.rows]

    @property
    def is_searched(self) -> bool:
        """Whether the field needs a search to reach every row."""
        return self.is_partial or bool(self.text)

    def __bool__(self) -> bool:
        """Whether there is anything to choose."""
        return bool(self.rows) or self.is_searched


def choices(pages: Pages, kind: str, field: str, *, without: Collection[str] = ()) -> Choices:
    """What a form offers for a field; its search is ``find[field]`` of the request.

    Args:
        pages: Asks as the reader.
        kind: One of the known kinds.
        field: Name of the field.
        without: Ids that are left out.
    """
    operation, query = _KINDS[kind]
    text = request.values.get(f"find[{field}]", "").strip()
    if text:
        query = {**query, "q": text}
    found = None
    if pages.has(operation):
        found = pages.maybe(operation, query={**query, "sort": "name", "page_size": str(_MOST)})
    if found is None:
        return Choices(kind=kind, rows=[])
    rows = [row for row in found["data"] if row["id"] not in without]
    return Choices(kind=kind, rows=rows, text=text, is_partial=found["next_cursor"] is not None)


def add(blueprint: Blueprint, pages: Pages) -> None:
    """Mount ``/ui/choices/<kind>``: what a search finds while somebody types."""

    @blueprint.get("/ui/choices/<kind>")
    def find_choices(kind: str) -> Response:
        field = request.args.get("field", "")
        if kind not in _KINDS or field not in _FIELDS:
            abort(404)
        chosen = request.args.get(field) or request.args.get(f"filter[{field}]")
        return pages.render(
            "_choices.html",
            "",
            field=field,
            chosen=chosen,
            blank=request.args.get("blank"),
            choices=choices(pages, kind, field),
        )
