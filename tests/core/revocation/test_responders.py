"""Delegated responders (02 §12 RSP): made on first need, verified before use, self-healing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from certctl_core.app import Core
from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.config import Settings
from certctl_core.kernel.secrets import generate_keyring
from certctl_core.lifecycle.authorities import CAKeyUsageForbidsOCSP
from certctl_core.lifecycle.revocation import run_crl
from certctl_core.pki.keys import KeyAlgorithm, generate, private_key_pem
from certctl_core.pki.ocsp import ResponseStatus, inspect_response, verify_response
from certctl_core.pki.pkcs11_uri import parse_pkcs11_uri
from certctl_core.pki.serials import canonical, new_serial
from certctl_core.pki.x509 import build_responder, to_pem
from certctl_core.testing.fakes import FakeClock
from tests.core.revocation.support import Web, make, make_ca, sql
from tests.softhsm import SoftHSM

ROW = "SELECT serial_number, rotated_from, key_path, cert_subject FROM ocsp_responder_certs"


def good(web: Web, clock: FakeClock, *, serial: str | None = None) -> str:
    """A verified answer now; gives the serial of the responder certificate."""
    made = serial or make(web.core).serial
    reply = web.post(web.question(made, nonce=bytes(16)))
    assert reply.status == 200, reply.body
    info = verify_response(reply.body, issuer_cert=web.ca(), at=clock.now())
    assert info.answers[0].status.value == "good"
    return str(sql(web.core, ROW)[0][0])


def look_again(core: Core, clock: FakeClock) -> None:
    clock.advance(timedelta(seconds=1))
    core.rooms.responders.forget()


@pytest.mark.spec("02/RSP-1", "02/DR-6")
def test_the_first_request_makes_it(core: Core, web: Web, clock: FakeClock, tmp_path: Path) -> None:
    made = make(core)
    assert sql(core, ROW) == []

    good(web, clock, serial=made.serial)

    path = tmp_path / "data" / "ocsp-responder-keys" / "iss-local.key"
    serial, rotated_from, key_path, subject = sql(core, ROW)[0]
    assert (rotated_from, key_path) == (None, str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    files = {item.name for item in path.parent.iterdir()} - {".certctl-place"}
    assert files == {"iss-local.key"}
    pem = sql(core, "SELECT cert_pem FROM ocsp_responder_certs")[0][0]
    certificate = x509.load_pem_x509_certificate(pem.encode())
    assert canonical(certificate.serial_number) == serial
    assert subject == certificate.subject.rfc4514_string()
    assert certificate.not_valid_before_utc == clock.now() - timedelta(minutes=5)
    assert certificate.not_valid_after_utc == clock.now() + timedelta(days=30)
    certificate.verify_directly_issued_by(web.ca())
    extensions = certificate.extensions
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.OCSP_SIGNING]
    assert not extensions.get_extension_for_class(x509.OCSPNoCheck).critical
    with core.units.read() as uow:
        entry = core.rooms.authorities.find_issued(uow, "iss-local", serial)
    assert entry is not None
    assert entry.kind == "ocsp_responder"
    assert "ocsp_responder.rotated" in [item.action for item in core.call("audit.list").data]


@pytest.mark.spec("02/RSP-5", "02/DR-22")
def test_it_is_rotated_at_its_grace(core: Core, web: Web, clock: FakeClock) -> None:
    first = good(web, clock)
    clock.advance(timedelta(days=22))
    assert good(web, clock) == first
    clock.advance(timedelta(days=1))

    second = good(web, clock)

    assert second != first
    assert sql(core, ROW)[0][1] == first
    clock.advance(timedelta(days=24))
    rotated = run_crl(core.rooms.crls, core.rooms.responders, interval=timedelta(hours=1))
    assert rotated == 2, "the loop makes a CRL and rotates the responder"
    assert sql(core, ROW)[0][1] == second


def test_rotation_by_hand(core: Core, web: Web, clock: FakeClock) -> None:
    first = good(web, clock)

    view = core.call("ocsp.rotate", path={"issuer_id": "iss-local"})

    assert good(web, clock) == next(iter(view.serial_numbers.values())) != first
    actions = [item.action for item in core.call("audit.list").data]
    assert actions.count("ocsp_responder.rotated") == 2


def foreign_row(web: Web, clock: FakeClock) -> tuple[str, str]:
    """A responder certificate that another CA has signed, with its key."""
    key, ca_key = generate(KeyAlgorithm.ECDSA_P256), generate(KeyAlgorithm.ECDSA_P256)
    certificate = build_responder(
        public_key=key.public_key(),
        issuer=make_ca(),
        key=ca_key,
        serial=new_serial(),
        not_before=clock.now() - timedelta(days=1),
        not_after=clock.now() + timedelta(days=30),
    )
    return to_pem(certificate), private_key_pem(key).decode()


@pytest.mark.spec("02/RSP-3", "02/DR-7")
@pytest.mark.parametrize(
    "damage",
    [
        "no_row",
        "no_row_and_no_key",
        "no_key",
        "garbage_key",
        "another_key",
        "key_readable_by_all",
        "garbage_certificate",
        "row_of_another_ca",
        "not_valid_yet",
    ],
)
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_it_heals_itself(
    core: Core, web: Web, clock: FakeClock, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "data" / "ocsp-responder-keys" / "iss-local.key"
    first = good(web, clock)
    if damage.startswith("no_row"):
        sql(core, "DELETE FROM ocsp_responder_certs")
    if damage in {"no_key", "no_row_and_no_key"}:
        path.unlink()
    if damage == "garbage_key":
        path.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    if damage == "another_key":  # as a crash between file and row leaves it
        path.write_bytes(private_key_pem(generate(KeyAlgorithm.ECDSA_P256)))
    if damage == "key_readable_by_all":
        path.chmod(0o644)
    if damage == "garbage_certificate":
        sql(core, "UPDATE ocsp_responder_certs SET cert_pem = 'no certificate'")
    if damage == "row_of_another_ca":
        pem, key = foreign_row(web, clock)
        sql(core, "UPDATE ocsp_responder_certs SET cert_pem = :pem", pem=pem)
        path.write_text(key)
    if damage == "not_valid_yet":  # as a clock that is put back leaves it
        clock.advance(timedelta(days=10))
        core.call("ocsp.rotate", path={"issuer_id": "iss-local"})
        clock.set(clock.now() - timedelta(days=5))
    look_again(core, clock)

    assert web.get("ocsp/iss-local/00").status == 200
    second = good(web, clock)

    assert second != first
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.spec("02/RSP-3")
def test_deleted_while_it_runs(core: Core, web: Web, clock: FakeClock) -> None:
    """Without any hint to the process: the change feed tells, or the second passes."""
    first = good(web, clock)
    sql(core, "DELETE FROM ocsp_responder_certs")
    clock.advance(timedelta(seconds=1))

    assert good(web, clock) != first


@pytest.mark.spec("02/OCSP-5", "02/DR-8")
@pytest.mark.parametrize("database_engine", ["sqlite"])
class TestWithoutAPlaceForKeys:
    @pytest.fixture
    def folder(self, core: Core, tmp_path: Path) -> Path:
        """The key directory, made unusable: a file stands where it should be."""
        folder = tmp_path / "data" / "ocsp-responder-keys"
        folder.parent.mkdir(exist_ok=True)
        if folder.is_dir():
            folder.rmdir()
        folder.write_text("in the way")
        return folder

    def test_not_configured(self, core: Core, web: Web, clock: FakeClock, folder: Path) -> None:
        made = make(core)

        reply = web.get("ocsp/iss-local/00")
        post = web.post(web.question(made.serial))

        assert (reply.status, post.status) == (500, 500)
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert b"responder not configured" in reply.body
        assert str(folder).encode() not in reply.body
        assert inspect_response(post.body).error is ResponseStatus.INTERNAL_ERROR
        assert post.headers["Cache-Control"] == "no-store"
        folder.unlink()
        good(web, clock, serial=made.serial)

    def test_key_unusable(self, core: Core, web: Web, clock: FakeClock, tmp_path: Path) -> None:
        good(web, clock)
        folder = tmp_path / "data" / "ocsp-responder-keys"
        (folder / "iss-local.key").unlink()
        folder.rmdir()
        folder.write_text("in the way")
        look_again(core, clock)

        reply = web.get("ocsp/iss-local/00")

        assert reply.status == 500
        assert b"failed to load responder key" in reply.body
        folder.unlink()
        good(web, clock)

    def test_one_that_is_due_goes_on(
        self, core: Core, web: Web, clock: FakeClock, tmp_path: Path
    ) -> None:
        first = good(web, clock)
        folder = tmp_path / "data" / "ocsp-responder-keys"
        elsewhere = tmp_path / "kept.key"
        (folder / "iss-local.key").rename(elsewhere)
        folder.rmdir()
        folder.write_text("in the way")
        sql(core, "UPDATE ocsp_responder_certs SET key_path = :path", path=str(elsewhere))
        clock.advance(timedelta(days=24))

        assert good(web, clock) == first
        assert core.rooms.responders.refresh() == 0
        clock.advance(timedelta(days=7))
        assert web.get("ocsp/iss-local/00").status == 500


@pytest.mark.spec("02/RSP-5")
def test_many_first_requests_make_one(core: Core, web: Web) -> None:
    made = make(core)
    der = web.question(made.serial)
    statuses: list[str] = []

    def ask() -> None:
        statuses.append(inspect_response(web.post(der).body).answers[0].status.value)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == ["good"] * 20
    made_rows = sql(core, "SELECT * FROM ca_issued_certificates WHERE kind = 'ocsp_responder'")
    assert len(made_rows) == 1


@pytest.mark.spec("02/RSP-5")
def test_two_processes_do_not_replace_each_others(core: Core, web: Web, clock: FakeClock) -> None:
    first = good(web, clock)
    with Core.open(core.settings, clock=clock, migrate=False) as replica:
        there = Web(replica)
        assert good(there, clock) == first
        clock.advance(timedelta(days=24))
        replica.feed.wake("pki")
        found = {good(web, clock), good(there, clock), good(web, clock), good(there, clock)}
        assert len(found) == 1
        assert first not in found
        key = web.key()
        stored = replica.rooms.responders._load(key)
        core.rooms.responders.rotate(key, cause="asked for")
        taken = replica.rooms.responders._rotate(key, "late", instead_of=stored.serial)
        assert taken.serial == sql(core, ROW)[0][0]


def ending_ca(folder: Path, openssl: Callable[..., str], days: int) -> dict[str, str]:
    """The settings of a CA that an operator made with OpenSSL."""
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key")
    openssl(
        "req", "-x509", "-new", "-key", "ca.key", "-days", str(days), "-subj", "/CN=Short CA",
        "-addext", "basicConstraints=critical,CA:TRUE", "-out", "ca.crt",
    )  # fmt: skip
    (folder / "ca.key").chmod(0o600)
    return {"ca_cert_path": str(folder / "ca.crt"), "ca_key_path": str(folder / "ca.key")}


@pytest.mark.spec("02/CA-5")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_near_and_after_the_end_of_the_ca(
    database_url: str, tmp_path: Path, openssl: Callable[..., str]
) -> None:
    settings = Settings.for_directory(
        tmp_path / "data",
        database_url=database_url,
        config_encryption_keys=generate_keyring(),
        **ending_ca(tmp_path, openssl, 3),
    )
    clock = FakeClock(SystemClock().now() + timedelta(seconds=2))
    with Core.open(settings, clock=clock) as core:
        web = Web(core)
        made = make(core)
        first = good(web, clock, serial=made.serial)
        for _ in range(3):
            clock.advance(timedelta(hours=1))
            assert good(web, clock, serial=made.serial) == first, "it ends with its CA: no rotation"
        clock.advance(timedelta(days=3))
        reply = web.post(web.question(made.serial))
        assert inspect_response(reply.body).answers[0].status.value == "good"
        sql(core, "DELETE FROM ocsp_responder_certs")
        look_again(core, clock)
        assert web.status(made.serial) == "good"
        serial = sql(core, ROW)[0][0]
        look_again(core, clock)
        assert web.status(made.serial) == "good"
        assert sql(core, ROW)[0][0] == serial
        assert web.get("crl/iss-local").status == 200


@pytest.mark.spec("02/RSP-5", "02/SIGN-6")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_keys_in_the_database(database_url: str, tmp_path: Path) -> None:
    clock = FakeClock(SystemClock().now())
    settings = Settings.for_directory(
        tmp_path / "data",
        database_url=database_url,
        config_encryption_keys=generate_keyring(),
        ocsp_responder_key_store="db",
    )
    with Core.open(settings, clock=clock) as core:
        web = Web(core)
        first = good(web, clock)
        assert sql(core, ROW)[0][2] == "db:"
        sealed = sql(core, "SELECT key_enc FROM ocsp_responder_certs")[0][0]
        assert "PRIVATE KEY" not in sealed
        assert not (tmp_path / "data" / "ocsp-responder-keys").exists()
    with Core.open(settings, clock=clock) as core:
        web = Web(core)
        assert good(web, clock) == first
        sql(core, "UPDATE ocsp_responder_certs SET key_enc = :x", x=sealed[:-4] + "AAAA")
        look_again(core, clock)
        assert good(web, clock) != first


@pytest.mark.spec("02/SIGN-8", "02/RSP-2")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_keys_in_a_token(database_url: str, tmp_path: Path, softhsm: SoftHSM) -> None:
    """The key is made once, in the token; a rotation certifies it anew."""
    clock = FakeClock(SystemClock().now())
    settings = Settings.for_directory(
        tmp_path / "data",
        database_url=database_url,
        config_encryption_keys=generate_keyring(),
        signer_ca="pkcs11",
        signer_ocsp="pkcs11",
        pkcs11_module=softhsm.module,
        pkcs11_token=softhsm.label,
        pkcs11_pin=softhsm.pin,
    )
    with Core.open(settings, clock=clock) as core:
        web = Web(core)
        first = good(web, clock)
        ref = sql(core, ROW)[0][2]
        assert ref.startswith(f"pkcs11:token={softhsm.label};object=ocsp")
        key = core.rooms.authorities.find_current("iss-local")
        assert key is not None
        core.rooms.responders.rotate(key, cause="by hand")
        second = good(web, clock)
        assert second != first
        assert sql(core, ROW)[0][1:3] == (first, ref)
    with Core.open(settings, clock=clock) as core:
        assert good(Web(core), clock) == second
    held = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert [path for path in held if b"PRIVATE KEY" in path.read_bytes()] == []


@pytest.mark.spec("02/SIGN-8", "02/RSP-3")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_a_key_that_its_signer_lost_is_replaced(
    database_url: str, tmp_path: Path, softhsm: SoftHSM
) -> None:
    clock = FakeClock(SystemClock().now())
    settings = Settings.for_directory(
        tmp_path / "data",
        database_url=database_url,
        config_encryption_keys=generate_keyring(),
        signer_ocsp="pkcs11",
        pkcs11_module=softhsm.module,
        pkcs11_token=softhsm.label,
        pkcs11_pin=softhsm.pin,
    )
    with Core.open(settings, clock=clock) as core:
        web = Web(core)
        first = good(web, clock)
        ref = sql(core, ROW)[0][2]
        ident = parse_pkcs11_uri(ref).id.hex()
        softhsm.tool("--delete-object", "--type", "privkey", "--id", ident)
    with Core.open(settings, clock=clock) as core:
        assert good(Web(core), clock) != first
        assert sql(core, ROW)[0][2] != ref


@pytest.mark.spec("02/RSP-6")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_direct_signing_when_it_is_asked_for(database_url: str, tmp_path: Path) -> None:
    clock = FakeClock(SystemClock().now())
    settings = Settings.for_directory(
        tmp_path / "data",
        database_url=database_url,
        config_encryption_keys=generate_keyring(),
        ocsp_direct_signing=True,
    )
    with Core.open(settings, clock=clock) as core:
        web = Web(core)
        made = make(core)
        reply = web.post(web.question(made.serial))
        info = verify_response(reply.body, issuer_cert=web.ca(), at=clock.now())
        assert info.responder_key_id == web.key().ca_key_id
        assert sql(core, ROW) == []
        run_crl(core.rooms.crls, core.rooms.responders, interval=timedelta(hours=1))
        assert sql(core, ROW) == []


@pytest.mark.spec("02/RSP-6", "02/CA-4")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_direct_signing_is_refused_where_the_key_usage_forbids_it(
    database_url: str, tmp_path: Path
) -> None:
    """A CA that was made without the setting has no digitalSignature."""
    changed = {"database_url": database_url, "config_encryption_keys": generate_keyring()}
    with Core.open(Settings.for_directory(tmp_path / "data", **changed)) as core:
        assert not Web(core).key().may_sign_ocsp
    direct = Settings.for_directory(tmp_path / "data", ocsp_direct_signing=True, **changed)

    with pytest.raises(CAKeyUsageForbidsOCSP, match="digitalSignature"):
        Core.open(direct)

    warned = Settings.for_directory(
        tmp_path / "data", ocsp_direct_signing=True, ca_preflight="warn", **changed
    )
    with Core.open(warned) as core:
        web = Web(core)
        reply = web.get("ocsp/iss-local/00")
        assert reply.status == 200
        assert inspect_response(reply.body).responder_key_id != web.key().ca_key_id
