"""OCSP in a browser, on a real server: what it says of a certificate, and who signs (02 OPS-4)."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.real import Desk, issued, told

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180), pytest.mark.spec("02/OPS-4")]


def test_ocsp_is_asked_and_its_responder_replaced(desk: Desk) -> None:
    page = desk.sign_in()
    desk.open(f"/ui/certificates/{issued(desk.server, 'web.example.test')}")
    assert page.locator("#ocsp").count() == 0
    page.click("a:has-text('Ask OCSP')")
    expect(page.locator("#ocsp")).to_have_text("good")

    page.click("a.btn-warn:has-text('Revoke')")
    page.select_option("[name=reason]", "superseded")
    page.click("dialog[open] button:has-text('Revoke certificate')")
    told(page, "The certificate is revoked.")
    page.click("a:has-text('Ask OCSP')")
    expect(page.locator("#ocsp")).to_have_text(re.compile("^\\s*revoked · superseded"))

    desk.open("/ui/issuers/iss-local")
    card = page.locator(".stack-tight:has(h3:has-text('OCSP responder'))")
    assert "Ready" in card.inner_text()
    before = card.locator("dt:has-text('Serial') + dd").inner_text()
    card.locator("button:has-text('New responder')").click()
    told(page, "The OCSP responder has a new key and certificate.")
    assert card.locator("dt:has-text('Serial') + dd").inner_text() != before
