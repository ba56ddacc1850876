"""A tree of CAs as an operator works on it, an offline CA, and what judges the result."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.app import Core
from certctl_core.kernel.actors import SYSTEM, Actor
from certctl_core.kernel.clock import SystemClock
from certctl_core.lifecycle.hierarchy import IntermediateView
from certctl_core.pki.keys import KeyAlgorithm, SigningKey, generate
from certctl_core.pki.ocsp import CertIDHash, build_request, cert_id, inspect_response
from certctl_core.pki.serials import canonical, new_serial
from certctl_core.pki.subtrees import parse_subtree
from certctl_core.pki.x509 import build_root, build_sub_ca, split_pem, to_pem
from certctl_core.testing.factories import issue
from tests.machine import PATIENCE_SECONDS

PREFIX = "/.well-known/pki/"
LOCAL = "iss-local"


@dataclass(frozen=True)
class OpenSSL:
    """Runs OpenSSL in ``folder``; certificates and bytes given by name become files there."""

    program: str
    folder: Path

    def __call__(self, *arguments: str, check: bool = True, **files: str | bytes) -> str:
        for name, value in files.items():
            (self.folder / name).write_bytes(value.encode() if isinstance(value, str) else value)
        done = subprocess.run(
            [self.program, *arguments],
            capture_output=True,
            cwd=self.folder,
            timeout=PATIENCE_SECONDS,
        )
        told = (done.stdout + done.stderr).decode(errors="replace")
        assert not check or done.returncode == 0, told
        return told


@dataclass
class OfflineCA:
    """A CA whose key never comes here."""

    name: str = "Example Offline Root"
    key: SigningKey = field(default_factory=lambda: generate(KeyAlgorithm.ECDSA_P256))
    certificate: x509.Certificate = field(init=False)
    path_length: int | None = None

    def __post_init__(self) -> None:
        now = SystemClock().now()
        self.certificate = build_root(
            self.name,
            self.key,
            serial=new_serial(),
            not_before=now - timedelta(days=1),
            not_after=now + timedelta(days=3650),
            path_length=self.path_length,
        )

    @property
    def pem(self) -> str:
        return to_pem(self.certificate)

    def sign(self, csr_pem: str, **changes: Any) -> str:
        """The certificate for a request, with what it asks for unless ``changes`` say else."""
        request = x509.load_pem_x509_csr(csr_pem.encode())
        assert request.is_signature_valid
        basic = request.extensions.get_extension_for_class(x509.BasicConstraints).value
        try:
            names = request.extensions.get_extension_for_class(x509.NameConstraints).value
        except x509.ExtensionNotFound:
            names = None
        now = SystemClock().now()
        values: dict[str, Any] = {
            "public_key": request.public_key(),
            "issuer": self.certificate,
            "key": self.key,
            "serial": new_serial(),
            "not_before": now - timedelta(hours=1),
            "not_after": now + timedelta(days=1825),
            "path_length": basic.path_length,
            "name_constraints": names,
        }
        subject = changes.pop("subject", request.subject)
        return to_pem(build_sub_ca(subject, **(values | changes)))

    def crl(self) -> bytes:
        now = SystemClock().now()
        return (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - timedelta(hours=1))
            .next_update(now + timedelta(days=30))
            .sign(self.key, SHA256())
            .public_bytes(Encoding.PEM)
        )


@dataclass
class Tree:
    """The tree of one issuer, through the operations."""

    core: Core
    issuer_id: str = LOCAL
    actor: Actor = SYSTEM

    def post(self, **body: Any) -> IntermediateView:
        found: IntermediateView = self.core.call(
            "intermediates.create", actor=self.actor, path={"issuer_id": self.issuer_id}, body=body
        )
        return found

    def root(self, pem: str, name: str = "Root", **members: Any) -> IntermediateView:
        return self.post(name=name, root_cert_pem=pem, **members)

    def own_root(self, name: str = "Root") -> IntermediateView:
        """The CA that the issuer has from the start becomes the root."""
        return self.root(self.current_pem(), name)

    def child(self, parent: IntermediateView, name: str, **members: Any) -> IntermediateView:
        members.setdefault("subject", {"common_name": name})
        return self.post(name=name, parent_ca_id=parent.id, **members)

    def _call(self, name: str, ca: IntermediateView, body: dict[str, Any] | None = None) -> Any:
        path = {"intermediate_id": ca.id}
        return self.core.call(f"intermediates.{name}", actor=self.actor, path=path, body=body)

    def get(self, ca: IntermediateView) -> IntermediateView:
        found: IntermediateView = self._call("get", ca)
        return found

    def install(self, ca: IntermediateView, pem: str, chain: str | None = None) -> IntermediateView:
        body = {"cert_pem": pem, "chain_pem": chain}
        found: IntermediateView = self._call("install", ca, body)
        return found

    def retire(self, ca: IntermediateView, **body: Any) -> Any:
        return self._call("retire", ca, body)

    def revoke(self, ca: IntermediateView, **body: Any) -> Any:
        return self._call("revoke", ca, body)

    def all(self) -> list[IntermediateView]:
        path = {"issuer_id": self.issuer_id}
        rows: list[IntermediateView] = self.core.call(
            "intermediates.list", actor=self.actor, path=path
        ).data
        return rows

    def issue_by(self, ca: IntermediateView | None) -> None:
        """Choose the issuing CA through the issuer API; None goes back to a single CA."""
        config = {
            "hierarchy_mode": "single" if ca is None else "tree",
            "issuing_ca_id": None if ca is None else ca.id,
        }
        self.core.call(
            "issuers.update", path={"issuer_id": self.issuer_id}, body={"config": config}
        )

    def leaf(self, name: str = "web.example.test", **members: Any) -> list[x509.Certificate]:
        """A new leaf and the chain that goes out with it."""
        issued = issue(self.core, name, issuer_id=self.issuer_id, **members)
        return split_pem(issued.certificate_pem + issued.chain_pem)

    def current_pem(self) -> str:
        keys = self.core.call("issuers.ca_keys", path={"issuer_id": self.issuer_id}).data
        found: str = next(key.certificate_pem for key in keys if key.state == "current")
        return found

    def public(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """The public paths, as a relying party sees them."""
        status = []
        parts = self.core.pki.wsgi(
            {
                "REQUEST_METHOD": "GET" if body is None else "POST",
                "PATH_INFO": PREFIX + path,
                "QUERY_STRING": "",
                "REMOTE_ADDR": "192.0.2.1",
                "CONTENT_TYPE": "application/ocsp-request",
                "CONTENT_LENGTH": str(len(body or b"")),
                "wsgi.input": BytesIO(body or b""),
            },
            lambda told, _headers: status.append(int(told[:3])),  # type: ignore[arg-type]
        )
        return status[0], b"".join(parts)

    def crl(self, ca: IntermediateView) -> x509.CertificateRevocationList:
        status, body = self.public(f"crl/{self.issuer_id}/{ca.ca_key_id}")
        assert status == 200, body
        return x509.load_der_x509_crl(body)

    def crl_pem(self, ca: IntermediateView) -> bytes:
        return self.crl(ca).public_bytes(Encoding.PEM)

    def status(self, issuer: x509.Certificate, certificate: x509.Certificate) -> str:
        """What OCSP says about a certificate."""
        wanted = cert_id(CertIDHash.SHA256, issuer, canonical(certificate.serial_number))
        status, body = self.public(f"ocsp/{self.issuer_id}", build_request([wanted]))
        assert status == 200
        answers = inspect_response(body).answers
        return answers[0].status.value if answers else "unauthorized"


def certificate_of(ca: IntermediateView) -> x509.Certificate:
    assert ca.cert_pem is not None
    return split_pem(ca.cert_pem)[0]


def extension(certificate: x509.Certificate, kind: type[Any]) -> Any:
    return certificate.extensions.get_extension_for_class(kind).value


def subtrees(*texts: str) -> list[x509.GeneralName]:
    return [parse_subtree(text) for text in texts]
