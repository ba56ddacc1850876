"""The mutual-TLS listener with a tree of CAs: what it sends and whom it lets in (02 TRUST-4)."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from certctl_core.pki.keys import KeyAlgorithm, SigningKey, generate, private_key_pem, ski
from tests.core.hierarchy.support import OfflineCA
from tests.machine import PATIENCE_SECONDS, eventually, free_port
from tests.system.installed import Served, request_for, run
from tests.system.test_ca_tree import TREE, issue_by, post

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("system")]


@pytest.fixture(scope="module")
def settings(settings: dict[str, str], engine: str) -> dict[str, str]:
    """With the listener, and two web processes where the engine allows them."""
    workers = "2" if engine == "postgres" else "1"
    return {**settings, "SERVER_WORKERS": workers, "MTLS_LISTEN": f"127.0.0.1:{free_port()}"}


@dataclass(frozen=True)
class Grown:
    """An offline root, a policy CA, and the CA that issues."""

    offline: OfflineCA
    policy: dict[str, Any]
    issuing: dict[str, Any]


@pytest.fixture(scope="module")
def grown(server: Served) -> Grown:
    offline = OfflineCA()
    with server.client() as client:
        root = post(client, TREE, {"name": "Root", "root_cert_pem": offline.pem})
        policy = child(client, root, "Policy")
        path = f"/intermediates/{policy['id']}/certificate"
        post(client, path, {"cert_pem": offline.sign(policy["csr_pem"], path_length=1)}, 200)
        issuing = child(client, policy, "Issuing")
        root_of(server).write_text(offline.pem)
        issue_by(client, issuing)
    return Grown(offline, policy, issuing)


@pytest.fixture
def client(server: Served, grown: Grown) -> Iterator[httpx.Client]:
    """The administrator's client: the server's own certificate comes from the tree, too."""
    with server.client(root=grown.offline.pem) as opened:
        yield opened


def root_of(server: Served) -> Path:
    """The root of the tree, which every client here trusts from the start."""
    return server.directory.with_name("root.pem")


def listener_of(server: Served) -> str:
    return server.running.settings["MTLS_LISTEN"]


def child(client: httpx.Client, parent: dict[str, Any], name: str) -> dict[str, Any]:
    subject = {"common_name": f"{name} CA"}
    body = {"name": name, "parent_ca_id": parent["id"], "subject": subject}
    return dict(post(client, TREE, body))


@dataclass(frozen=True)
class Machine:
    """What a client proves itself with, as files: its certificate alone, and with its chain."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, certificate: str, chain: str, key: SigningKey) -> Machine:
        folder.mkdir()
        private = private_key_pem(key)
        for name, text in (
            ("alone", certificate),
            ("whole", certificate + chain),
            ("chain", chain),
        ):
            (folder / name).write_text(text)
        (folder / "key").write_bytes(private)
        return cls(folder)

    def gets_in(self, server: Served, *, sends: str) -> bool:
        """Whether a request on a new connection is answered."""
        context = ssl.create_default_context(cafile=str(server.directory / "ca.crt"))
        context.load_verify_locations(cafile=root_of(server))
        context.load_cert_chain(self.folder / sends, self.folder / "key")
        try:
            with httpx.Client(verify=context, trust_env=False, timeout=PATIENCE_SECONDS) as client:
                answer = client.get(f"https://{listener_of(server)}/.well-known/pki/ca/iss-local")
        except httpx.TransportError:
            return False
        assert answer.status_code == 200
        return True


def enrolled(client: httpx.Client, folder: Path, ca: dict[str, Any]) -> Machine:
    """A machine with a certificate of the CA that was chosen; who answers may hear of it late."""
    key = ec.generate_private_key(ec.SECP256R1())
    issued: dict[str, str] = {}

    def is_by_it() -> bool:
        csr = request_for(f"{folder.name}.example.test", key=key)
        issued.update(post(client, "/certificates", {"csr_pem": csr})["issued"])
        found = x509.load_pem_x509_certificate(issued["certificate_pem"].encode())
        return found.issuer.rfc4514_string() == f"CN={ca['name']} CA"

    eventually(is_by_it, what=f"{ca['name']} issues")
    return Machine.make(folder, issued["certificate_pem"], issued["chain_pem"], key)


def client_of(ca: OfflineCA, folder: Path, chain: str = "") -> Machine:
    """A machine of a CA that certctl does not run."""
    key = generate(KeyAlgorithm.ECDSA_P256)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string("CN=machine.example.test"))
        .issuer_name(ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ca.certificate.not_valid_before_utc)
        .not_valid_after(ca.certificate.not_valid_after_utc)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier(ski(ca.key.public_key()), None, None),
            critical=False,
        )
        .sign(ca.key, hashes.SHA256())
    )
    return Machine.make(folder, leaf.public_bytes(Encoding.PEM).decode(), chain, key)


