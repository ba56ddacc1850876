"""CRLs (02 §11): content, numbering, self-repair of the stored row, the public path."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.app import Core
from certctl_core.lifecycle.revocation import run_crl
from certctl_core.pki.crl import build_crl
from certctl_core.pki.keys import KeyAlgorithm, generate
from certctl_core.testing.fakes import FakeClock
from tests.core.revocation.support import Reply, Web, make, revoke, sql

OpenSSL = Callable[..., str]


def forget(core: Core, clock: FakeClock) -> None:
    """Let the second pass after which no process trusts its memory (DATA-2)."""
    clock.advance(timedelta(seconds=1))
    core.pki.forget()


def events(core: Core) -> list[tuple[bool, str | None]]:
    statement = "SELECT succeeded, error FROM crl_generation_events ORDER BY id"
    return [(bool(row[0]), row[1]) for row in sql(core, statement)]


def number(reply: Reply) -> int:
    crl = x509.load_der_x509_crl(reply.body)
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


@pytest.mark.spec("02/CRL-1")
def test_content_as_openssl_reads_it(
    core: Core, web: Web, clock: FakeClock, openssl: OpenSSL, tmp_path: Path
) -> None:
    plain, why = make(core), make(core)
    since = clock.now() - timedelta(days=2)
    revoke(core, plain.certificate_id)
    revoke(core, why.certificate_id, reason="keyCompromise", invalidity_date=since)

    body = web.get("crl/iss-local").body
    (tmp_path / "ca.pem").write_bytes(web.ca().public_bytes(Encoding.PEM))
    text = openssl(
        "crl", "-inform", "DER", "-noout", "-text", "-CAfile", "ca.pem", "-verify", data=body
    )

    assert "verify OK" in text
    assert "Version 2 (0x1)" in text
    assert "X509v3 Authority Key Identifier" in text
    assert re.search(r"X509v3 CRL Number: \n +\d+", text)
    entries = {
        part.split("\n", 1)[0].strip().lower(): part for part in text.split("Serial Number: ")[1:]
    }
    assert set(entries) == {plain.serial, why.serial}
    assert "Reason" not in entries[plain.serial]
    assert "Key Compromise" in entries[why.serial]
    assert since.strftime("%b %e %H:%M:%S %Y GMT") in entries[why.serial]
    crl = web.crl()
    assert crl.last_update_utc == clock.now()
    assert crl.next_update_utc == clock.now() + timedelta(hours=24)


def test_openssl_refuses_the_revoked_leaf_only(
    core: Core, web: Web, openssl: OpenSSL, tmp_path: Path
) -> None:
    good, bad = make(core), make(core)
    revoke(core, bad.certificate_id)
    (tmp_path / "ca.pem").write_bytes(web.ca().public_bytes(Encoding.PEM))
    (tmp_path / "crl.pem").write_bytes(web.get("crl/iss-local?format=pem").body)
    arguments = ("verify", "-crl_check", "-CAfile", "ca.pem", "-CRLfile", "crl.pem")

    assert "OK" in openssl(*arguments, data=good.pem.encode())
    assert "certificate revoked" in openssl(*arguments, data=bad.pem.encode())


@pytest.mark.spec("02/CRL-2")
def test_numbers_grow_within_one_second_and_over_a_truncated_cache(
    core: Core, web: Web, clock: FakeClock
) -> None:
    numbers = [number(web.get("crl/iss-local"))]
    for _ in range(3):
        core.call("crl.regenerate", path={"issuer_id": "iss-local"})
        numbers.append(number(web.get("crl/iss-local")))
    sql(core, "DELETE FROM crl_cache")
    forget(core, clock)
    numbers.append(number(web.get("crl/iss-local")))
    clock.set(clock.now() - timedelta(days=400))
    core.call("crl.regenerate", path={"issuer_id": "iss-local"})
    numbers.append(number(web.get("crl/iss-local")))

    assert numbers == sorted(set(numbers))
    assert numbers[0] >= int(clock.now().timestamp())


@pytest.mark.spec("02/CRL-5", "02/DR-3")
def test_the_very_next_fetch_lists_a_revocation(core: Core, web: Web) -> None:
    made = make(core)
    assert web.listed() == {}

    revoke(core, made.certificate_id)

    assert set(web.listed()) == {made.serial.lstrip("0")}


@pytest.mark.spec("02/DR-3")
def test_a_deleted_row_is_made_again(core: Core, web: Web, clock: FakeClock) -> None:
    made = make(core)
    revoke(core, made.certificate_id)
    web.crl()

    sql(core, "DELETE FROM crl_cache WHERE issuer_id = 'iss-local'")
    forget(core, clock)

    assert set(web.listed()) == {made.serial.lstrip("0")}
    assert sql(core, "SELECT crl_number FROM crl_cache WHERE issuer_id = 'iss-local'")


def foreign_crl(web: Web, clock: FakeClock) -> bytes:
    """A CRL under the CA's name that another key has signed."""
    return build_crl(
        issuer_cert=web.ca(),
        key=generate(KeyAlgorithm.ECDSA_P256),
        entries=[],
        number=1,
        this_update=clock.now(),
        next_update=clock.now() + timedelta(days=1),
    )


