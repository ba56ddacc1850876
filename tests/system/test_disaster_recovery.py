"""The disaster-recovery runbook, typed word for word against an installed server (02 §16).

Only paths, ports and process numbers are put in; on SQLite ``psql -c`` becomes ``sqlite3`` and
``TRUNCATE`` becomes ``DELETE FROM``, as DR-27 says.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.machine import eventually
from tests.system.house import (
    NEW_PAIR,
    SHOW_CRL,
    STOP,
    House,
    ca_of,
    key_id,
    number,
    serials,
)
from tests.system.installed import (
    rows,
)

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("server")]

SWAP = """\
mv /etc/certctl/ca.crt /etc/certctl/ca.crt.old-rotated-20XX-XX-XX
mv /etc/certctl/ca.key /etc/certctl/ca.key.old-rotated-20XX-XX-XX
mv new-ca.crt /etc/certctl/ca.crt
mv new-ca.key /etc/certctl/ca.key
chmod 0600 /etc/certctl/ca.key
"""
FORGET = """\
psql -c "DELETE FROM ocsp_responder_certs;"
psql -c "TRUNCATE crl_cache;"
psql -c "TRUNCATE ocsp_response_cache;"
"""
VERIFY = "openssl x509 -in new-cert -noout -issuer"
FORGET_AFTER_RESTORE = """\
psql -c "TRUNCATE crl_cache;"
psql -c "TRUNCATE ocsp_response_cache;"
"""


@pytest.mark.spec("02/DR-11", "02/DR-12", "02/DR-27", "02/DR-29", "02/ROT-1", "02/ROT-2")
@pytest.mark.parametrize("forget", [True, False], ids=["steps_5_to_7", "caches_forgotten"])
def test_ca_rotation_by_the_book(house: House, *, forget: bool) -> None:
    house.start()
    good, bad = house.issue("good.example.test"), house.issue("bad.example.test")
    house.revoke("bad.example.test")
    old = house.place / "offline" / "ca.crt"
    house.type("mkdir offline; cp -p /etc/certctl/ca.crt /etc/certctl/ca.key offline/")
    old_ca = ca_of(old)
    assert house.ocsp(old, good) == "good"
    assert house.ocsp(old, bad) == "revoked"
    before = house.crl("crl/iss-local", old)
    house.type(NEW_PAIR)
    house.stop()
    house.type(SWAP)
    if forget:
        house.type(FORGET)
    house.start()

    new = house.etc / "ca.crt"
    leaf = house.issue("new.example.test")
    assert house.type(VERIFY) == "issuer=CN = certctl Local CA\n"
    aki = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert (aki.key_identifier or b"").hex() == key_id(ca_of(new)) != key_id(old_ca)
    assert house.verifies(new, leaf)
    assert not house.verifies(old, leaf)
    # The new CA's list and answers, by the address without a key id.
    assert serials(house.crl("crl/iss-local", new)) == set()
    assert house.ocsp(new, leaf) == "good"
    # Old certificates: chain, list and answers of the old CA.
    assert house.verifies(old, good)
    after = house.crl(f"crl/iss-local/{key_id(old_ca)}", old)
    assert serials(after) == {bad.serial_number}
    assert number(after) >= number(before)
    assert house.ocsp(old, good) == "good"
    assert house.ocsp(old, bad) == "revoked"
    # The server's own certificate comes from the new CA, so that the runbook's check works.
    assert "CRL Number" in house.type(SHOW_CRL)
    assert x509.load_pem_x509_certificates(house.fetch("bundle/iss-local")) == [
        ca_of(new),
        old_ca,
    ]
    listed = json.loads(house.server.certctl("ca", "list", "--json"))["data"]
    assert [key["state"] for key in listed] == ["current", "previous"]
    house.stop()


@pytest.mark.spec("02/DR-13")
def test_bad_files_refuse_the_start_and_the_old_ones_go_on(house: House) -> None:
    if house.engine != "sqlite":
        pytest.skip("files, not the database, are what is wrong here")
    house.start()
    house.issue("before.example.test")
    house.stop()
    cert, key = house.etc / "ca.crt", house.etc / "ca.key"
    house.type("cp -p /etc/certctl/ca.crt /etc/certctl/ca.key .")
    house.type(NEW_PAIR)

    house.type("cp new-ca.crt /etc/certctl/ca.crt")
    said = house.refused()
    assert f"The CA key {key} belongs to another certificate" in said
    house.type("cp new-ca.key /etc/certctl/ca.key; chmod 0644 /etc/certctl/ca.key")
    assert f"CERTCTL_CA_KEY_PATH: The CA key {key} is not kept safely: its mode is 0644" in (
        house.refused()
    )
    house.type("rm /etc/certctl/ca.key")
    assert f"The CA file {key} cannot be read" in house.refused()
    house.type("cp -p ca.key /etc/certctl/ca.key; rm /etc/certctl/ca.crt")
    assert f"The CA file {cert} cannot be read" in house.refused()
    house.type(
        "openssl x509 -new -key ca.key -subj '/CN=certctl Local CA' -days -1 "
        "-set_serial 7 -extfile <(echo basicConstraints=critical,CA:TRUE) "
        "-out /etc/certctl/ca.crt 2>/dev/null || openssl req -x509 -key ca.key -days -1 "
        "-subj '/CN=certctl Local CA' -out /etc/certctl/ca.crt"
    )
    assert f"The CA in {cert} has expired" in house.refused()

    house.type("cp -p ca.crt ca.key /etc/certctl/")
    house.start()
    assert house.verifies(cert, house.issue("after.example.test"))


@pytest.mark.spec("02/DR-14", "02/ROT-7")
def test_rotation_to_a_ca_that_the_enterprise_root_signed(house: House) -> None:
    if house.engine != "sqlite":
        pytest.skip("the database has no part in it")
    house.start()
    old_ca, good = ca_of(house.etc / "ca.crt"), house.issue("good.example.test")
    house.stop()
    house.type(
        """\
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout root.key \\
  -subj "/CN=Enterprise Root" -days 3650 -out root.crt
