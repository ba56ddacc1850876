"""Choosing one of very many in a browser, by keyboard alone, on a real server (01 UI-01)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import expect

from certctl_core.testing.factories import make_csr
from tests.browser.real import Desk, api
from tests.frontends.server.running import Running, started

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240), pytest.mark.spec("01/UI-01")]
MANY = 250


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with more profiles than a select can show."""
    folder = tmp_path_factory.mktemp("many") / "data"
    with started(folder, RATE_LIMIT_ENABLED="false") as running:
        headers = {"Authorization": f"Bearer {running.key}", "Content-Type": "application/json"}
        with closing(running.connect()) as connection:
            for number in range(1, MANY + 1):
                body = json.dumps({"name": f"Department {number:03}"})
                connection.request("POST", "/api/v1/profiles", body, headers)
                answer = connection.getresponse()
                assert (answer.status, answer.read() != b"") == (201, True)
        yield running


def test_the_last_of_many_is_chosen_without_a_mouse(desk: Desk) -> None:
    page = desk.sign_in()
    desk.open("/ui/certificates/new")
    page.check("#key-csr")
    page.fill("[name=csr_pem]", make_csr("web.example.com"))
    page.focus("[name='find[certificate_profile_id]']")
    page.keyboard.insert_text("department 250")  # at once: one search, not one a letter
    field = page.locator("[name=certificate_profile_id]")
    field.locator("option:has-text('Department 250')").wait_for(state="attached")
    page.locator("#f-certificate-profile-id-found >> text=1 found.").wait_for()

    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    expect(field.locator("option:checked")).to_have_text("Department 250")
    page.click("button[type=submit]:visible >> text=Issue")
    page.wait_for_url("**/ui/certificates/mc-*")

    (made,) = api(desk.server, "GET", "/certificates?q=web.example.com")["data"]
    profile = api(desk.server, "GET", f"/profiles/{made['certificate_profile_id']}")
    assert profile["name"] == "Department 250"


def test_a_filter_finds_it_and_is_the_only_thing_that_filters(desk: Desk) -> None:
    page = desk.sign_in()
    desk.open("/ui/certificates")
    page.focus("[name='find[profile_id]']")
    page.keyboard.insert_text("department 249")
    chosen = page.locator("[name='filter[profile_id]']")
    chosen.locator("option:has-text('Department 249')").wait_for(state="attached")
    assert page.url.endswith("/ui/certificates")

    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.wait_for_url("**filter%5Bprofile_id%5D=prof-*")
    expect(chosen.locator("option:checked")).to_have_text("Department 249")
