"""The server's own certificate follows its CA, and its clients never lose it (02 DR-29, ROT-1)."""

from __future__ import annotations

import json
import shutil
import ssl
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from certctl_core.kernel.secrets import generate_keyring
from tests.machine import PATIENCE_SECONDS, eventually
from tests.system.conftest import database_settings
from tests.system.house import NEW_PAIR, House, ca_of
from tests.system.installed import Served, run, served

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("server")]
SWAP = """\
mv /etc/certctl/ca.crt /etc/certctl/ca.crt.old-rotated-{day}
mv /etc/certctl/ca.key /etc/certctl/ca.key.old-rotated-{day}
mv new-ca.crt /etc/certctl/ca.crt
mv new-ca.key /etc/certctl/ca.key
chmod 0600 /etc/certctl/ca.key
"""


@pytest.fixture
def fresh(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest, tool: Callable[[str], str]
) -> Iterator[Served]:
    """A server of its own for each test, with the CA that a first start makes."""
    tool("curl")
    tool("openssl")
    with (
        database_settings(engine, request) as settings,
        served(tmp_path / "data", **settings) as running,
    ):
        yield running
        assert running.running.stop() == 0


def issuer(server: Served) -> str:
    """Who has signed the certificate that is served now, as ``openssl s_client`` prints it."""
    address = f"127.0.0.1:{server.running.port}"
    said = run("bash", "-c", f"openssl s_client -connect {address} </dev/null 2>&1", status=None)
    return next((line for line in said.splitlines() if line.startswith("issuer=")), said)


def has_issuer(server: Served, name: str) -> bool:
    return name in issuer(server)


def is_trusted(server: Served, ca: Path) -> bool:
    """Whether ``curl --cacert`` reaches the server."""
    said = run("curl", "-sS", "--noproxy", "*", "--cacert", ca, f"{server.url}/health", status=None)
    return "healthy" in said


def anchors(server: Served) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates((server.directory / "ca.crt").read_bytes())


def first_key(server: Served) -> str:
    """The id of the CA key that issues."""
    listed = json.loads(server.certctl("ca", "list", "--json"))["data"]
    assert listed[0]["state"] == "current"
    return str(listed[0]["ca_key_id"])


