"""Run by the Python of a clean environment: uses plugins of other distributions.

Usage: ``program.py FOLDER``. Nothing of the repository is importable here; what it imports is what
pip installed. It makes an issuer of the kind ``example-ca``, orders from it in both ways, has the
kind ``example-file`` told of a revocation, and leaves certificates and ``result.json`` in the folder.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import certctl_core
from certctl_core import Core


def make_csr(name: str) -> str:
    """A PKCS#10 request for one DNS name, with a key that is thrown away."""
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    builder = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(
        names, critical=True
    )
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def use_issuer(core: Core, folder: Path) -> dict[str, Any]:
    """Configure the example CA, order by operation and by ``Core.issue``; leaves PEM files."""
    found = core.call("issuer_types.get", path={"kind": "example-ca"})
    issuer = core.call(
        "issuers.create",
        body={
            "id": "iss-example",
            "name": "Example",
            "kind": "example-ca",
            "config": {"key_path": str(folder / "example-ca.pem"), "common_name": "Third Party"},
            "test": True,
        },
    )
    created = core.call(
        "certificates.create",
        body={"csr_pem": make_csr("one.example.test"), "issuer_id": issuer.id},
    )
    pem = core.call("certificates.download", path={"certificate_id": created.id})
    (folder / "one.pem").write_text(pem.cert_pem)
    issued = core.issue(make_csr("two.example.test"), issuer_id=issuer.id)
    (folder / "two.pem").write_text(issued.certificate_pem)
    chain = core.call("issuers.ca_chain", path={"issuer_id": issuer.id})
    (folder / "ca.pem").write_text("".join(chain.certificates))
    report = core.call("issuers.test", path={"issuer_id": issuer.id})
    return {
        "options": sorted(found.model_dump(by_alias=True)["schema"]["properties"]),
        "status": [created.status, issued.certificate.status],
        "test": report.ok,
    }


def use_notifier(core: Core, folder: Path) -> dict[str, Any]:
    """Configure the example notifier, route events to it, and let the background work deliver."""
    messages = folder / "messages.jsonl"
    created = core.call(
        "notifiers.create",
        body={"name": "File", "kind": "example-file", "config": {"path": str(messages)}},
    )
    report = core.call("notifiers.test", path={"notifier_id": created.id}, body={"send": True})
    core.call(
        "notification_routes.create",
        body={
            "name": "Revocations",
            "match": {"events": ["certificate.revoked"]},
            "notifiers": [created.id],
        },
    )
    made = core.issue(make_csr("told.example.test"))
    core.call("certificates.revoke", path={"certificate_id": made.certificate.id})
    core.background.start()
    lines: list[str] = []
    for _ in range(1200):
        # The last line may be half written.
        lines = messages.read_text().rpartition("\n")[0].splitlines()
        if len(lines) > 1:
            break
        time.sleep(0.1)
    return {
        "test": report.ok,
        "told": [json.loads(line)["event"] for line in lines],
        "certificate_id": made.certificate.id,
        "about": [json.loads(line)["certificate_id"] for line in lines],
    }


def main(folder: Path) -> dict[str, Any]:
    """Everything, on a fresh installation."""
    with Core.open(folder / "data") as core:
        listed = core.call("plugins.list").model_dump()["plugins"]
        issuer = use_issuer(core, folder)
        own = core.issue(make_csr("own.example.test"))
        (folder / "own.pem").write_text(own.certificate_pem)
        (folder / "own-ca.pem").write_text(
            "".join(core.rooms.authorities.trust_anchors("iss-local"))
        )
        notifier = use_notifier(core, folder)
    return {
        "from": certctl_core.__file__,
        "plugins": listed,
        "issuer": issuer,
        "notifier": notifier,
    }


if __name__ == "__main__":
    place = Path(sys.argv[1])
    (place / "result.json").write_text(json.dumps(main(place)))
