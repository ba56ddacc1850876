"""A notifier and a route, made by keyboard in a browser on a real server with a real receiver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest

from tests.browser.real import Desk, api, heading, told
from tests.core.notifications.conftest import Receiver, receiver, receiver_of
from tests.frontends.server.running import Running, started

__all__ = ["receiver", "receiver_of"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that may connect to receivers on this machine."""
    folder = tmp_path_factory.mktemp("installation") / "data"
    with started(folder, OUTBOUND_ALLOW="127.0.0.1") as running:
        yield running


def press(
    desk: Desk, name: str, role: Literal["link", "button"] = "link", *, leads: bool = True
) -> None:
    """Go to a control with the keyboard's focus and press Enter."""
    control = desk.page.locator("main, dialog[open]").get_by_role(role, name=name, exact=True)
    control.focus()
    assert control.evaluate("found => found === document.activeElement")
    if not leads:
        desk.page.keyboard.press("Enter")
        return
    with desk.page.expect_navigation():
        desk.page.keyboard.press("Enter")


@pytest.mark.spec("01/UI-04", "06/WH-4")
def test_a_notifier_and_a_route_are_made_by_keyboard(desk: Desk, receiver: Receiver) -> None:
    page = desk.sign_in()
    desk.open("/ui/notifiers/new?kind=webhook")
    assert page.evaluate("document.activeElement.name") == "name"
    page.keyboard.type("Operators")
    page.get_by_label("URL", exact=True).focus()
    page.keyboard.type(receiver.url)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert heading(page) == "Notifier created"
    secret = page.locator(".secret-value code").inner_text()

    press(desk, "Go to Operators")
    press(desk, "Send a test", "button")
    told(page, "The test message is delivered: HTTP status 204.")
    assert receiver.received[0].is_signed_with(secret)
    assert secret not in page.content()

    desk.open("/ui/notification-routes/new")
    page.keyboard.type("Stolen keys")
    page.get_by_role("checkbox", name="Operators").focus()
    page.keyboard.press("Space")
    page.locator("summary", has_text="Certificate").first.focus()
    page.keyboard.press("Enter")
    page.get_by_role("checkbox", name="certificate.revoked").focus()
    page.keyboard.press("Space")
    press(desk, "Create route", "button")
    told(page, "The route is created.")
    said = page.locator(".page-lead").inner_text()
    assert said.startswith("Operators is told of certificate.revoked.")

    press(desk, "Delete", leads=False)
    page.locator("dialog[open]").wait_for()
    press(desk, "Delete", "button")
    told(page, "The route is deleted.")
    assert [row["id"] for row in api(desk.server, "GET", "/notification-routes")["data"]] == [
        "nr-default"
    ]
