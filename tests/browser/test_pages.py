"""The pages in a real browser: policy kept, nothing too wide, keyboard and plain forms work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.pages import Site, serve
from tests.frontends.ui import samples

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serve() as running:
        yield running


@pytest.mark.spec("01/UI-01", "08/HTTP-6")
@pytest.mark.parametrize("width", [390, 1440])
def test_every_page_keeps_the_policy_and_fits_the_screen(
    page: Page, site: Site, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    wide = []
    for name in samples.PAGES:
        page.goto(site.page(name))
        needed = page.evaluate("document.documentElement.scrollWidth")
        if needed > width:
            wide.append((name, needed))

    assert wide == []


@pytest.mark.spec("01/UI-04")
def test_the_palette_finds_and_opens_by_keyboard(page: Page, site: Site) -> None:
    page.goto(site.page("dashboard"))
    page.keyboard.press("Control+k")
    page.keyboard.type("prof")
    pages = page.locator("#palette [data-palette-static][role=option]:visible")
    expect(pages).to_contain_text(["Profiles", "New profile"])
    assert [text.splitlines()[0] for text in pages.all_inner_texts()] == [
        "Profiles",
        "New profile",
    ]
    page.locator("#palette-results .palette-item").first.wait_for()
    page.keyboard.press("ArrowDown")
    selected = page.locator("#palette [aria-selected=true]")
    expect(selected).to_have_count(1)

    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()


def test_a_filter_swaps_the_results_and_the_address(page: Page, site: Site) -> None:
    page.goto(site.page("certificates"))
    assert page.locator("tbody tr").count() > 3
    page.select_option("select[name='filter[status]']", "Active")
    page.wait_for_url("**/ui/certificates?**filter%5Bstatus%5D=Active**")

    expect(page.locator("tbody tr")).to_have_count(3)
    assert "q=&" not in page.url


def test_the_theme_is_remembered(page: Page, site: Site) -> None:
    page.emulate_media(color_scheme="light")
    page.goto(site.page("dashboard"))
    page.click("[data-theme-toggle]")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.goto(site.page("jobs"))

    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert {cookie["name"]: cookie["value"] for cookie in page.context.cookies()} == {
        "certctl_theme": "dark"
    }


@pytest.mark.spec("01/UI-03")
@pytest.mark.parametrize(("hidden", "asks"), [("false", True), ("true", False)])
def test_polling_stops_while_the_page_is_hidden(
    page: Page, site: Site, hidden: str, asks: bool
) -> None:
    page.add_init_script(f"Object.defineProperty(document, 'hidden', {{ get: () => {hidden} }})")
    page.clock.install()
    page.goto(site.page("certificates"))
    page.clock.run_for(1500)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    page.clock.run_for(40_000)
    # What the page has asked for before is told before this.
    page.evaluate("fetch('/sample/jobs').then(() => 0)")

    assert asked[-1] == "/sample/jobs"
    assert ("/ui/certificates" in asked) is asks


@pytest.mark.spec("01/UI-07")
def test_revoking_asks_first_and_sends_the_form(page: Page, site: Site) -> None:
    page.goto(site.page("certificate"))
    page.click("a[data-dialog=revoke]")
    page.select_option("#revoke select[name=reason]", "superseded")
    page.click("#revoke button[type=submit]")
    page.wait_for_url("**/revoke")

    path, form = site.posts[-1]
    assert path.startswith("/ui/certificates/mc-")
    assert form == {
        "csrf_token": ["sample-token"],
        "reason": ["superseded"],
        "scope": [""],
    }


def test_a_refused_dialog_is_open_again(page: Page, site: Site) -> None:
    page.goto(site.page("certificate-revoke-refused"))

    assert page.locator("#revoke:modal").is_visible()
    assert page.locator("#revoke .error").inner_text() == "The issuer does not take this reason."


@pytest.mark.spec("01/UI-01")
def test_forms_and_dialogs_work_without_scripts(browser: Browser, site: Site) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.page("certificate"))
    assert not page.locator("#revoke").is_visible()
    page.click("a[data-dialog=revoke]")
    page.click("#revoke button[type=submit]")
    page.wait_for_url("**/revoke")
    page.goto(site.page("certificates"))
    page.fill(".filter-search input", "shop")
    page.click(".filter-bar button[type=submit]")
    page.wait_for_url("**/ui/certificates?q=shop**")

    assert site.posts[-1][1]["reason"] == ["unspecified"]
    context.close()
