"""Trees of CAs (02 §9): made, judged by OpenSSL and strongSwan, issuing, publishing, ended."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.app import Core
from certctl_core.kernel.config import Settings
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.secrets import generate_keyring
from certctl_core.lifecycle.hierarchy import CAState, IntermediateView
from certctl_core.pki.keys import KeyAlgorithm, generate, private_key_pem
from certctl_core.pki.x509 import to_pem
from certctl_core.testing.fakes import FakeClock
from tests.core.hierarchy.support import OfflineCA, OpenSSL, Tree, certificate_of, extension
from tests.machine import PATIENCE_SECONDS


def grow(tree: Tree, offline: OfflineCA) -> list[IntermediateView]:
    """Four levels: offline root, policy CA (by request), regional CA, issuing CA; root first."""
    root = tree.root(offline.pem, "Root")
    policy = tree.child(root, "Policy CA", path_len_constraint=2)
    assert policy.csr_pem is not None
    policy = tree.install(policy, offline.sign(policy.csr_pem))
    regional = tree.child(policy, "Regional CA")
    issuing = tree.child(
        regional,
        "Issuing CA",
        subject={
            "common_name": "Example Issuing CA",
            "organization": ["Example"],
            "country": ["DE"],
        },
        name_constraints=[{"permitted": ["example.test"]}],
    )
    return [root, policy, regional, issuing]


@pytest.mark.spec("02/HIER-4", "02/HIER-6", "02/HIER-7", "02/HIER-8")
def test_four_levels_with_an_offline_root_hold_for_openssl_and_strongswan(
    tree: Tree, openssl: OpenSSL, tool: Callable[[str], str], tmp_path: Path
) -> None:
    """Acceptance 9."""
    offline = OfflineCA()
    root, policy, regional, issuing = grow(tree, offline)
    assert (root.key_driver_id, root.can_sign) == (None, False)
    assert [ca.path_len_constraint for ca in (policy, regional, issuing)] == [2, 1, 0]
    tree.issue_by(issuing)
    leaf, *chain = tree.leaf()
    assert [to_pem(one) for one in chain] == [issuing.cert_pem, regional.cert_pem, policy.cert_pem]
    crls = offline.crl() + b"".join(tree.crl_pem(ca) for ca in (policy, regional, issuing))
    above = "".join(map(to_pem, chain))
    arguments = ("-CAfile", "root", "-untrusted", "above", "-CRLfile", "crls")
    told = openssl(
        "verify", "-x509_strict", "-crl_check_all", *arguments, "leaf",
        root=offline.pem, above=above, crls=crls, leaf=to_pem(leaf),
    )  # fmt: skip
    assert told.strip() == "leaf: OK"
    pki = [tool("pki"), "--verify", "--in", "leaf", "--ca", "root"]
    for number, one in enumerate(chain):
        (tmp_path / f"ca{number}").write_text(to_pem(one))
        pki += ["--ca", f"ca{number}"]
    done = subprocess.run(pki, cwd=tmp_path, capture_output=True, timeout=PATIENCE_SECONDS)
    assert (done.returncode, b"trusted" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.spec("02/HIER-4", "02/CERT-13")
def test_a_child_points_at_its_parent(tree: Tree) -> None:
    root = tree.own_root()
    child = tree.child(root, "Child", ttl_days=36500, algorithm="ECDSA-P384")
    above, made = certificate_of(root), certificate_of(child)
    assert made.issuer == above.subject
    aki = extension(made, x509.AuthorityKeyIdentifier).key_identifier
    assert aki == extension(above, x509.SubjectKeyIdentifier).digest
    assert len(extension(made, x509.SubjectKeyIdentifier).digest) == 20
    basic = made.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = made.extensions.get_extension_for_class(x509.KeyUsage)
    assert (basic.critical, basic.value.ca, usage.critical) == (True, True, True)
    assert (usage.value.key_cert_sign, usage.value.crl_sign) == (True, True)
    assert made.not_valid_after_utc == above.not_valid_after_utc
    assert made.serial_number.bit_length() > 100
    point = extension(made, x509.CRLDistributionPoints)[0].full_name[0].value
    assert point == f"http://pki.example.com/.well-known/pki/crl/iss-local/{root.ca_key_id}"
    access = {
        one.access_method._name: one.access_location.value
        for one in extension(made, x509.AuthorityInformationAccess)
    }
    assert access == {
        "OCSP": "http://pki.example.com/.well-known/pki/ocsp/iss-local",
        "caIssuers": f"http://pki.example.com/.well-known/pki/ca/iss-local/{root.ca_key_id}",
    }
    status, body = tree.public(f"ca/iss-local/{root.ca_key_id}")
    assert (status, x509.load_der_x509_certificate(body)) == (200, above)


def test_certificates_name_the_ocsp_address_of_their_ca(tree: Tree) -> None:
    root = tree.own_root()
    child = tree.child(root, "Child", ocsp_responder_url="http://ocsp.example.com/child")
    grandchild = tree.child(child, "Grandchild")
    access = extension(certificate_of(grandchild), x509.AuthorityInformationAccess)
    assert "http://ocsp.example.com/child" in {one.access_location.value for one in access}
    tree.issue_by(child)
    leaf = tree.leaf()[0]
    access = extension(leaf, x509.AuthorityInformationAccess)
    assert "http://ocsp.example.com/child" in {one.access_location.value for one in access}


@pytest.mark.spec("02/HIER-9")
def test_single_becomes_tree_without_a_gap(tree: Tree) -> None:
    """The chain bytes are the same before and after, and old leaves keep CRL and OCSP."""
    before = tree.leaf("one.example.test")
    root = tree.own_root()
    tree.issue_by(root)
    after = tree.leaf("two.example.test")
    assert [to_pem(one) for one in before[1:]] == [to_pem(one) for one in after[1:]]
    child = tree.child(root, "Issuing CA")
    tree.issue_by(child)
    last, *chain = tree.leaf("three.example.test")
    assert [to_pem(one) for one in chain] == [child.cert_pem]
    top = certificate_of(root)
    assert tree.status(top, before[0]) == tree.status(top, after[0]) == "good"
    assert tree.status(certificate_of(child), last) == "good"
    tree.issue_by(None)
    again = tree.leaf("four.example.test")
    assert again[0].issuer == top.subject


@pytest.mark.spec("02/HIER-6")
def test_the_choice_of_the_issuing_ca_takes_effect_at_once(
    tree: Tree, settings: Settings, clock: FakeClock
) -> None:
    """In this process and in one that starts later, also with the built-in default."""
    root = tree.own_root()
    one, two = tree.child(root, "One"), tree.child(root, "Two")
    for ca in (one, two, one):
        tree.issue_by(ca)
        assert tree.leaf()[0].issuer == certificate_of(ca).subject
        assert [item.id for item in tree.all() if item.is_issuing] == [ca.id]
    if settings.database.dsn.reveal().startswith("sqlite"):
        return
    with Core.open(settings, clock=clock) as other:
        assert Tree(other).leaf()[0].issuer == certificate_of(one).subject
        other.reload()
        assert Tree(other).leaf()[0].issuer == certificate_of(one).subject


@pytest.mark.spec("02/HIER-6")
def test_a_restart_keeps_the_tree(settings: Settings, clock: FakeClock) -> None:
    with Core.open(settings, clock=clock) as first:
        tree = Tree(first)
        child = tree.child(tree.own_root(), "Issuing CA")
        tree.issue_by(child)
    with Core.open(settings, clock=clock) as again:
        tree = Tree(again)
        assert tree.leaf()[0].issuer == certificate_of(child).subject
        assert [ca.can_sign for ca in tree.all()] == [True, True]


@pytest.mark.spec("02/HIER-8", "02/OCSP-6")
def test_every_ca_publishes_for_its_children(tree: Tree, openssl: OpenSSL) -> None:
    root = tree.own_root()
    middle = tree.child(root, "Middle")
    lower = tree.child(middle, "Lower")
    for upper, below in itertools.pairwise((root, middle, lower)):
        crl = tree.crl(upper)
        issuer = certificate_of(upper)
        assert crl.issuer == issuer.subject
        assert crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
        assert tree.status(issuer, certificate_of(below)) == "good"
    assert len({tree.crl(ca).issuer for ca in (root, middle, lower)}) == 3
    _, bundle = tree.public("bundle/iss-local")
    assert bundle.decode() == root.cert_pem


class TestRevoke:
    def test_is_on_the_crl_of_the_parent_and_ocsp_says_so(
        self, tree: Tree, openssl: OpenSSL
    ) -> None:
        root = tree.own_root()
        middle = tree.child(root, "Middle")
        issuing = tree.child(middle, "Issuing CA")
        tree.issue_by(issuing)
        leaf, *chain = tree.leaf()
        result = tree.revoke(middle, reason="cessationOfOperation", note="moved")
        assert (result.state, result.on_crl) == (CAState.REVOKED, True)
        entries = {entry.serial_number: entry for entry in tree.crl(root)}
        entry = entries[certificate_of(middle).serial_number]
        assert extension(entry, x509.CRLReason).reason is x509.ReasonFlags.cessation_of_operation  # type: ignore[arg-type]
        assert tree.status(certificate_of(root), certificate_of(middle)) == "revoked"
        crls = b"".join(tree.crl_pem(ca) for ca in (root, middle, issuing))
        told = openssl(
            "verify", "-crl_check_all", "-CAfile", "root", "-untrusted", "above",
            "-CRLfile", "crls", "leaf", check=False, crls=crls, leaf=to_pem(leaf),
            root=root.cert_pem or "", above="".join(map(to_pem, chain)),
        )  # fmt: skip
        assert "certificate revoked" in told
        below = tree.get(issuing)
        assert (below.revoked_above, below.can_sign, below.state) == (True, False, CAState.ACTIVE)

    def test_nothing_below_signs_any_more(self, tree: Tree) -> None:
        root = tree.own_root()
        middle = tree.child(root, "Middle")
        issuing = tree.child(middle, "Issuing CA")
        tree.issue_by(issuing)
        tree.leaf()
        tree.revoke(middle, reason="superseded")
        with pytest.raises(Exception, match="cannot"):
            tree.leaf("two.example.test")
        with pytest.raises(Exception, match="revoked"):
            tree.child(issuing, "Too late")
        tree.issue_by(root)
        assert tree.leaf("two.example.test")[0].issuer == certificate_of(root).subject

    def test_a_stolen_key_publishes_nothing(self, tree: Tree) -> None:
        root = tree.own_root()
        middle = tree.child(root, "Middle")
        lower = tree.child(middle, "Lower")
        tree.revoke(middle, reason="keyCompromise")
        assert tree.status(certificate_of(middle), certificate_of(lower)) == "unauthorized"
        assert tree.status(certificate_of(root), certificate_of(middle)) == "revoked"

    def test_a_revoked_root_leaves_the_bundle(self, tree: Tree) -> None:
        root = tree.own_root()
        tree.child(root, "Middle")
        result = tree.revoke(root, reason="cACompromise")
        assert result.on_crl is False
        assert tree.public("bundle/iss-local") == (200, b"")

    def test_one_that_waits_for_its_certificate_can_be_given_up(self, tree: Tree) -> None:
        root = tree.root(OfflineCA().pem)
        child = tree.child(root, "Child")
        assert tree.revoke(child).on_crl is False
        assert tree.get(child).state is CAState.REVOKED

    @pytest.mark.parametrize("reason", ["certificateHold", "nonsense", "removeFromCRL"])
    def test_other_reasons_are_refused(self, tree: Tree, reason: str) -> None:
        root = tree.own_root()
        child = tree.child(root, "Child")
        with pytest.raises(Exception, match="refused"):
            tree.revoke(child, reason=reason)
        assert tree.get(child).state is CAState.ACTIVE


def test_an_issuing_ca_is_named_by_chain_bytes_in_the_ledger(tree: Tree) -> None:
    """OCSP by serial number finds the right CA of the tree."""
    root = tree.own_root()
    child = tree.child(root, "Issuing CA")
    tree.issue_by(child)
    leaf = tree.leaf()[0]
    status, body = tree.public(f"ocsp/iss-local/{leaf.serial_number:x}")
    assert status == 200
    assert leaf.issuer == certificate_of(child).subject
    assert body


def test_the_end_of_a_ca_caps_its_leaves(tree: Tree) -> None:
    root = tree.own_root()
    child = tree.child(root, "Short", ttl_days=1)
    tree.issue_by(child)
    leaf = tree.leaf()[0]
    assert leaf.not_valid_after_utc == certificate_of(child).not_valid_after_utc
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < timedelta(days=2)


@pytest.mark.spec("02/HIER-3", "02/CERT-18")
def test_leaves_outside_the_constraints_of_any_level_are_refused(
    tree: Tree, openssl: OpenSSL
) -> None:
    root = tree.own_root()
    middle = tree.child(root, "Middle", name_constraints=[{"excluded": ["secret.example.test"]}])
    issuing = tree.child(middle, "Issuing", name_constraints=[{"permitted": ["example.test"]}])
    constraints = certificate_of(issuing).extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert [name.value for name in constraints.value.excluded_subtrees or ()] == [
        "secret.example.test"
    ]
    tree.issue_by(issuing)
    leaf, *chain = tree.leaf("www.example.test")
    told = openssl(
        "verify", "-CAfile", "root", "-untrusted", "above", "leaf",
        root=root.cert_pem or "", above="".join(map(to_pem, chain)), leaf=to_pem(leaf),
    )  # fmt: skip
    assert told.strip() == "leaf: OK"
    for name in ("www.example.org", "a.secret.example.test"):
        with pytest.raises(Exception, match="may not certify"):
            tree.leaf(name)


def test_the_csr_is_what_the_offline_ca_needs(tree: Tree, openssl: OpenSSL) -> None:
    offline = OfflineCA()
    root = tree.root(offline.pem)
    child = tree.child(
        root, "Child", path_len_constraint=0, name_constraints=[{"permitted": ["example.test"]}]
    )
    assert (child.state, child.cert_pem, child.can_sign) == (CAState.CREATED, None, False)
    told = openssl("req", "-in", "csr", "-noout", "-text", "-verify", csr=child.csr_pem or "")
    for text in ("CA:TRUE, pathlen:0", "DNS:example.test", "Certificate Sign, CRL Sign"):
        assert text in told
    with pytest.raises(Exception, match="takes no new CA"):
        tree.child(child, "Too early")
    with pytest.raises(Exception, match="cannot"):
        tree.issue_by(child)
    active = tree.install(child, offline.sign(child.csr_pem or ""))
    assert (active.state, active.can_sign) == (CAState.ACTIVE, True)
    assert active.chain_pem == offline.pem
    assert tree.crl(active).public_bytes(Encoding.DER)


def test_a_ca_between_that_is_no_part_of_the_tree(tree: Tree, openssl: OpenSSL) -> None:
    """The offline root signed an offline policy CA, which signs our issuing CA."""
    offline = OfflineCA()
    policy = OfflineCA(name="Offline Policy CA")
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(policy.certificate.subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    signed = request.sign(policy.key, SHA256())
    policy_pem = offline.sign(signed.public_bytes(Encoding.PEM).decode())
    policy.certificate = x509.load_pem_x509_certificate(policy_pem.encode())
    root = tree.root(offline.pem)
    child = tree.child(root, "Issuing CA")
    pem = policy.sign(child.csr_pem or "")
    with pytest.raises(Exception, match="no issuer is known"):
        tree.install(child, pem)
    active = tree.install(child, pem, policy_pem)
    assert active.chain_pem == policy_pem + offline.pem
    tree.issue_by(active)
    leaf, *chain = tree.leaf()
    assert [to_pem(one) for one in chain] == [active.cert_pem, policy_pem]
    told = openssl(
        "verify", "-CAfile", "root", "-untrusted", "above", "leaf",
        root=offline.pem, above="".join(map(to_pem, chain)), leaf=to_pem(leaf),
    )  # fmt: skip
    assert told.strip() == "leaf: OK"


@pytest.mark.spec("02/HIER-9")
def test_the_present_key_is_certified_by_an_offline_root(tree: Tree) -> None:
    """A single CA moves below the company's root with the key that it has."""
    before = tree.leaf("one.example.test")[0]
    present = next(
        key for key in tree.core.call("issuers.ca_keys", path={"issuer_id": "iss-local"}).data
    )
    offline = OfflineCA()
    root = tree.root(offline.pem)
    child = tree.child(root, "Moved CA", key_driver_id=present.ca_key_id)
    assert child.ca_key_id == present.ca_key_id
    active = tree.install(child, offline.sign(child.csr_pem or ""))
    tree.issue_by(active)
    leaf, *chain = tree.leaf("two.example.test")
    assert [to_pem(one) for one in chain] == [active.cert_pem]
    assert tree.core.call("audit.list", query={"action": "ca_key.recertified"}).total == 1
    assert leaf.public_key() != before.public_key()


