"""Who may do what, sessions, keyboard and screens, in a browser on a real server."""

from __future__ import annotations

import pytest

from certctl_core.testing.factories import make_csr
from tests.browser.real import Desk, api, follow, heading, issued, told

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


# -- people ---------------------------------------------------------------------------------------


@pytest.mark.spec("01/UI-03")
def test_a_viewer_sees_no_action_and_is_refused_when_it_forces_one(desk: Desk) -> None:
    certificate = issued(desk.server, "viewed.example.test")
    body = {"name": "looks-only", "role_ids": ["r-viewer"], "no_expiry": True}
    key = api(desk.server, "POST", "/auth/keys", body)["key_value"]
    page = desk.sign_in(key)
    for path in (
        "/ui/",
        "/ui/certificates",
        f"/ui/certificates/{certificate}",
        "/ui/issuers",
        "/ui/issuers/iss-local",
        "/ui/profiles",
        "/ui/profiles/prof-default",
        "/ui/renewal-policies",
        "/ui/renewal-policies/rp-default",
        "/ui/agents",
        "/ui/targets",
        "/ui/jobs",
        "/ui/notifications",
        "/ui/notifiers",
        "/ui/notification-routes",
        "/ui/notification-routes/nr-default",
    ):
        desk.open(path)
        posts = page.locator("main form[method=post], dialog form[method=post]")
        actions = [posts.nth(n).get_attribute("action") for n in range(posts.count())]
        # Preferences are the reader's own; reading marks are too.
        wrong = [at for at in actions if at != "/ui/preferences" and "/read" not in str(at)]
        assert wrong == [], path
        assert page.locator("main a[href*='/new']").count() == 0, path

    desk.expected.add(403)
    for path in (
        "/ui/certificates/new",
        f"/ui/certificates/{certificate}/edit",
        "/ui/issuers/new",
        "/ui/issuers/iss-local/edit",
        "/ui/profiles/new",
        "/ui/profiles/prof-default/edit",
        "/ui/renewal-policies/new",
        "/ui/renewal-policies/rp-default/edit",
        "/ui/targets/new",
        "/ui/notifiers/new",
        "/ui/notification-routes/new",
        "/ui/api-keys",
        "/ui/api-keys/new",
    ):
        answer = page.goto(desk.url + path)
        assert answer is not None
        assert (path, answer.status) == (path, 403)
        assert "Request" in page.locator("main").inner_text()
    desk.open("/ui/")
    with page.expect_navigation() as forced:
        page.evaluate(
            """(path) => {
              const form = document.querySelector("form[action='/auth/logout']").cloneNode(true);
              form.action = path;
              document.body.append(form);
              form.submit();
            }""",
            f"/ui/certificates/{certificate}/revoke",
        )
    assert forced.value.status == 403
    assert api(desk.server, "GET", f"/certificates/{certificate}")["status"] == "Active"


def test_a_session_that_ended_comes_back_to_where_it_was(desk: Desk) -> None:
    page = desk.sign_in()
    desk.open("/ui/certificates?sort=name")
    for session in api(desk.server, "GET", "/auth/sessions?all=true")["data"]:
        api(desk.server, "DELETE", f"/auth/sessions/{session['id']}")
    page.reload()
    page.wait_for_url("**/login?next=**")
    assert "Your session has ended" in page.locator("main").inner_text()
    desk.expected.add(401)
    page.fill("[name=api_key]", "ctl_none_" + "0" * 64)
    follow(page, "main button[type=submit]")
    assert "Sign-in failed" in page.locator("[role=alert]").inner_text()
    page.fill("[name=api_key]", desk.server.key)
    page.click("main button[type=submit]")
    page.wait_for_url("**/ui/certificates?sort=name")

    page.click("summary[title=Account]")
    page.click("button:has-text('Sign out')")
    page.wait_for_url("**/login?signed_out=1")
    assert "You are signed out" in page.locator("main").inner_text()
    desk.open("/ui/audit")
    assert "/login?next=" in page.url


