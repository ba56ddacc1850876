"""A tree of CAs on a running server, judged by OpenSSL over HTTP (02 §9, acceptance 8 … 10)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509

from tests.core.hierarchy.support import OfflineCA
from tests.machine import eventually
from tests.system.installed import Served, fetched, request_for, run

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("system")]
TREE = "/issuers/iss-local/intermediates"


@pytest.fixture(scope="module")
def settings(settings: dict[str, str], engine: str) -> dict[str, str]:
    """Two web processes where the engine allows them."""
    return {**settings, "SERVER_WORKERS": "2" if engine == "postgres" else "1"}


def post(client: httpx.Client, path: str, body: dict[str, Any], status: int = 201) -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def leaf(client: httpx.Client, name: str) -> tuple[x509.Certificate, str, str]:
    """A certificate, its PEM and the chain that came with it."""
    made = post(client, "/certificates", {"csr_pem": request_for(name)})["issued"]
    pem = made["certificate_pem"]
    return x509.load_pem_x509_certificate(pem.encode()), pem, made["chain_pem"]


def issue_by(client: httpx.Client, ca: dict[str, Any] | None) -> None:
    config = {
        "hierarchy_mode": "tree" if ca else "single",
        "issuing_ca_id": ca["id"] if ca else None,
    }
    answer = client.patch("/issuers/iss-local", json={"config": config})
    assert answer.status_code == 200, answer.text


@dataclass(frozen=True)
class Grown:
    """Four levels: an offline root, then policy, regional and issuing CA."""

    offline: OfflineCA
    cas: list[dict[str, Any]]


@pytest.fixture(scope="module")
def grown(server: Served) -> Grown:
    """The tree of the module's server; its own CA issues until a test chooses another."""
    offline = OfflineCA()
    with server.client() as client:
        root = post(client, TREE, {"name": "Root", "root_cert_pem": offline.pem})
        subject = {"common_name": "Policy CA"}
        policy = post(
            client, TREE, {"name": "Policy", "parent_ca_id": root["id"], "subject": subject}
        )
        signed = offline.sign(policy["csr_pem"], path_length=2)
        path = f"/intermediates/{policy['id']}/certificate"
        cas = [post(client, path, {"cert_pem": signed}, 200)]
        for name in ("Regional", "Issuing"):
            body = {
                "name": name,
                "parent_ca_id": cas[-1]["id"],
                "subject": {"common_name": f"{name} CA"},
                "name_constraints": [{"permitted": ["example.test"]}] if name == "Issuing" else [],
            }
            cas.append(post(client, TREE, body))
    return Grown(offline, cas)


@pytest.fixture
def client(server: Served, grown: Grown) -> Iterator[httpx.Client]:
    """The administrator's client: the server's own certificate may come from the tree, too."""
    with server.client(root=grown.offline.pem) as opened:
        yield opened


