"""Every template renders with what the API answers, and keeps the content security policy.

08 HTTP-6: no inline style, no inline script, no style= or on… attribute, nothing from elsewhere.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from tests.frontends.ui import samples

_URL_ATTRIBUTES = {"href", "src", "action", "formaction", "hx-get", "hx-post"}
_NEEDS_ROLE = {"img", "svg"}
_VOID = {"input", "wbr", "meta", "link", "hr", "br", "img", "path", "circle", "rect", "line"}


class Page(HTMLParser):
    """Reads a page and notes what breaks a rule."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.labelled: list[str] = []
        self.fields: list[dict[str, str | None]] = []
        self.assets: list[str] = []
        self.headings: list[str] = []
        self.posts: list[int] = []
        self.tokens = 0
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, pairs: list[tuple[str, str | None]]) -> None:
        attributes = dict(pairs)
        if len(attributes) != len(pairs):
            self.faults.append(f"<{tag}> has an attribute twice: {pairs}")
        for name, value in pairs:
            if name == "style" or name.startswith("on"):
                self.faults.append(f"<{tag} {name}>")
            if name in _URL_ATTRIBUTES and not re.match(
                r"/(?!/)|#|http://pki\.example", value or ""
            ):
                self.faults.append(f"<{tag} {name}={value!r}>")
            if value and "javascript:" in value:
                self.faults.append(f"<{tag} {name}={value!r}>")
        if tag == "style" or (tag == "script" and "src" not in attributes):
            self.faults.append(f"inline <{tag}>")
        if tag in {"script", "link"} and (path := attributes.get("src") or attributes.get("href")):
            self.assets.append(path.partition("?")[0])
        if tag == "svg" and not (
            attributes.get("aria-hidden") or attributes.get("role") in {"img", "group"}
        ):
            self.faults.append("an <svg> that is neither hidden nor an image")
        if tag == "form" and (attributes.get("method") or "").lower() == "post":
            self.posts.append(self.tokens)
        if tag == "input" and attributes.get("name") == "csrf_token":
            self.tokens += 1
        if tag in {"input", "select", "textarea"} and attributes.get("type") != "hidden":
            self.fields.append(attributes)
        if tag in {"h1", "h2", "h3", "h4"}:
            self.headings.append(tag)
        if value := attributes.get("id"):
            self.ids.append(value)
        for name in ("aria-labelledby", "aria-describedby", "aria-controls"):
            self.references += (attributes.get(name) or "").split()
        if tag == "label":
            self.labelled.append(attributes.get("for") or "")
        if tag not in _VOID:
            self.open.append(tag)
        if tag in {"input", "select", "textarea"} and "label" in self.open:
            attributes["wrapped"] = "yes"

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        if not self.open or self.open[-1] != tag:
            self.faults.append(f"</{tag}> closes {self.open[-1:]}")
        if tag in self.open:
            while self.open.pop() != tag:
                pass


def html_of(name: str, **more: object) -> str:
    template, context = samples.PAGES[name]
    return samples.environment().get_template(template).render(context | more)


@pytest.fixture(params=samples.PAGES, ids=str)
def page(request: pytest.FixtureRequest) -> Page:
    return Page(html_of(request.param))


@pytest.mark.spec("08/HTTP-6")
def test_a_page_keeps_the_content_security_policy(page: Page) -> None:
    assert page.faults == []


def test_a_page_names_every_field_and_keeps_its_ids_apart(page: Page) -> None:
    unnamed = [
        field
        for field in page.fields
        if not (field.get("aria-label") or field.get("id") in page.labelled or field.get("wrapped"))
    ]

    assert unnamed == []
    assert sorted(page.ids) == sorted(set(page.ids))
    assert [name for name in page.references if name not in page.ids] == []


def test_a_page_has_one_main_heading_and_a_part_of_one_has_none(
    page: Page, request: pytest.FixtureRequest
) -> None:
    template, _context = samples.PAGES[request.node.callspec.params["page"]]
    is_part = template.rpartition("/")[2].startswith("_")
    assert page.headings.count("h1") == (0 if is_part else 1)


def test_every_form_that_changes_something_carries_the_token(page: Page) -> None:
    assert page.tokens == len(page.posts)


def test_the_assets_of_a_page_exist(page: Page) -> None:
    missing = [path for path in page.assets if not (samples.UI / path.removeprefix("/")).is_file()]

    assert missing == []


def test_every_template_is_rendered_by_a_sample() -> None:
    folder = samples.UI / "templates"
    shown = {template for template, _context in samples.PAGES.values()}
    pages = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.html")
        if path.parent.name != "macros" and not path.name.startswith("_")
    }

    assert pages - shown == {"base.html", "app.html", "plain.html"}


@pytest.mark.spec("01/UI-03")
def test_a_reader_without_rights_sees_no_actions() -> None:
    for name, (template, _context) in samples.PAGES.items():
        if template in {"login.html", "error.html"} or "form" in template or "new" in template:
            continue
        page = html_of(name, permissions=frozenset())

        assert 'href="/ui/certificates/new"' not in page, name
        for action in ("/revoke", "/archive", "/retire", "/delete", "/disable", "/cancel"):
            buttons = re.findall(rf'action="[^"]*{action}"', page.split("<dialog", maxsplit=1)[0])
            assert buttons == [], name
        assert "btn-warn" not in page, name


def test_what_others_wrote_is_text() -> None:
    evil = '"><script>alert(1)</script>'
    template, context = samples.PAGES["certificate"]
    certificate = context["certificate"] | {
        "name": evil,
        "common_name": evil,
        "sans": [evil],
        "environment": evil,
        "tags": {evil: evil},
        "last_error": evil,
    }
    page = html_of("certificate", certificate=certificate)

    assert template == "certificates/detail.html"
    assert "<script>alert" not in page
    assert Page(page).faults == []


def test_a_missing_value_is_noticed() -> None:
    template, context = samples.PAGES["certificates"]
    without = {name: value for name, value in context.items() if name != "query"}

    with pytest.raises(UndefinedError):
        samples.environment().get_template(template).render(without)


@pytest.mark.parametrize("path", sorted(samples.UI.rglob("*.js")), ids=lambda path: path.name)
def test_a_script_builds_no_code_from_text(path: Path) -> None:
    if "vendor" in path.parts:
        pytest.skip("htmx: eval is switched off in its configuration")
    text = path.read_text(encoding="utf-8")

    assert not re.search(
        r"\beval\(|new Function|innerHTML|outerHTML|document\.write|\.on\w+ =", text
    )


def test_htmx_is_told_to_keep_the_policy_and_no_history() -> None:
    page = html_of("dashboard")

    assert '"allowEval":false' in page
    assert '"includeIndicatorStyles":false' in page
    assert '"historyCacheSize":0' in page
