"""The dialog that revokes one certificate (02 §10, OPS-4)."""

from __future__ import annotations

import re

import pytest

from certctl_core.app import Core
from certctl_core.pki.keys import KeyAlgorithm, generate
from certctl_core.testing.factories import issue, make_csr
from tests.frontends.flask.browsing import Reader


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
