"""Take the pictures of the documentation from a running server, with certificates in it.

Not shipped. ``python docs/screenshots.py`` makes an installation with two months of history,
starts ``certctl serve`` on it, signs in with headless Chromium and writes ``docs/images/ui-*.png``.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from certctl_core import Core, Settings
from certctl_core.kernel.clock import SystemClock
from certctl_core.testing.factories import make_csr
from certctl_core.testing.fakes import FakeClock

if TYPE_CHECKING:
    from playwright.sync_api import Page, ViewportSize

IMAGES = Path(__file__).parent / "images"
KEY = "a-key-for-pictures-only-0123456789"
SERVICES = (
    *("www", "shop", "api", "mail", "vpn", "git", "wiki", "chat", "grafana", "registry", "ldap"),
    *("queue", "search", "gateway", "payments", "invoices", "intranet", "build", "backup", "sso"),
    *("metrics", "status", "docs", "images", "video", "broker", "edge", "crm", "auth", "proxy"),
)
HOSTS = [f"{name}.{place}" for name in SERVICES for place in ("example.com", "eu.example.com")]
SIZE: ViewportSize = {"width": 1360, "height": 850}


def fill(folder: Path) -> None:
    """Two months in the life of an installation: orders, renewals, some revocations."""
    draw = random.Random(7)  # noqa: S311 - the same picture each time
    now = SystemClock().now()
    clock = FakeClock(now - timedelta(days=62))
    with Core.open(Settings.for_directory(folder), clock=clock) as core:
        profiles = [
            core.call(
                "profiles.create", body={"name": name, "default_validity_seconds": days * 86400}
            ).id
            for days, name in ((33, "Services"), (67, "Public web"), (90, "Appliances"))
        ]
        moments = sorted(draw.uniform(0, 61.9) for _ in HOSTS)
        for name, moment in zip(draw.sample(HOSTS, len(HOSTS)), moments, strict=True):
            clock.set(now - timedelta(days=62 - moment))
            # Short ones are recent, as they would be with renewals; a few were forgotten.
            young = moment > 32 or draw.random() < 0.12  # noqa: PLR2004 - days, a share
            made = core.issue(
                make_csr(name),
                name=name,
                environment=draw.choice(["production", "production", "staging"]),
                certificate_profile_id=draw.choice(profiles if young else profiles[1:]),
            )
            if draw.random() < 0.06:  # noqa: PLR2004 - a share
                core.call(
                    "certificates.revoke",
                    path={"certificate_id": made.certificate.id},
                    body={"reason": "superseded"},
                )


def take(page: Page, address: str) -> None:
    """Sign in and look at the pages."""
    page.goto(f"{address}/")
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Dashboard").wait_for()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=IMAGES / "ui-dashboard.png")
    page.goto(f"{address}/ui/certificates?q=shop.example.com")
    page.get_by_role("link", name="shop.example.com", exact=True).click()
    page.wait_for_url("**/ui/certificates/mc-*")
    page.emulate_media(color_scheme="dark")
    page.reload()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=IMAGES / "ui-certificate.png")


def main() -> None:
    """Fill, start, look, stop."""
    from playwright.sync_api import sync_playwright

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    address = f"https://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as place:
        fill(Path(place) / "data")
        server = subprocess.Popen(  # noqa: S603 - our own program
            [
                *(str(Path(sys.executable).with_name("certctl")), "serve"),
                *("--data-dir", f"{place}/data", "--listen", f"127.0.0.1:{port}"),
            ],
            env={"PATH": "/usr/bin:/bin", "CERTCTL_API_KEYS_NAMED": f"maintainer:{KEY}:admin"},
            stderr=subprocess.DEVNULL,
        )
        try:
            wait(port)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"),
                    args=["--no-sandbox", "--disable-dev-shm-usage"],
                )
                context = browser.new_context(ignore_https_errors=True, viewport=SIZE)
                take(context.new_page(), address)
                browser.close()
        finally:
            server.terminate()
            server.wait()


def wait(port: int) -> None:
    """Until somebody listens, half a minute at most."""
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit("the server did not start")


if __name__ == "__main__":
    main()
