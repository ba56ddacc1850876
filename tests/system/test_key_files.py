"""Key files as an operator has them: encrypted, too open, one responder an issuer (acceptance 12)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.frontends.server.running import environment
from tests.machine import eventually, free_port
from tests.system.installed import PROGRAM, Served, request_for, run, served

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("system")]

PHRASE = "a passphrase for tests, 4711"


class Files:
    """A CA made with OpenSSL, its key encrypted, and the file with the passphrase."""

    def __init__(self, folder: Path, openssl: str) -> None:
        self.cert, self.key, self.phrase = folder / "ca.crt", folder / "ca.key", folder / "phrase"
        self.phrase.write_text(PHRASE + "\n")
        self.phrase.chmod(0o600)
        run(openssl, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-aes256", "-pass", f"file:{self.phrase}", "-out", self.key)  # fmt: skip
        self.key.chmod(0o600)
        run(openssl, "req", "-x509", "-key", self.key, "-passin", f"file:{self.phrase}",
            "-days", "30", "-subj", "/CN=Own CA", "-out", self.cert,
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip

    @property
    def settings(self) -> dict[str, str]:
        return {
            "CA_CERT_PATH": str(self.cert),
            "CA_KEY_PATH": str(self.key),
            "CA_KEY_PASSPHRASE_FILE": str(self.phrase),
        }


@pytest.fixture
def files(tmp_path: Path, tool: Callable[[str], str]) -> Files:
    return Files(tmp_path, tool("openssl"))


def refused(folder: Path, **settings: str) -> str:
    """What a start says that must fail because of the CA."""
    port = free_port()
    done = subprocess.run(
        [str(PROGRAM), "serve", "--data-dir", str(folder), "--listen", f"127.0.0.1:{port}"],
        env=environment(folder, port, **settings),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 7, done.stdout + done.stderr
    return done.stderr


@pytest.mark.spec("02/SIGN-3", "02/CA-4")
def test_an_encrypted_key_opens_with_the_passphrase_of_a_file(
    files: Files, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    with served(tmp_path / "data", **files.settings) as server, server.client() as client:
        answer = client.post("/certificates", json={"csr_pem": request_for("own.example.test")})
        assert answer.status_code == 201, answer.text
        leaf = tmp_path / "leaf.pem"
        leaf.write_text(answer.json()["issued"]["certificate_pem"])
        run(tool("openssl"), "verify", "-x509_strict", "-CAfile", files.cert, leaf)
        assert PHRASE not in server.certctl("config", "dump")
        assert PHRASE not in server.running.text()
        assert server.running.stop() == 0


@pytest.mark.spec("02/SIGN-3", "02/CA-5")
class TestRefused:
    def test_a_wrong_passphrase(self, files: Files, tmp_path: Path) -> None:
        files.phrase.write_text("another passphrase 0815")
        said = refused(tmp_path / "data", **files.settings)
        assert str(files.key) in said
        assert "passphrase" in said
        assert "0815" not in said

    def test_a_key_that_others_may_read(self, files: Files, tmp_path: Path) -> None:
        files.key.chmod(0o644)
        said = refused(tmp_path / "data", **files.settings)
        assert f"CERTCTL_CA_KEY_PATH: The CA key {files.key} is not kept safely" in said
        assert "0644" in said
        assert "chmod 0600" in said

    def test_a_key_that_is_a_link_out_of_its_directory(self, files: Files, tmp_path: Path) -> None:
        (tmp_path / "keys").mkdir()
        link = tmp_path / "keys" / "ca.key"
        link.symlink_to(files.key)
        said = refused(tmp_path / "data", **{**files.settings, "CA_KEY_PATH": str(link)})
        assert "a link that leads out" in said


@pytest.mark.spec("02/SIGN-4", "02/RSP-2")
def test_directories_are_tightened_and_each_issuer_has_its_own_responder_key(
    tmp_path: Path, tool: Callable[[str], str]
) -> None:
    data = tmp_path / "data"
    (data / "ca").mkdir(parents=True)
    (data / "ocsp-responder-keys").mkdir()
    for folder in (data, data / "ca", data / "ocsp-responder-keys"):
        folder.chmod(0o755)
    with served(data) as server, server.client() as client:
        made = client.post("/issuers", json={"name": "Second", "kind": "local", "config": {}})
        assert made.status_code == 201, made.text
        second = made.json()["id"]
        for issuer in ("iss-local", second):
            asks(server, issuer, tmp_path, tool("openssl"))
        keys = {path.name: path.read_bytes() for path in (data / "ocsp-responder-keys").iterdir()}
        assert set(keys) == {"iss-local.key", f"{second}.key"}
        assert len(set(keys.values())) == 2
        for folder in (data, data / "ca", data / "ocsp-responder-keys"):
            assert folder.stat().st_mode & 0o777 == 0o700, folder
        assert len(list((data / "ca").iterdir())) == 2
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in (data / "ca").iterdir())


def asks(server: Served, issuer: str, folder: Path, openssl: str) -> None:
    """Issue a certificate and have OpenSSL ask for its status."""
    with server.client() as client:
        body = {"csr_pem": request_for(f"{issuer}.example.test"), "issuer_id": issuer}
        answer = client.post("/certificates", json=body)
        assert answer.status_code == 201, answer.text
        (ca,) = client.get(f"/issuers/{issuer}/ca").json()["data"]
    root, leaf = folder / f"{issuer}.ca.pem", folder / f"{issuer}.pem"
    root.write_text(ca["certificate_pem"])
    leaf.write_text(answer.json()["issued"]["certificate_pem"])
    ask = (openssl, "ocsp", "-issuer", root, "-CAfile", root, "-cert", leaf,
           "-url", f"{server.pki}/.well-known/pki/ocsp/{issuer}")  # fmt: skip
    eventually(lambda: ".pem: good" in run(*map(str, ask), status=None), what="good")
