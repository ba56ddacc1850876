"""Headless Chromium for the tests in this folder: Debian's, driven by playwright.

A page that logs an error, raises in JavaScript or breaks its own content security policy fails its
test, whatever else the test looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.real import chromium, desk, server, window
from tests.machine import PATIENCE_SECONDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

__all__ = ["browser", "chromium", "context", "desk", "page", "server", "window"]

# As root there is no sandbox to be had; the pages are our own. Names resolve on this machine only.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1",
]


@pytest.fixture(scope="session")
def browser(tool: Callable[[str], str]) -> Iterator[Browser]:
    """One Chromium for the session."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_SECONDS * 1000)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=tool("chromium"), args=_ARGUMENTS, headless=True
        )
        yield launched
        launched.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile of the test's own, without cookies; takes the certificates of a test CA."""
    made = browser.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 800})
    made.set_default_timeout(PATIENCE_SECONDS * 1000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab; its errors are the test's errors."""
    complaints: list[str] = []

    def console(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    tab = context.new_page()
    tab.on("console", console)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    yield tab
    assert complaints == []
