"""Issuers and renewal policies, made and changed by keyboard in a browser on a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.real import Desk, api, heading, told
from tests.browser.test_ca_tree import keep

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180), pytest.mark.spec("01/UI-01")]


def command(page: Page, text: str) -> None:
    """Choose what the palette finds first."""
    page.keyboard.press("Control+k")
    page.keyboard.insert_text(text)
    page.locator("#palette [aria-selected=true]").wait_for()
    with page.expect_navigation():
        page.keyboard.press("Enter")


def tab_to(page: Page, selector: str) -> None:
    for _ in range(80):
        if page.evaluate("(what) => document.activeElement.matches(what)", selector):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"the keyboard does not reach {selector}")


def write(page: Page, name: str, text: str) -> None:
    """Replace what a field holds."""
    tab_to(page, f"[name='{name}']")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


def shoot(page: Page, name: str) -> None:
    """Pictures for people: both screens, light and dark; the test's screen again at the end."""
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            keep(page, f"{name}-{width}-{scheme}")
    page.set_viewport_size({"width": 1440, "height": 900})


@pytest.mark.spec("01/UI-04", "01/RP-01")
def test_a_renewal_policy_is_made_and_changed_by_keyboard(desk: Desk) -> None:
    page = desk.sign_in()
    command(page, "new renewal policy")
    preview = page.locator("#preview")
    expect(preview).to_contain_text("A 90-day certificate renews 30 to 27 days before its end.")

    page.keyboard.insert_text("Early")
    write(page, "renew_at_percent", "50")
    write(page, "renewal_window_days", "60")
    expect(preview).to_contain_text("A 90-day certificate renews 45 to 40 days before its end.")
    write(page, "retry_interval", "soon")
    expect(preview).to_contain_text("is not a length of time")
    desk.expected.add(400)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.locator("#f-retry-interval-error")).to_contain_text("is not a length of time")
    shoot(page, "renewal-policy-form")
    write(page, "retry_interval", "2h")
    page.keyboard.press("Enter")
    told(page, "The renewal policy Early was created.")
    assert heading(page) == "Early"
    shoot(page, "renewal-policy")

    tab_to(page, "main a[href$='/edit']")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    tab_to(page, "[name=auto_renew]")
    page.keyboard.press("Space")
    expect(preview).to_contain_text("Nothing renews by itself")
    tab_to(page, "main form button.btn-primary")
    page.keyboard.press("Enter")
    told(page, "The renewal policy was saved.")
    (made,) = (
        row
        for row in api(desk.server, "GET", "/renewal-policies")["data"]
        if row["name"] == "Early"
    )
    assert (made["auto_renew"], made["retry_interval_seconds"], made["version"]) == (False, 7200, 2)

    desk.open("/ui/renewal-policies")
    shoot(page, "renewal-policies")


@pytest.mark.spec("01/UI-04", "01/UI-07")
def test_an_issuer_is_made_tested_changed_and_deleted_by_keyboard(desk: Desk) -> None:
    page = desk.sign_in()
    command(page, "new issuer")
    shoot(page, "issuer-kinds")
    tab_to(page, "a.kind-card")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.locator("[name=name]:focus").wait_for()
    page.keyboard.insert_text("Laboratory CA")
    write(page, "id", "iss-lab")
    write(page, "config[ca_cert_path]", "/etc/certctl/lab.crt")
    tab_to(page, "button[name=try]")
    page.keyboard.press("Enter")
    expect(page.locator("#trial")).to_contain_text("Not tested")
    expect(page.locator("#trial")).to_contain_text("belong together")

    page.locator("[name='config[ca_cert_path]']").focus()
    write(page, "config[ca_cert_path]", "")
    tab_to(page, "button[name=try]")
    page.keyboard.press("Enter")
    expect(page.locator("#trial")).to_contain_text("The test succeeded")
    assert page.url.endswith("/ui/issuers/new?kind=local")
    shoot(page, "issuer-form")
    tab_to(page, "main form button.btn-primary")
    page.keyboard.press("Enter")
    told(page, "The issuer Laboratory CA was created.")
    shoot(page, "issuer")

    tab_to(page, "main a[href$='/edit']")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    tab_to(page, "main [name=name]")
    write(page, "config[validity_days]", "47")
    page.keyboard.press("Enter")
    told(page, "The issuer was saved.")
    assert api(desk.server, "GET", "/issuers/iss-lab")["config"]["validity_days"] == 47

    tab_to(page, "a[href='#delete']")
    page.keyboard.press("Enter")
    page.locator("dialog#delete[open]").wait_for()
    tab_to(page, "#delete button[type=submit]")
    page.keyboard.press("Enter")
    told(page, "The issuer was deleted.")
    assert "iss-lab" not in str(api(desk.server, "GET", "/issuers")["data"])