def outdated_crl(web: Web, clock: FakeClock) -> bytes:
    """A CRL of the CA itself, from before the revocation."""
    return build_crl(
        issuer_cert=web.ca(),
        key=web.key().key,
        entries=[],
        number=1,
        this_update=clock.now(),
        next_update=clock.now() + timedelta(days=1),
    )


@pytest.mark.spec("02/CRL-5", "02/DR-4")
@pytest.mark.parametrize("damage", ["garbage", "truncated", "foreign", "outdated", "past_its_end"])
def test_a_bad_row_is_never_served_and_repaired(
    core: Core, web: Web, clock: FakeClock, damage: str
) -> None:
    made = make(core)
    revoke(core, made.certificate_id)
    good = web.get("crl/iss-local").body
    bad = {
        "garbage": b"no CRL",
        "truncated": good[:-10],
        "foreign": foreign_crl(web, clock),
        "outdated": outdated_crl(web, clock),
        "past_its_end": good,
    }[damage]
    sql(core, "UPDATE crl_cache SET crl_der = :der", der=bad)
    forget(core, clock)
    if damage == "past_its_end":
        clock.advance(timedelta(hours=24))

    reply = web.get("crl/iss-local")

    assert reply.status == 200
    served = x509.load_der_x509_crl(reply.body)
    assert served.is_signature_valid(web.ca().public_key())  # type: ignore[arg-type] # a CA's key
    assert [f"{entry.serial_number:x}" for entry in served] == [made.serial.lstrip("0")]
    assert served.next_update_utc is not None
    assert served.next_update_utc > clock.now()
    assert bytes(sql(core, "SELECT crl_der FROM crl_cache")[0][0]) == reply.body
    rejected = [error for ok, error in events(core) if not ok]
    assert len(rejected) == 1
    assert str(rejected[0]).startswith("cached CRL rejected: ")


@pytest.mark.spec("02/DATA-2")
def test_rows_changed_by_hand_are_what_the_crl_says(core: Core, web: Web, clock: FakeClock) -> None:
    made, gone = make(core), make(core)
    for item in (made, gone):
        revoke(core, item.certificate_id, reason="superseded")
    web.crl()

    sql(
        core,
        "UPDATE certificate_revocations SET reason = 'keyCompromise', reason_code = 1 "
        "WHERE serial_number = :serial",
        serial=made.serial,
    )
    sql(core, "DELETE FROM certificate_revocations WHERE serial_number = :s", s=gone.serial)
    forget(core, clock)

    entries = web.listed()
    assert set(entries) == {made.serial.lstrip("0")}
    reason = entries[made.serial.lstrip("0")].extensions.get_extension_for_class(x509.CRLReason)
    assert reason.value.reason is x509.ReasonFlags.key_compromise
    assert web.ask(made.serial).answers[0].reason == "keyCompromise"
    assert web.status(gone.serial) == "good"


