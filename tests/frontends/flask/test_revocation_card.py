"""The card "Revocation endpoints" of a certificate's page (02 OPS-4)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from certctl_core.app import Core
from certctl_core.testing.factories import issue
from certctl_core.testing.fakes import FakeClock
from tests.core.revocation.support import sql
from tests.frontends.flask.browsing import Reader, card, words

pytestmark = pytest.mark.spec("02/OPS-4")
TITLE = "Revocation endpoints"


@pytest.fixture
def core_settings() -> dict[str, Any]:
    return {
        "pki_base_url": "http://pki.example.com",
        "crl_partitions": "4",
        "crl_delta_above": "1",
        "rate_limit_enabled": False,
    }


@pytest.fixture
def page(core: Core) -> str:
    return f"/ui/certificates/{issue(core, 'web.example.com').certificate.id}"


def revoke(core: Core, page: str, reason: str) -> None:
    path = {"certificate_id": page.rpartition("/")[2]}
    core.call("certificates.revoke", path=path, body={"reason": reason})


def test_the_list_is_read_when_the_button_is_pressed(core: Core, page: str) -> None:
    reader = Reader(core, "r-viewer")
    html = reader.open(page)
    assert "The CRL says" not in card(html, TITLE)
    assert f'href="{page}?check=crl#crl"' in html

    before = card(reader.open(f"{page}?check=crl"), TITLE)
    revoke(core, page, "superseded")
    after = card(reader.open(f"{page}?check=crl"), TITLE)

    assert "The CRL says not revoked" in before
    assert "Signature verified" in before
    assert "partition 4-" in before
    assert "0 revoked" in before
    assert "The CRL says revoked · superseded" in after
    assert "1 revoked" in after
    assert "OCSP says" not in after


def test_the_other_button_asks_ocsp(core: Core, page: str) -> None:
    said = card(Reader(core).open(f"{page}?check=ocsp"), TITLE)

    assert "OCSP says good" in said
    assert "The CRL says" not in said


@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_the_badge_follows_the_list_of_the_certificate(
    core: Core, page: str, clock: FakeClock
) -> None:
    reader = Reader(core)
    states = [card(reader.open(page), TITLE)]
    reader.open(f"{page}?check=crl")
    states.append(card(reader.open(page), TITLE))
    clock.advance(timedelta(hours=25))
    reader.sign_in()
    core.call("crl.regenerate", path={"issuer_id": "iss-local"})
    states.append(card(reader.open(page), TITLE))
    clock.advance(timedelta(hours=25))
    reader.sign_in()
    states.append(card(reader.open(page), TITLE))
    viewer = card(Reader(core, "r-viewer").open(page), TITLE)

    expected = ("Not generated", "Fresh", "Fresh", "Stale")
    for said, state in zip(states, expected, strict=True):
        assert f"State {state}" in said
    assert "State" not in viewer
    assert "http://pki.example.com/.well-known/pki/crl/iss-local/" in viewer


@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_a_check_that_fails_says_why(core: Core, page: str) -> None:
    sql(core, "UPDATE certificate_versions SET ca_key_id = 'ff'")

    said = words(Reader(core).open(f"{page}?check=crl"))

    assert "publishes its own CRL and OCSP" in said
