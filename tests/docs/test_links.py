"""No page leads nowhere, and every page can be found."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.pages import ROOT, anchors, name, pages, prose

_LINK = re.compile(r"\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)|(?:src|href)=\"([^\"]+)\"")


def _links(page: Path) -> list[str]:
    return [first or second for first, second in _LINK.findall(prose(page))]


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_relative_link_resolves(page: Path) -> None:
    broken = []
    for link in _links(page):
        target = urlsplit(link)
        if target.scheme or target.netloc:
            continue
        path = (page.parent / unquote(target.path)).resolve() if target.path else page
        lost = not path.exists() or not path.is_relative_to(ROOT)
        if not lost and target.fragment and path.suffix == ".md":
            lost = target.fragment not in anchors(path)
        if lost:
            broken.append(link)

    assert broken == []


def test_the_navigation_lists_every_page_of_the_documentation() -> None:
    contents = ROOT / "docs" / "README.md"
    listed = {
        (contents.parent / unquote(urlsplit(link).path)).resolve()
        for link in _links(contents)
        if not urlsplit(link).scheme
    }
    missing = [
        name(page)
        for page in pages()
        if page.parts[len(ROOT.parts)] == "docs" and page != contents
        if page not in listed
    ]

    assert missing == []


def test_the_readme_leads_to_the_documentation() -> None:
    targets = {urlsplit(link).path for link in _links(ROOT / "README.md")}

    assert {"docs/README.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"} <= targets