@pytest.mark.spec("02/HIER-6")
def test_a_server_whose_issuing_ca_is_gone_starts_and_can_be_told_of_another(
    settings: Settings, clock: FakeClock
) -> None:
    with Core.open(settings, clock=clock) as first:
        tree = Tree(first)
        root = tree.own_root()
        child = tree.child(root, "Issuing CA")
        tree.issue_by(child)
        tree.revoke(child, reason="superseded")
    with Core.open(settings, clock=clock) as again:
        tree = Tree(again)
        with pytest.raises(CertctlError, match="cannot"):
            tree.leaf()
        tree.issue_by(root)
        assert tree.leaf()[0].issuer == certificate_of(root).subject


@pytest.mark.spec("02/ROT-6")
@pytest.mark.parametrize("level", ["root", "child"])
def test_a_stolen_key_of_a_tree_is_ended_by_its_id(tree: Tree, level: str) -> None:
    root = tree.own_root()
    child = tree.child(root, "Child")
    stolen = root if level == "root" else child
    tree.issue_by(stolen)
    leaf = tree.leaf()[0]
    path = {"issuer_id": "iss-local", "ca_key_id": stolen.ca_key_id}
    found = tree.core.call("ca.mark_compromised", path=path, body={"note": "gone"})
    assert (found.unexpired, found.replaced_by) == (1, None)
    assert tree.get(stolen).can_sign is False
    assert tree.status(certificate_of(stolen), leaf) == "unauthorized"
    with pytest.raises(CertctlError, match="cannot"):
        tree.leaf("two.example.test")


