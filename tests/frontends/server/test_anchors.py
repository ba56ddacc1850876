"""``ca.crt``, and a database that is older than the last rotation (02 ROT-2, DR-15)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from certctl_server.own_certificate import OwnCertificate
from cryptography import x509
from structlog.testing import capture_logs

from certctl_core import Core, Settings
from certctl_core.lifecycle.authorities import CAKeyState
from certctl_core.pki.ocsp import CertIDHash, build_request, cert_id, inspect_response
from certctl_core.pki.x509 import to_pem
from certctl_core.testing.factories import issue
from tests.core.revocation.support import Web


@pytest.mark.spec("02/ROT-2", "02/DR-15", "02/DR-26")
def test_a_ca_that_the_restored_database_does_not_know_is_kept_and_comes_back(
    tmp_path: Path,
) -> None:
    place = tmp_path / "data"
    with Core.open(place) as core:
        path = OwnCertificate(core).write_anchors()
        assert path is not None
    shutil.copy(place / "certctl.db", tmp_path / "backup.db")
    with Core.open(place) as core:
        core.call("ca.rotate", path={"issuer_id": "iss-local"}, body={})
        OwnCertificate(core).write_anchors()
        made = issue(core, "late.example.test")
        new = Web(core).ca()
        key_ref = Web(core).key().key_ref
    assert len(x509.load_pem_x509_certificates(path.read_bytes())) == 2
    # The restore: the files of the data directory are newer than the database.
    for name in ("certctl.db", "certctl.db-wal", "certctl.db-shm"):
        (place / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", place / "certctl.db")
    with Core.open(place) as core:
        with capture_logs() as logs:
            OwnCertificate(core).write_anchors()
            OwnCertificate(core).write_anchors()
        assert len(x509.load_pem_x509_certificates(path.read_bytes())) == 1
    (warning,) = [line for line in logs if line["event"] == "ca.unknown_anchor_kept"]
    assert warning["subjects"] == ["CN=certctl Local CA G2"]
    kept = x509.load_pem_x509_certificates(Path(warning["path"]).read_bytes())
    assert new in kept

    lost = tmp_path / "lost.crt"
    lost.write_text(to_pem(new))
    settings = Settings.for_directory(place, ca_previous=f"{lost}:{place / str(key_ref)}")
    with Core.open(settings) as core:
        states = {key.certificate: key.state for key in core.rooms.authorities.authority_keys()}
        assert states[new] is CAKeyState.PREVIOUS
        answer = core.call("dr.import_certificates", body={"certificates": made.certificate_pem})
        assert answer.added == 1
        question = build_request([cert_id(CertIDHash.SHA1, new, made.version.serial_number)])
        info = inspect_response(Web(core).post(question).body)
        assert info.answers[0].status.value == "good"


def test_a_rotation_keeps_nothing_aside(tmp_path: Path) -> None:
    with Core.open(tmp_path / "data") as core:
        OwnCertificate(core).write_anchors()
        core.call("ca.rotate", path={"issuer_id": "iss-local"}, body={})
        OwnCertificate(core).write_anchors()
        old = [key for key in core.rooms.authorities.keys("iss-local") if key.state == "previous"]
        path = {"issuer_id": "iss-local", "ca_key_id": old[0].ca_key_id}
        core.call("ca.mark_compromised", path=path, body={})
        OwnCertificate(core).write_anchors()
    assert sorted(file.name for file in (tmp_path / "data").glob("ca.crt*")) == ["ca.crt"]
