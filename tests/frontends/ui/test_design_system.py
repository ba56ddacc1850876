"""docs/contributor/design-system.md tells of everything that there is."""

from __future__ import annotations

import re

from certctl_flask.ui import filters

from tests.frontends.ui import samples

DOCUMENT = samples.UI.parents[2] / "docs" / "contributor" / "design-system.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
NAMED = set(re.findall(r"[a-z][a-z0-9_]*", " ".join(re.findall(r"`([^`]+)`", TEXT))))


def test_every_macro_is_listed() -> None:
    macros = {
        name
        for path in (samples.UI / "templates" / "macros").glob("*.html")
        for name in re.findall(r"{% macro (\w+)\(", path.read_text(encoding="utf-8"))
    }

    assert macros - NAMED == set()


def test_every_filter_and_script_is_listed() -> None:
    made = samples.environment()
    own = {name for name, call in made.filters.items() if call.__module__ == filters.__name__}
    scripts = {path.name for path in (samples.UI / "static").glob("*.js")}

    assert own - NAMED == set()
    assert {name for name in scripts if f"`{name}`" not in TEXT} == set()


def test_every_size_is_told_as_it_is() -> None:
    tokens = (samples.UI / "static" / "css" / "tokens.css").read_text(encoding="utf-8")
    sizes = re.findall(r"--((?:t|s)-[a-z0-9]+): ([0-9.]+)rem;", tokens)

    assert len(sizes) > 10
    for name, rem in sizes:
        assert re.search(rf"`--{name}` {float(rem) * 16:g}\b", TEXT), name


def test_the_table_of_states_matches_the_code() -> None:
    rows = dict(re.findall(r"^\| (good|warning|bad|info) \| ([^|]+) \|$", TEXT, re.MULTILINE))
    told = {state.strip(): tone for tone, states in rows.items() for state in states.split(",")}

    assert len(told) > 30
    assert {state: filters.tone(state) for state in told} == told
