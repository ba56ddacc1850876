"""Somebody who reads the pages of an installation without a browser: forms, links, text."""

from __future__ import annotations

import re
from html import unescape

from certctl_flask.app import create_app
from werkzeug.test import Client, TestResponse

from certctl_core.app import Core

BASE = "https://certctl.example.test"
_TAGS = re.compile(r"<[^>]*>")


class Reader:
    """A signed-in person with one role."""

    def __init__(self, core: Core, role: str = "r-admin") -> None:
        body = {"name": f"reader-{role}", "role_ids": [role], "no_expiry": True}
        self._key = core.call("api_keys.create", body=body).key_value
        self.client = Client(create_app(core))
        self.sign_in()

    def sign_in(self) -> None:
        """Begin a session, also again after a long time."""
        answer = self.client.post(
            "/login", base_url=BASE, data={"api_key": self._key}, headers={"Origin": BASE}
        )
        assert answer.status_code == 303

    def open(self, path: str) -> str:
        """The page, as HTML."""
        answer = self.client.get(path, base_url=BASE, headers={"Accept": "text/html"})
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return answer.text

    def post(self, path: str, **form: str | list[str]) -> TestResponse:
        """Send a form with the token of the session."""
        cookie = self.client.get_cookie("__Host-certctl_csrf", domain="certctl.example.test")
        assert cookie is not None
        return self.client.post(
            path,
            base_url=BASE,
            data=form | {"csrf_token": cookie.value},
            headers={"Origin": BASE, "Accept": "text/html"},
        )


def words(html: str) -> str:
    """What a page says, without its markup."""
    return " ".join(unescape(_TAGS.sub(" ", html)).split())


def card(html: str, title: str) -> str:
    """What the card of that title says."""
    _, found, rest = html.partition(f">{title}<")
    assert found, f"there is no card {title!r}"
    return words(rest.partition("</section>")[0])
