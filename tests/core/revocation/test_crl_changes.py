"""How CRLs follow the revocations (02 CRL-3 to CRL-8): loops, replicas, hands, sizes, failures."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.app import Core
from certctl_core.app.schema import metadata
from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.config import Settings
from certctl_core.kernel.secrets import generate_keyring
from certctl_core.lifecycle.revocation import run_changed_crls, run_crl
from certctl_core.testing.fakes import FakeClock
from tests.core.revocation.support import Web, make, revoke, sql
from tests.core.revocation.test_rotation import make_pair
from tests.machine import PATIENCE_SECONDS

OpenSSL = Callable[..., str]
issuers = metadata.tables["issuers"]
Event = tuple[str, bool, int, str | None]


def events(core: Core) -> list[Event]:
    rows = sql(
        core,
        'SELECT "trigger", succeeded, crl_number, error FROM crl_generation_events ORDER BY id',
    )
    return [(row[0], bool(row[1]), row[2], row[3]) for row in rows]


def forget(core: Core, clock: FakeClock) -> None:
    clock.advance(timedelta(seconds=1))
    core.pki.forget()


def number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


@pytest.fixture
def replica(core: Core, clock: FakeClock) -> Iterator[Core]:
    with Core.open(core.settings, clock=clock, migrate=False) as opened:
        yield opened


# A row as somebody writes it who knows no more than the documented columns.
BY_HAND = (
    "INSERT INTO certificate_revocations (id, serial_number, reason, reason_code, revoked_by, "
    "revoked_at, issuer_id, ca_key_id, issuer_notified, not_after, on_crl, created_at) "
    "SELECT :id || serial_number, :serial, reason, reason_code, revoked_by, revoked_at, issuer_id, "
    "ca_key_id, issuer_notified, not_after, on_crl, created_at "
    "FROM certificate_revocations ORDER BY seq LIMIT 1"
)


@pytest.mark.spec("02/CRL-4")
def test_a_burst_of_revocations_is_one_list_within_seconds(core: Core, web: Web) -> None:
    assert run_changed_crls(core.rooms.crls, at_start=True) == 1
    assert run_changed_crls(core.rooms.crls) == 0
    made = [make(core) for _ in range(3)]
    for item in made:
        revoke(core, item.certificate_id)

    assert run_changed_crls(core.rooms.crls) == 1
    assert run_changed_crls(core.rooms.crls) == 0

    assert [(trigger, ok) for trigger, ok, _, _ in events(core)] == [
        ("start", True),
        ("revoke", True),
    ]
    assert set(web.listed()) == {item.serial.lstrip("0") for item in made}
    assert len(events(core)) == 2, "the fetch found the list that the loop had made"


@pytest.mark.spec("02/DR-3")
def test_a_deleted_row_comes_back_without_any_fetch(core: Core, web: Web) -> None:
    revoke(core, make(core).certificate_id)
    before = number(web.crl())
    sql(core, "DELETE FROM crl_cache WHERE issuer_id = 'iss-local'")

    assert run_changed_crls(core.rooms.crls) == 1

    (row,) = sql(core, "SELECT crl_number, revoked_count FROM crl_cache")
    assert row[0] > before
    assert row[1] == 1


@pytest.mark.spec("02/CRL-5")
def test_a_hold_that_ends_leaves_the_list(core: Core, web: Web) -> None:
    held, other = make(core), make(core)
    revoke(core, held.certificate_id, reason="certificateHold")
    revoke(core, other.certificate_id)
    assert set(web.listed()) == {held.serial.lstrip("0"), other.serial.lstrip("0")}

    core.call("certificates.unhold", path={"certificate_id": held.certificate_id})
    assert set(web.listed()) == {other.serial.lstrip("0")}
    revoke(core, held.certificate_id, reason="superseded")

    entry = web.listed()[held.serial.lstrip("0")]
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.superseded


def test_a_hundred_fetches_of_an_empty_cache_make_one_list(core: Core, web: Web) -> None:
    gate = threading.Barrier(100)

    def fetch(_number: int) -> bytes:
        gate.wait(PATIENCE_SECONDS)
        return web.get("crl/iss-local").body

    with ThreadPoolExecutor(100) as pool:
        bodies = set(pool.map(fetch, range(100)))

    assert len(bodies) == 1
    assert len(events(core)) == 1


@pytest.mark.spec("02/CRL-2", "02/CRL-4")
def test_two_replicas_make_one_list_and_count_together(core: Core, replica: Core) -> None:
    made = make(core)
    webs = [Web(core), Web(replica)]
    for round_number in range(4):
        if round_number == 1:
            revoke(core, made.certificate_id)
        if round_number == 2:
            sql(core, "DELETE FROM crl_cache")
        core.pki.forget()
        replica.pki.forget()
        gate = threading.Barrier(8)

        def fetch(web: Web, gate: threading.Barrier = gate) -> bytes:
            gate.wait(PATIENCE_SECONDS)
            return web.get("crl/iss-local").body

        with ThreadPoolExecutor(8) as pool:
            bodies = set(pool.map(fetch, webs * 4))
        assert len(bodies) == 1, round_number
    for each in (core, replica, core):
        each.call("crl.regenerate", path={"issuer_id": "iss-local"})

    numbers = [found for _, _, found, _ in events(core)]
    assert len(numbers) == 6  # empty, revoked, deleted, and three by hand
    assert numbers == sorted(set(numbers))
    assert number(webs[0].crl()) == number(webs[1].crl()) == numbers[-1]


@pytest.mark.parametrize("database_engine", ["postgres"])
def test_a_revocation_that_commits_late_is_not_lost(core: Core, web: Web, clock: FakeClock) -> None:
    """Its place in the sequence is lower than that of one that is listed already."""
    first, late, last = make(core), make(core), make(core)
    revoke(core, first.certificate_id)
    with core.database.write() as connection:
        connection.execute(sa.text(BY_HAND), {"id": "late", "serial": late.serial})
        revoke(core, last.certificate_id)
        listed = set(web.listed())

    forget(core, clock)
    assert listed == {item.serial.lstrip("0") for item in (first, last)}
    assert set(web.listed()) == {item.serial.lstrip("0") for item in (first, late, last)}


@pytest.mark.spec("02/DATA-2")
@pytest.mark.parametrize(
    ("database_engine", "verb"),
    [("sqlite", "DELETE FROM"), ("postgres", "DELETE FROM"), ("postgres", "TRUNCATE")],
)
def test_all_revocations_can_be_taken_away_by_hand(
    core: Core, web: Web, clock: FakeClock, verb: str
) -> None:
    revoke(core, make(core).certificate_id)
    assert len(web.crl()) == 1

    sql(core, f"{verb} certificate_revocations")
    forget(core, clock)

    assert len(web.crl()) == 0


@pytest.mark.spec("02/DR-4", "02/CRL-5")
def test_an_older_row_that_somebody_put_back_is_not_served(
    core: Core, web: Web, clock: FakeClock
) -> None:
    """It is the CA's own list, whole, with the number and the watermark that it had."""
    first, second = make(core), make(core)
    revoke(core, first.certificate_id)
    web.crl()
    sql(core, "CREATE TABLE kept AS SELECT * FROM crl_cache")
    revoke(core, second.certificate_id)
    newest = number(web.crl())

    sql(core, "DELETE FROM crl_cache")
    sql(core, "INSERT INTO crl_cache SELECT * FROM kept")
    forget(core, clock)

    assert set(web.listed()) == {item.serial.lstrip("0") for item in (first, second)}
    assert number(web.crl()) > newest
    sql(core, "DROP TABLE kept")


