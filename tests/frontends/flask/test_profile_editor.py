"""The editor of profiles: what is kept, refused and shown while one writes (02 §7)."""

from __future__ import annotations

import re

import pytest

from certctl_core.app import Core
from tests.frontends.flask.browsing import Reader, words

pytestmark = pytest.mark.parametrize("database_engine", ["sqlite"])

FORM = {
    "name": "Machines",
    "key_algorithms": "ECDSA",
    "min_size_ECDSA": "256",
    "ekus": "serverAuth",
    "include_aia": "true",
    "include_cdp": "true",
    "enabled": "true",
}


@pytest.mark.spec("02/CERT-4")
class TestSubject:
    def test_it_is_kept_shown_and_edited(self, core: Core) -> None:
        reader = Reader(core)

        answer = reader.post(
            "/ui/profiles/new", **FORM, allowed_subject_attributes="organizationName, OU c"
        )

        assert answer.status_code == 303, answer.text
        page = answer.headers["Location"].partition("?")[0]
        assert "Subject CN O OU C" in words(reader.open(page))
        form = reader.open(f"{page}/edit")
        assert re.search(r'name="allowed_subject_attributes"[^>]*value="O OU C"', form)
        made = core.call("profiles.get", path={"profile_id": page.rpartition("/")[2]})
        assert made.allowed_subject_attributes == ["O", "OU", "C"]
        assert "the common name alone" in words(reader.open("/ui/profiles/prof-default"))

    def test_an_unknown_one_is_refused_beside_its_field(self, core: Core) -> None:
        answer = Reader(core).post(
            "/ui/profiles/new", **FORM, allowed_subject_attributes="O colour"
        )

        assert answer.status_code == 400
        assert "'colour' is not known; known are" in words(answer.text)
        assert core.call("profiles.list").total == 1

    def test_the_preview_says_what_is_left_out(self, core: Core) -> None:
        answer = Reader(core).post(
            "/ui/profiles/preview",
            **FORM,
            allowed_subject_attributes="O",
            sample_subject="OU=Web,O=Example",
        )

        said = words(answer.text)
        assert "CN=www.example.com,O=Example" in said
        assert "Left out of the subject: OU." in said


@pytest.mark.spec("02/CERT-8", "02/CERT-16")
def test_what_could_never_be_issued_is_refused_beside_its_field(core: Core) -> None:
    form = FORM | {"ekus": "timeStamping\nserverAuth", "must_staple": "true"}
    del form["include_aia"]
    reader = Reader(core)

    answer = reader.post("/ui/profiles/new", **form)

    assert answer.status_code == 400
    for name in ("ekus", "must_staple"):
        field = re.search(rf'<[^>]* name="{name}"[^>]*>', answer.text)
        assert field
        assert "aria-invalid" in field[0], field[0]
    said = words(answer.text)
    assert "timeStamping must be the only usage" in said
    assert "switch include_aia on" in said
    preview = words(reader.post("/ui/profiles/preview", **form).text)
    assert "Nothing would be issued" in preview
