"""The OCSP part of the disaster-recovery runbook, word for word and under load (02 §16).

Beside it what relying parties do that we have not written: OpenSSL and GnuTLS in every form.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from time import monotonic, sleep
from urllib.parse import quote

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.machine import PATIENCE_SECONDS, eventually
from tests.system.house import House, ca_of
from tests.system.installed import fetched, rows, run

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("server")]

DIAGNOSE = """\
psql -c "SELECT issuer_id, cert_subject, not_before, not_after,
created_at, key_path
FROM ocsp_responder_certs
WHERE issuer_id = 'iss-local';"
"""
SHOW_KEY = "ls -la /etc/certctl/ocsp-responder-keys/iss-local.key"
FORGET_RESPONDER = """\
psql -c "DELETE FROM ocsp_responder_certs WHERE issuer_id = 'iss-local';"
"""
REMOVE_KEY = "rm -f /etc/certctl/ocsp-responder-keys/iss-local.key"
TRIGGER = """\
curl -sS --cacert /path/to/ca.crt \\
https://certctl.example.com:8443/.well-known/pki/ocsp/iss-local/00 \\
> /dev/null
"""
SHOW_RESPONDER = """\
psql -c "SELECT * FROM ocsp_responder_certs WHERE issuer_id = 'iss-local';"
"""
FORGET_ANSWER = """\
psql -c "DELETE FROM ocsp_response_cache
WHERE issuer_id = 'iss-local' AND serial_hex = 'deadbeef...';"
"""
ASK_STATUS = """\
curl -sS --cacert /path/to/ca.crt \\
https://certctl.example.com:8443/.well-known/pki/ocsp/iss-local/deadbeef... \\
| openssl ocsp -respin /dev/stdin -resp_text -CAfile /path/to/ca.crt \\
| grep "Cert Status"
"""
FORGET_ALL = 'psql -c "TRUNCATE ocsp_response_cache;"'
SERIAL = "openssl x509 -noout -serial -in new-cert | cut -d= -f2 | tr A-F a-f"
TYPE = {"Content-Type": "application/ocsp-request"}
TRY_LATER = bytes.fromhex("30030a0103")
RACES = int(os.environ.get("CERTCTL_OCSP_RACES", "8"))
"""How often a revocation races with requests; the acceptance run takes 1000."""


def serial_of(certificate: x509.Certificate) -> str:
    text = f"{certificate.serial_number:x}"
    return text.zfill(len(text) + len(text) % 2)


def question(leaf: x509.Certificate, ca: x509.Certificate) -> bytes:
    """A request without a nonce, built by a library that is not ours."""
    sha1 = hashes.SHA1()  # noqa: S303 - what RFC 5019 clients send
    builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, ca, sha1)
    return builder.build().public_bytes(Encoding.DER)


def said(reply: httpx.Response) -> str:
    """The status in an answer; anything else than an OCSP answer fails."""
    assert reply.status_code == 200, reply.text
    answer = ocsp.load_der_ocsp_response(reply.content)
    assert answer.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL, answer.response_status
    return answer.certificate_status.name.lower()


@dataclass
class Load:
    """Relying parties that never stop asking, and what went wrong with them."""

    answers: int = 0
    wrong: list[str] = field(default_factory=list)


@contextmanager
def load(house: House, leaf: x509.Certificate, ca: x509.Certificate) -> Iterator[Load]:
    """Two clients, one on each listener: GET with base64, POST, and by the serial number."""
    der, found, over = question(leaf, ca), Load(), threading.Event()
    path = "/.well-known/pki/ocsp/iss-local"
    text = quote(base64.b64encode(der), safe="")
    trust = ssl.create_default_context(cafile=str(house.etc / "ca.crt"))

    def ask(base: str) -> None:
        with httpx.Client(
            base_url=base, verify=trust, timeout=PATIENCE_SECONDS, trust_env=False
        ) as client:
            while not over.is_set():
                try:
                    for reply in (
                        client.post(path, content=der, headers=TYPE),
                        client.get(f"{path}/{text}"),
                        client.get(f"{path}/{serial_of(leaf)}"),
                    ):
                        if said(reply) != "good":
                            found.wrong.append(said(reply))
                        found.answers += 1
                except (httpx.HTTPError, AssertionError) as error:
                    found.wrong.append(repr(error))
                sleep(0.005)

    port = house.server.running.port
    threads = [
        threading.Thread(target=ask, args=(base,))
        for base in (house.server.pki, f"https://localhost:{port}")
    ]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.spec("02/DR-6", "02/DR-7", "02/DR-9", "02/DR-10", "02/DR-18", "02/DR-22", "02/DR-27")
def test_the_runbook_under_load(house: House) -> None:
    house.settings["OCSP_RATE_LIMIT_PER_IP_MIN"] = "0"
    house.start()
    ca = ca_of(house.etc / "ca.crt")
    good = house.issue("good.example.test")
    key = house.etc / "ocsp-responder-keys" / "iss-local.key"
    house.type(TRIGGER)
    with load(house, good, ca) as clients:
        # OCSP responder cert recovery: diagnosis, recovery, proof.
        shown = house.type(DIAGNOSE)
        assert "OCSP Responder for" in shown
        assert str(key) in shown
        assert house.type(SHOW_KEY).startswith("-rw------- ")
        assert key.parent.stat().st_mode & 0o777 == 0o700
        before = house.type(SHOW_RESPONDER)
        for remove in ("", REMOVE_KEY):
            house.type(FORGET_RESPONDER)
            if remove:
                house.type(remove)
            house.type(TRIGGER)
            after = house.type(SHOW_RESPONDER)
            assert str(key) in after
            assert after != before, "serial_number and created_at moved"
            before = after
            assert house.type(SHOW_KEY).startswith("-rw------- ")
        # OCSP response cache recovery: one certificate, then the whole fleet.
        bad = house.issue("bad.example.test")
        serial = house.type(SERIAL).strip()
        assert serial == serial_of(bad)
        ask = ASK_STATUS.replace("deadbeef...", serial)
        assert "Cert Status: good" in house.type(ask)
        kept = _row(house, serial)
        house.revoke("bad.example.test")
        _put_back(house, serial, kept)
        assert "Cert Status: revoked" in house.type(ask), "a stale row is not served"
        house.type(FORGET_ANSWER.replace("deadbeef...", serial))
        assert "Cert Status: revoked" in house.type(ask)
        for _ in range(5):
            house.type(FORGET_ALL)
            sleep(0.2)
        assert "Cert Status: revoked" in house.type(ask)
    assert clients.wrong == []
    assert clients.answers > 30
    pem = _certificate(house)
    nocheck = pem.extensions.get_extension_for_class(x509.OCSPNoCheck)
    assert not nocheck.critical


@pytest.mark.spec("02/DR-8", "02/OCSP-5")
def test_symptoms_and_recovery_without_a_restart(house: House) -> None:
    house.settings["OCSP_RATE_LIMIT_PER_IP_MIN"] = "0"
    house.start()
    house.issue("good.example.test")
    folder = house.etc / "ocsp-responder-keys"
    url = f"{house.server.pki}/.well-known/pki/ocsp/iss-local/00"
    if folder.exists():
        folder.rename(house.etc / "kept")
    folder.write_text("in the way")

    first = fetched(url)
    assert first.status_code == 500
    assert "responder not configured" in first.text
    assert str(folder) not in first.text
    folder.unlink()
    assert fetched(url).status_code == 200
    (folder / "iss-local.key").unlink()
    folder.rename(house.etc / "kept-too")
    folder.write_text("in the way")
    second = fetched(url)
    assert second.status_code == 500
    assert "failed to load responder key" in second.text
    folder.unlink()
    assert fetched(url).status_code == 200
    log = house.server.running.text()
    assert "responder not configured" in log
    assert "failed to load responder key" in log


@pytest.mark.spec("02/OCSP-2", "02/OCSP-4", "02/OCSP-9", "02/OCSP-10")
def test_openssl_and_gnutls_in_every_form(house: House, tool: Callable[[str], str]) -> None:
    house.settings["OCSP_RATE_LIMIT_PER_IP_MIN"] = "0"
    house.start()
    place, ca = house.place, house.etc / "ca.crt"
    good, bad = house.issue("good.example.test"), house.issue("bad.example.test")
    house.revoke("bad.example.test")
    for name, leaf in (("good", good), ("bad", bad)):
        (place / f"{name}.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    url = f"{house.server.pki}/.well-known/pki/ocsp/iss-local"
    base = ("ocsp", "-issuer", ca, "-CAfile", ca, "-url", url)
    for options in ((), ("-no_nonce",), ("-sha256",), ("-sha512", "-no_nonce")):
        two = run(
            "openssl", "ocsp", *options, *base[1:],
            *("-cert", place / "good.pem", "-cert", place / "bad.pem"),
        )  # fmt: skip
        assert "Response verify OK" in two
        assert "WARNING" not in two
        assert "good.pem: good" in two
        assert "bad.pem: revoked" in two
        assert "Reason: superseded" in two
    # RFC 6960 A.1: the request in the address.
    run(
        "openssl", "ocsp", "-issuer", ca, "-cert", place / "good.pem", "-no_nonce",
        "-reqout", place / "req.der",
    )  # fmt: skip
    text = base64.b64encode((place / "req.der").read_bytes()).decode()
    for form in (quote(text, safe=""), text, text.rstrip("=")):
        run("curl", "-sS", "--fail", "-o", place / "resp.der", f"{url}/{form}")
        verdict = run(
            "openssl", "ocsp", "-respin", place / "resp.der", "-issuer", ca, "-CAfile", ca,
            "-cert", place / "good.pem", "-no_nonce",
        )  # fmt: skip
        assert "good.pem: good" in verdict
    ocsptool = tool("ocsptool")
    for name, status in (("good", "good"), ("bad", "revoked")):
        heard = run(
            ocsptool, f"--ask={url}", "--load-cert", place / f"{name}.pem", "--load-issuer", ca,
            "--load-trust", ca, status=None,
        )  # fmt: skip
        assert f"Certificate Status: {status}" in heard, heard
        assert "Success" in heard or "success" in heard, heard


@pytest.mark.timeout(300 + RACES)
@pytest.mark.spec("02/OCC-2", "02/DATA-2")
def test_a_revocation_races_with_requests(house: House) -> None:
    """Acceptance 23: after the revocation is answered, its process never says good again; the
    process of the plain listener says so within a second."""
    house.settings["OCSP_RATE_LIMIT_PER_IP_MIN"] = "0"
    house.start()
    ca = ca_of(house.etc / "ca.crt")
    trust = ssl.create_default_context(cafile=str(house.etc / "ca.crt"))
    path = "/.well-known/pki/ocsp/iss-local"
    main = f"https://localhost:{house.server.running.port}"
    late: list[float] = []
    for turn in range(RACES):
        leaf = house.issue(f"r{turn}.example.test")
        der, revoked, over = question(leaf, ca), threading.Event(), threading.Event()
        lies: list[str] = []

        def ask(
            der: bytes = der,
            revoked: threading.Event = revoked,
            over: threading.Event = over,
            lies: list[str] = lies,
        ) -> None:
            with httpx.Client(
                base_url=main, verify=trust, timeout=PATIENCE_SECONDS, trust_env=False
            ) as client:
                while not over.is_set():
                    is_over = revoked.is_set()
                    status = said(client.post(path, content=der, headers=TYPE))
                    if is_over and status != "revoked":
                        lies.append(status)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        plain = httpx.Client(base_url=house.server.pki, timeout=PATIENCE_SECONDS, trust_env=False)
        with house.server.client() as client, plain:
            found = rows(client, "/certificates", q=f"r{turn}.example.test")
            target = f"/certificates/{found[0]['id']}/revoke"
            for _ in range(3):
                assert said(plain.post(path, content=der, headers=TYPE)) == "good"
            assert client.post(target, json={}).status_code == 200
            revoked.set()
            # An answer may be slow: what counts is when the last "good" was asked for.
            at = asked = monotonic()
            while said(plain.post(path, content=der, headers=TYPE)) == "good":
                assert asked - at < 1.0
                asked = monotonic()
            late.append(asked - at)
            sleep(0.05)
        over.set()
        for thread in threads:
            thread.join()
        assert lies == [], f"turn {turn}"
    assert max(late) < 1.0


@pytest.mark.spec("02/OCSP-12")
def test_the_limit_is_the_servers_not_that_of_each_process(house: House) -> None:
    """Acceptance 26: half by each listener, which are processes of their own."""
    if house.engine == "postgres":
        house.settings["SERVER_WORKERS"] = "2"
    house.start()
    ca, leaf = ca_of(house.etc / "ca.crt"), house.issue("good.example.test")
    der, path = question(leaf, ca), "/.well-known/pki/ocsp/iss-local"
    trust = ssl.create_default_context(cafile=str(house.etc / "ca.crt"))
    answers: list[httpx.Response] = []
    bases = (house.server.pki, f"https://localhost:{house.server.running.port}")
    with ExitStack() as stack:
        clients = [  # two connections to each: two workers may take them
            stack.enter_context(
                httpx.Client(base_url=base, verify=trust, timeout=PATIENCE_SECONDS, trust_env=False)
            )
            for base in (*bases, *bases)
        ]
        began = monotonic()
        for client in cycle(clients):
            answers.append(client.post(path, content=der, headers=TYPE))
            if answers[-1].content == TRY_LATER or len(answers) == 2000:
                break
        waited = monotonic() - began
    # The window slides while a busy machine answers: by so much of a minute, so many more.
    assert 900 < len(answers) <= 1000 * (1 + waited / 60) + 2
    assert answers[-1].content == TRY_LATER
    assert answers[-1].headers["Retry-After"] == "60"
    assert all(said(reply) == "good" for reply in answers[:-1])


ROW = {
    "postgres": """\