def test_nobody_is_sent_elsewhere_after_signing_in(desk: Desk) -> None:
    page = desk.sign_in(at="/login?next=//evil.example.test/")

    assert page.url == f"{desk.url}/ui/"


# -- hands and screens ----------------------------------------------------------------------------


@pytest.mark.spec("01/UI-01", "01/UI-04")
def test_a_certificate_is_issued_by_keyboard_alone(desk: Desk) -> None:
    page = desk.page
    desk.open("/login")
    page.locator("[name=api_key]:focus").wait_for()  # by itself: no key was pressed yet
    page.keyboard.type(desk.server.key)
    page.keyboard.press("Enter")
    page.wait_for_url("**/ui/")
    page.keyboard.press("Control+k")
    page.keyboard.type("new certificate")
    page.locator("#palette [aria-selected=true]").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url("**/ui/certificates/new")

    def tab_to(selector: str) -> None:
        for _ in range(60):
            if page.evaluate("(what) => document.activeElement.matches(what)", selector):
                return
            page.keyboard.press("Tab")
        pytest.fail(f"the keyboard does not reach {selector}")

    tab_to("[name=key_mode]")
    page.keyboard.press("ArrowRight")
    tab_to("[name=csr_pem]")
    page.keyboard.insert_text(make_csr("keyboard.example.test"))
    tab_to(".submit-csr")
    page.keyboard.press("Enter")
    page.wait_for_url("**/ui/certificates/mc-*")

    assert heading(page) == "keyboard.example.test"
    tab_to("a[href='#revoke']")
    page.keyboard.press("Enter")
    page.locator("dialog#revoke[open]").wait_for()
    page.keyboard.press("Escape")
    page.locator("dialog#revoke[open]").wait_for(state="detached")


@pytest.mark.parametrize("width", [390, 1440])
def test_every_page_fits_the_screen(desk: Desk, width: int) -> None:
    certificate = issued(desk.server, f"screen-{width}.a-rather-long-name-of-a-host.example.test")
    page = desk.sign_in()
    page.set_viewport_size({"width": width, "height": 844})
    wide = []
    for path in (
        "/ui/",
        "/ui/certificates",
        *(
            f"/ui/certificates/{certificate}?tab={tab}"
            for tab in ("overview", "versions", "events")
        ),
        "/ui/certificates/new",
        f"/ui/certificates/new?renew={certificate}",
        f"/ui/certificates/{certificate}/edit",
        "/ui/issuers",
        "/ui/issuers/iss-local",
        "/ui/profiles",
        "/ui/profiles/prof-default",
        "/ui/profiles/prof-default/edit",
        "/ui/issuers/new?kind=local",
        "/ui/issuers/iss-local/edit",
        "/ui/renewal-policies",
        "/ui/renewal-policies/rp-default",
        "/ui/renewal-policies/rp-default/edit",
        "/ui/agents",
        "/ui/agents/retired",
        "/ui/targets",
        "/ui/targets/new?kind=nginx",
        "/ui/jobs",
        "/ui/notifications",
        "/ui/api-keys",
        "/ui/api-keys/new",
        "/ui/audit",
        "/ui/search?q=screen",
    ):
        desk.open(path)
        needed = page.evaluate("document.documentElement.scrollWidth")
        if needed > width:
            wide.append((path, needed))
    assert wide == []
    if width < 500:
        desk.open("/ui/")
        page.click(".menu-button")
        page.click(".sidebar a:has-text('Certificates')")
        page.wait_for_url("**/ui/certificates")


def test_preferences_are_kept(desk: Desk) -> None:
    page = desk.sign_in()
    page.click("summary[title=Account]")
    page.click("a:has-text('Preferences')")
    page.select_option("[name=theme]", "dark")
    page.select_option("[name=times]", "local")
    follow(page, "dialog[open] button:has-text('Save')")
    desk.open("/ui/issuers")
    root = page.locator("html")
    assert root.get_attribute("data-theme") == "dark"
    assert root.get_attribute("data-times") == "local"
    page.click("[data-sidebar-toggle]")
    page.reload()
    assert root.get_attribute("data-sidebar") == "collapsed"


