"""The key that the issue form makes: right, downloaded, and never sent. OpenSSL judges."""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.browser.pages import Site, serve

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as running:
        yield running


def issue(page: Page, site: Site, common_name: str, names: str, folder: Path) -> Path:
    """Fill the form, make the key, download it, send. Gives the downloaded file."""
    page.goto(site.page("certificate-new"))
    page.fill("[name=common_name]", common_name)
    page.fill("[name=sans]", names)
    assert page.locator("[data-key-submit]").is_disabled()
    page.click("[data-key-make]")
    with page.expect_download() as download:
        page.click("[data-key-download]")
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    page.click("[data-key-submit]")
    return file


def sent(site: Site) -> x509.CertificateSigningRequest:
    return x509.load_pem_x509_csr(site.posts[-1][1]["csr_pem"][0].encode())


@pytest.mark.spec("01/UI-01")
def test_only_the_request_leaves_the_browser(
    page: Page, site: Site, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    wanted = "www.example.test, *.example.test\n192.0.2.7\n2001:db8::7\nops@example.test\nspiffe://example.test/web"
    file = issue(page, site, "Web.Example.test", wanted, tmp_path)
    page.wait_for_url("**/ui/certificates/new")
    path, form = site.posts[-1]
    request = sent(site)
    key = load_pem_private_key(file.read_bytes(), None)

    assert file.name == "Web.Example.test.key.pem"
    assert path == "/ui/certificates/new"
    assert form["key_mode"] == ["browser"]
    assert "PRIVATE" not in str(site.posts)
    assert request.is_signature_valid
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert request.public_key() == key.public_key()
    assert request.subject.rfc4514_string() == "CN=web.example.test"
    san = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert not san.critical
    assert list(san.value) == [
        x509.DNSName("web.example.test"),
        x509.DNSName("www.example.test"),
        x509.DNSName("*.example.test"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.7")),
        x509.IPAddress(ipaddress.ip_address("2001:db8::7")),
        x509.RFC822Name("ops@example.test"),
        x509.UniformResourceIdentifier("spiffe://example.test/web"),
    ]
    (tmp_path / "request.pem").write_text(form["csr_pem"][0])
    judged = subprocess.run(
        [tool("openssl"), "req", "-in", tmp_path / "request.pem", "-verify", "-noout"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stderr


def test_a_long_name_stands_in_a_critical_extension_alone(
    page: Page, site: Site, tmp_path: Path
) -> None:
    name = f"{'a' * 60}.example.test"
    issue(page, site, name, "", tmp_path)
    page.wait_for_url("**/ui/certificates/new")
    request = sent(site)

    assert list(request.subject) == []
    san = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert san.critical
    assert san.value.get_values_for_type(x509.DNSName) == [name]


def test_an_international_name_is_sent_as_a_labels(page: Page, site: Site, tmp_path: Path) -> None:
    issue(page, site, "münchen.example.test", "", tmp_path)
    page.wait_for_url("**/ui/certificates/new")

    assert sent(site).subject.rfc4514_string() == "CN=xn--mnchen-3ya.example.test"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "at least one name"),
        ("web_ example.test", "host name"),
        ("-web.example.test", "host name"),
        ("web..example.test", "host name"),
        ("web.example.test/path", "host name"),
        ("0x7f.1", "host name"),
        ("999.1.1.1", "IP address"),
        ("12:34", "IP address"),
        ("@example.test", "mail address"),
        ("spiffe://exämple", "URI"),
    ],
)
def test_a_bad_name_is_told_and_nothing_is_sent(
    page: Page, site: Site, tmp_path: Path, name: str, says: str
) -> None:
    # Spaces part further names, so the first word alone may be fine there; the common name is one.
    issue(page, site, name if " " not in name else name.replace(" ", "\u00a0"), "", tmp_path)
    page.locator("[data-key-error]").wait_for()

    assert says in page.locator("[data-key-error]").inner_text()
    assert site.posts == []