psql -At -c "SELECT ca_key_id || ' ' || encode(response_der, 'hex') || ' ' || responder_serial
FROM ocsp_response_cache WHERE serial_hex = '<serial>';"
""",
    "sqlite": """\
psql -At -c "SELECT ca_key_id || ' ' || hex(response_der) || ' ' || responder_serial
FROM ocsp_response_cache WHERE serial_hex = '<serial>';"
""",
}
STALE = """\
psql -c "DELETE FROM ocsp_response_cache;
INSERT INTO ocsp_response_cache (issuer_id, serial_hex, hash_alg, ca_key_id, response_der,
cert_status, responder_serial, this_update, next_update, generated_at)
VALUES ('iss-local', '<serial>', 'sha1', '<ca_key>', <der>, 'good', '<signer>',
<now>, <later>, <now>);"
"""
CERTIFICATE = 'psql -At -c "SELECT cert_pem FROM ocsp_responder_certs;"'


def _fill(text: str, **values: str) -> str:
    for name, value in values.items():
        text = text.replace(f"<{name}>", value)
    return text


def _row(house: House, serial: str) -> list[str]:
    """Key, answer and signer of the stored answer, once it is there."""
    found: list[str] = []

    def look() -> bool:
        found[:] = house.type(_fill(ROW[house.engine], serial=serial)).split()
        return bool(found)

    eventually(look, what="the answer is stored")
    return found


def _put_back(house: House, serial: str, kept: list[str]) -> None:
    """What no delete has reached: the row of before, as fresh as can be."""
    ca_key, der, signer = kept
    is_postgres = house.engine == "postgres"
    now = "now()" if is_postgres else "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
    later = "now() + interval '50 minutes'"
    if not is_postgres:
        later = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+50 minutes')"
    blob = f"decode('{der}', 'hex')" if is_postgres else f"x'{der}'"
    house.type(
        _fill(STALE, serial=serial, ca_key=ca_key, der=blob, signer=signer, now=now, later=later)
    )


def _certificate(house: House) -> x509.Certificate:
    """The responder's certificate as it stands in the row."""
    text = house.type(CERTIFICATE)
    found = re.search(r"-----BEGIN.*?END CERTIFICATE-----", text, re.DOTALL)
    assert found is not None, text
    return x509.load_pem_x509_certificate(found[0].encode() + b"\n")
