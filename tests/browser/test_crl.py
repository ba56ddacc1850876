"""CRLs in a browser, on a real server: what the issuer's page says of them (02 OPS-4)."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.real import Desk, api, issued, told

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180), pytest.mark.spec("02/OPS-4")]


def test_the_list_of_a_ca_key_is_shown_and_made_anew(desk: Desk) -> None:
    certificate_id = issued(desk.server, "web.example.test")
    page = desk.sign_in()
    api(desk.server, "POST", f"/certificates/{certificate_id}/revoke", {"reason": "superseded"})
    api(desk.server, "POST", "/admin/crl/iss-local/regenerate")

    desk.open(f"/ui/certificates/{certificate_id}")
    page.click("a:has-text('Read the CRL')")
    expect(page.locator("#crl")).to_have_text(re.compile("^\\s*revoked · superseded"))

    desk.open("/ui/issuers/iss-local")
    card = page.locator(".stack-tight:has(h3:has-text('Revocation list'))")

    def shown(title: str) -> str:
        return card.locator(f"dt:has-text('{title}') + dd").inner_text()

    assert shown("State").lower() == "fresh"
    assert int(shown("Revoked")) >= 1
    before = int(shown("Number"))
    card.locator("button:has-text('Generate anew')").click()
    told(page, "New revocation lists are in force.")
    assert int(shown("Number")) > before