@pytest.mark.spec("02/HIER-6", "08/TLS-4", "08/TLS-6")
def test_it_sends_the_whole_chain_and_takes_a_certificate_with_or_without_its_own(
    server: Served,
    client: httpx.Client,
    grown: Grown,
    tool: Callable[[str], str],
    tmp_path: Path,
) -> None:
    openssl, listener = tool("openssl"), listener_of(server)
    (tmp_path / "root").write_text(grown.offline.pem)
    machine = enrolled(client, tmp_path / "agent", grown.issuing)

    def said(*arguments: str | Path) -> str:
        words = " ".join(map(str, arguments))
        command = f"{openssl} s_client -connect {listener} -CAfile {tmp_path / 'root'} {words} </dev/null 2>&1"
        return run("bash", "-c", command, status=None)

    def is_whole() -> bool:
        # The root is all that this client knows; every worker has to send the rest.
        sent = [said("-verify_return_error", "-showcerts") for _ in range(4)]
        subjects = ("s:CN = certctl-server", "s:CN = Issuing CA", "s:CN = Policy CA")
        return all("Verify return code: 0 (ok)" in text for text in sent) and all(
            subject in text for subject in subjects for text in sent
        )

    eventually(is_whole, what="the whole chain, from every worker")
    pair = ("-cert", machine.folder / "alone", "-key", machine.folder / "key", "-ign_eof")
    for more in ((), ("-cert_chain", machine.folder / "chain")):
        words = " ".join(map(str, (*pair, *more)))
        told = run(
            "bash", "-c",
            f"printf 'GET /.well-known/pki/ca/iss-local HTTP/1.0\\r\\n\\r\\n' | {openssl} s_client "
            f"-connect {listener} -CAfile {tmp_path / 'root'} {words} 2>&1 | strings",
        )  # fmt: skip
        assert "200 OK" in told, told
    for sends in ("alone", "whole"):
        eventually(lambda: machine.gets_in(server, sends=sends), what=sends)  # noqa: B023


@pytest.mark.spec("02/TRUST-4", "08/TLS-4")
def test_a_ca_that_is_none_of_the_tree_lets_nobody_in(
    server: Served, grown: Grown, tmp_path: Path
) -> None:
    """Neither another CA of the same root, nor one that only has the name of ours."""
    stranger = OfflineCA("Other CA of the Company")
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(stranger.certificate.subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(stranger.key, hashes.SHA256())
    )
    certified = grown.offline.sign(request.public_bytes(Encoding.PEM).decode())
    under_root = client_of(stranger, tmp_path / "under-root", chain=certified)
    namesake = client_of(OfflineCA("Issuing CA"), tmp_path / "namesake")
    by_root = client_of(grown.offline, tmp_path / "by-root", chain=grown.offline.pem)
    for machine in (under_root, namesake, by_root):
        for sends in ("alone", "whole"):
            assert not machine.gets_in(server, sends=sends), machine.folder.name
    eventually(lambda: bool(server.running.events("mtls.handshake_failed")), what="it says so")


@pytest.fixture
def again(client: httpx.Client, grown: Grown) -> Iterator[None]:
    """Another CA may issue meanwhile."""
    yield
    issue_by(client, grown.issuing)


@pytest.mark.spec("02/TRUST-4")
@pytest.mark.usefixtures("again")
@pytest.mark.parametrize("end", ["retire", "revoke", "compromise"])
def test_a_new_ca_is_known_at_once_and_one_that_ends_is_not_any_more(
    server: Served, client: httpx.Client, grown: Grown, tmp_path: Path, end: str
) -> None:
    old = enrolled(client, tmp_path / "old", grown.issuing)
    ca = child(client, grown.policy, f"To {end}")
    issue_by(client, ca)
    machine = enrolled(client, tmp_path / "new", ca)

    def let_in(sends: str) -> bool:
        # Every worker has to agree, and who answers is chance.
        return all(machine.gets_in(server, sends=sends) for _ in range(4))

    def shut_out(sends: str) -> bool:
        return not any(machine.gets_in(server, sends=sends) for _ in range(4))

    for sends in ("alone", "whole"):
        eventually(lambda: let_in(sends), what="the new CA is known")  # noqa: B023
    issue_by(client, grown.issuing)
    at = f"/intermediates/{ca['id']}"
    if end == "retire":
        assert post(client, f"{at}/retire", {}, 200)["state"] == "retiring"
        # What it issued is good until it is over; workers that are replaced now may cut a greeting.
        eventually(lambda: let_in("whole"), what="it is still let in")
        assert post(client, f"{at}/retire", {"confirm": True}, 200)["state"] == "retired"
    else:
        reason = "superseded" if end == "revoke" else "keyCompromise"
        assert post(client, f"{at}/revoke", {"reason": reason}, 200)["state"] == "revoked"
    # It still comes with a CA that an active one has signed.
    for sends in ("alone", "whole"):
        eventually(lambda: shut_out(sends), what="the CA is known no more")  # noqa: B023
    eventually(lambda: old.gets_in(server, sends="alone"), what="the other CA is still known")
