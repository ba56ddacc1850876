"""Go's crypto/x509 on everything that a CA of ours makes, post-quantum algorithms included."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from certctl_core import Core
from certctl_core.pki.keys import KeyAlgorithm, generate
from certctl_core.testing.factories import make_csr

pytestmark = pytest.mark.timeout(400)  # the first build compiles Go's library, too
PROGRAM = Path(__file__).with_name("verify.go")
Ask = Callable[..., str]


@pytest.fixture(scope="session")
def verify(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Asks the Go program, which is built once; Go knows ML-DSA since 1.27."""
    go = tool("go")
    folder = tmp_path_factory.mktemp("go")
    program = folder / "verify"
    cache = {
        "GOCACHE": str(folder / "cache"),
        "GOPATH": str(folder / "path"),
        "GOTOOLCHAIN": "local",
    }
    subprocess.run(
        [go, "build", "-o", program, PROGRAM],
        check=True,
        env={**os.environ, **cache, "GO111MODULE": "off", "CGO_ENABLED": "0"},
        timeout=300,
    )

    def ask(**members: str | None) -> str:
        done = subprocess.run(
            [program], input=json.dumps(members), capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    return ask


@pytest.mark.spec("02/SIGN-2")
@pytest.mark.parametrize("ca_algorithm", KeyAlgorithm)
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_chains_and_lists_of_every_algorithm(
    core: Core, verify: Ask, ca_algorithm: KeyAlgorithm
) -> None:
    issuer_id = "iss-other"
    body = {
        "id": issuer_id,
        "name": "Other",
        "kind": "local",
        "config": {"ca_key_algorithm": ca_algorithm.value, "ca_common_name": "Example Other CA"},
    }
    core.call("issuers.create", body=body)
    families = ["RSA", "ECDSA", "Ed25519", "ML-DSA"]
    profile = core.call(
        "profiles.create",
        body={
            "name": "every key",
            "allowed_key_algorithms": [
                {"algorithm": name, "min_size": {"RSA": 2048, "ECDSA": 256}.get(name, 0)}
                for name in families
            ],
        },
    )
    leaf_algorithm = (
        ca_algorithm if ca_algorithm.name.startswith("ML_DSA") else KeyAlgorithm.ECDSA_P256
    )
    issued = core.issue(
        make_csr("www.example.test", key=generate(leaf_algorithm)),
        issuer_id=issuer_id,
        certificate_profile_id=profile.id,
    )
    (key,) = core.rooms.authorities.authority_keys(issuer_id)
    question = {
        "leaf": issued.certificate_pem,
        "chain": issued.chain_pem,
        "roots": key.certificate_pem,
        "issuer": key.certificate_pem,
        "name": "www.example.test",
        "now": core.clock.now().isoformat(),
    }

    def crl() -> str:
        return base64.b64encode(core.rooms.crls.current(key).der).decode()

    assert verify(**question, crl=crl()) == "ok"
    assert "other.example.test" in verify(**{**question, "name": "other.example.test"})
    path = {"certificate_id": issued.certificate.id}
    core.call("certificates.revoke", path=path, body={"reason": "superseded"})
    assert verify(**question, crl=crl()) == "revoked 4"
