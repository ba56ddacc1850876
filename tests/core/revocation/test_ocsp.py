"""OCSP (02 §12): what is answered, in which form, and how soon a revocation shows."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.app import Core
from certctl_core.kernel.clock import SystemClock
from certctl_core.lifecycle.revocation.limits import SlidingWindow
from certctl_core.pki.ocsp import (
    CertIDHash,
    ResponseStatus,
    build_request,
    cert_id,
    inspect_response,
    verify_response,
)
from certctl_core.testing.fakes import FakeClock
from tests.core.revocation.support import Issued, Web, make, make_ca, revoke
from tests.machine import eventually

OpenSSL = Callable[..., str]
TRY_LATER = bytes.fromhex("30030a0103")
ONE_ENGINE = pytest.mark.parametrize("database_engine", ["sqlite"])


@pytest.fixture
def made(core: Core) -> Issued:
    return make(core)


@dataclass
class Judge:
    """``openssl ocsp`` as a client of these paths."""

    web: Web
    openssl: OpenSSL
    folder: Path

    def verdict(self, *pems: str, options: tuple[str, ...] = ()) -> str:
        """What OpenSSL says of the answer about these certificates, and of its nonce."""
        (self.folder / "ca.pem").write_bytes(self.web.ca().public_bytes(Encoding.PEM))
        ask = ["ocsp", *options, "-issuer", "ca.pem"]
        for number, pem in enumerate(pems):
            (self.folder / f"leaf{number}.pem").write_text(pem)
            ask += ["-cert", f"leaf{number}.pem"]
        self.openssl(*ask, "-reqout", "req.der")
        reply = self.web.post((self.folder / "req.der").read_bytes())
        (self.folder / "resp.der").write_bytes(reply.body)
        nonce = self.openssl("ocsp", "-reqin", "req.der", "-respin", "resp.der", "-noverify")
        about = self.openssl(*ask, "-no_nonce", "-respin", "resp.der", "-CAfile", "ca.pem")
        return nonce + about


@pytest.fixture
def judge(web: Web, openssl: OpenSSL, tmp_path: Path) -> Judge:
    return Judge(web, openssl, tmp_path)


@pytest.mark.spec("02/OCSP-9", "02/OCSP-10")
@pytest.mark.parametrize("options", [(), ("-no_nonce",), ("-sha256",), ("-sha384",)], ids="".join)
@ONE_ENGINE
def test_openssl_believes_the_answers(
    core: Core, judge: Judge, made: Issued, options: tuple[str, ...]
) -> None:
    first = judge.verdict(made.pem, options=options)
    revoke(core, made.certificate_id, reason="superseded")
    second = judge.verdict(made.pem, options=options)

    assert "Response verify OK" in first
    assert "leaf0.pem: good" in first
    assert "onc" not in first, "OpenSSL complains about the nonce"
    assert "leaf0.pem: revoked" in second
    assert "Reason: superseded" in second


@pytest.mark.spec("02/OCSP-4")
def test_two_certificates_in_one_request(core: Core, judge: Judge, made: Issued) -> None:
    other = make(core, "other.example.test")
    revoke(core, other.certificate_id)

    verdict = judge.verdict(made.pem, other.pem)

    assert "leaf0.pem: good" in verdict
    assert "leaf1.pem: revoked" in verdict


@pytest.mark.spec("02/OCSP-9")
def test_the_answer_in_detail(core: Core, web: Web, made: Issued, clock: FakeClock) -> None:
    revoke(core, made.certificate_id, reason="unspecified")
    moment = clock.now()
    clock.advance(timedelta(minutes=7))

    reply = web.post(web.question(made.serial))

    info = verify_response(reply.body, issuer_cert=web.ca(), at=clock.now())
    answer = info.answers[0]
    assert (info.produced_at, answer.this_update) == (clock.now(), clock.now())
    assert answer.next_update == clock.now() + timedelta(hours=1)
    assert (answer.revoked_at, answer.reason) == (moment, None)
    assert info.responder_key_id is not None
    assert reply.headers["Content-Type"] == "application/ocsp-response"
    assert reply.headers["Cache-Control"] == ("public, max-age=300, no-transform, must-revalidate")
    assert {"ETag", "Last-Modified", "Expires"} <= reply.headers.keys()


@pytest.mark.spec("02/OCSP-6")
@pytest.mark.parametrize("hashed", list(CertIDHash))
@ONE_ENGINE
def test_every_hash_of_a_certid(core: Core, web: Web, made: Issued, hashed: CertIDHash) -> None:
    der = build_request([cert_id(hashed, web.ca(), made.serial)])

    reply = web.post(der)

    assert inspect_response(reply.body).answers[0].status.value == "good"
    assert der[-60:-22] in reply.body or hashed is CertIDHash.SHA1


@pytest.mark.spec("02/OCSP-10")
@pytest.mark.parametrize("size", [1, 16, 32, 33, 128])
@ONE_ENGINE
def test_a_nonce_comes_back_and_nothing_is_kept(
    core: Core, web: Web, made: Issued, size: int
) -> None:
    nonce = bytes(range(size))
    der = web.question(made.serial, nonce=nonce)

    first = web.post(der)

    assert inspect_response(first.body).nonce == nonce
    assert first.headers["Cache-Control"] == "no-store"
    assert core.rooms.ocsp.remembered("iss-local", der) is None


@pytest.mark.spec("02/OCSP-10")
@pytest.mark.parametrize("size", [0, 129])
@ONE_ENGINE
def test_a_nonce_of_a_forbidden_length(core: Core, web: Web, made: Issued, size: int) -> None:
    reply = web.post(web.question(made.serial, nonce=bytes(size)))

    assert reply.status == 200
    assert inspect_response(reply.body).error is ResponseStatus.MALFORMED_REQUEST
    assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.spec("02/OCSP-10")
@ONE_ENGINE
def test_a_nonce_above_the_own_limit_is_passed_over(core: Core, web: Web, made: Issued) -> None:
    object.__setattr__(core.rooms.ocsp._settings, "nonce_max", 32)

    assert web.ask(made.serial, nonce=bytes(32)).nonce == bytes(32)
    long = web.ask(made.serial, nonce=bytes(33))
    assert (long.nonce, long.answers[0].status.value) == (None, "good")


@pytest.mark.spec("02/OCSP-7", "02/OCC-1")
def test_unknown_serials_are_unknown_and_leave_nothing(core: Core, web: Web) -> None:
    for number in range(50):
        assert web.status(f"{number:040x}") == "unknown"

    assert core.rooms.ocsp._memory.answers == {}
    assert core.rooms.ocsp._issued == {}


@pytest.mark.spec("02/OCC-1")
def test_a_serial_that_was_unknown_is_good_once_issued(core: Core, web: Web) -> None:
    assert web.status("00") == "unknown"  # the responder is made
    core.rooms.authorities._draw = lambda: 0x0123456789
    assert web.status("0123456789") == "unknown"

    made = make(core)

    assert made.serial == "0123456789"
    assert web.status("0123456789") == "good"


@pytest.mark.spec("02/OCSP-6")
@ONE_ENGINE
def test_another_ca_is_unauthorized(core: Core, web: Web, made: Issued) -> None:
    stranger = make_ca()
    mixed = [cert_id(CertIDHash.SHA1, web.ca(), made.serial)]
    mixed.append(cert_id(CertIDHash.SHA1, stranger, made.serial))

    for ids in (mixed[1:], mixed):
        reply = web.post(build_request(ids))
        assert inspect_response(reply.body).error is ResponseStatus.UNAUTHORIZED
        assert (reply.status, reply.headers["Cache-Control"]) == (200, "no-store")


class TestTransport:
    """02 OCSP-1 … OCSP-3."""

    @pytest.mark.spec("02/OCSP-3")
    @pytest.mark.parametrize("body", [b"", b"garbage", b"\x30\x03\x0a\x01\x00", b"\x30\x80" * 50])
    @ONE_ENGINE
    def test_garbage(self, core: Core, web: Web, body: bytes) -> None:
        reply = web.post(body)

        assert reply.status == 200
        assert inspect_response(reply.body).error is ResponseStatus.MALFORMED_REQUEST

    @pytest.mark.spec("02/OCSP-4")
    @ONE_ENGINE
    def test_seventeen_certids(self, core: Core, web: Web, made: Issued) -> None:
        assert len(web.ask(*[made.serial] * 16).answers) == 16
        assert web.ask(*[made.serial] * 17).error is ResponseStatus.MALFORMED_REQUEST

    @pytest.mark.spec("02/OCSP-1")
    @ONE_ENGINE
    def test_size_and_type(self, core: Core, web: Web, made: Issued) -> None:
        der = web.question(made.serial)

        assert web.post(bytes(11 * 1024)).status == 413
        assert web.post(bytes(11 * 1024), CONTENT_LENGTH="").status == 413
        assert web.post(bytes(10 * 1024)).status == 200
        assert web.post(der, CONTENT_TYPE="application/json").status == 415
        for kind in ("", "Application/OCSP-Request", "application/ocsp-request; a=b"):
            reply = web.post(der, CONTENT_TYPE=kind)
            assert inspect_response(reply.body).answers[0].status.value == "good"

    @pytest.mark.spec("02/OCSP-2")
    @pytest.mark.parametrize("form", ["quoted", "raw_uri", "bare", "unpadded"])
    @ONE_ENGINE
    def test_get_with_a_request(self, core: Core, web: Web, made: Issued, form: str) -> None:
        text = base64.b64encode(web.question(made.serial)).decode()
        raw = quote(text, safe="")
        environ: dict[str, str] = {}
        if form == "raw_uri":
            environ["RAW_URI"] = f"/.well-known/pki/ocsp/iss-local/{raw}"
            text = text.replace("//", "/")
        if form == "unpadded":
            text = text.rstrip("=")

        web.status(made.serial)  # the responder is made

        reply = web.get(f"ocsp/iss-local/{text}", **environ)

        assert reply.status == 200
        assert inspect_response(reply.body).answers[0].status.value == "good"
        etag = reply.headers["ETag"]
        again = web.get(f"ocsp/iss-local/{text}", HTTP_IF_NONE_MATCH=etag, **environ)
        assert (again.status, again.body) == (304, b"")
        head = web.request("HEAD", f"ocsp/iss-local/{text}", b"", **environ)
        assert (head.status, head.body) == (200, b"")
        revoke(core, made.certificate_id)
        reply = web.get(f"ocsp/iss-local/{text}", **environ)
        assert inspect_response(reply.body).answers[0].status.value == "revoked"

    @pytest.mark.spec("02/OCSP-2", "02/OCSP-8")
    @ONE_ENGINE
    def test_get_with_a_serial(self, core: Core, web: Web, made: Issued) -> None:
        pairs = ":".join(made.serial[i : i + 2] for i in range(0, len(made.serial), 2))
        for text in (made.serial, made.serial.upper(), f"0x{made.serial}", pairs):
            answer = inspect_response(web.get(f"ocsp/iss-local/{text}").body).answers[0]
            assert (answer.serial, answer.status.value) == (made.serial, "good")
        sha256 = web.get(f"ocsp/iss-local/{made.serial}?hash=sha256")
        assert inspect_response(sha256.body).answers[0].status.value == "good"
        assert web.get(f"ocsp/iss-local/{made.serial}?hash=md5").status in {400, 404}
        unknown = inspect_response(web.get("ocsp/iss-local/00").body).answers[0]
        assert unknown.status.value == "unknown"

    @ONE_ENGINE
    def test_what_does_not_exist(self, core: Core, web: Web, made: Issued) -> None:
        der = web.question(made.serial)

        assert web.post(der, issuer_id="iss-unknown").status == 404
        assert web.post(der, issuer_id="iss-local/x").status == 404
        assert web.get("ocsp/iss-unknown/00").status == 404
        for text in ("", "zz", "M", "MDA", "%00"):
            assert web.get(f"ocsp/iss-local/{text}").status in {200, 400}
            assert web.get(f"ocsp/iss-local/{text}").body != b""


@pytest.mark.spec("02/OCSP-12")
@ONE_ENGINE
def test_the_rate_limit(core: Core, web: Web, made: Issued, clock: FakeClock) -> None:
    der = web.question(made.serial)
    for _ in range(1000):
        assert web.post(der).body != TRY_LATER

    tripped = web.post(der)

    assert (tripped.status, tripped.body) == (200, TRY_LATER)
    assert tripped.headers["Retry-After"] == "60"
    assert tripped.headers["Cache-Control"] == "no-store"
    assert web.get(f"ocsp/iss-local/{made.serial}").body == TRY_LATER
    assert web.post(der, HTTP_X_FORWARDED_FOR="198.51.100.7").body == TRY_LATER
    assert Web(core, address="192.0.2.2").status(made.serial) == "good"
    clock.advance(timedelta(minutes=2))
    assert web.status(made.serial) == "good"


class TestRevocationShows:
    @pytest.mark.spec("02/OCC-2", "02/DATA-2")
    def test_in_the_next_answer_of_this_process(self, core: Core, web: Web, made: Issued) -> None:
        der = web.question(made.serial)

        def is_remembered() -> bool:
            assert inspect_response(web.post(der).body).answers[0].status.value == "good"
            return core.rooms.ocsp.remembered("iss-local", der) is not None

        eventually(is_remembered, what="the feed has begun and memory is trusted")

        revoke(core, made.certificate_id)

        assert inspect_response(web.post(der).body).answers[0].status.value == "revoked"
        assert web.status(made.serial) == "revoked"

    @pytest.mark.spec("02/OCC-2", "02/DATA-2")
    def test_in_another_process_within_a_second(self, core: Core, web: Web, made: Issued) -> None:
        with Core.open(core.settings, clock=SystemClock(), migrate=False) as replica:
            there = Web(replica)
            der = there.question(made.serial)

            def is_remembered() -> bool:
                assert there.status(made.serial) == "good"
                return replica.rooms.ocsp.remembered("iss-local", der) is not None

            eventually(is_remembered, what="the replica trusts its memory")
            revoke(core, made.certificate_id)
            at = asked = monotonic()
            while there.status(made.serial) == "good":
                assert asked - at < 1.0
                sleep(0.01)
                asked = monotonic()
            assert web.status(made.serial) == "revoked"

    @pytest.mark.spec("02/OCC-2")
    def test_while_answers_are_being_made(self, core: Core, web: Web) -> None:
        """A thread asks without pause; what it asks after the revocation is never good."""
        wrong: list[str] = []
        for _ in range(5):
            made = make(core, f"w{len(wrong)}.example.test")
            der, over, done = web.question(made.serial), threading.Event(), threading.Event()

            def ask(
                der: bytes = der, over: threading.Event = over, done: threading.Event = done
            ) -> None:
                caller = Web(core, address="")
                while not done.is_set():
                    began_after = over.is_set()
                    status = inspect_response(caller.post(der).body).answers[0].status.value
                    if began_after and status != "revoked":
                        wrong.append(status)

            threads = [threading.Thread(target=ask) for _ in range(3)]
            for thread in threads:
                thread.start()
            revoke(core, made.certificate_id)
            over.set()
            sleep(0.05)
            done.set()
            for thread in threads:
                thread.join()
        assert wrong == []


def test_the_signer_is_never_the_ca(core: Core, web: Web, made: Issued) -> None:
    info = web.ask(made.serial)
    responder = core.call("ocsp.state").responders[0]

    assert info.responder_key_id != web.key().ca_key_id
    assert responder.cert_subject.startswith("CN=OCSP Responder for")


def test_ca_certificate_chain_and_bundle(core: Core, web: Web) -> None:
    ca = web.ca()
    der = web.get("ca/iss-local")
    assert der.headers["Content-Type"] == "application/pkix-cert"
    assert x509.load_der_x509_certificate(der.body) == ca
    assert web.get(f"ca/iss-local/{web.key().ca_key_id}").body == der.body
    chain = web.get("ca/iss-local/chain")
    assert chain.headers["Content-Type"] == "application/pem-certificate-chain"
    assert x509.load_pem_x509_certificates(chain.body) == [ca]
    assert x509.load_pem_x509_certificates(web.get("bundle/iss-local").body) == [ca]


class TestLimits:
    """02 OCSP-12: the window belongs to the server, however many processes it has."""

    def window(self, clock: FakeClock, file: Path | None, limit: int = 10) -> SlidingWindow:
        return SlidingWindow(limit=limit, seconds=60.0, clock=clock, shared=file)

    @pytest.mark.spec("02/OCSP-12")
    def test_processes_count_together(self, clock: FakeClock, tmp_path: Path) -> None:
        one, two = (self.window(clock, tmp_path / "limits") for _ in range(2))
        for _ in range(5):
            assert one.allow("192.0.2.1")
            assert two.allow("192.0.2.1")
        assert not one.allow("192.0.2.1")
        assert not two.allow("192.0.2.1")
        assert two.allow("192.0.2.2")
        clock.advance(timedelta(minutes=2))
        assert one.allow("192.0.2.1")
        assert (tmp_path / "limits").stat().st_mode & 0o777 == 0o600

    @pytest.mark.spec("02/OCSP-12")
    def test_the_window_slides(self, clock: FakeClock) -> None:
        window = self.window(clock, None)
        clock.advance(timedelta(seconds=60 - clock.monotonic() % 60 + 59))
        assert [window.allow("a") for _ in range(11)] == [True] * 10 + [False]
        clock.advance(timedelta(seconds=31))
        assert 3 <= sum(window.allow("a") for _ in range(10)) <= 7

    def test_many_keys_take_no_more_room_and_harm_nobody(self, clock: FakeClock) -> None:
        window = self.window(clock, None, limit=3)
        for number in range(60_000):
            assert window.allow(f"2001:db8::{number:x}")
        assert [window.allow("192.0.2.1") for _ in range(4)][:3] == [True] * 3
        clock.advance(timedelta(minutes=3))
        assert [window.allow("192.0.2.1") for _ in range(4)] == [True, True, True, False]

    def test_a_file_that_cannot_be_is_no_failure(self, clock: FakeClock, tmp_path: Path) -> None:
        window = self.window(clock, tmp_path / "missing" / "limits", limit=1)
        assert [window.allow("a"), window.allow("a")] == [True, False]
        (tmp_path / "short").write_bytes(b"short")
        window = self.window(clock, tmp_path / "short", limit=1)
        assert [window.allow("a"), window.allow("a")] == [True, False]
