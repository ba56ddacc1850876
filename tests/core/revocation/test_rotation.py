"""A new CA key (02 §14): old certificates keep their CRL and OCSP, nothing is mixed up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.app import Core
from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.config import Settings
from certctl_core.kernel.secrets import generate_keyring
from certctl_core.pki.ocsp import (
    CertIDHash,
    build_request,
    cert_id,
    inspect_response,
    verify_response,
)
from certctl_core.testing.fakes import FakeClock
from tests.core.revocation.support import Web, make, revoke, sql

OpenSSL = Callable[..., str]


def make_pair(openssl: OpenSSL, subject: str, *extensions: str) -> None:
    """An operator's CA as the runbook makes it: ``ca.key`` and ``ca.crt``."""
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key")
    extra = [part for extension in extensions for part in ("-addext", extension)]
    openssl(
        "req", "-x509", "-new", "-key", "ca.key", "-days", "3650", "-subj", subject, *extra,
        "-out", "ca.crt",
    )  # fmt: skip


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings.for_directory(
        tmp_path / "data",
        database_url=database_url,
        config_encryption_keys=generate_keyring(),
        ca_cert_path=str(tmp_path / "ca.crt"),
        ca_key_path=str(tmp_path / "ca.key"),
    )


def ask(web: Web, ca: x509.Certificate, serial: str) -> tuple[str, bytes]:
    der = build_request([cert_id(CertIDHash.SHA1, ca, serial)])
    reply = web.post(der)
    assert reply.status == 200
    return inspect_response(reply.body).answers[0].status.value, reply.body


@pytest.mark.spec("02/ROT-1", "02/ROT-2", "02/ROT-3", "02/ROT-4", "02/ROT-5", "02/DR-12")
@pytest.mark.parametrize("subject", ["/CN=Example CA", "/CN=Example CA 2"], ids=["same", "other"])
def test_a_rotation_with_the_files_of_the_runbook(
    settings: Settings, openssl: OpenSSL, tmp_path: Path, subject: str
) -> None:
    clock = SystemClock()
    make_pair(openssl, "/CN=Example CA")
    (tmp_path / "ca.key").chmod(0o600)
    with Core.open(settings, clock=clock) as core:
        web = Web(core)
        good, bad = make(core, "good.example.test"), make(core, "bad.example.test")
        revoke(core, bad.certificate_id)
        old_ca, old_id = web.ca(), web.key().ca_key_id
        assert (ask(web, old_ca, good.serial)[0], ask(web, old_ca, bad.serial)[0]) == (
            "good", "revoked",
        )  # fmt: skip
        web.crl()
    for name in ("ca.crt", "ca.key"):
        (tmp_path / name).rename(tmp_path / f"{name}.old-rotated-1")
    make_pair(openssl, subject)
    (tmp_path / "ca.key").chmod(0o600)

    with Core.open(settings, clock=clock) as core:
        web = Web(core)
        new_ca, new_id = web.ca(), web.key().ca_key_id
        assert new_id != old_id
        made = make(core, "new.example.test")
        leaf = x509.load_pem_x509_certificate(made.pem.encode())
        leaf.verify_directly_issued_by(new_ca)

        for ca, serial, expected in (
            (old_ca, good.serial, "good"),
            (old_ca, bad.serial, "revoked"),
            (old_ca, made.serial, "unknown"),
            (new_ca, made.serial, "good"),
            (new_ca, good.serial, "unknown"),
        ):
            status, body = ask(web, ca, serial)
            assert status == expected
            verify_response(body, issuer_cert=ca, at=clock.now())
        assert web.status(made.serial) == "good"
        for path, ca, listed in (
            ("crl/iss-local", new_ca, set()),
            (f"crl/iss-local/{new_id}", new_ca, set()),
            (f"crl/iss-local/{old_id}", old_ca, {bad.serial.lstrip("0")}),
        ):
            crl = web.crl(path)
            assert crl.is_signature_valid(ca.public_key())  # type: ignore[arg-type] # a CA's key
            assert {f"{entry.serial_number:x}" for entry in crl} == listed
        revoke(core, good.certificate_id)
        assert ask(web, old_ca, good.serial)[0] == "revoked"
        assert len(web.crl(f"crl/iss-local/{old_id}")) == 2
        paths = [row[0] for row in sql(core, "SELECT key_path FROM ocsp_responder_certs")]
        assert len(set(paths)) == 2
        bundle = x509.load_pem_x509_certificates(web.get("bundle/iss-local").body)
        assert bundle == [new_ca, old_ca]
        der = web.get(f"ca/iss-local/{old_id}").body
        assert der == old_ca.public_bytes(Encoding.DER)


@pytest.mark.spec("02/OCSP-7", "02/CRL-1")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_a_ca_whose_key_identifier_is_not_a_hash(
    settings: Settings, openssl: OpenSSL, tmp_path: Path
) -> None:
    """RFC 5280 §4.2.1.2 only recommends methods: everything hangs on the key, not on the SKI."""
    make_pair(openssl, "/CN=Odd CA", "subjectKeyIdentifier=0102030405060708")
    (tmp_path / "ca.key").chmod(0o600)
    with Core.open(settings, clock=FakeClock(SystemClock().now())) as core:
        web = Web(core)
        made = make(core)
        assert web.status(made.serial) == "good"
        revoke(core, made.certificate_id)
        assert web.status(made.serial) == "revoked"
        assert set(web.listed()) == {made.serial.lstrip("0")}
        (tmp_path / "ca.pem").write_bytes(web.ca().public_bytes(Encoding.PEM))
        text = openssl(
            "crl", "-inform", "DER", "-noout", "-CAfile", "ca.pem", "-verify",
            data=web.get("crl/iss-local").body,
        )  # fmt: skip
        assert "verify OK" in text


@pytest.mark.spec("02/CRL-8")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_a_ca_that_may_not_sign_crls(settings: Settings, openssl: OpenSSL, tmp_path: Path) -> None:
    make_pair(openssl, "/CN=No CRL CA", "keyUsage=critical,keyCertSign")
    (tmp_path / "ca.key").chmod(0o600)
    with Core.open(settings, clock=FakeClock(SystemClock().now())) as core:
        web = Web(core)
        reply = web.get("crl/iss-local")
        assert reply.status == 500
        assert b"CA certificate lacks cRLSign" in reply.body
        assert web.status(make(core).serial) == "good"
        row = core.call("crl.state").cache_rows[0]
        assert (row.cache_present, row.recent_events[0].succeeded) == (False, False)
        assert row.recent_events[0].error.startswith("CA certificate lacks cRLSign")
