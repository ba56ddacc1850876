"""What judges of revocation data need: the public paths as a relying party sees them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from typing import Any

import sqlalchemy as sa
from cryptography import x509

from certctl_core.app import Core
from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.db import Database
from certctl_core.lifecycle.authorities import AuthorityKey
from certctl_core.pki.keys import KeyAlgorithm, generate
from certctl_core.pki.ocsp import (
    CertIDHash,
    OCSPResponseInfo,
    build_request,
    cert_id,
    inspect_response,
)
from certctl_core.pki.serials import new_serial
from certctl_core.pki.x509 import build_root
from certctl_core.testing.factories import issue

PREFIX = "/.well-known/pki/"
OCSP_TYPE = "application/ocsp-request"


@dataclass
class Reply:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Web:
    """A client of the public paths of one process."""

    core: Core
    address: str = "192.0.2.1"

    def request(self, method: str, path: str, body: bytes = b"", **environ: str) -> Reply:
        path, _, query = path.partition("?")
        reply = Reply()

        def start(status: str, headers: list[tuple[str, str]]) -> None:
            reply.status, reply.headers = int(status[:3]), dict(headers)
            assert len(headers) == len(reply.headers), "a header was sent twice"

        parts = self.core.pki.wsgi(
            {
                "REQUEST_METHOD": method,
                "PATH_INFO": PREFIX + path,
                "QUERY_STRING": query,
                "REMOTE_ADDR": self.address,
                "CONTENT_LENGTH": str(len(body)),
                "wsgi.input": BytesIO(body),
                **environ,
            },
            start,  # type: ignore[arg-type] # nobody asks for the write callable
        )
        reply.body = b"".join(parts)
        return reply

    def get(self, path: str, **environ: str) -> Reply:
        return self.request("GET", path, b"", **environ)

    def crl(self, path: str = "crl/iss-local") -> x509.CertificateRevocationList:
        reply = self.get(path)
        assert reply.status == 200, reply.body
        return x509.load_der_x509_crl(reply.body)

    def listed(self) -> dict[str, x509.RevokedCertificate]:
        """Serial → entry of the CRL served now."""
        return {f"{entry.serial_number:x}": entry for entry in self.crl()}

    def post(self, der: bytes, issuer_id: str = "iss-local", **environ: str) -> Reply:
        environ.setdefault("CONTENT_TYPE", OCSP_TYPE)
        return self.request("POST", f"ocsp/{issuer_id}", der, **environ)

    def ask(
        self,
        *serials: str,
        nonce: bytes | None = None,
        hashed: CertIDHash = CertIDHash.SHA1,
        **environ: str,
    ) -> OCSPResponseInfo:
        """The parsed answer to a POST about these serials."""
        reply = self.post(self.question(*serials, nonce=nonce, hashed=hashed), **environ)
        assert reply.status == 200, reply.body
        return inspect_response(reply.body)

    def question(
        self, *serials: str, nonce: bytes | None = None, hashed: CertIDHash = CertIDHash.SHA1
    ) -> bytes:
        ca = self.ca()
        return build_request([cert_id(hashed, ca, serial) for serial in serials], nonce=nonce)

    def status(self, serial: str) -> str:
        return self.ask(serial).answers[0].status.value

    def ca(self) -> x509.Certificate:
        return self.key().certificate

    def key(self) -> AuthorityKey:
        key = self.core.rooms.authorities.find_current("iss-local")
        assert key is not None
        return key


@dataclass(frozen=True)
class Issued:
    certificate_id: str
    serial: str
    pem: str


def make(core: Core, name: str = "web.example.test", **members: object) -> Issued:
    """An issued certificate, reduced to what these tests look at."""
    issued = issue(core, name, **members)
    return Issued(issued.certificate.id, issued.version.serial_number, issued.certificate_pem)


def revoke(core: Core, certificate_id: str, **body: object) -> list[str]:
    """Revoke through the operation; gives the serials."""
    path = {"certificate_id": certificate_id}
    serials: list[str] = core.call("certificates.revoke", path=path, body=body).serials
    return serials


def make_ca(name: str = "Another CA") -> x509.Certificate:
    """The certificate of a CA that this installation has never seen."""
    now = SystemClock().now()
    return build_root(
        name,
        generate(KeyAlgorithm.ECDSA_P256),
        serial=new_serial(),
        not_before=now - timedelta(days=1),
        not_after=now + timedelta(days=365),
    )


def sql(core: Core, statement: str, **values: object) -> list[tuple[Any, ...]]:
    """What an operator types into sqlite3 or psql, in a connection of its own."""
    database = Database(core.database.url.render_as_string(hide_password=False), max_connections=2)
    try:
        with database.write() as connection:
            result = connection.execute(sa.text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        database.close()
