"""An installation with its operator's files, and a shell to type blocks of the runbook into.

Only paths, ports and process numbers are put in; on SQLite ``psql -c`` becomes ``sqlite3`` and
``TRUNCATE`` becomes ``DELETE FROM``, as DR-27 says.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.frontends.server.running import environment
from tests.machine import PATIENCE_SECONDS, eventually, free_port
from tests.system.installed import PROGRAM, Served, launch, request_for, rows, run

NEW_PAIR = """\
openssl ecparam -name prime256v1 -genkey -noout -out new-ca.key
openssl req -x509 -key new-ca.key -days 3650 \\
-subj "/CN=certctl Local CA" -out new-ca.crt
"""
STOP = "kill -TERM <pid>"
SHOW_CRL = """\
curl -sS --cacert /path/to/ca.crt \\
https://certctl.example.com:8443/.well-known/pki/crl/iss-local \\
| openssl crl -inform DER -noout -text \\
| head -20
"""


@dataclass(slots=True)
class House:
    """An installation with its operator's files, and a shell to type into."""

    place: Path
    engine: str
    settings: dict[str, str]
    variables: dict[str, str] = field(default_factory=dict)
    served: Served | None = None

    @property
    def etc(self) -> Path:
        """What stands for ``/etc/certctl``."""
        return self.place / "etc"

    @property
    def server(self) -> Served:
        """The server that runs now."""
        assert self.served is not None
        return self.served

    def start(self) -> Served:
        """``certctl serve``, as the unit file would call it."""
        if self.served is None:
            pki = free_port()
            settings = {
                "RATE_LIMIT_ENABLED": "false",
                "SERVER_WORKERS": "1",
                "PKI_HTTP_LISTEN": f"127.0.0.1:{pki}",
                "CA_CERT_PATH": str(self.etc / "ca.crt"),
                "CA_KEY_PATH": str(self.etc / "ca.key"),
                "OCSP_RESPONDER_KEY_DIR": str(self.etc / "ocsp-responder-keys"),
                **self.settings,
            }
            running = launch(self.place / "data", free_port(), **settings)
            self.served = Served(running, f"http://127.0.0.1:{pki}")
        else:
            self.served.start_again()
        return self.served

    def refused(self) -> str:
        """What a start says that must not work."""
        running = self.server.running
        done = subprocess.run(
            [str(PROGRAM), "serve"],
            env=environment(running.directory, running.port, **running.settings),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 7, done.stderr
        return done.stderr

    def stop(self) -> None:
        """``kill -TERM <pid>``, and its end."""
        self.type(STOP)
        assert self.server.running.wait() == 0

    def type(self, commands: str, *, status: int = 0) -> str:
        """Run a block of the runbook; what it printed."""
        text = commands.replace("/etc/certctl/", f"{self.etc}/")
        text = text.replace("/path/to/ca.crt", str(self.etc / "ca.crt"))
        if self.served is not None:
            running = self.served.running
            text = text.replace("<pid>", str(running.process.pid))
            text = text.replace("certctl.example.com:8443", f"localhost:{running.port}")
        if self.engine == "sqlite":
            # The program itself would not wait for a moment in which the server does not write,
            # and what one ``psql -c`` does is one transaction.
            database, millis = self.place / "data" / "certctl.db", int(1000 * PATIENCE_SECONDS)
            patient = f"sqlite3 -cmd '.timeout {millis}' {database}"
            text = re.sub(
                r'psql (?:-At )?-c ("[^"]*")', rf"{patient} 'BEGIN IMMEDIATE' \1 'COMMIT'", text
            )
            text = re.sub(r"\bTRUNCATE (?=[a-z_]+;)", "DELETE FROM ", text)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.place,
            env={
                "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
                **self.variables,
            },
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == status, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout

    def issue(self, name: str) -> x509.Certificate:
        """A new certificate, also in the file ``new-cert`` as the runbook's curl leaves it."""
        with self.server.client() as client:
            made = client.post("/certificates", json={"csr_pem": request_for(name)})
        assert made.status_code == 201, made.text
        issued = made.json()["issued"]
        (self.place / "new-cert").write_text(issued["certificate_pem"])
        (self.place / "new-chain").write_text(issued["chain_pem"])
        return x509.load_pem_x509_certificate(issued["certificate_pem"].encode())

    def revoke(self, name: str) -> None:
        """Revoke the certificate of that name."""
        with self.server.client() as client:
            found = rows(client, "/certificates", q=name)
            path = f"/certificates/{found[0]['id']}/revoke"
            answer = client.post(path, json={"reason": "superseded"})
        assert answer.status_code == 200, answer.text

    def fetch(self, path: str) -> bytes:
        """What the plain-HTTP listener serves below ``/.well-known/pki/``."""
        file = self.place / "fetched"
        run("curl", "-sS", "--fail", "-o", file, f"{self.server.pki}/.well-known/pki/{path}")
        return file.read_bytes()

    def ocsp(self, ca: Path, leaf: x509.Certificate) -> str:
        """OpenSSL's verdict on a certificate under a CA; it trusts that CA only."""
        file = self.place / "asked.pem"
        file.write_bytes(leaf.public_bytes(Encoding.PEM))
        said = run(
            "openssl", "ocsp", "-issuer", ca, "-sha256", "-cert", file, "-CAfile", ca,
            "-url", f"{self.server.pki}/.well-known/pki/ocsp/iss-local",
        )  # fmt: skip
        assert "Response verify OK" in said, said
        assert "WARNING" not in said
        found = re.search(r"asked\.pem: (\w+)", said)
        assert found is not None, said
        return found[1]

    def await_ocsp(self, ca: Path, leaf: x509.Certificate, status: str) -> None:
        """Wait for a verdict: the listener hears of what another process did a moment later."""
        eventually(lambda: self.ocsp(ca, leaf) == status, what=f"OCSP says {status}")

    def verifies(self, ca: Path, leaf: x509.Certificate, *more: str | Path) -> bool:
        """Whether ``openssl verify -CAfile ca`` takes the certificate."""
        file = self.place / "asked.pem"
        file.write_bytes(leaf.public_bytes(Encoding.PEM))
        return "asked.pem: OK" in run("openssl", "verify", "-CAfile", ca, *more, file, status=None)

    def crl(self, path: str, ca: Path) -> x509.CertificateRevocationList:
        """A CRL that OpenSSL verifies under a CA."""
        file = self.place / "fetched"
        der = self.fetch(path)
        said = run("openssl", "crl", "-inform", "DER", "-in", file, "-CAfile", ca, "-noout")
        assert "verify OK" in said, said
        return x509.load_der_x509_crl(der)


def key_id(certificate: x509.Certificate) -> str:
    """The id of a CA key, as 02 §0 says."""
    return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest.hex()


def ca_of(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def serials(crl: x509.CertificateRevocationList) -> set[int]:
    return {entry.serial_number for entry in crl}


def number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