@pytest.mark.spec("02/OPS-4", "02/REV-4")
def test_many_are_revoked_after_a_look_and_a_typed_number(desk: Desk) -> None:
    made = [issued(desk.server, f"many{number}.example.test") for number in range(3)]
    page = desk.sign_in()
    desk.open("/ui/certificates/revoke-many")
    page.fill("[name=certificate_ids]", "\n".join(made))
    page.select_option("[name=reason]", "keyCompromise")
    follow(page, "text=Show what matches")
    assert page.locator(".stat-value").all_inner_texts() == ["3", "3", "0"]

    desk.expected.add(400)
    page.fill("[name=confirm]", "2")
    follow(page, "button.btn-danger")
    assert "is not the number of certificates" in page.locator("main").inner_text()
    page.fill("[name=confirm]", "3")
    follow(page, "button.btn-danger")
    assert "3 revoked" in page.locator("main .banner").inner_text()
    for certificate_id in made:
        assert api(desk.server, "GET", f"/certificates/{certificate_id}")["status"] == "Revoked"

    desk.open("/ui/blocked-keys")
    assert page.locator("tbody tr").count() >= 3
    page.click("a:has-text('Block a key')")
    page.fill("dialog[open] [name=key]", "ab" * 32)
    page.fill("dialog[open] [name=note]", "found in a public repository")
    page.click("dialog[open] button:has-text('Block key')")
    told(page, "is blocked")
    page.locator("tr:has-text('found in a public') a:has-text('Unblock')").click()
    page.click("dialog[open] button:has-text('Unblock key')")
    told(page, "can be certified again")


@pytest.mark.spec("02/OPS-4")
def test_the_profile_editor_says_what_it_leads_to_while_one_writes(desk: Desk) -> None:
    page = desk.sign_in()
    desk.open("/ui/profiles/new")
    page.locator("#preview >> text=This would be issued").wait_for()
    page.locator("#preview >> text=valid for 90 days").wait_for()

    page.check("[name=must_staple]")
    page.uncheck("[name=include_aia]")
    page.locator("#preview >> text=Nothing would be issued").wait_for()
    page.check("[name=include_aia]")
    page.uncheck("[name=must_staple]")
    page.fill("[name=default_validity]", "5h")
    page.fill("[name=sample_names]", "a.example.test 192.0.2.1")
    page.locator("#preview >> text=valid for 5 hours").wait_for()
    page.locator("#preview >> text=192.0.2.1").first.wait_for()
    page.fill("[name=default_validity]", "soon")
    page.locator("#preview >> text=is not a length of time").wait_for()


@pytest.mark.spec("02/ROT-1", "02/OPS-4")
def test_a_ca_is_rotated_and_a_stolen_key_is_ended(desk: Desk) -> None:
    body = {"id": "iss-spare", "name": "Spare", "kind": "local"}
    api(desk.server, "POST", "/issuers", body)
    issued(desk.server, "spare.example.test", issuer_id="iss-spare")
    page = desk.sign_in()
    desk.open("/ui/issuers/iss-spare")
    page.click("summary[aria-label='Actions on this CA key']")
    page.click(".menu-item:has-text('Rotate')")
    page.fill("dialog[open] [name=common_name]", "Example Second CA")
    page.click("dialog[open] button:has-text('Rotate')")
    told(page, "Example Second CA issues from now on")
    assert page.locator(".card-head h2").all_inner_texts()[:2] == [
        "CA certificate",
        "Earlier CA certificate",
    ]

    page.locator("summary[aria-label='Actions on this CA key']").nth(1).click()
    page.click(".menu[open] .menu-item:has-text('The key is stolen')")
    page.fill("dialog[open] [name^=note_]", "left on a shared drive")
    page.click("dialog[open] button:has-text('End this key')")
    told(page, "signs nothing any more; 1 certificates")
    states = {key["state"] for key in api(desk.server, "GET", "/issuers/iss-spare/ca")["data"]}
    assert states == {"current", "compromised"}