@pytest.mark.spec("02/DR-4")
def test_text_in_place_of_a_list(core: Core, web: Web, clock: FakeClock) -> None:
    """SQLite keeps what it is given; ``UPDATE … SET crl_der = 'garbage'`` is quickly typed."""
    made = make(core)
    revoke(core, made.certificate_id)
    web.crl()

    sql(core, "UPDATE crl_cache SET crl_der = 'garbage'")
    forget(core, clock)

    assert set(web.listed()) == {made.serial.lstrip("0")}
    assert [bool(ok) for _, ok, _, _ in events(core)] == [True, False, True]


@pytest.mark.spec("02/CRL-3")
def test_expired_entries_leave_with_the_tick_as_well(
    core: Core, web: Web, clock: FakeClock
) -> None:
    old = make(core)
    revoke(core, old.certificate_id)
    web.crl()
    clock.advance(timedelta(days=91))
    young = make(core)
    revoke(core, young.certificate_id)

    def tick() -> set[str]:
        run_crl(core.rooms.crls, core.rooms.responders, interval=timedelta(hours=1))
        return set(web.listed())

    assert tick() == {old.serial.lstrip("0"), young.serial.lstrip("0")}
    clock.advance(timedelta(hours=23))
    assert tick() == {young.serial.lstrip("0")}