@pytest.mark.spec("02/DATA-2", "02/CRL-1")
def test_rows_inserted_by_hand(core: Core, web: Web, clock: FakeClock) -> None:
    first, second = make(core), make(core)
    revoke(core, first.certificate_id)
    web.crl()
    copy = (
        "INSERT INTO certificate_revocations (id, serial_number, reason, reason_code, revoked_by, "
        "revoked_at, issuer_id, ca_key_id, issuer_notified, not_after, on_crl, created_at) "
        "SELECT :id, :serial, reason, reason_code, revoked_by, revoked_at, issuer_id, ca_key_id, "
        "issuer_notified, not_after, on_crl, created_at FROM certificate_revocations LIMIT 1"
    )

    sql(core, copy, id="rev-hand", serial=second.serial)
    forget(core, clock)
    assert set(web.listed()) == {first.serial.lstrip("0"), second.serial.lstrip("0")}
    before = web.get("crl/iss-local").body

    sql(core, copy, id="rev-bad", serial="not hex")
    forget(core, clock)
    reply = web.get("crl/iss-local")

    assert events(core)[-1][0] is False
    assert "serial" in str(events(core)[-1][1])
    assert (reply.status, reply.body) == (200, before)  # CRL-6: the older one still holds


@pytest.mark.spec("02/CRL-3")
def test_an_expired_entry_stays_for_one_more_crl(core: Core, web: Web, clock: FakeClock) -> None:
    made = make(core)
    revoke(core, made.certificate_id)
    web.crl()
    clock.advance(timedelta(days=91))

    first, second = web.listed(), None
    core.call("crl.regenerate", path={"issuer_id": "iss-local"})
    second = web.listed()

    assert set(first) == {made.serial.lstrip("0")}
    assert second == {}


@pytest.mark.spec("02/CRL-3")
def test_what_is_revoked_after_its_end_is_on_one_crl(
    core: Core, web: Web, clock: FakeClock
) -> None:
    made = make(core)
    clock.advance(timedelta(days=91))
    web.crl()
    clock.advance(timedelta(seconds=1))
    revoke(core, made.certificate_id)
    clock.advance(timedelta(seconds=1))

    assert set(web.listed()) == {made.serial.lstrip("0")}
    core.call("crl.regenerate", path={"issuer_id": "iss-local"})
    assert web.listed() == {}


@pytest.mark.spec("02/REV-7")
def test_short_lived_ones_are_left_out_but_ocsp_tells(core: Core, web: Web) -> None:
    profile = core.call(
        "profiles.create",
        body={"name": "Short", "allow_short_lived": True, "max_ttl_seconds": 300},
    )
    made = make(core, certificate_profile_id=profile.id)

    revoke(core, made.certificate_id)

    assert web.listed() == {}
    assert web.status(made.serial) == "revoked"


@pytest.mark.key_files
@pytest.mark.spec("02/CRL-6")
def test_without_a_signer_the_older_crl_goes_on_then_500(
    core: Core, web: Web, clock: FakeClock, tmp_path: Path
) -> None:
    first = web.get("crl/iss-local").body
    revoke(core, make(core).certificate_id)
    for file in (tmp_path / "data").rglob("*.key"):
        file.unlink()
    core.rooms.authorities.__init__(  # type: ignore[misc] # a process that starts without the key
        units=core.units, clock=clock, loader=core.rooms.authorities._loader
    )
    core.pki.forget()

    assert web.get("crl/iss-local").body == first
    clock.advance(timedelta(hours=25))
    core.pki.forget()
    reply = web.get("crl/iss-local")

    assert reply.status == 500
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert not any(ok for ok, _ in events(core)[1:])


