"""``certctl ca`` and ``certctl dr`` against a real server (02 OPS-5, ROT-6, DR-25, DR-26, DR-28)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from certctl_core.testing.factories import make_csr
from tests.core.revocation.support import Web, sql
from tests.frontends.cli.conftest import Run
from tests.frontends.client.live import Live, live_installation


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    """An installation of the test's own: its CA keys are what changes."""
    with live_installation(tmp_path / "live") as found:
        yield found


def issue(live: Live, name: str) -> tuple[str, str]:
    """The id of a new certificate, and its PEM."""
    with live.client() as client:
        made = client.certificates.create(csr_pem=make_csr(name))
    issued = made["issued"]
    assert issued is not None
    return made["id"], issued["certificate_pem"]


def current(certctl: Run) -> str:
    keys = certctl("ca", "list", "--json").json["data"]
    return str(next(key["ca_key_id"] for key in keys if key["state"] == "current"))


@pytest.mark.spec("02/OPS-5", "02/ROT-1")
def test_a_rotation_by_hand(certctl: Run) -> None:
    before = current(certctl)
    refused = certctl("ca", "rotate")
    done = certctl("ca", "rotate", "--common-name", "Next CA", "--algorithm", "RSA-2048", "--yes")
    listed = certctl("ca", "list")

    assert refused.code == 2
    assert done.code == 0, done.err
    assert f"CN=Next CA issues from now on: CA key {current(certctl)}" in done.out
    assert current(certctl) != before
    assert before in listed.out
    assert "previous" in listed.out
    assert "RSA-2048" in listed.out


@pytest.mark.spec("02/OPS-5", "02/ROT-6")
def test_a_stolen_key_is_ended_and_what_it_signed_is_named_and_renewed(
    certctl: Run, live: Live
) -> None:
    certificate_id, _ = issue(live, "hit.example.test")
    stolen = current(certctl)
    done = certctl("ca", "mark-compromised", stolen, "--note", "gone", "--renew", "--yes")
    named = certctl("certificates", "list", "--ca-key", stolen, "--all")
    again = certctl("ca", "mark-compromised", stolen, "--yes")
    renewed = certctl("ca", "renew-certificates", stolen, "--yes", "--json").json

    assert done.code == 0, done.err
    assert f"CA key {stolen} is out of service." in done.out
    assert f"CA key {current(certctl)} issues." in done.out
    assert "1 certificates of it have not expired." in done.out
    assert "1 of 1 in use are renewed now." in done.out
    assert certificate_id in named.out
    assert again.code == 1
    assert "is compromised, which does not allow this" in again.err
    assert (renewed["affected"], renewed["planned"]) == (1, 1)


@pytest.mark.spec("02/OPS-5")
def test_a_former_key_that_is_needed_is_not_retired(certctl: Run, live: Live) -> None:
    issue(live, "needed.example.test")
    former = current(certctl)
    assert certctl("ca", "rotate", "--yes").code == 0
    result = certctl("ca", "retire", former, "--yes")

    assert result.code == 1
    assert "1 certificates that have not expired" in result.err


@pytest.mark.spec("02/OPS-5")
def test_viewers_see_the_keys_and_touch_none(certctl: Run) -> None:
    key = current(certctl)
    for command in (("rotate",), ("mark-compromised", key), ("retire", key)):
        assert certctl("ca", *command, "--yes", role="viewer").code == 4
    assert certctl("ca", "list", role="viewer").code == 0


@pytest.mark.spec("02/DR-25", "02/OPS-5")
def test_revocations_come_back_from_a_kept_crl(certctl: Run, live: Live, tmp_path: Path) -> None:
    certificate_id, _ = issue(live, "revoked.example.test")
    assert (
        certctl("certificates", "revoke", certificate_id, "--reason", "superseded", "-y").code == 0
    )
    kept = tmp_path / "kept.crl"
    kept.write_bytes(Web(live.core).get("crl/iss-local").body)
    sql(live.core, "DELETE FROM certificate_revocations")
    done = certctl("dr", "import-crl", str(kept))
    other = tmp_path / "other.crl"
    other.write_text("this is no CRL")
    refused = certctl("dr", "import-crl", str(other))

    assert done.code == 0, done.err
    assert "1 of 1 revocations were missing" in done.out
    assert certctl("dr", "import-crl", str(kept), "--json").json["data"][0]["added"] == 0
    assert refused.code == 1
    assert "not a CRL that can be read" in refused.err


@pytest.mark.spec("02/DR-26", "02/OPS-5")
def test_certificates_come_back_into_the_ledger(certctl: Run, live: Live, tmp_path: Path) -> None:
    _, pem = issue(live, "lost.example.test")
    file = tmp_path / "lost.pem"
    file.write_text(pem)
    sql(live.core, "DELETE FROM ca_issued_certificates")
    done = certctl("dr", "import-certs", str(file))
    mixed = certctl("dr", "import-certs", str(file), str(live.ca_path))
    foreign = certctl("dr", "import-certs", str(live.ca_path))

    assert done.code == 0, done.err
    assert "1 certificates added, 0 were known." in done.out
    assert mixed.code == 1
    assert "Not ours: " in mixed.out
    assert foreign.code == 1
    assert "signed the certificate of" in foreign.err