@pytest.mark.spec("02/CRL-8")
def test_a_ca_that_must_not_sign_lists(
    database_url: str, tmp_path: Path, clock: FakeClock, openssl: OpenSSL
) -> None:
    make_pair(
        openssl,
        "/CN=No lists",
        "basicConstraints=critical,CA:TRUE",
        "keyUsage=critical,keyCertSign",
    )
    clock.set(SystemClock().now())  # OpenSSL's clock has gone on since
    (tmp_path / "ca.key").chmod(0o600)
    settings = Settings.for_directory(
        tmp_path / "data",
        database_url=database_url,
        config_encryption_keys=generate_keyring(),
        ca_cert_path=str(tmp_path / "ca.crt"),
        ca_key_path=str(tmp_path / "ca.key"),
    )
    with Core.open(settings, clock=clock) as core:
        web = Web(core)
        replies = [web.get("crl/iss-local") for _ in range(5)]

        assert {reply.status for reply in replies} == {500}
        assert b"CA certificate lacks cRLSign" in replies[0].body
        assert replies[0].headers["Content-Type"] == "application/problem+json"
        # Five requests within the same seconds are one attempt.
        assert [(ok, "lacks cRLSign" in str(error)) for _, ok, _, error in events(core)] == [
            (False, True)
        ]


@pytest.mark.spec("02/HOOK-1")
def test_another_operators_issuer_has_no_list_here_and_no_events(core: Core, web: Web) -> None:
    columns = [column.name for column in issuers.c][3:]
    taken = sa.literal("iss-vendor"), sa.literal("Vendor"), sa.literal("vendor")
    copied = sa.select(*taken, *(issuers.c[name] for name in columns))
    with core.database.write() as connection:
        connection.execute(sa.insert(issuers).from_select(["id", "name", "kind", *columns], copied))

    reply = web.get("crl/iss-vendor")
    run_crl(core.rooms.crls, core.rooms.responders, interval=timedelta(hours=1))
    run_changed_crls(core.rooms.crls)

    assert reply.status == 501
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert b"iss-vendor" in reply.body
    assert sql(core, "SELECT DISTINCT issuer_id FROM crl_generation_events") == [("iss-local",)]


def test_events_are_kept_for_a_while(core: Core, web: Web, clock: FakeClock) -> None:
    web.crl()
    copy = (
        "INSERT INTO crl_generation_events (issuer_id, ca_key_id, crl_number, duration_ms, "
        'revoked_count, started_at, succeeded, "trigger") SELECT e.issuer_id, e.ca_key_id, '
        'e.crl_number, e.duration_ms, e.revoked_count, e.started_at, e.succeeded, e."trigger" '
        "FROM crl_generation_events AS e, crl_generation_events AS f"
    )
    while sql(core, "SELECT count(*) FROM crl_generation_events")[0][0] <= 1000:
        sql(core, copy)
    newest = sql(core, "SELECT max(id) FROM crl_generation_events")[0][0]

    core.rooms.crls.prune_events()
    assert sql(core, "SELECT count(*), max(id) FROM crl_generation_events") == [(1000, newest)]

    clock.advance(timedelta(days=91))
    core.rooms.crls.prune_events()
    assert sql(core, "SELECT count(*) FROM crl_generation_events") == [(0,)]


DIES = """
import os, sys
from certctl_core.app import Core
from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.config import Settings
from certctl_core.lifecycle.revocation import Trigger, _crl_rows

directory, url, keys, moment = sys.argv[1:]
settings = Settings.for_directory(directory, database_url=url, config_encryption_keys=keys)
if moment == "before":
    _crl_rows.keep = lambda *_given, **_named: os._exit(9)
else:
    kept = _crl_rows.keep
    _crl_rows.keep = lambda *given, **named: (kept(*given, **named), os._exit(9))
with Core.open(settings, migrate=False) as core:
    core.rooms.crls.generate(
        core.rooms.authorities.find_current("iss-local"), trigger=Trigger.MANUAL
    )
"""
"""A process that ends, as by SIGKILL, while it makes a list: before or after its row is written."""


@pytest.mark.spec("02/DR-21")
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_process_that_dies_while_it_makes_a_list_leaves_nothing_half(
    database_url: str, tmp_path: Path, moment: str
) -> None:
    keys = generate_keyring()
    settings = Settings.for_directory(
        tmp_path / "data", database_url=database_url, config_encryption_keys=keys
    )
    with Core.open(settings) as core:
        web, made = Web(core), make(core)
        before = web.get("crl/iss-local").body
        revoke(core, made.certificate_id)
        arguments = (str(tmp_path / "data"), database_url, keys, moment)
        died = subprocess.run(
            [sys.executable, "-c", DIES, *arguments], capture_output=True, text=True, check=False
        )
        assert died.returncode == 9, died.stderr
        row = sql(
            core, "SELECT crl_der, (SELECT count(*) FROM crl_generation_events) FROM crl_cache"
        )
        assert (bytes(row[0][0]), row[0][1]) == (before, 1)

        assert set(web.listed()) == {made.serial.lstrip("0")}
        assert number(web.crl()) > number(x509.load_der_x509_crl(before))


