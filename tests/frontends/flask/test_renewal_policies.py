"""Renewal policies on pages: made, told in words, changed and deleted (01 §2.7, UI-01)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from certctl_core.app import Core
from certctl_core.testing.factories import issue
from tests.core.agents.fleet import Fleet
from tests.frontends.flask.browsing import Reader, card, words

pytestmark = pytest.mark.spec("01/UI-01", "01/RP-01")
BASE = "/ui/renewal-policies"
FORM = {
    "name": "Weekly",
    "auto_renew": "true",
    "renew_at_percent": "50",
    "renewal_window_days": "7",
    "max_retries": "2",
    "retry_interval": "30m",
}


@pytest.fixture
def core_settings() -> dict[str, Any]:
    return {"rate_limit_enabled": False}


def made(reader: Reader, **changes: str) -> str:
    """The page of a new policy."""
    answer = reader.post(f"{BASE}/new", **FORM | changes)
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


def policy(core: Core, page: str) -> Any:
    path = {"renewal_policy_id": page.rpartition("/")[2]}
    return core.call("renewal_policies.get", path=path)


def error(html: str, name: str) -> str:
    """What is said beside a field."""
    tag = re.search(rf'<input [^>]*name="{name}"[^>]*>', html)
    assert tag
    described = re.search(r'aria-invalid|aria-describedby="(\S+-error)', tag[0])
    assert described, tag[0]
    return words(html.partition(f'id="{described[1]}"')[2].partition(">")[2].partition("</p>")[0])


def test_from_the_form_to_the_end(core: Core) -> None:
    reader = Reader(core)
    assert f'href="{BASE}"' in reader.open("/ui/")
    assert f'href="{BASE}/new"' in reader.open(BASE)
    blank = reader.open(f"{BASE}/new")
    assert re.search(r'name="name" type="text" value=""', blank)
    assert 'value="67"' in blank

    page = made(reader)
    said = card(reader.open(page), "What it does")
    assert "once 50 % of its lifetime is over, and not earlier than 7 days before its end" in said
    assert "A 90-day certificate renews 7 to 6 days before its end." in said
    assert "tried up to 2 more times soon after; when all fail, a new one starts 30 minutes" in said
    assert "7 to 6 days before its end" in words(reader.open(BASE))

    form = reader.open(f"{page}/edit")
    assert re.search(r'name="retry_interval"[^>]*value="30m"', form)
    version = re.search(r'name="version" value="(\d+)"', form)
    assert version
    changed = {**FORM, "name": "By hand", "version": version[1]}
    del changed["auto_renew"]
    assert reader.post(f"{page}/edit", **changed).headers["Location"] == page
    assert "Nothing renews by itself" in card(reader.open(page), "What it does")
    assert (policy(core, page).name, policy(core, page).auto_renew) == ("By hand", False)
    assert "never by itself" in words(reader.open(BASE))

    assert reader.post(f"{page}/delete").headers["Location"] == BASE
    assert [row.id for row in core.call("renewal_policies.list").data] == ["rp-default"]


@pytest.mark.parametrize("database_engine", ["sqlite"])
class TestRefused:
    @pytest.mark.parametrize(
        ("name", "value", "says"),
        [
            ("name", "", "at least 1 character"),
            ("name", "Default", "name or id exists already"),
            ("renew_at_percent", "100", "less than or equal to 99"),
            ("renewal_window_days", "many", "valid integer"),
            ("max_retries", "11", "less than or equal to 10"),
            ("retry_interval", "soon", "is not a length of time"),
            ("retry_interval", "2d", "less than or equal to 86400"),
        ],
    )
    def test_a_fault_stands_beside_its_field(
        self, core: Core, name: str, value: str, says: str
    ) -> None:
        answer = Reader(core).post(f"{BASE}/new", **FORM | {name: value})

        assert answer.status_code in {400, 409}
        assert says in error(answer.text, name)
        assert core.call("renewal_policies.list").total == 1

    def test_somebody_else_was_first(self, core: Core) -> None:
        reader = Reader(core)
        page = made(reader)
        path = {"renewal_policy_id": page.rpartition("/")[2]}
        core.call("renewal_policies.update", path=path, body={"max_retries": 9})

        answer = reader.post(f"{page}/edit", **FORM, version="1")

        assert answer.status_code == 412
        assert "Show it as it is now" in words(answer.text)
        assert policy(core, page).max_retries == 9

    def test_one_that_is_in_use_or_the_default_stays(self, core: Core) -> None:
        reader = Reader(core)
        page = made(reader)
        issue(core, "web.example.com", renewal_policy_id=page.rpartition("/")[2])

        answer = reader.post(f"{page}/delete")
        default = reader.post(f"{BASE}/rp-default/delete")

        assert answer.status_code == default.status_code == 409
        dialog = words(answer.text.partition('id="delete"')[2])
        assert "used by 1 certificate(s)" in dialog
        assert "/delete" not in reader.open(f"{BASE}/rp-default")
        assert core.call("renewal_policies.list").total == 2


@pytest.mark.parametrize("database_engine", ["sqlite"])
class TestWords:
    def test_they_are_told_while_one_writes(self, core: Core) -> None:
        reader = Reader(core)

        late = FORM | {"renew_at_percent": "99", "renewal_window_days": "1", "retry_interval": "1d"}
        said = words(reader.post(f"{BASE}/preview", **late | {"name": ""}).text)
        wrong = words(reader.post(f"{BASE}/preview", **FORM | {"max_retries": "99"}).text)

        assert "A 90-day certificate renews" in said
        assert "may end before the next renewal starts, 1 day later" in said
        assert "Not complete yet Max retries" in wrong
        assert core.call("renewal_policies.list").total == 1

    def test_a_certificate_leads_to_its_policy(self, core: Core, clock: Any) -> None:
        reader = Reader(core)
        page = made(reader)
        _, certificate_id, _, _ = Fleet(core=core, clock=clock).deployed()
        body = {"renewal_policy_id": page.rpartition("/")[2]}
        core.call("certificates.update", path={"certificate_id": certificate_id}, body=body)

        assert f'<a href="{page}">Weekly</a>' in reader.open(f"/ui/certificates/{certificate_id}")


@pytest.mark.spec("01/UI-03")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_who_may_not_has_no_control_and_is_refused(core: Core) -> None:
    page = made(Reader(core))
    viewer, auditor = Reader(core, "r-viewer"), Reader(core, "r-auditor")

    for path in (BASE, page):
        html = viewer.open(path)
        assert f"{BASE}/new" not in html
        assert f"{page}/edit" not in html
        assert f"{page}/delete" not in html
    for path in (f"{BASE}/new", f"{page}/edit"):
        assert viewer.client.get(path, base_url="https://certctl.example.test").status_code == 403
    for path in (f"{BASE}/new", f"{page}/edit", f"{page}/delete"):
        assert viewer.post(path, **FORM | {"name": "Mine"}).status_code == 403
    assert f'href="{BASE}"' not in auditor.open("/ui/audit")
    assert auditor.post(f"{BASE}/preview", **FORM).status_code == 403
    assert policy(core, page).name == "Weekly"
