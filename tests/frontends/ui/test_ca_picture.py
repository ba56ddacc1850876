"""The picture of a tree of CAs (02 OPS-4): nothing overlaps, parents stand above their children."""

from __future__ import annotations

import itertools
from typing import Any

from certctl_flask.views.ca_picture import HEIGHT, WIDTH, draw
from hypothesis import given
from hypothesis import strategies as st


def ca(number: int, parent: int | None) -> dict[str, Any]:
    return {
        "id": f"ica-{number}",
        "parent_ca_id": None if parent is None else f"ica-{parent}",
        "name": f"CA {number} with a name that is rather long",
        "not_after": "2031-05-01T12:00:00Z" if number % 2 else None,
        "key_driver_id": "file:x" if number % 3 else None,
    }


@given(st.lists(st.integers(0, 30), max_size=25))
def test_no_two_cas_overlap_and_all_lie_within_the_picture(parents: list[int]) -> None:
    cas = [ca(0, None)] + [ca(n + 1, parent % (n + 1)) for n, parent in enumerate(parents)]
    picture = draw(cas)
    nodes = {node["ca"]["id"]: node for node in picture["nodes"]}
    assert len(nodes) == len(cas)
    assert len(picture["lines"]) == len(parents)
    for node in nodes.values():
        assert 0 <= node["x"] <= picture["width"] - WIDTH
        assert 0 <= node["y"] <= picture["height"] - HEIGHT
        upper = nodes.get(node["ca"]["parent_ca_id"])
        assert upper is None or upper["y"] + HEIGHT < node["y"]
    by_row: dict[int, list[int]] = {}
    for node in nodes.values():
        by_row.setdefault(node["y"], []).append(node["x"])
    for row in by_row.values():
        row.sort()
        assert all(right - left >= WIDTH for left, right in itertools.pairwise(row))


def test_long_names_are_cut_and_words_tell_where_the_key_is() -> None:
    picture = draw([ca(3, None), ca(4, 3)])
    root, child = picture["nodes"]
    assert (root["name"][-1], len(root["name"]) <= 24) == ("…", True)
    assert (root["until"], root["where"]) == ("until 2031-05-01", "offline")
    assert (child["until"], child["where"]) == ("no certificate yet", "key here")


def test_nothing_is_no_picture() -> None:
    assert draw([])["nodes"] == []