openssl ecparam -name prime256v1 -genkey -noout -out new-ca.key
openssl req -new -key new-ca.key -subj "/CN=certctl Issuing CA" -out new-ca.csr
openssl x509 -req -in new-ca.csr -CA root.crt -CAkey root.key -set_serial 4711 -days 1825 \\
  -extfile <(printf 'basicConstraints=critical,CA:TRUE,pathlen:0\\n\\
keyUsage=critical,keyCertSign,cRLSign\\n\\
subjectKeyIdentifier=hash\\nauthorityKeyIdentifier=keyid\\n') -out issuing.crt
cat issuing.crt root.crt > new-ca.crt
"""
    )
    house.type(SWAP)
    house.start()
    leaf = house.issue("new.example.test")
    root = house.place / "root.crt"
    assert house.verifies(root, leaf, "-untrusted", house.place / "new-chain")
    assert len(x509.load_pem_x509_certificates((house.place / "new-chain").read_bytes())) == 1
    chain = x509.load_pem_x509_certificates(house.fetch("ca/iss-local/chain"))
    assert [item.subject.rfc4514_string() for item in chain] == ["CN=certctl Issuing CA"]
    assert x509.load_pem_x509_certificates(house.fetch("bundle/iss-local")) == [
        ca_of(root),
        old_ca,
    ]
    offline = house.place / "old.crt"
    offline.write_bytes(old_ca.public_bytes(Encoding.PEM))
    assert house.ocsp(offline, good) == "good"


@pytest.mark.spec("02/DR-5", "02/DR-15", "02/DR-16", "02/DR-17", "02/CRL-2")
def test_postgres_restore_by_the_book(house: House, pg_tool: Callable[[str], str]) -> None:
    if house.engine != "postgres":
        pytest.skip("SQLite is restored by copying its file")
    house.start()
    good, bad = house.issue("good.example.test"), house.issue("bad.example.test")
    house.revoke("bad.example.test")
    make_records(house)
    before = records(house)
    dump = house.place / "backup.dump"
    house.type(f'{pg_tool("pg_dump")} -Fc --no-owner --no-acl -d "$DATABASE_URL" -f {dump}')
    plain = house.type(f'{pg_tool("pg_dump")} --no-owner -d "$DATABASE_URL"')
    for secret in (
        house.server.running.key,
        "PRIVATE KEY",
        house.settings["CONFIG_ENCRYPTION_KEYS"],
    ):
        assert secret not in plain
    # Later than the backup: a certificate and a revocation that the restore loses.
    lost = house.issue("lost.example.test")
    house.revoke("good.example.test")
    ca = house.etc / "ca.crt"
    last = house.crl("crl/iss-local", ca)
    kept = house.place / "kept.crl"
    kept.write_bytes(last.public_bytes(Encoding.DER))
    lost_file = house.place / "lost.pem"
    lost_file.write_bytes(lost.public_bytes(Encoding.PEM))

    house.stop()
    house.type(
        'psql -d postgres -qc "DROP DATABASE \\"$PGDATABASE\\" WITH (FORCE)"\n'
        'psql -d postgres -qc "CREATE DATABASE \\"$PGDATABASE\\""\n'
        f'{pg_tool("pg_restore")} --no-owner --no-acl -d "$DATABASE_URL" {dump}'
    )
    assert "The database is at revision" in house.type(
        'certctl db upgrade --database-url "$DATABASE_URL"'
    )
    house.type(FORGET_AFTER_RESTORE)
    house.start()

    assert records(house) == before
    restored = house.crl("crl/iss-local", ca)
    assert serials(restored) == {bad.serial_number}
    assert house.ocsp(ca, bad) == "revoked"
    assert house.ocsp(ca, good) == "good"
    assert house.ocsp(ca, lost) == "unknown"
    # What the backup lacks comes back from what was kept outside.
    assert "1 of 2 revocations were missing" in house.server.certctl("dr", "import-crl", str(kept))
    house.server.certctl("dr", "import-certs", str(lost_file))
    both = {bad.serial_number, good.serial_number}
    eventually(lambda: serials(house.crl("crl/iss-local", ca)) == both, what="the CRL has both")
    assert number(house.crl("crl/iss-local", ca)) > number(last)
    house.await_ocsp(ca, good, "revoked")
    house.await_ocsp(ca, lost, "good")
    # It works on: issue, revoke, and the audit log still proves itself.
    fresh = house.issue("fresh.example.test")
    house.revoke("fresh.example.test")
    house.await_ocsp(ca, fresh, "revoked")
    assert json.loads(house.server.certctl("audit", "verify", "--full", "--local", "--json"))["ok"]
    house.stop()


@pytest.mark.spec("02/DR-21")
def test_sigkill_after_sigterm_loses_nothing(house: House) -> None:
    house.start()
    leaf = house.issue("kept.example.test")
    house.revoke("kept.example.test")
    house.type(STOP)
    house.server.kill()
    house.start()
    ca = house.etc / "ca.crt"
    assert serials(house.crl("crl/iss-local", ca)) == {leaf.serial_number}
    assert house.ocsp(ca, leaf) == "revoked"


@pytest.fixture
def pg_tool(tool: Callable[[str], str]) -> Callable[[str], str]:
    """A program of PostgreSQL that is not older than the server of this run."""
    found = find_spec("pgserver")
    place = Path(found.origin if found and found.origin else "/").parent / "pginstall" / "bin"

    def find(name: str) -> str:
        own = place / name
        return str(own) if own.exists() else tool(name)

    return find


def make_records(house: House) -> None:
    """Something of everything that the runbook says is in the database."""
    with house.server.client() as client:
        for path, body in (
            ("/agents", {"name": "web-1", "hostname": "web-1.example.test"}),
            ("/profiles", {"name": "Short", "max_ttl_seconds": 86400}),
            ("/renewal-policies", {"name": "Early"}),
            ("/notifiers", {"name": "hook", "kind": "webhook",
                            "config": {"url": "https://hooks.example.com/x"}}),
            ("/issuers", {"name": "Second", "kind": "local", "config": {}}),
        ):  # fmt: skip
            answer = client.post(path, json=body)
            assert answer.status_code == 201, answer.text
        agent = rows(client, "/agents")[0]["id"]
        config = {"cert_path": "/etc/nginx/tls/cert.pem", "key_path": "/etc/nginx/tls/key.pem"}
        body = {"name": "nginx", "kind": "nginx", "agent_id": agent, "config": config}
        answer = client.post("/targets", json=body)
        assert answer.status_code == 201, answer.text
        certificate = client.post(
            "/certificates", json={"common_name": "waiting.example.test"}
        ).json()
        target = rows(client, "/targets")[0]["id"]
        answer = client.put(f"/certificates/{certificate['id']}/targets/{target}", json={})
        assert answer.status_code < 300, answer.text


def records(house: House) -> dict[str, Any]:
    """Everything that comes back, as the API shows it."""
    lists = (
        "/certificates", "/agents", "/profiles", "/renewal-policies", "/issuers", "/notifiers",
        "/targets", "/jobs",
    )  # fmt: skip
    moving = {"updated_at", "last_heartbeat_at", "health", "last_test", "state", "state_reason"}
    with house.server.client() as client:
        found: dict[str, Any] = {
            path: sorted(
                (
                    {name: value for name, value in row.items() if name not in moving}
                    for row in rows(client, path)
                ),
                key=lambda row: str(row["id"]),
            )
            for path in lists
        }
        loops = client.get("/admin/loops").json()["data"]
        found["loops"] = sorted(str(loop["name"]) for loop in loops)
        events = rows(client, "/audit", resource_type="certificate")
        found["audit"] = [(row["id"], row["action"], row["resource_id"]) for row in events]
    return found
