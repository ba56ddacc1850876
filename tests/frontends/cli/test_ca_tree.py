"""``certctl ca``: a tree of CAs by hand (02 §9, OPS-5), against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from certctl_core.pki.x509 import split_pem
from certctl_core.testing.factories import make_csr
from tests.core.hierarchy.support import OfflineCA
from tests.frontends.cli.conftest import Run
from tests.frontends.client.live import Live, live_installation


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    """An installation of the test's own: its tree is what changes."""
    with live_installation(tmp_path / "live") as found:
        yield found


def made(certctl: Run, *arguments: str) -> str:
    """Run a command that makes a CA; gives its id."""
    done = certctl("ca", *arguments, "--json")
    assert done.code == 0, done.err
    return str(done.json["id"])


@pytest.mark.spec("02/HIER-2", "02/HIER-6", "02/HIER-10", "02/OPS-5")
def test_an_offline_root_a_policy_ca_and_an_issuing_ca(
    certctl: Run, live: Live, tmp_path: Path
) -> None:
    offline = OfflineCA()
    (tmp_path / "root.pem").write_text(offline.pem)
    root = made(
        certctl, "create-root", "--name", "Root", "--certificate", str(tmp_path / "root.pem")
    )
    request = tmp_path / "policy.csr"
    policy = made(
        certctl, "create", "--name", "Policy CA", "--parent", root, "--path-length", "1",
        "--csr-out", str(request),
    )  # fmt: skip
    shown = certctl("ca", "csr", policy)
    assert shown.out == request.read_text()
    (tmp_path / "policy.pem").write_text(offline.sign(request.read_text()))
    imported = certctl("ca", "import", policy, str(tmp_path / "policy.pem"))
    assert (imported.code, imported.out) == (0, f"Policy CA is active: {policy}\n")
    issuing = made(
        certctl, "create", "--name", "Issuing CA", "--parent", policy, "--permit", "example.test",
        "--organization", "Example", "--country", "DE", "--algorithm", "ECDSA-P384",
    )  # fmt: skip
    used = certctl("ca", "use", issuing)
    assert (used.code, used.out) == (0, f"{issuing} issues for iss-local from now on.\n")

    tree = certctl("ca", "tree").out.splitlines()
    assert tree[0].startswith(f"Root  {root}  (active, offline, until ")
    assert tree[1].startswith(f"└── Policy CA  {policy}  (active, until ")
    assert tree[2].startswith(f"    └── Issuing CA *  {issuing}  (active, until ")
    form = certctl("ca", "show", issuing).out
    assert "CN=Issuing CA,O=Example,C=DE" in form
    assert "DNS:example.test" in form
    with live.client() as client:
        issued = client.certificates.create(csr_pem=make_csr("web.example.test"))["issued"]
    assert issued is not None
    leaf = split_pem(issued["certificate_pem"])[0]
    assert leaf.issuer.rfc4514_string() == "CN=Issuing CA,O=Example,C=DE"


@pytest.mark.spec("02/OPS-5")
def test_the_end_of_a_ca_in_two_steps(certctl: Run) -> None:
    root = made(certctl, "create-root", "--name", "Root", "--current")
    child = made(certctl, "create", "--name", "Child", "--parent", root)
    unsure = certctl("ca", "retire", child)
    assert (unsure.code, "--yes" in unsure.err) == (2, True)
    first = certctl("ca", "retire", child, "--yes", "--note", "replaced")
    assert first.out == f"{child} is retiring.\n"
    again = certctl("ca", "retire", child, "--yes")
    assert (again.code, "is retiring, which does not allow this" in again.err) == (1, True)
    assert certctl("ca", "retire", child, "--yes", "--confirm").out == f"{child} is retired.\n"
    other = made(certctl, "create", "--name", "Other", "--parent", root)
    revoked = certctl("ca", "revoke", other, "--reason", "superseded", "--yes")
    assert revoked.out == f"{other} is revoked (superseded).\n"


def test_what_cannot_be_done_is_said(certctl: Run, tmp_path: Path) -> None:
    both = certctl("ca", "create-root", "--name", "Root")
    assert (both.code, "--current" in both.err) == (2, True)
    root = made(certctl, "create-root", "--name", "Root", "--current")
    refused = certctl("ca", "create", "--name", "Root", "--parent", root)
    assert (refused.code, "already a CA named 'Root'" in refused.err) == (1, True)
    no_request = certctl("ca", "csr", root)
    assert (no_request.code, "it has no request" in no_request.err) == (2, True)
    denied = certctl("ca", "retire", root, "--yes", role="viewer")
    assert (denied.code, "ca.hierarchy.manage" in denied.err) == (4, True), denied.err
    assert certctl("ca", "tree", role="viewer").code == 0


@pytest.mark.spec("02/OPS-5")
def test_a_new_ca_key_may_be_a_post_quantum_one(certctl: Run) -> None:
    rotated = certctl("ca", "rotate", "--algorithm", "ML-DSA-65", "--yes")
    assert rotated.code == 0, rotated.err
    root = made(certctl, "create-root", "--name", "Root", "--current")
    below = made(certctl, "create", "--name", "Below", "--parent", root, "--algorithm", "ml-dsa-44")

    keys = certctl("ca", "list", "--json").json["data"]
    assert {key["key_algorithm"] for key in keys} >= {"ML-DSA-65", "ECDSA-P256"}
    assert "ML-DSA-44" in certctl("ca", "show", below).out
