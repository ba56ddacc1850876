"""The NIST path validation suite: our validator and OpenSSL agree (02 HIER-7, acceptance 8)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pytest
from cryptography import x509

from certctl_core.pki import chain
from certctl_core.pki.errors import PKIError
from certctl_core.pki.x509 import to_pem

pytest.importorskip("cryptography_vectors", reason="pip install cryptography-vectors")

CERTS = Path(str(files("cryptography_vectors") / "x509" / "PKITS_data" / "certs"))
ANCHOR = "TrustAnchorRootCertificate.crt"
SUBJECTS = (
    "*pathLenConstraint*Test*.crt",
    "*nameConstraints*Test*.crt",
    "*DNnameConstraints*Test*.crt",
    "*basicConstraints*Test*.crt",
    "*NameConstraints*Test*.crt",
)
_DEPTH = 7


def load(path: Path) -> x509.Certificate:
    return x509.load_der_x509_certificate(path.read_bytes())


def cases() -> list[str]:
    found = {path.name for pattern in SUBJECTS for path in CERTS.glob(pattern)}
    return sorted(found)


@pytest.fixture(scope="module")
def authorities() -> dict[bytes, list[x509.Certificate]]:
    """Subject → CA certificates with that name, without the trust anchor."""
    pool: dict[bytes, list[x509.Certificate]] = {}
    for path in CERTS.glob("*.crt"):
        if path.name == ANCHOR or "Test" in path.name:
            continue
        try:
            certificate = load(path)
        except ValueError:  # a defect on purpose
            continue
        pool.setdefault(certificate.subject.public_bytes(), []).append(certificate)
    return pool


def paths(
    leaf: x509.Certificate, pool: dict[bytes, list[x509.Certificate]], anchor: x509.Certificate
) -> Iterator[list[x509.Certificate]]:
    """Every way up to the anchor, by names alone."""

    def climb(
        certificate: x509.Certificate, above: list[x509.Certificate]
    ) -> Iterator[list[x509.Certificate]]:
        if certificate.issuer == anchor.subject:
            yield above
        if len(above) < _DEPTH:
            for candidate in pool.get(certificate.issuer.public_bytes(), ()):
                if candidate not in above:
                    yield from climb(candidate, [*above, candidate])

    yield from climb(leaf, [])


@pytest.mark.spec("02/HIER-7")
@pytest.mark.parametrize("name", cases())
def test_both_say_the_same(
    name: str,
    authorities: dict[bytes, list[x509.Certificate]],
    tool: Callable[[str], str],
    tmp_path: Path,
) -> None:
    leaf, anchor = load(CERTS / name), load(CERTS / ANCHOR)
    now = datetime.now(UTC)
    reasons = []
    ours = False
    chosen: list[x509.Certificate] = []
    for above in paths(leaf, authorities, anchor):
        chosen = above
        try:
            chain.verify_path(leaf, tuple(above), (anchor,), now)
        except PKIError as error:
            reasons.append(error.detail)
        else:
            ours = True
            break
    (tmp_path / "anchor.pem").write_text(to_pem(anchor))
    (tmp_path / "above.pem").write_text("".join(map(to_pem, chosen)))
    (tmp_path / "leaf.pem").write_text(to_pem(leaf))
    untrusted = ["-untrusted", str(tmp_path / "above.pem")] if chosen else []
    anchors = ["-CAfile", str(tmp_path / "anchor.pem")]
    done = subprocess.run(
        [tool("openssl"), "verify", *anchors, *untrusted, str(tmp_path / "leaf.pem")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ours is (done.returncode == 0), f"ours: {ours} {reasons}; OpenSSL: {done.stderr}"
