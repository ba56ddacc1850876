"""Orders as the choke point would send them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.contracts.issuers import IssueRequest
from certctl_core.pki.keys import KeyAlgorithm, SigningKey, generate
from certctl_core.pki.x509 import subject_name


def request(key: SigningKey | None = None, **changes: Any) -> IssueRequest:
    key = key or generate(KeyAlgorithm.ECDSA_P256)
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject_name("web.example.test"))
        .sign(key, None if "25519" in type(key).__name__ else hashes.SHA256())
    )
    made = IssueRequest(
        csr_der=csr.public_bytes(Encoding.DER),
        csr_pem=csr.public_bytes(Encoding.PEM).decode(),
        common_name="web.example.test",
        dns_names=("web.example.test",),
        idempotency_key="8f5f1a36-3f2b-4f53-9b62-0f3f5a6f9a10",
        tag="certctl:mc-1:ord-1",
    )
    return replace(made, **changes)