@pytest.mark.spec("02/HIER-4", "02/HIER-6", "02/HIER-7", "02/HIER-8", "02/HIER-9")
def test_offline_root_policy_ca_regional_ca_issuing_ca(
    server: Served,
    client: httpx.Client,
    grown: Grown,
    tool: Callable[[str], str],
    tmp_path: Path,
) -> None:
    openssl = tool("openssl")
    offline, cas = grown.offline, grown.cas
    assert [ca["path_len_constraint"] for ca in cas] == [2, 1, 0]
    _, _, before = leaf(client, "before.example.test")
    issue_by(client, cas[-1])

    # "Take effect at once": in every process, whoever asks.
    numbers = count()
    with ThreadPoolExecutor(8) as pool, server.client(root=grown.offline.pem) as many:

        def made_by(amount: int) -> dict[str, tuple[x509.Certificate, str, str]]:
            """One of the certificates that are issued now, for each CA."""
            names = [f"web-{next(numbers)}.example.test" for _ in range(amount)]
            made = pool.map(lambda name: leaf(many, name), names)
            return {found[0].issuer.rfc4514_string(): found for found in made}

        if server.running.settings["SERVER_WORKERS"] != "1":
            # Another process hears of it a moment later (DESIGN §8).
            eventually(lambda: set(made_by(8)) == {"CN=Issuing CA"}, what="all have heard of it")
        found = made_by(24)
    assert set(found) == {"CN=Issuing CA"}

    _, pem, chain = found["CN=Issuing CA"]
    public = f"{server.pki}/.well-known/pki"
    crls = [offline.crl().decode()]
    for ca in cas:
        answer = fetched(f"{public}/crl/iss-local/{ca['ca_key_id']}?format=pem")
        assert answer.status_code == 200
        crls.append(answer.text)
    for name, text in (
        ("root", offline.pem), ("chain", chain), ("leaf", pem), ("crls", "".join(crls)),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
    told = run(
        openssl, "verify", "-x509_strict", "-crl_check_all", "-CAfile", tmp_path / "root",
        "-untrusted", tmp_path / "chain", "-CRLfile", tmp_path / "crls", tmp_path / "leaf",
    )  # fmt: skip
    assert told.strip().endswith("leaf: OK")
    bundle = fetched(f"{public}/bundle/iss-local").text
    assert offline.pem in bundle

    # OCSP about a CA, by the CA above it, and about the leaf.
    for number, (issuer, subject) in enumerate(
        ((cas[0], cas[1]["cert_pem"]), (cas[1], cas[2]["cert_pem"]), (cas[2], pem))
    ):
        above, below = tmp_path / f"above{number}", tmp_path / f"below{number}"
        above.write_text(issuer["cert_pem"])
        below.write_text(subject)
        told = run(
            openssl, "ocsp", "-issuer", above, "-cert", below, "-url", f"{public}/ocsp/iss-local",
            "-CAfile", tmp_path / "root", "-verify_other", tmp_path / "chain",
        )  # fmt: skip
        assert f"below{number}: good" in told, told

    issue_by(client, None)
    _, _, after = leaf(client, "after.example.test")
    assert after == before


@pytest.mark.spec("02/HIER-2", "02/HIER-3")
def test_the_end_of_a_ca_in_every_process(
    server: Served, client: httpx.Client, grown: Grown, engine: str
) -> None:
    """Acceptance 10: a retiring CA issues nothing, whichever process is asked."""
    policy = grown.cas[0]
    body = {
        "name": "Short Life",
        "parent_ca_id": policy["id"],
        "subject": {"common_name": "Short Life CA"},
    }
    ca = post(client, TREE, body)
    issue_by(client, ca)
    leaf(client, "one.example.test")
    at = f"/intermediates/{ca['id']}"
    assert post(client, f"{at}/retire", {}, 200)["state"] == "retiring"

    def attempt(number: int) -> int:
        body = {"csr_pem": request_for(f"late-{number}.example.test")}
        return many.post("/certificates", json=body).status_code

    with ThreadPoolExecutor(8) as pool, server.client(root=grown.offline.pem) as many:
        if engine == "postgres":  # Another process hears of it a moment later (DESIGN §8).
            eventually(lambda: set(pool.map(attempt, range(16))) == {503}, what="no certificates")
        assert set(pool.map(attempt, range(16))) == {503}
    assert post(client, f"{at}/retire", {"confirm": True}, 409)["code"] == "ca_still_issues"
    issue_by(client, None)
    assert post(client, f"{at}/retire", {"confirm": True}, 200)["state"] == "retired"
    assert post(client, f"{at}/retire", {"confirm": True}, 409)["code"] == "ca_wrong_state"
    revoked = post(client, f"{at}/revoke", {"reason": "superseded"}, 200)
    assert (revoked["state"], revoked["on_crl"]) == ("revoked", True)
    address = f"{server.pki}/.well-known/pki/crl/iss-local/{policy['ca_key_id']}"

    def is_listed() -> bool:
        crl = x509.load_der_x509_crl(fetched(address).content)
        return int(ca["serial"], 16) in {entry.serial_number for entry in crl}

    eventually(is_listed, what="the list has it, whichever process gives it")


def test_two_who_want_the_same_name(server: Served, grown: Grown) -> None:
    policy = grown.cas[0]
    body = {"name": "Twice", "parent_ca_id": policy["id"], "subject": {"common_name": "Twice CA"}}
    with ThreadPoolExecutor(4) as pool, server.client(root=grown.offline.pem) as many:
        answers = list(pool.map(lambda _: many.post(TREE, json=body), range(4)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [201, 409, 409, 409]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {
        "ca_name_taken"
    }


def test_strongswan_trusts_the_chain(
    client: httpx.Client, grown: Grown, tool: Callable[[str], str], tmp_path: Path
) -> None:
    """Acceptance 9: each CA and a leaf, by a verifier that we did not write."""
    pki = tool("pki")
    issue_by(client, grown.cas[-1])
    _, pem, _ = leaf(client, "judged.example.test")
    (tmp_path / "leaf").write_text(pem)
    command = [pki, "--verify", "--in", "leaf"]
    for number, text in enumerate((grown.offline.pem, *(ca["cert_pem"] for ca in grown.cas))):
        (tmp_path / f"ca{number}").write_text(text)
        command += ["--cacert", f"ca{number}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert (done.returncode, "certificate trusted" in done.stdout) == (0, True), done.stderr
    assert "reached self-signed root ca with a path length of 3" in done.stdout + done.stderr
    issue_by(client, None)
