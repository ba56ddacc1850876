"""Where the CAs of a tree stand in the picture: a pure calculation, in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Values = dict[str, Any]

WIDTH, HEIGHT = 208, 76
_BESIDE, _BELOW, _MARGIN = 16, 44, 16
_LETTERS = 24


def draw(cas: Sequence[Values]) -> Values:
    """Lay the tree out from the root down; parents stand above the middle of their children.

    Args:
        cas: As the API lists them.

    Returns:
        ``width``, ``height``, ``node_width``, ``node_height``, ``lines`` (path data) and ``nodes``
        (``ca``, ``x``, ``y``, ``name``, ``until``, ``where``), roots first, children after their
        parent.
    """
    picture: Values = {"node_width": WIDTH, "node_height": HEIGHT, "lines": [], "nodes": []}
    at = _MARGIN
    known = {ca["id"] for ca in cas}
    for ca in cas:
        if ca["parent_ca_id"] not in known:
            _, at = _place(ca, cas, picture, at, 0)
    depth = max((node["y"] for node in picture["nodes"]), default=0)
    picture["width"] = max(at - _BESIDE + _MARGIN, WIDTH + 2 * _MARGIN)
    picture["height"] = depth + HEIGHT + _MARGIN
    return picture


def _place(
    ca: Values, cas: Sequence[Values], picture: Values, left: int, depth: int
) -> tuple[int, int]:
    """Place a CA and all below it from ``left`` on; gives its middle and where the next begins."""
    top = _MARGIN + depth * (HEIGHT + _BELOW)
    node = {
        "ca": ca,
        "y": top,
        "name": _short(ca["name"]),
        "until": f"until {ca['not_after'][:10]}" if ca["not_after"] else "no certificate yet",
        "where": "key here" if ca["key_driver_id"] else "offline",
    }
    picture["nodes"].append(node)
    at, middles = left, []
    for child in cas:
        if child["parent_ca_id"] == ca["id"]:
            middle, at = _place(child, cas, picture, at, depth + 1)
            middles.append(middle)
    middle = (middles[0] + middles[-1]) // 2 if middles else left + WIDTH // 2
    node["x"] = middle - WIDTH // 2
    bottom = top + HEIGHT
    picture["lines"] += [
        f"M{middle} {bottom}V{bottom + _BELOW // 2}H{below}V{bottom + _BELOW}" for below in middles
    ]
    return middle, max(at, left + WIDTH + _BESIDE)


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else name[: _LETTERS - 1].rstrip() + "…"