@pytest.mark.spec("02/CRL-4")
def test_the_loop_makes_what_is_missing_or_ends_soon(
    core: Core, web: Web, clock: FakeClock
) -> None:
    hour = timedelta(hours=1)

    def tick() -> int:
        return run_crl(core.rooms.crls, core.rooms.responders, interval=hour)

    assert tick() == 1
    assert tick() == 0
    revoke(core, make(core).certificate_id)
    assert tick() == 1
    clock.advance(timedelta(hours=21, minutes=59))
    assert tick() == 0
    clock.advance(timedelta(minutes=2))
    assert tick() == 1
    sql(core, "DELETE FROM crl_cache")
    assert tick() == 1


def test_many_fetches_of_an_empty_cache_make_one_crl(core: Core, web: Web) -> None:
    replies: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: replies.append(web.get("crl/iss-local").body))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(replies)) == 1
    assert len(events(core)) == 1


class TestPath:
    def test_headers(self, core: Core, web: Web, clock: FakeClock) -> None:
        reply = web.get("crl/iss-local")
        crl = x509.load_der_x509_crl(reply.body)

        assert reply.headers["Content-Type"] == "application/pkix-crl"
        assert re.fullmatch(r'"[0-9a-f]{64}"', reply.headers["ETag"])
        assert reply.headers["Cache-Control"] == "public, max-age=3600, must-revalidate"
        assert reply.headers["Content-Length"] == str(len(reply.body))
        assert reply.headers["Access-Control-Allow-Origin"] == "*"
        assert reply.headers["Last-Modified"] == crl.last_update_utc.strftime(
            "%a, %d %b %Y %H:%M:%S GMT"
        )
        clock.advance(timedelta(hours=23, minutes=30))
        later = web.get("crl/iss-local")
        assert later.headers["Cache-Control"] == "public, max-age=1800, must-revalidate"
        key_id = web.key().ca_key_id
        assert web.get(f"crl/iss-local/{key_id}").body == later.body
        assert web.get(f"crl/iss-local/{key_id.upper()}").body == later.body

    def test_conditional_requests(self, core: Core, web: Web) -> None:
        full = web.get("crl/iss-local")
        etag, modified = full.headers["ETag"], full.headers["Last-Modified"]
        head = web.request("HEAD", "crl/iss-local")
        assert (head.status, head.body, head.headers) == (200, b"", full.headers)

        for sent in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            reply = web.get("crl/iss-local", HTTP_IF_NONE_MATCH=sent)
            assert (reply.status, reply.body) == (304, b"")
            for name in ("ETag", "Cache-Control", "Expires", "Last-Modified"):
                assert reply.headers[name] == full.headers[name]
        assert web.get("crl/iss-local", HTTP_IF_MODIFIED_SINCE=modified).status == 304
        for other in ('"other"', etag.strip('"')):
            assert web.get("crl/iss-local", HTTP_IF_NONE_MATCH=other).status == 200
        for date in ("Mon, 01 Jan 2001 00:00:00 GMT", "nonsense"):
            assert web.get("crl/iss-local", HTTP_IF_MODIFIED_SINCE=date).status == 200
        pem = web.get("crl/iss-local?format=pem")
        assert pem.headers["ETag"] != etag
        assert pem.headers["Content-Type"] == "application/x-pem-file"
        assert x509.load_pem_x509_crl(pem.body).public_bytes(Encoding.DER) == full.body

    @pytest.mark.spec("02/PKI-2")
    @pytest.mark.parametrize(
        "path",
        [
            "crl/iss-unknown",
            "crl/iss-local/" + "0" * 40,
            "crl/..",
            "crl/",
            "crl/a b",
            "crl/" + "x" * 200,
            "crl/iss-local/a/b",
            "nothing/iss-local",
            "crl/iss-local%00",
        ],
    )
    @pytest.mark.parametrize("database_engine", ["sqlite"])
    def test_what_does_not_exist(self, core: Core, web: Web, path: str) -> None:
        reply = web.get(path)

        assert reply.status == 404
        assert reply.headers["Content-Type"] == "application/problem+json"

    @pytest.mark.parametrize("database_engine", ["sqlite"])
    def test_other_verbs(self, core: Core, web: Web) -> None:
        reply = web.request("POST", "crl/iss-local", b"x")

        assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")
