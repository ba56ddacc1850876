"""A second linter's opinion on everything that is built here (02 A-37)."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certctl_core.pki import crl, ocsp, serials
from certctl_core.pki import x509 as pki_x509
from certctl_core.pki.keys import KeyAlgorithm
from certctl_core.pki.ocsp import CertIDHash, CertStatus, SingleResponse
from certctl_core.pki.reasons import CRLReason
from tests.core.pki.support import NOW, make_spec

pytest.importorskip("pkilint")

PROGRAMS = Path(sys.executable).parent
POINTERS = {
    "ocsp_urls": ("http://pki.example.com/ocsp",),
    "crl_urls": ("http://pki.example.com/crl",),
    "ca_issuer_urls": ("http://pki.example.com/ca",),
}
LEAVES: dict[str, tuple[KeyAlgorithm, dict[str, Any]]] = {
    "rsa_tls": (KeyAlgorithm.RSA_2048, {"must_staple": True, "ekus": (), **POINTERS}),
    "ecdsa_mail": (KeyAlgorithm.ECDSA_P384, {"ekus": ("emailProtection", "clientAuth")}),
    "post_quantum_short_lived": (KeyAlgorithm.ML_DSA_65, {"no_rev_avail": True}),
    "time_stamping_without_subject": (
        KeyAlgorithm.ED25519,
        {"ekus": ("timeStamping",), "common_name": None},
    ),
}


def complaints(program: str, *args: str, path: Path) -> str:
    done = subprocess.run(
        [PROGRAMS / program, "lint", "-s", "WARNING", *args, path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return (done.stdout + done.stderr).strip()


@pytest.mark.parametrize("case", LEAVES)
def test_leaves(ca_of, key_of, tmp_path, case):
    algorithm, changes = LEAVES[case]
    ca = ca_of()
    spec = make_spec(
        key_of(algorithm).public_key(), "www.example.com", "10.0.0.1", "a@example.com", **changes
    )
    path = tmp_path / "leaf.pem"
    path.write_text(pki_x509.to_pem(pki_x509.build_leaf(spec, issuer=ca.cert, key=ca.key)))
    assert complaints("lint_pkix_cert", path=path) == ""


@pytest.mark.parametrize("kind", ["root", "sub_ca", "responder"])
def test_authorities_and_responders(ca_of, key_of, tmp_path, kind):
    ca = ca_of()
    values: dict[str, Any] = {
        "public_key": key_of().public_key(),
        "issuer": ca.cert,
        "key": ca.key,
        "serial": serials.new_serial(),
        "not_before": NOW,
        "not_after": NOW + timedelta(days=30),
    }
    if kind == "root":
        cert = ca.cert
    elif kind == "responder":
        cert = pki_x509.build_responder(**values)
    else:
        subject = pki_x509.subject_name("Example Issuing CA", (("O", "Example"),))
        cert = pki_x509.build_sub_ca(subject, path_length=0, **(POINTERS | values))
    path = tmp_path / "cert.pem"
    path.write_text(pki_x509.to_pem(cert))
    assert complaints("lint_pkix_cert", path=path) == ""


def test_lists_and_responses(ca_of, tmp_path):
    ca = ca_of()
    der = crl.build_crl(
        issuer_cert=ca.cert,
        key=ca.key,
        entries=[
            crl.encode_entry("0abc", NOW, CRLReason.SUPERSEDED, NOW),
            crl.encode_entry("01", NOW),
        ],
        number=2,
        this_update=NOW,
        next_update=NOW + timedelta(days=1),
    )
    (tmp_path / "crl").write_bytes(der)
    assert complaints("lint_crl", "-t", "CRL", "-p", "PKIX", path=tmp_path / "crl") == ""
    single = SingleResponse(
        cert_id=ocsp.cert_id(CertIDHash.SHA256, ca.cert, "01"),
        status=CertStatus.REVOKED,
        revoked_at=NOW,
        reason=CRLReason.SUPERSEDED,
        this_update=NOW,
        next_update=NOW + timedelta(hours=1),
    )
    der = ocsp.build_response(
        responses=[single], responder_cert=ca.cert, responder_key=ca.key, produced_at=NOW,
        nonce=b"n" * 32,
    )  # fmt: skip
    (tmp_path / "ocsp").write_bytes(der)
    assert complaints("lint_ocsp_response", path=tmp_path / "ocsp") == ""
