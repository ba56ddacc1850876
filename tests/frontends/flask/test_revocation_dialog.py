"""The dialog that revokes one certificate (02 §10, OPS-4)."""

from __future__ import annotations

import re

import pytest

from certctl_core.app import Core
from certctl_core.pki.keys import KeyAlgorithm, generate
from certctl_core.testing.factories import issue, make_csr
from tests.frontends.flask.browsing import Reader, words


def preset(html: str, name: str) -> str:
    """What a browser sends for a list of choices that nobody touches."""
    choices = re.search(rf'<select[^>]* name="{name}".*?</select>', html, re.DOTALL)
    assert choices, f"there is no choice {name!r}"
    chosen = re.search(r'<option value="([^"]*)" selected', choices[0])
    first = re.search(r'<option value="([^"]*)"', choices[0])
    assert first
    return (chosen or first)[1]


@pytest.mark.spec("02/REV-1")
@pytest.mark.parametrize(("reason", "revoked"), [("keyCompromise", 2), ("superseded", 1)])
def test_the_dialog_covers_what_the_reason_needs(core: Core, reason: str, revoked: int) -> None:
    made = issue(core, "web.example.com")
    path = {"certificate_id": made.certificate.id}
    key = generate(KeyAlgorithm.ECDSA_P256)
    for _ in range(2):
        csr = make_csr("web.example.com", key=key)
        core.call("certificates.renew", path=path, body={"csr_pem": csr, "force": True})
    page = f"/ui/certificates/{made.certificate.id}"
    reader = Reader(core)

    scope = preset(reader.open(page), "scope")
    answer = reader.post(f"{page}/revoke", reason=reason, scope=scope)

    assert answer.status_code == 303, answer.text
    rows = core.call("certificates.versions", path=path).data
    assert len([row for row in rows if row.revoked_at]) == revoked


@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_a_hold_is_made_final_on_its_page(core: Core) -> None:
    made = issue(core, "web.example.com")
    page, reader = f"/ui/certificates/{made.certificate.id}", Reader(core)
    reader.post(f"{page}/revoke", reason="certificateHold", scope="")

    html = reader.open(page)
    assert "Revoke for good" in words(html)
    assert "Release hold" in words(html)
    assert 'value="superseded"' in html
    assert 'value="certificateHold"' not in html
    answer = reader.post(f"{page}/revoke", reason="superseded", scope=preset(html, "scope"))

    assert answer.status_code == 303, answer.text
    html = reader.open(page)
    assert "reason superseded" in words(html)
    assert "Release hold" not in words(html)
    assert "Revoke for good" not in words(html)


@pytest.mark.spec("02/REV-1")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_the_page_names_what_else_has_the_stolen_key(core: Core) -> None:
    key = generate(KeyAlgorithm.ECDSA_P256)
    ids = [
        core.issue(make_csr(f"h{number}.example.com", key=key)).certificate.id
        for number in range(13)
    ]
    page, reader = f"/ui/certificates/{ids[0]}", Reader(core)
    assert "still trusted elsewhere" not in reader.open(page)

    reader.post(f"{page}/revoke", reason="keyCompromise", scope="")

    html = reader.open(page)
    assert "12 certificates are still valid with this compromised key" in words(html)
    link = re.search(r'href="(/ui/certificates/revoke-many\?[^"]*spki_sha256[^"]*)"', html)
    every = re.search(r'href="(/ui/certificates\?[^"]*spki_sha256[^"]*)"', html)
    assert link
    assert every
    assert "12 certificates" in words(reader.open(every[1].replace("&amp;", "&")))
    digest = link[1].rpartition("=")[2]
    form = reader.open(link[1].replace("&amp;", "&"))
    assert f'value="{digest}"' in form
    assert preset(form, "reason") == "keyCompromise"
    answer = reader.post(
        "/ui/certificates/revoke-many", reason="keyCompromise", spki_sha256=digest,
        confirm="12", to_revoke="12", expected_count="12",
    )  # fmt: skip
    assert "12 revoked" in words(answer.text)
    assert "still trusted elsewhere" not in reader.open(page)