def own_root(client: httpx.Client) -> dict[str, str]:
    """The CA of the first start becomes the root of a tree."""
    (key,) = client.get("/issuers/iss-local/ca").json()["data"]
    body = {"name": "Root", "root_cert_pem": key["certificate_pem"]}
    answer = client.post("/issuers/iss-local/intermediates", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@contextmanager
def watched(server: Served, *files: Path) -> Iterator[list[str]]:
    """New connections all the time, each verified by what these files hold at that moment.

    A connection that took so long that the file is another one by now proves nothing: its client
    would have had to look again.
    """
    stop, failed = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            for file in files:
                known = file.read_text()
                try:
                    context = ssl.create_default_context(cadata=known)
                    with httpx.Client(
                        verify=context, trust_env=False, timeout=PATIENCE_SECONDS
                    ) as client:
                        answer = client.get(f"{server.url}/health")
                        assert answer.status_code == 200
                except (httpx.HTTPError, OSError, AssertionError) as error:
                    if file.read_text() == known:
                        failed.append(f"{file.name}: {error!r}")
            stop.wait(0.01)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield failed
    finally:
        stop.set()
        thread.join()


@pytest.mark.spec("02/DR-29", "02/ROT-1")
def test_a_rotation_on_the_command_line_is_followed_without_a_signal(
    fresh: Served, tmp_path: Path
) -> None:
    own, pinned = fresh.directory / "ca.crt", tmp_path / "pinned.pem"
    shutil.copy(own, pinned)
    (old,) = anchors(fresh)
    before, workers = fresh.running.serial(), set(fresh.running.children())

    with watched(fresh, own, pinned) as failed, closing(fresh.running.connect()) as kept:
        kept.request("GET", "/health")
        kept.getresponse().read()
        fresh.certctl("ca", "rotate", "--yes")
        eventually(lambda: fresh.running.serial() != before, what="the new certificate")
        eventually(lambda: "G2" in issuer(fresh), what="every worker has it")
        eventually(lambda: len(workers & set(fresh.running.children())) <= 1, what="in place")
    assert failed == []
    assert [root.subject.rfc4514_string() for root in anchors(fresh)] == [
        "CN=certctl Local CA G2",
        "CN=certctl Local CA",
    ]
    assert is_trusted(fresh, own)
    assert is_trusted(fresh, pinned)
    assert old in anchors(fresh)
    named = tomllib.loads((fresh.directory / "client.toml").read_text())["ca_path"]
    assert Path(named) == own
    # Once is enough: neither the workers nor the certificate change again.
    serial = fresh.running.serial()
    fresh.certctl("healthcheck")
    assert fresh.running.serial() == serial
    assert len(fresh.running.events("server.certificate_issued")) == 2
    assert len(fresh.running.events("server.tls_pair_accepted")) == 1


@pytest.mark.spec("02/ROT-6", "02/DR-29")
def test_a_stolen_key_leaves_without_locking_anybody_out(fresh: Served) -> None:
    own = fresh.directory / "ca.crt"
    (stolen,) = anchors(fresh)

    with watched(fresh, own) as failed:
        fresh.certctl("ca", "mark-compromised", first_key(fresh), "--yes")
        eventually(lambda: stolen not in anchors(fresh), what="the stolen CA is out of ca.crt")
        eventually(lambda: "G2" in issuer(fresh), what="the new certificate")
    assert failed == []
    (new,) = anchors(fresh)
    assert new.subject.rfc4514_string() == "CN=certctl Local CA G2"
    # What is sent has nothing of the stolen key any more.
    address = f"127.0.0.1:{fresh.running.port}"
    sent = run("bash", "-c", f"openssl s_client -connect {address} -showcerts </dev/null 2>&1")
    assert "i:CN = certctl Local CA\n" not in sent


@pytest.mark.spec("02/DR-29", "02/ROT-1", "02/ROT-2")
@pytest.mark.parametrize("way", ["hang_up", "restart"])
def test_new_files_are_followed(house: House, way: str) -> None:
    server = house.start()
    own, old = server.directory / "ca.crt", ca_of(house.etc / "ca.crt")
    before = server.running.serial()
    house.type(NEW_PAIR.replace("certctl Local CA", "Example CA 2"))
    house.type(SWAP.format(day="20XX-XX-01"))

    if way == "hang_up":
        server.running.hang_up()
        eventually(lambda: "Example CA 2" in issuer(server), what="the new certificate")
    else:
        house.stop()
        house.start()
    assert server.running.serial() != before
    assert anchors(server) == [ca_of(house.etc / "ca.crt"), old]
    assert is_trusted(server, own)
    assert is_trusted(server, house.etc / "ca.crt")
    assert server.running.stop() == 0


@pytest.mark.spec("02/ROT-6", "02/DR-29")
def test_a_stolen_ca_in_files_can_be_replaced_through_the_server(house: House) -> None:
    """It issues nothing, so its own certificate stays; the command line must still reach it."""
    server = house.start()
    house.type(NEW_PAIR.replace("certctl Local CA", "Example CA 2"))
    house.type(SWAP.format(day="20XX-XX-01"))
    server.running.hang_up()
    eventually(lambda: "Example CA 2" in issuer(server), what="the second CA")
    stolen = ca_of(house.etc / "ca.crt")

    with watched(server, server.directory / "ca.crt") as failed:
        key = first_key(server)
        said = server.certctl("ca", "mark-compromised", key, "--yes")
        assert "Nothing is issued" in said
        eventually(lambda: bool(server.running.events("server.certificate_kept")), what="told")
        assert "Example CA 2" in issuer(server)
        assert stolen in anchors(server)
        assert server.certctl("ca", "list")

        house.type(NEW_PAIR.replace("certctl Local CA", "Example CA 3"))
        house.type("rm /etc/certctl/ca.crt /etc/certctl/ca.key")
        house.type("mv new-ca.crt /etc/certctl/ca.crt; mv new-ca.key /etc/certctl/ca.key")
        house.type("chmod 0600 /etc/certctl/ca.key")
        server.running.hang_up()
        eventually(lambda: "Example CA 3" in issuer(server), what="the third CA")
        eventually(lambda: stolen not in anchors(server), what="the stolen CA is out of ca.crt")
    assert failed == []
    names = [root.subject.rfc4514_string() for root in anchors(server)]
    assert names == ["CN=Example CA 3", "CN=certctl Local CA"]
    assert server.running.stop() == 0


@pytest.mark.spec("02/DR-29")
@pytest.mark.parametrize("database_engine", ["postgres"])
def test_another_server_on_the_same_database_follows(
    blank_database_url: str, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    for name in ("curl", "openssl"):
        tool(name)
    settings = {
        "DATABASE_URL": blank_database_url.replace("postgresql+psycopg", "postgresql"),
        "CONFIG_ENCRYPTION_KEYS": generate_keyring(),
        "OCSP_RESPONDER_KEY_DIR": str(tmp_path / "responders"),
    }
    other = tmp_path / "other"
    with served(tmp_path / "one", **settings) as one:
        shutil.copytree(one.directory / "ca", other / "ca")  # two machines, the same key files
        with served(other, SERVER_TLS_SANS="two.example.test", **settings) as two:
            assert one.running.serial() != two.running.serial()
            pinned = tmp_path / "pinned.pem"
            shutil.copy(one.directory / "ca.crt", pinned)

            one.certctl("ca", "rotate", "--yes")
            eventually(partial(has_issuer, one, "G2"), what="the first one has a new one")
            # Without the new key the other one goes on, and says what it lacks.
            kept = partial(two.running.events, "server.certificate_kept")
            eventually(lambda: bool(kept()), what="the other one says so")
            assert is_trusted(two, two.directory / "ca.crt")
            assert len(anchors(two)) == 2

            shutil.copytree(one.directory / "ca", other / "ca", dirs_exist_ok=True)
            eventually(partial(has_issuer, two, "G2"), what="the other one follows")
            for server in (one, two):
                assert is_trusted(server, server.directory / "ca.crt")
                assert is_trusted(server, pinned)
            assert one.running.serial() != two.running.serial()
            assert two.running.stop() == 0


@pytest.mark.spec("02/DR-29", "02/HIER-6")
def test_a_ca_of_the_tree_is_followed_and_one_that_may_not_name_the_server_is_not(
    fresh: Served,
) -> None:
    own = fresh.directory / "ca.crt"
    with watched(fresh, own) as failed, fresh.client() as client:
        root = own_root(client)
        for name, permitted in (("Narrow", ["example.test"]), ("Wide", [])):
            body = {
                "name": name,
                "parent_ca_id": root["id"],
                "subject": {"common_name": f"{name} CA"},
                "name_constraints": [{"permitted": permitted}] if permitted else [],
            }
            made = client.post("/issuers/iss-local/intermediates", json=body)
            assert made.status_code == 201, made.text
            config = {"hierarchy_mode": "tree", "issuing_ca_id": made.json()["id"]}
            answer = client.patch("/issuers/iss-local", json={"config": config})
            assert answer.status_code == 200, answer.text
            if name == "Narrow":
                eventually(
                    lambda: bool(fresh.running.events("server.certificate_kept")), what="it says so"
                )
                assert "Narrow" not in issuer(fresh)
            else:
                eventually(lambda: "Wide" in issuer(fresh), what="the new certificate")
    assert failed == []


@pytest.mark.spec("02/HIER-6", "08/TLS-6")
def test_a_start_goes_on_with_the_certificate_that_is_there(fresh: Served) -> None:
    """The issuing CA may not name the server: what is there serves until it ends."""
    with fresh.client() as client:
        path = "/issuers/iss-local/intermediates"
        root = own_root(client)
        body = {
            "name": "Narrow",
            "parent_ca_id": root["id"],
            "subject": {"common_name": "Narrow CA"},
            "name_constraints": [{"permitted": ["example.test"]}],
        }
        made = client.post(path, json=body).json()
        config = {"hierarchy_mode": "tree", "issuing_ca_id": made["id"]}
        assert client.patch("/issuers/iss-local", json={"config": config}).status_code == 200
    before = fresh.running.serial()
    assert fresh.running.stop() == 0
    fresh.start_again()
    assert fresh.running.serial() == before
    assert fresh.running.events("server.certificate_kept")
    assert is_trusted(fresh, fresh.directory / "ca.crt")