@pytest.mark.spec("02/OPS-4")
def test_the_check_of_a_leaf_tells_that_its_ca_is_revoked(tree: Tree) -> None:
    root = tree.own_root()
    child = tree.child(root, "Child")
    tree.issue_by(child)
    tree.leaf()
    (leaf,) = tree.core.call("certificates.list").data

    def check() -> Any:
        return tree.core.call("crl.check", path={"certificate_id": leaf.id})

    assert check().problem is None
    tree.issue_by(root)
    tree.revoke(child, reason="cessationOfOperation")
    found = check()

    assert (found.is_listed, found.is_verified) == (False, True)
    assert "certificate of the CA CN=Child is revoked (cessationOfOperation)" in found.problem


@pytest.mark.spec("02/HIER-1", "02/HIER-9", "02/CA-4", "02/ROT-2")
def test_the_operators_files_become_the_root(
    database_url: str, clock: FakeClock, tmp_path: Path
) -> None:
    """A CA of files, without keyUsage as the runbook makes it, goes on as root after restarts."""
    key = generate(KeyAlgorithm.ECDSA_P256)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Company CA")])
    now = clock.now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    (tmp_path / "ca.crt").write_text(to_pem(certificate))
    (tmp_path / "ca.key").write_bytes(private_key_pem(key))
    (tmp_path / "ca.key").chmod(0o600)
    settings = Settings.for_directory(
        tmp_path / "data",
        database_url=database_url,
        config_encryption_keys=generate_keyring(),
        ca_cert_path=str(tmp_path / "ca.crt"),
        ca_key_path=str(tmp_path / "ca.key"),
    )
    with Core.open(settings, clock=clock) as first:
        tree = Tree(first)
        before = tree.leaf("one.example.test")
        root = tree.own_root()
        assert root.key_driver_id == f"file:{tmp_path / 'ca.key'}"
        child = tree.child(root, "Issuing CA")
        tree.issue_by(child)
    with Core.open(settings, clock=clock) as again:
        tree = Tree(again)
        assert tree.leaf("two.example.test")[0].issuer == certificate_of(child).subject
        again.reload()
        assert tree.leaf("three.example.test")[0].issuer == certificate_of(child).subject
        assert tree.child(tree.get(root), "Another").state is CAState.ACTIVE
        tree.issue_by(None)
        after = tree.leaf("four.example.test")
        assert [to_pem(one) for one in after[1:]] == [to_pem(one) for one in before[1:]]
    with Core.open(settings, clock=clock) as last:
        assert Tree(last).leaf("five.example.test")[0].issuer == name
