"""Certificates and what is around them, in a browser on a real server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from playwright.sync_api import expect

from certctl_core.testing.factories import make_csr
from tests.browser.real import Desk, api, follow, heading, issued, openssl, saved, told

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


# -- certificates ---------------------------------------------------------------------------------


@pytest.mark.spec("01/UI-01", "01/UI-02")
def test_a_certificate_lives_its_life_in_the_browser(
    desk: Desk, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    page = desk.sign_in()
    assert heading(page) == "Dashboard"
    follow(page, "a.topbar-new")
    page.fill("[name=common_name]", "web.example.test")
    page.fill("[name=sans]", "www.example.test\n192.0.2.10")
    page.click("[data-key-make]")
    key = saved(page, "[data-key-download]", tmp_path)
    page.click("[data-key-submit]")
    page.wait_for_url("**/ui/certificates/mc-*")
    assert heading(page) == "web.example.test"
    told(page, "web.example.test was issued.")
    assert page.locator(".page-head .badge").inner_text() == "Active"

    # The private key stayed here: no line of it is in anything that was sent.
    lines = [line for line in key.read_text().splitlines() if not line.startswith("-")]
    everything = "\n".join(desk.sent)
    assert "CERTIFICATE+REQUEST" in everything
    assert "PRIVATE" not in everything
    assert not [line for line in lines if line in everything or line[:24] in everything]

    page.click("summary:has-text('Download')")
    full = saved(page, "text=Certificate and chain >> nth=0", tmp_path)
    mine = openssl(tool, "pkey", "-in", key, "-pubout")
    assert openssl(tool, "x509", "-in", full, "-noout", "-pubkey") == mine
    openssl(tool, "verify", "-CAfile", desk.server.directory / "ca.crt", full)
    for text, parse in (
        ("Certificate only", ["x509", "-noout", "-in"]),
        ("DER", ["x509", "-inform", "DER", "-noout", "-in"]),
    ):
        file = saved(page, f".menu[open] .menu-item:has-text('{text}')", tmp_path)
        openssl(tool, *parse, file)
    page.keyboard.press("Escape")

    # Renewed with a request of one's own, from the dialog; then there are two versions.
    page.click("main a:text-is('Renew')")
    page.fill("dialog[open] [name=csr_pem]", make_csr("web.example.test", "www.example.test"))
    page.click("dialog[open] button:has-text('Renew')")
    told(page, "A new version was issued.")
    follow(page, ".tab:has-text('Versions')")
    assert page.locator("tbody tr").count() == 2
    assert [page.locator("td.state").nth(n).inner_text() for n in (0, 1)] == ["Current", "Replaced"]
    older = saved(page, "tbody tr:nth-child(2) a.btn", tmp_path / "older")
    assert openssl(tool, "x509", "-in", older, "-noout", "-pubkey") == mine
    for tab, text in (("Deployments", "No target linked"), ("Events", "certificate.issued")):
        follow(page, f".tab:has-text('{tab}')")
        page.locator(f"text={text} >> nth=0").wait_for()

    # Revoked, and the list that anybody can fetch says so.
    follow(page, ".tab:has-text('Overview')")
    serial = page.locator("dt:has-text('Serial number') + dd .mono").inner_text()
    crl = page.locator("a[href*='/pki/crl/']").first.get_attribute("href") or ""
    page.click("a.btn-warn:has-text('Revoke')")
    page.select_option("[name=reason]", "keyCompromise")
    page.click("dialog[open] button:has-text('Revoke certificate')")
    told(page, "The certificate is revoked.")
    assert page.locator(".page-head .badge").inner_text() == "Revoked"
    assert not page.locator("main a:text-is('Renew')").count()
    status, der = desk.server.get(crl)
    assert status == 200
    revoked = x509.load_der_x509_crl(der)
    number = int(serial.replace(":", ""), 16)
    assert revoked.get_revoked_certificate_by_serial_number(number) is not None


def test_a_pasted_request_is_issued_and_a_bad_one_is_explained(
    desk: Desk, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    page = desk.sign_in()
    request, key = tmp_path / "request.pem", tmp_path / "key.pem"
    openssl(
        tool, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc",
        "-keyout", key, "-out", request, "-subj", "/CN=pasted.example.test",
        "-addext", "subjectAltName=DNS:pasted.example.test",
    )  # fmt: skip
    desk.expected.update({400, 422})
    desk.open("/ui/certificates/new")
    page.check("#key-csr", force=True)
    page.fill("[name=csr_pem]", "no request at all")
    follow(page, ".submit-csr")
    assert page.locator("[role=alert]").count()
    assert page.input_value("[name=csr_pem]") == "no request at all"

    page.fill("[name=csr_pem]", request.read_text())
    page.locator("summary:has-text('Label, tags and renewal')").click()
    page.fill("[name=environment]", "production")
    page.fill("[name=tags]", "team=web\nticket=OPS-17")
    page.click(".submit-csr")
    page.wait_for_url("**/ui/certificates/mc-*")

    assert heading(page) == "pasted.example.test"
    assert page.locator("dt:has-text('Environment') + dd").inner_text() == "production"
    assert "OPS-17" in page.locator("dt:has-text('Tags') + dd").inner_text()

    page.click("summary[title='More actions']")
    follow(page, ".menu-item:has-text('Edit')")
    page.fill("[name=name]", "Pasted, renamed")
    page.fill("[name=tags]", "team=platform")
    page.click("button:has-text('Save')")
    told(page, "The certificate was saved.")
    assert heading(page) == "Pasted, renamed"
    tags = page.locator("dt:has-text('Tags') + dd").inner_text()
    assert "platform" in tags
    assert "OPS-17" not in tags


@pytest.mark.spec("01/UI-03")
def test_a_list_is_searched_filtered_sorted_and_paged(desk: Desk) -> None:
    for number in range(30):
        name = f"paged-{number:02}.example.test"
        api(desk.server, "POST", "/certificates", {"common_name": name})
    page = desk.sign_in()
    desk.open("/ui/certificates?page_size=25&sort=name")
    names = page.locator("tbody td:first-child a.primary")
    assert names.count() == 25
    first = names.all_inner_texts()
    assert first == sorted(first)

    page.click("a[rel=next]")
    page.wait_for_url("**cursor=**")
    assert not set(first) & set(names.all_inner_texts())
    page.click("[data-back]")
    page.wait_for_url(lambda url: "cursor=" not in url)
    expect(names).to_have_text(first)

    page.fill(".filter-bar [name=q]", "paged-07")
    page.wait_for_url("**q=paged-07**")
    expect(names).to_have_text(["paged-07.example.test"])
    follow(page, ".chip:has-text('paged-07')")
    page.select_option("[name='filter[status]']", "Pending")
    page.wait_for_url("**Pending**")
    page.locator("td.state:has-text('Active')").first.wait_for(state="detached")
    assert set(page.locator("td.state").all_inner_texts()) == {"Pending"}
    follow(page, "th a:has-text('Name')")
    assert "sort=-name" in page.url
    shown = names.all_inner_texts()
    assert shown == sorted(shown, reverse=True)

    desk.open("/ui/search?q=paged-11")
    assert page.locator("#search-results a").count() == 1


# -- everything around them -------------------------------------------------------------------------


def test_the_ca_certificate_is_downloaded_from_its_issuer(
    desk: Desk, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    page = desk.sign_in()
    desk.open("/ui/issuers")
    follow(page, "tbody a.primary")
    page.click("button:has-text('Test')")
    told(page, "The test succeeded.")
    file = saved(page, "a[aria-label^='Download CA certificate']", tmp_path)

    got, wanted = (
        openssl(tool, "x509", "-in", path, "-noout", "-fingerprint", "-sha256")
        for path in (file, desk.server.directory / "ca.crt")
    )
    assert got == wanted


def test_a_profile_is_made_and_changed(desk: Desk) -> None:
    page = desk.sign_in()
    desk.expected.update({400, 422})
    desk.open("/ui/profiles/new")
    page.fill("[name=name]", "Web servers")
    page.fill("[name=default_validity]", "three weeks")
    follow(page, "button:has-text('Create profile')")
    assert "is not a length of time" in page.locator("#f-default-validity-error").inner_text()
    assert page.input_value("[name=name]") == "Web servers"
    page.fill("[name=default_validity]", "30d")
    page.click("button:has-text('Create profile')")
    page.wait_for_url("**/ui/profiles/prof-*")
    assert heading(page) == "Web servers"
    assert page.locator("dt:text-is('Lifetime') + dd").inner_text() == "30 d"

    follow(page, "a:has-text('Edit')")
    page.fill("[name=description]", "For what the public sees")
    page.uncheck("[name=key_algorithms][value=RSA]")
    page.click("button:has-text('Save')")
    told(page, "The profile was saved.")
    assert "RSA" not in page.locator("dt:text-is('Keys') + dd").inner_text()
    desk.open("/ui/profiles")
    assert "For what the public sees" in page.locator("tbody").inner_text()


def test_the_audit_log_is_verified_and_exported(desk: Desk, tmp_path: Path) -> None:
    issued(desk.server, "audited.example.test")
    page = desk.sign_in()
    desk.open("/ui/audit")
    page.click("button:has-text('Verify now')")
    # A fresh installation has just looked itself.
    told(page, re.compile("The log is intact|verified less than a minute ago"))
    assert "Verified" in page.locator("dt:has-text('Integrity') + dd").inner_text()
    page.fill("[name='filter[action]']", "certificate.issued")
    page.keyboard.press("Enter")
    page.wait_for_url("**certificate.issued**")
    page.locator("td:has-text('auth.session_created')").first.wait_for(state="detached")
    expect(page.locator("tbody tr").first).to_be_visible()

    page.click("a:has-text('Export')")
    file = saved(page, "dialog[open] button:has-text('Export')", tmp_path)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert "certificate.issued" in str(rows)
    page.select_option("[name=format]", "csv")
    table = saved(page, "dialog[open] button:has-text('Export')", tmp_path)
    assert table.suffix == ".csv"
    assert "," in table.read_text().splitlines()[0]


def test_an_api_key_is_shown_once_works_and_is_revoked(desk: Desk) -> None:
    page = desk.sign_in()
    desk.open("/ui/api-keys/new")
    page.fill("[name=name]", "ci-pipeline")
    page.check("[name=role_ids][value=r-viewer]")
    follow(page, "button:has-text('Create key')")
    key = page.locator(".secret-value code").inner_text()
    assert desk.server.get("/api/v1/certificates", key=key)[0] == 200
    follow(page, "a:has-text('Done')")
    assert key not in page.content()
    row = page.locator("tr:has-text('ci-pipeline')")
    assert "Viewer" in row.inner_text()

    row.locator("a:has-text('Revoke')").click()
    page.click("dialog[open] button:has-text('Revoke key')")
    told(page, "The key no longer works.")
    assert desk.server.get("/api/v1/certificates", key=key)[0] == 401


def test_an_agent_is_enrolled_and_gets_a_target(desk: Desk) -> None:
    page = desk.sign_in()
    desk.expected.update({400, 422})
    desk.open("/ui/agents")
    page.click("a:has-text('Enroll an agent') >> nth=0")
    page.fill("dialog[open] [name=label]", "web servers")
    follow(page, "dialog[open] button:has-text('Make token')")
    token = page.locator(".secret-value code").inner_text()
    assert desk.url in page.locator(".code >> nth=0").inner_text()
    follow(page, "a:has-text('Done')")
    assert token not in page.content()
    assert "web servers" in page.content()
    api(
        desk.server,
        "POST",
        "/agents/enroll",
        {"token": token, "name": "web-1", "hostname": "web-1.example.test"},
    )

    desk.open("/ui/targets/new")
    follow(page, "a.kind-card:has-text('nginx')")
    page.fill("[name=name]", "web-1 nginx")
    page.select_option("[name=agent_id]", label="web-1")
    page.fill("[name='config[cert_path]']", "relative.crt")
    page.fill("[name='config[key_path]']", "/etc/nginx/tls/web.key")
    follow(page, "button:has-text('Create target')")
    assert page.locator("[name='config[cert_path]'][aria-invalid=true]").count() == 1
    page.fill("[name='config[cert_path]']", "/etc/nginx/tls/web.crt")
    page.click("button:has-text('Create target')")
    page.wait_for_url("**/ui/targets/tgt-*")
    assert heading(page) == "web-1 nginx"
    assert page.locator(".page-head .badge").inner_text() == "Enabled"

    desk.open("/ui/certificates/new")
    page.check("#key-agent", force=True)
    page.fill("[name=common_name]", "agent.example.test")
    page.select_option("[name=target_id]", label="web-1 nginx")
    page.click(".submit-agent")
    page.wait_for_url("**/ui/certificates/mc-*")
    page.locator("text=waiting for the agent").wait_for()
    follow(page, "a:has-text('Show the job')")
    assert heading(page) == "Issuance of agent.example.test"