MANY = 25_000
"""Above a mebibyte, from where on lists cross to PostgreSQL in pieces."""

MANY_ROWS = {
    False: (
        "WITH RECURSIVE m(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM m WHERE n < :rows) "
        "INSERT INTO certificate_revocations (id, serial_number, reason, reason_code, revoked_by, "
        "revoked_at, issuer_id, ca_key_id, issuer_notified, not_after, on_crl, created_at) "
        "SELECT 'rev-' || n, '4' || substr(printf('%032x', n), 2), reason, reason_code, "
        "revoked_by, revoked_at, issuer_id, ca_key_id, issuer_notified, not_after, on_crl, "
        "created_at FROM certificate_revocations, m"
    ),
    True: (
        "INSERT INTO certificate_revocations (id, serial_number, reason, reason_code, revoked_by, "
        "revoked_at, issuer_id, ca_key_id, issuer_notified, not_after, on_crl, created_at) "
        "SELECT 'rev-' || n, '4' || substr(md5(n::text), 2), reason, reason_code, "
        "revoked_by, revoked_at, issuer_id, ca_key_id, issuer_notified, not_after, on_crl, "
        "created_at FROM certificate_revocations, generate_series(1, :rows) AS m(n)"
    ),
}
"""By engine (whether it is PostgreSQL): rows without an encoded entry, as written by hand."""


def test_a_large_list_is_made_read_spliced_and_read_again(
    core: Core, web: Web, openssl: OpenSSL, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    clock, certtool = request.getfixturevalue("clock"), request.getfixturevalue("tool")("certtool")
    made = [make(core) for _ in range(3)]
    revoke(core, made[0].certificate_id)
    sql(core, MANY_ROWS[core.database.is_postgres], rows=MANY)
    forget(core, clock)
    (tmp_path / "ca.pem").write_bytes(web.ca().public_bytes(Encoding.PEM))

    def judged(expected: int) -> bytes:
        reply = web.get("crl/iss-local")
        crl = x509.load_der_x509_crl(reply.body)
        assert len(crl) == expected
        row = sql(core, "SELECT crl_der, revoked_count FROM crl_cache WHERE part = ''")[0]
        assert bytes(row[0]) == reply.body, "the row holds what is served"
        assert row[1] == expected
        told = openssl("crl", "-inform", "DER", "-noout", "-CAfile", "ca.pem", data=reply.body)
        assert "verify OK" in told
        return reply.body

    judged(MANY + 1)
    revoke(core, made[1].certificate_id)
    spliced = judged(MANY + 2)
    core.rooms.crls.__init__(  # type: ignore[misc] # a process that remembers nothing
        units=core.units, authorities=core.rooms.authorities, settings=core.rooms.crls.settings
    )
    assert web.get("crl/iss-local").body == spliced
    revoke(core, made[2].certificate_id, reason="certificateHold")
    judged(MANY + 3)
    core.call("certificates.unhold", path={"certificate_id": made[2].certificate_id})
    body = judged(MANY + 2)
    pem = web.get("crl/iss-local?format=pem")
    assert len(pem.body) == int(pem.headers["Content-Length"])
    assert x509.load_pem_x509_crl(pem.body).public_bytes(Encoding.DER) == body
    (tmp_path / "crl.pem").write_bytes(pem.body)
    gnutls = subprocess.run(
        [certtool, "--verify-crl", "--infile", "crl.pem", "--load-ca-certificate", "ca.pem"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert gnutls.returncode == 0, gnutls.stderr
    assert "Verified" in gnutls.stdout + gnutls.stderr


def test_a_chain_as_pkcs7(core: Core, web: Web, openssl: OpenSSL) -> None:
    reply = web.get("ca/iss-local/chain?format=p7c")

    assert reply.headers["Content-Type"] == "application/pkcs7-mime; smime-type=certs-only"
    told = openssl("pkcs7", "-inform", "DER", "-print_certs", data=reply.body)
    assert web.ca().public_bytes(Encoding.PEM).decode().strip() in told
    assert web.get("ca/iss-local/chain", HTTP_IF_NONE_MATCH=reply.headers["ETag"]).status == 200
    same = web.get("ca/iss-local/chain?format=p7c", HTTP_IF_NONE_MATCH=reply.headers["ETag"])
    assert same.status == 304
