"""A browser in front of the real product: a server process with TLS, and Chromium that watches it.

A page that logs an error, breaks its content security policy, asks another host or gets an answer
that the test did not expect fails the test, whatever else it looks at.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certctl_core.testing.factories import make_csr
from tests.frontends.server.running import Running, started
from tests.machine import PATIENCE_SECONDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Request, Response

_MESSAGES_STAY = """
const later = window.setTimeout;
window.setTimeout = (what, after, ...more) => (after === 6000 ? 0 : later(what, after, ...more));
"""
"""The messages that a page comes with go by themselves; a busy machine would look for them too late."""


@dataclass
class Desk:
    """A browser in front of the running product.

    Attributes:
        complaints: What went wrong in any tab; the fixture wants it empty.
        sent: Every request body that left the browser.
        expected: Statuses from 400 on that the test is about.
    """

    server: Running
    page: Page
    complaints: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    expected: set[int] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server.port}"

    def open(self, path: str) -> Page:
        self.page.goto(self.url + path)
        return self.page

    def sign_in(self, key: str = "", at: str = "/login") -> Page:
        self.open(at)
        self.page.fill("[name=api_key]", key or self.server.key)
        self.page.click("text=Sign in >> nth=-1")
        self.page.wait_for_url("**/ui/**")
        return self.page

    def watch(self, page: Page) -> None:
        page.on("console", lambda said: self._console(said.type, said.text))
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        page.on("request", self._request)
        page.on("response", self._response)
        page.on("requestfailed", self._failed)

    def _console(self, kind: str, text: str) -> None:
        refused = re.search(r"status of (\d{3})", text)
        if refused and int(refused[1]) in self.expected:
            return
        # htmx says this of a quiet refresh that a navigation cut off; real failures show below.
        if re.match(r"htmx:(afterRequest|sendError|sendAbort)", text):
            return
        if kind in {"error", "warning"}:
            self.complaints.append(f"{kind}: {text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.complaints.append(f"asked elsewhere: {request.url}")
        if request.post_data:
            self.sent.append(request.post_data)

    def _response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.expected:
            self.complaints.append(f"{response.status} {response.request.method} {response.url}")

    def _failed(self, request: Request) -> None:
        # A download, and a quiet refresh of a page that is left, end like this.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"failed: {request.url} {request.failure}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("installation") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def chromium(browser: Browser, server: Running, tool: Callable[[str], str]) -> Iterator[Browser]:
    """A Chromium that takes this one server's key and no other bad certificate."""
    with closing(server.connect()) as connection:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        der = connection.sock.getpeercert(binary_form=True)
    assert der is not None
    key = x509.load_der_x509_certificate(der).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pin = base64.b64encode(sha256(spki).digest()).decode()
    launched = browser.browser_type.launch(
        executable_path=tool("chromium"),
        args=[
            "--no-sandbox",
            "--disable-dev-shm-usage",
            f"--ignore-certificate-errors-spki-list={pin}",
        ],
    )
    yield launched
    launched.close()


@pytest.fixture
def window(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport={"width": 1440, "height": 900})
    made.set_default_timeout(PATIENCE_SECONDS * 1000)
    made.add_init_script(_MESSAGES_STAY)
    yield made
    made.close()


@pytest.fixture
def desk(window: BrowserContext, server: Running) -> Iterator[Desk]:
    made = Desk(server, window.new_page())
    made.watch(made.page)
    yield made
    assert made.complaints == []


def api(server: Running, method: str, path: str, body: object = None, key: str = "") -> Any:
    """Ask the REST interface of the same server, past the browser."""
    with closing(server.connect()) as connection:
        headers = {"Authorization": f"Bearer {key or server.key}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, f"/api/v1{path}", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status < 400, (answer.status, text)
        return json.loads(text) if text else None


def issued(server: Running, name: str, **members: object) -> str:
    """A certificate from a request made here; its id."""
    body = {"csr_pem": make_csr(name), **members}
    return str(api(server, "POST", "/certificates", body)["id"])


def openssl(tool: Callable[[str], str], *arguments: str | Path) -> str:
    done = subprocess.run(
        [tool("openssl"), *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def saved(page: Page, click: str, folder: Path) -> Path:
    """What a click downloads."""
    with page.expect_download() as download:
        page.click(click)
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def told(page: Page, text: str | re.Pattern[str]) -> None:
    """Wait for a message, and for all of the page that it came with."""
    page.locator(".toasts").get_by_text(text).first.wait_for()
    page.wait_for_load_state()


def follow(page: Page, click: str) -> None:
    """Click on what leads to another page, and wait for all of that."""
    with page.expect_navigation():
        page.click(click)


def heading(page: Page) -> str:
    return page.locator("h1").first.inner_text()
