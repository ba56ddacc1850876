"""The CA tree of an issuer in a browser, on a real server (02 §9, OPS-4; 01 §15)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.real import Desk, api, follow, told
from tests.core.hierarchy.support import OfflineCA

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180), pytest.mark.spec("02/OPS-4")]
PATH = "/ui/issuers/iss-local/hierarchy"


def keep(page: Page, name: str) -> None:
    """A picture for people, where ``CERTCTL_TEST_PICTURES`` names a folder."""
    folder = os.environ.get("CERTCTL_TEST_PICTURES")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def tree_names(page: Page) -> list[str]:
    return page.locator(".ca-tree .name").all_text_contents()


def test_from_an_offline_root_to_the_issuing_ca_and_its_end(desk: Desk) -> None:
    offline = OfflineCA()
    page = desk.sign_in()
    desk.open("/ui/issuers/iss-local")
    follow(page, "text=CA tree")
    assert "No tree yet" in page.locator("main").inner_text()
    follow(page, "main >> text=Add the root >> nth=-1")
    page.fill("[name=name]", "Root CA")
    page.fill("[name=root_cert_pem]", offline.pem)
    page.click("button:has-text('Add the root')")
    told(page, "The tree has a root.")

    follow(page, "main a:has-text('Add a CA below')")
    assert "Its parent is offline" in page.locator("main").inner_text()
    page.fill("[name=name]", "Policy CA")
    page.fill("[name=path_len_constraint]", "1")
    page.fill("[name=organization]", "Example")
    page.click("button:has-text('Create CA')")
    page.wait_for_selector("text=It waits for its certificate")
    page.wait_for_load_state()
    with page.expect_download() as download:
        page.click("main a:has-text('Download the request')")
    csr = download.value.path().read_text()
    page.click("main a:has-text('Bring the certificate')")
    desk.expected.add(400)
    page.fill("[name=cert_pem]", OfflineCA(name="Another").sign(csr))
    page.click("button:has-text('Put into service')")
    page.wait_for_selector("[role=alert] >> text=cannot be used")
    page.wait_for_load_state()
    desk.expected.clear()
    page.fill("[name=cert_pem]", offline.sign(csr))
    page.click("button:has-text('Put into service')")
    told(page, "The CA is in service.")

    follow(page, "main a:has-text('Add a CA below')")
    page.fill("[name=name]", "Issuing CA 1")
    page.fill("[name=permitted]", "example.test\n10.0.0.0/8")
    page.click("button:has-text('Create CA')")
    told(page, "The CA Issuing CA 1 was created.")
    page.click("main a:has-text('Let it issue')")
    page.click("dialog button:has-text('Let it issue')")
    told(page, "The CA issues from now on.")
    assert tree_names(page) == ["Root CA", "Policy CA", "Issuing CA 1"]
    assert page.locator(".ca-tree a[aria-current]").get_attribute("aria-label") == (
        page.locator(".ca-tree a").nth(2).get_attribute("aria-label")
    )
    keep(page, "ca-tree")
    page.emulate_media(color_scheme="dark")
    keep(page, "ca-tree-dark")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 390, "height": 800})
    wide = page.evaluate("document.documentElement.scrollWidth")
    keep(page, "ca-tree-narrow")
    assert wide <= 390
    page.set_viewport_size({"width": 1440, "height": 900})

    page.click("main a:has-text('Retire')")
    page.fill("dialog[open] [name=retire_note]", "replaced")
    page.click("dialog[open] button:has-text('Retire')")
    told(page, "The CA signs nothing new any more.")
    page.click("main a:has-text('End it for good')")
    desk.expected.add(409)
    page.click("dialog[open] button:has-text('End it')")
    page.wait_for_selector("[role=alert] >> text=is the issuing CA of iss-local")
    page.wait_for_load_state()
    desk.expected.clear()
    found = api(desk.server, "GET", "/issuers/iss-local/intermediates")["data"]
    assert [row["state"] for row in found] == ["active", "active", "retiring"]
    api(
        desk.server,
        "PATCH",
        "/issuers/iss-local",
        {"config": {"hierarchy_mode": "single", "issuing_ca_id": None}},
    )
    page.click("dialog[open] button:has-text('End it')")
    told(page, "The CA is retired.")

    follow(page, ".ca-tree a >> nth=1")
    page.click("main a:has-text('Revoke')")
    page.select_option("dialog[open] [name=reason]", "superseded")
    page.click("dialog[open] button:has-text('Revoke')")
    page.wait_for_selector("text=The CA is revoked. No CRL of this server tells it")
    keep(page, "ca-tree-revoked")


def test_a_viewer_sees_the_tree_and_no_action(desk: Desk) -> None:
    body = {"name": "looks-at-cas", "role_ids": ["r-viewer"], "no_expiry": True}
    key = api(desk.server, "POST", "/auth/keys", body)["key_value"]
    page = desk.sign_in(key)
    desk.open(PATH)
    posts = page.locator("main form[method=post], dialog form[method=post]")
    actions = [posts.nth(n).get_attribute("action") for n in range(posts.count())]
    assert [at for at in actions if at != "/ui/preferences"] == []
    assert page.locator("main a[href*='/new'], main a[href$='/root']").count() == 0
    desk.expected.add(403)
    answer = page.goto(f"{desk.url}{PATH}/root")
    assert answer is not None
    assert answer.status == 403
