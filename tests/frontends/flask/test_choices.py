"""Every row can be chosen in a form, also where a list has more of them than a page (01 UI-01)."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from certctl_flask.views.choices import _FIELDS, _KINDS

from certctl_core.app import Core
from certctl_core.testing.factories import issue, make_csr
from tests.frontends.flask.browsing import Reader, words

pytestmark = pytest.mark.spec("01/UI-01")
MANY = 250
LAST = f"Department {MANY}"
NEW = "/ui/certificates/new"
FIELD = "certificate_profile_id"


@pytest.fixture
def core_settings() -> dict[str, Any]:
    return {"rate_limit_enabled": False}


@pytest.fixture
def last(core: Core) -> str:
    """The id of the last of many profiles in the order of their names."""
    made = [
        core.call("profiles.create", body={"name": f"Department {number:03}"}).id
        for number in range(1, MANY + 1)
    ]
    return str(made[-1])


def options(html: str, field: str = FIELD) -> dict[str, str]:
    """Value → text of a select; of the whole text where it has none."""
    _, found, rest = html.partition(f'<select class="select" id="f-{field.replace("_", "-")}"')
    inside = rest.partition("</select>")[0] if found else html
    pairs = re.findall(r'<option value="([^"]*)"[^>]*>([^<]*)</option>', inside)
    return {value: unescape(text) for value, text in pairs}


def chosen(html: str) -> list[str]:
    return re.findall(r'<option value="([^"]*)" selected>', html)


def test_a_few_are_offered_without_a_search(core: Core) -> None:
    core.call("profiles.create", body={"name": LAST})

    html = Reader(core).open(NEW)

    assert LAST in options(html).values()
    assert "find[" not in html


def test_the_last_of_many_is_found_and_taken(core: Core, last: str) -> None:
    reader = Reader(core)
    page = reader.open(NEW)
    assert last not in options(page)
    assert f'name="find[{FIELD}]"' in page
    assert "Only the first 200 are shown." in words(page)

    found = reader.open(
        f"/ui/choices/enabled-profiles?field={FIELD}&blank=Default&find[{FIELD}]=department 250"
    )
    done = reader.post(
        NEW,
        key_mode="csr",
        csr_pem=make_csr("web.example.com"),
        issuer_id="iss-local",
        **{FIELD: last, f"find[{FIELD}]": "department 250"},
    )

    assert options(found) == {"": "Default", last: LAST}
    assert "1 found." in words(found)
    assert done.status_code == 303
    (made,) = core.call("certificates.list").data
    assert made.certificate_profile_id == last


@pytest.mark.parametrize("database_engine", ["sqlite"])
class TestSearch:
    def test_what_is_chosen_stays(self, core: Core, last: str) -> None:
        reader = Reader(core)
        path = f"/ui/choices/profiles?field={FIELD}&{FIELD}={last}"

        nothing = reader.open(f"{path}&find[{FIELD}]=nowhere")
        all_again = reader.open(path)

        assert options(nothing) == {last: LAST}
        assert "Nothing is called like that." in words(nothing)
        assert options(all_again)[last] == LAST
        assert chosen(nothing) == chosen(all_again) == [last]

    def test_a_page_shows_what_is_stored(self, core: Core, last: str) -> None:
        made = issue(core, "web.example.com", certificate_profile_id=last).certificate

        html = Reader(core).open(f"/ui/certificates/{made.id}/edit")

        assert options(html)[last] == LAST
        assert last in chosen(html)

    def test_without_a_script_the_form_itself_searches(self, core: Core, last: str) -> None:
        csr = make_csr("web.example.com")
        answer = Reader(core).post(
            NEW,
            key_mode="csr",
            csr_pem=csr,
            find=FIELD,
            **{f"find[{FIELD}]": "department 250"},
        )

        assert answer.status_code == 200
        assert options(answer.text) == {"": "Default profile", last: LAST}
        assert csr.strip() in unescape(answer.text)
        assert "refused" not in words(answer.text)
        assert core.call("certificates.list").data == []

    def test_a_filter_searches_too(self, core: Core, last: str) -> None:
        reader = Reader(core)
        issue(core, "web.example.com", certificate_profile_id=last)
        issue(core, "other.example.com")

        html = reader.open("/ui/certificates?find[profile_id]=department 250")
        filtered = reader.open(f"/ui/certificates?filter[profile_id]={last}")

        assert options(html, "profile_id") == {"": "Profile: any", last: LAST}
        assert options(filtered, "profile_id")[last] == LAST
        assert "web.example.com" in filtered
        assert "other.example.com" not in filtered

    def test_disabled_profiles_are_not_offered_for_new_ones(self, core: Core, last: str) -> None:
        core.call("profiles.update", path={"profile_id": last}, body={"enabled": False})
        query = f"field={FIELD}&find[{FIELD}]=department 250"
        reader = Reader(core)

        assert options(reader.open(f"/ui/choices/enabled-profiles?{query}")) == {}
        assert options(reader.open(f"/ui/choices/profiles?{query}")) == {last: LAST}


@pytest.mark.parametrize("database_engine", ["sqlite"])
class TestChoices:
    @pytest.mark.parametrize("kind", sorted(_KINDS))
    def test_every_kind_is_searched(self, core: Core, kind: str) -> None:
        field = min(_FIELDS)
        assert "Nothing is called like that." in words(
            Reader(core).open(f"/ui/choices/{kind}?field={field}&find[{field}]=nowhere")
        )

    def test_nothing_else_is(self, core: Core) -> None:
        client = Reader(core).client
        for path in ("keys?field=issuer_id", "issuers?field=x", "issuers"):
            answer = client.get(f"/ui/choices/{path}", base_url="https://certctl.example.test")
            assert answer.status_code == 404

    def test_who_may_not_see_the_list_is_offered_nothing(self, core: Core) -> None:
        reader = Reader(core, "r-auditor")

        assert options(reader.open("/ui/choices/agents?field=agent_id")) == {}


@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_every_role_can_be_given_to_a_key(core: Core) -> None:
    html = Reader(core).open("/ui/api-keys/new")

    for role in core.call("auth.roles").data:
        assert f'value="{role.id}"' in html
