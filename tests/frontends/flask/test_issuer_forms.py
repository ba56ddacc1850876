"""Issuers are made, tested, changed and deleted on pages (01 UI-01, 06 SEC-1)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from certctl_core.app import Core
from certctl_core.lifecycle.issuers import CreateIssuer
from certctl_core.lifecycle.issuers.types import IssuerSource
from certctl_core.testing.factories import issue
from tests.frontends.flask.browsing import Reader, card, words
from tests.frontends.flask.vendor import Widgets, installed

pytestmark = pytest.mark.spec("01/UI-01")
NEW = "/ui/issuers/new"
FIRST, SECOND = "a-secret-of-widgets", "another-secret-of-widgets"
WIDGETS = {
    "kind": "widgets",
    "name": "Widgets",
    "id": "iss-widgets",
    "enabled": "true",
    "config[base_url]": "https://ca.example.com",
    "config[api_key]": FIRST,
    "config[is_strict]": "true",
    "config[regions]": "eu",
}
PAGE = "/ui/issuers/iss-widgets"


@pytest.fixture
def core_settings(tmp_path: Path) -> Iterator[dict[str, Any]]:
    with installed(tmp_path / "vendor"):
        yield {"rate_limit_enabled": False}


def field(html: str, name: str) -> str:
    """The tag of a field; of a text area with what it holds."""
    found = re.search(rf'<[^>]* name="{re.escape(name)}"[^>]*>([^<]*</textarea>)?', html)
    assert found, f"there is no field {name!r}"
    return unescape(found[0])


def error(html: str, name: str) -> str:
    """What is said beside a field."""
    tag = field(html, name)
    assert 'aria-invalid="true"' in tag, tag
    described = re.search(r'aria-describedby="(\S+-error)', tag)
    assert described
    return words(html.partition(f'id="{described[1]}"')[2].partition(">")[2].partition("</p>")[0])


def stored(core: Core, issuer_id: str = "iss-widgets") -> Any:
    return core.call("issuers.get", path={"issuer_id": issuer_id})


def resent(html: str, **changes: str) -> dict[str, str]:
    """The form as a browser sends it back, with some fields changed."""
    form: dict[str, str] = {}
    main = html.partition("<main")[2].partition("</main>")[0]
    for tag in re.findall(r"<input [^>]*>", main):
        found = dict(re.findall(r'([a-z-]+)="([^"]*)"', tag))
        is_box = found["type"] == "checkbox"
        if found["name"] != "csrf_token" and (not is_box or " checked" in tag):
            form[unescape(found["name"])] = unescape(found.get("value", ""))
    for name, text in re.findall(r'<textarea [^>]*name="([^"]*)"[^>]*>([^<]*)<', main):
        form[unescape(name)] = unescape(text).replace("\n", "\r\n")
    for name, options in re.findall(
        r'<select [^>]*name="([^"]*)"[^>]*>(.*?)</select>', main, re.DOTALL
    ):
        chosen = re.search(r'value="([^"]*)" selected', options)
        form[unescape(name)] = chosen[1] if chosen else ""
    return form | changes


def widgets(core: Core) -> Reader:
    """A reader who has made the issuer of widgets."""
    reader = Reader(core)
    made = reader.post(NEW, **WIDGETS)
    assert made.status_code == 303, made.text
    assert made.headers["Location"] == PAGE
    return reader


def test_from_the_kind_to_the_end(core: Core) -> None:
    reader = Reader(core)
    assert f'href="{NEW}"' in reader.open("/ui/issuers")
    assert f'href="{NEW}?kind=local"' in reader.open(NEW)
    form = reader.open(f"{NEW}?kind=local")
    assert 'value="certctl Local CA"' in field(form, "config[ca_common_name]")

    sent = resent(form, name="Second CA", **{"config[validity_days]": "30"})
    made = reader.post(NEW, **sent)
    page = made.headers["Location"]
    issuer_id = page.rpartition("/")[2]
    assert issuer_id.startswith("iss-second-ca-")
    assert "Validity days 30" in card(reader.open(page), "Configuration")

    form = reader.open(f"{page}/edit")
    assert 'value="30"' in field(form, "config[validity_days]")
    changed = resent(form, name="Short CA", **{"config[validity_days]": "7"})
    changed["config[crl_distribution_point_urls]"] = "http://pki.example.com/a.crl\r\n"
    assert reader.post(f"{page}/edit", **changed).headers["Location"] == page
    config = stored(core, issuer_id).config
    assert config["validity_days"] == 7
    assert config["crl_distribution_point_urls"] == ["http://pki.example.com/a.crl"]
    assert "Short CA" in words(reader.open("/ui/issuers"))

    assert reader.post(f"{page}/delete").headers["Location"] == "/ui/issuers"
    assert "Short CA" not in words(reader.open("/ui/issuers"))
    assert [row.id for row in core.call("issuers.list").data] == ["iss-local"]


@pytest.mark.parametrize("database_engine", ["sqlite"])
class TestRefused:
    @pytest.mark.parametrize(
        ("name", "value", "says"),
        [
            ("config[base_url]", "http://ca.example.com", "must begin with https://"),
            ("config[plan]", "huge", "'small' or 'large'"),
            ("config[labels]", "no JSON", "should be a valid dictionary"),
            ("name", "Local CA", "already an issuer named"),
            ("id", "iss-local", "already an issuer iss-local"),
        ],
    )
    def test_a_fault_stands_beside_its_field(
        self, core: Core, name: str, value: str, says: str
    ) -> None:
        answer = Reader(core).post(NEW, **WIDGETS | {name: value})

        assert answer.status_code >= 400
        assert says in error(answer.text, name)
        assert core.call("issuers.list").total == 1

    def test_a_secret_is_asked_for_again_and_not_sent_back(self, core: Core) -> None:
        form = {**WIDGETS, "name": "Local CA", "config[client.key]": SECOND}
        del form["config[is_strict]"]

        answer = Reader(core).post(NEW, **form)

        assert FIRST not in answer.text
        assert SECOND not in answer.text
        assert "Enter it again" in error(answer.text, "config[api_key]")
        assert 'value="https://ca.example.com"' in field(answer.text, "config[base_url]")
        assert " checked" not in field(answer.text, "config[is_strict]"), "it was switched off"

    def test_a_fault_of_several_fields_is_told_above_them(self, core: Core) -> None:
        form = {"kind": "local", "name": "x", "config[ca_cert_path]": "/etc/ca.crt"}

        answer = Reader(core).post(NEW, **form)

        assert answer.status_code == 400
        assert "belong together: give both or neither" in words(answer.text)

    def test_a_kind_that_cannot_be_used_says_why(self, core: Core) -> None:
        catalogue = Reader(core).open(NEW)

        assert f'href="{NEW}?kind=missing"' not in catalogue
        assert "certctl_no_such_package" in words(catalogue)
        assert f'href="{NEW}?kind=scripted"' in catalogue
        catalogue = Reader(core, "r-operator").open(NEW)
        assert f'href="{NEW}?kind=scripted"' not in catalogue
        assert "runs commands of the operator" in words(catalogue)

    def test_an_unknown_kind_is_no_page(self, core: Core) -> None:
        answer = Reader(core).post(NEW, kind="nowhere", name="x")

        assert answer.status_code == 404


@pytest.mark.spec("06/SEC-1")
class TestSecrets:
    def test_empty_keeps_it_and_it_is_never_shown(self, core: Core) -> None:
        reader = widgets(core)

        form = reader.open(f"{PAGE}/edit")
        answer = reader.post(f"{PAGE}/edit", **resent(form, **{"config[plan]": "large"}))

        assert answer.status_code == 303, answer.text
        assert ", not shown; it stays when this is left empty" in words(form)
        assert 'value=""' in field(form, "config[api_key]")
        assert FIRST not in form + reader.open(PAGE)
        assert reader.post(f"{PAGE}/test").status_code == 303
        assert Widgets.seen[-1].api_key.reveal() == FIRST
        assert Widgets.seen[-1].plan == "large"

    @pytest.mark.parametrize("database_engine", ["sqlite"])
    def test_a_new_one_replaces_it(self, core: Core) -> None:
        reader = widgets(core)
        form = resent(reader.open(f"{PAGE}/edit"), **{"config[api_key]": SECOND})

        reader.post(f"{PAGE}/edit", **form)
        reader.post(f"{PAGE}/test")

        assert Widgets.seen[-1].api_key.reveal() == SECOND

    @pytest.mark.parametrize("database_engine", ["sqlite"])
    def test_an_optional_one_is_taken_away(self, core: Core) -> None:
        reader = Reader(core)
        reader.post(NEW, **WIDGETS, **{"config[webhook_key]": SECOND})
        form = reader.open(f"{PAGE}/edit")
        with pytest.raises(AssertionError):
            field(form, "clear[api_key]")

        answer = reader.post(f"{PAGE}/edit", **resent(form, **{"clear[webhook_key]": "true"}))

        assert answer.status_code == 303, answer.text
        config = stored(core).config
        assert config["webhook_key"] is None
        assert config["api_key"]["set"]

    @pytest.mark.parametrize("database_engine", ["sqlite"])
    def test_it_does_not_go_to_another_host(self, core: Core) -> None:
        reader = widgets(core)
        form = resent(
            reader.open(f"{PAGE}/edit"), **{"config[base_url]": "https://evil.example.net"}
        )

        answer = reader.post(f"{PAGE}/edit", **form)

        assert answer.status_code == 422
        assert "the host has changed" in error(answer.text, "config[api_key]")
        assert stored(core).config["base_url"] == "https://ca.example.com"


@pytest.mark.parametrize("database_engine", ["sqlite"])
class TestEdit:
    def test_what_was_not_touched_stays(self, core: Core) -> None:
        reader = widgets(core)
        config = {"labels": {"rank": 1}, "regions": ["eu", "us"], "is_strict": False}
        core.call("issuers.update", path={"issuer_id": "iss-widgets"}, body={"config": config})
        before = stored(core)

        answer = reader.post(f"{PAGE}/edit", **resent(reader.open(f"{PAGE}/edit")))

        assert answer.status_code == 303, answer.text
        assert stored(core) == before

    def test_what_was_emptied_returns_to_its_default(self, core: Core) -> None:
        reader = widgets(core)
        config = {"labels": {"rank": 1}, "regions": ["us"], "plan": "large"}
        core.call("issuers.update", path={"issuer_id": "iss-widgets"}, body={"config": config})
        empty = {f"config[{name}]": "" for name in config}

        reader.post(f"{PAGE}/edit", **resent(reader.open(f"{PAGE}/edit"), **empty))

        after = stored(core).config
        assert (after["labels"], after["regions"], after["plan"]) == ({}, ["eu"], None)

    def test_somebody_else_was_first(self, core: Core) -> None:
        reader = widgets(core)
        form = resent(reader.open(f"{PAGE}/edit"), name="Mine")
        core.call("issuers.update", path={"issuer_id": "iss-widgets"}, body={"name": "Theirs"})

        answer = reader.post(f"{PAGE}/edit", **form)

        assert answer.status_code == 412
        assert "has changed since you read it" in words(answer.text)
        assert 'value="Mine"' in field(answer.text, "name")
        assert stored(core).name == "Theirs"

    def test_one_that_is_in_use_is_not_deleted(self, core: Core) -> None:
        issue(core, "web.example.com")
        reader = Reader(core)

        answer = reader.post("/ui/issuers/iss-local/delete")

        assert answer.status_code == 409
        dialog = answer.text.partition('<dialog class="dialog" id="delete"')[2]
        assert dialog.startswith(' aria-labelledby="delete-title" open')
        assert "is in use" in words(dialog)
        assert "Certificates: 1" in words(dialog)
        assert stored(core, "iss-local")

    def test_one_from_the_environment_is_changed_there(self, core: Core) -> None:
        with core.units.begin() as uow:
            body = CreateIssuer(id="iss-env", name="Declared", kind="local")
            core.rooms.issuers.create(uow, body, source=IssuerSource.ENV)
        reader = Reader(core)

        page = reader.open("/ui/issuers/iss-env")
        answer = reader.post("/ui/issuers/iss-env/edit", name="Mine", version="1")

        assert "set up by the environment: change it there" in words(page)
        for action in ("edit", "disable", "delete"):
            assert f"/ui/issuers/iss-env/{action}" not in page
        assert answer.status_code == 409
        assert "cannot be changed here" in words(answer.text)

    def test_one_whose_plugin_is_gone_can_be_renamed(self, core: Core, tmp_path: Path) -> None:
        widgets(core)
        plugins = core.settings.plugins.model_copy(update={"disabled": ("widgets",)})
        settings = core.settings.model_copy(update={"plugins": plugins})
        with Core.open(settings) as other:
            reader = Reader(other, "r-operator")
            form = reader.open(f"{PAGE}/edit")
            answer = reader.post(f"{PAGE}/edit", **resent(form, name="Old widgets"))

            assert "plugin of this kind is not installed" in words(form)
            assert answer.status_code == 303, answer.text
            assert stored(other).name == "Old widgets"


@pytest.mark.parametrize("database_engine", ["sqlite"])
class TestTrial:
    def test_a_form_is_tested_and_nothing_is_saved(self, core: Core) -> None:
        reader = Reader(core)

        good = words(reader.post("/ui/issuers/try", **WIDGETS).text)
        bad = words(reader.post("/ui/issuers/try", **WIDGETS | {"config[api_key]": "wrong"}).text)
        none = words(reader.post("/ui/issuers/try", **WIDGETS | {"config[base_url]": ""}).text)

        assert "The test succeeded Nothing was saved." in good
        assert "The test failed" in bad
        assert "Take a new key from the portal." in bad
        assert "Not tested API address: Field required" in none
        assert core.call("issuers.list").total == 1

    def test_an_edit_is_tested_with_the_stored_secret(self, core: Core) -> None:
        reader = widgets(core)
        form = resent(reader.open(f"{PAGE}/edit"), **{"config[plan]": "small"})

        said = words(reader.post("/ui/issuers/try", **form).text)

        assert "The test succeeded" in said
        assert Widgets.seen[-1].api_key.reveal() == FIRST
        assert Widgets.seen[-1].plan == "small"
        assert stored(core).config["plan"] is None

    @pytest.mark.parametrize("path", [NEW, f"{PAGE}/edit"])
    def test_without_a_script_the_page_comes_again(self, core: Core, path: str) -> None:
        reader = widgets(core)
        form = WIDGETS | {"try": "1", "name": "Other", "id": "iss-other"}
        if path != NEW:
            form = resent(reader.open(path), **{"try": "1", "name": "Other"})

        answer = reader.post(path, **form)

        assert answer.status_code == 200
        assert "the key is known" in words(answer.text)
        assert 'value="Other"' in field(answer.text, "name")
        assert stored(core).name == "Widgets"
        assert core.call("issuers.list").total == 2

    def test_what_fails_its_test_is_not_made(self, core: Core) -> None:
        form = WIDGETS | {"test": "true", "config[api_key]": "wrong"}

        answer = Reader(core).post(NEW, **form)

        assert answer.status_code == 422
        said = words(answer.text)
        assert "nothing was saved" in said
        assert "the key is unknown" in said
        assert core.call("issuers.list").total == 1


@pytest.mark.spec("01/UI-03")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_who_may_not_has_no_control_and_is_refused(core: Core) -> None:
    widgets(core)
    viewer, operator = Reader(core, "r-viewer"), Reader(core, "r-operator")

    for page in ("/ui/issuers", PAGE):
        html = viewer.open(page)
        assert NEW not in html
        assert f"{PAGE}/edit" not in html
    for path in (NEW, f"{NEW}?kind=local", f"{PAGE}/edit"):
        assert viewer.client.get(path, base_url="https://certctl.example.test").status_code == 403
    for path in (NEW, f"{PAGE}/edit", f"{PAGE}/delete", "/ui/issuers/try"):
        assert viewer.post(path, **WIDGETS | {"id": "iss-mine", "name": "Mine"}).status_code == 403
    assert f"{PAGE}/edit" in operator.open(PAGE)
    assert f"{PAGE}/delete" not in operator.open(PAGE)
    assert operator.post(f"{PAGE}/delete").status_code == 403
    assert stored(core).name == "Widgets"
