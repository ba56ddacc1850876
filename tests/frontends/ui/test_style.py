"""Colours, sizes and classes of the style sheets: contrast is computed, not promised."""

from __future__ import annotations

import re

import pytest

from tests.frontends.ui import samples

CSS = samples.UI / "static" / "css"
TEXT = {path.name: path.read_text(encoding="utf-8") for path in sorted(CSS.glob("*.css"))}
_SURFACES = ("bg", "surface", "surface-2")
_STATES = ("good", "warning", "bad", "info", "neutral")


def tokens() -> dict[str, tuple[str, str]]:
    """Colour token → (light, dark) as #rrggbb."""
    found: dict[str, tuple[str, str]] = {}
    for name, light, dark in re.findall(
        r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", TEXT["tokens.css"]
    ):
        found[name] = (light, dark)
    found["on-accent"] = ("#ffffff", "#ffffff")
    return found


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def pairs() -> list[tuple[str, str, float]]:
    """(foreground, background, ratio): 4.5 for text, 3 for edges and marks (WCAG 1.4.3, 1.4.11)."""
    wanted = [
        (text, surface, 4.5)
        for text in ("text", "text-2", "text-3", "accent-text")
        for surface in (*_SURFACES, "surface-3")
        if (text, surface) != ("text-3", "surface-3")
    ]
    for state in _STATES:
        wanted += [(f"{state}-fg", f"{state}-bg", 4.5)]
        wanted += [(f"{state}-fg", surface, 4.5) for surface in _SURFACES]
        wanted += [(f"{state}-dot", "surface", 3.0)]
    wanted += [("text-2", f"{state}-bg", 4.5) for state in _STATES]
    wanted += [("accent-text", "accent-soft", 4.5), ("text-2", "accent-soft", 4.5)]
    wanted += [("text-3", "accent-soft", 4.5)]
    wanted += [("on-accent", "accent", 4.5), ("on-accent", "accent-hover", 3.0)]
    wanted += [("on-accent", "danger", 4.5)]
    wanted += [(line, surface, 3.0) for line in ("line-field", "focus") for surface in _SURFACES]
    return wanted


@pytest.mark.parametrize(("foreground", "background", "least"), pairs())
def test_contrast_reaches_wcag_aa(foreground: str, background: str, least: float) -> None:
    colours = tokens()
    for at, mode in enumerate(("light", "dark")):
        ratio = contrast(colours[foreground][at], colours[background][at])
        assert ratio >= least, f"{mode}: {ratio:.2f}"


@pytest.mark.parametrize("name", [name for name in TEXT if name != "tokens.css"])
def test_colours_are_literal_in_the_tokens_only(name: str) -> None:
    without_pictures = re.sub(r"url\([^)]*\)", "", TEXT[name])

    assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?![^{]*\{)", without_pictures) == []
    assert re.findall(r"\b(?:rgb|hsl|oklch)a?\(", without_pictures) == []


def test_every_custom_property_that_is_used_is_set() -> None:
    everything = "\n".join(TEXT.values())
    used = set(re.findall(r"var\((--[a-z0-9-]+)", everything))
    made = set(re.findall(r"(--[a-z0-9-]+):", everything))

    assert used - made == set()


def test_every_class_of_the_templates_has_a_style() -> None:
    everything = "\n".join(TEXT.values())
    styled = set(re.findall(r"\.([a-z][a-z0-9-]*)", everything))
    env = samples.environment()
    used: set[str] = set()
    for template, context in samples.PAGES.values():
        html = env.get_template(template).render(context)
        for value in re.findall(r'class="([^"]*)"', html):
            used |= set(value.split())
    # Hooks without a look of their own.
    plain = {"app", "column", "palette-results", "chart-figure", "todo", "skipped", "tone-neutral", "num", "text-neutral", "state"}  # fmt: skip

    assert used - styled - plain == set()


def test_nothing_is_loaded_from_elsewhere() -> None:
    addresses = [
        address
        for text in TEXT.values()
        for address in re.findall(r"url\(\"?([^)\"]+)", text)
        if not address.startswith("data:image/svg+xml,")
    ]

    assert addresses == []
    assert not [name for name, text in TEXT.items() if "@import" in text]
