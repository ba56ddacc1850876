"""Keys of a tree in a PKCS#11 token (02 SIGN-8, acceptance 11: a child CA in the token)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certctl_core.app import Core
from certctl_core.kernel.config import Settings
from certctl_core.kernel.secrets import generate_keyring
from certctl_core.pki.x509 import to_pem
from certctl_core.testing.fakes import FakeClock
from tests.core.hierarchy.support import OfflineCA, OpenSSL, Tree, certificate_of

if TYPE_CHECKING:
    from tests.softhsm import SoftHSM

pytestmark = [
    pytest.mark.spec("02/SIGN-8", "02/HIER-8"),
    pytest.mark.parametrize("database_engine", ["sqlite"]),
]


@pytest.fixture
def core(database_url: str, clock: FakeClock, tmp_path: Path, softhsm: SoftHSM) -> Iterator[Core]:
    settings = Settings.for_directory(
        tmp_path / "data",
        database_url=database_url,
        config_encryption_keys=generate_keyring(),
        pki_base_url="http://pki.example.com",
        signer_ca="pkcs11",
        signer_ocsp="pkcs11",
        pkcs11_module=softhsm.module,
        pkcs11_token=softhsm.label,
        pkcs11_pin=softhsm.pin,
    )
    with Core.open(settings, clock=clock) as opened:
        yield opened


def test_every_key_of_the_tree_stays_in_the_token(tree: Tree, openssl: OpenSSL, core: Core) -> None:
    offline = OfflineCA()
    root = tree.root(offline.pem)
    policy = tree.child(root, "Policy CA")
    policy = tree.install(policy, offline.sign(policy.csr_pem or ""))
    issuing = tree.child(policy, "Issuing CA", algorithm="ECDSA-P384")
    for ca in (policy, issuing):
        assert (ca.key_driver_id or "").startswith("pkcs11:")
    tree.issue_by(issuing)
    leaf, *chain = tree.leaf()
    crls = offline.crl() + tree.crl_pem(policy) + tree.crl_pem(issuing)
    told = openssl(
        "verify", "-x509_strict", "-crl_check_all", "-CAfile", "root", "-untrusted", "above",
        "-CRLfile", "crls", "leaf", root=offline.pem, crls=crls,
        above="".join(map(to_pem, chain)), leaf=to_pem(leaf),
    )  # fmt: skip
    assert told.strip() == "leaf: OK"
    assert tree.status(certificate_of(issuing), leaf) == "good"
    assert tree.status(certificate_of(policy), certificate_of(issuing)) == "good"
    ca_files = [path for path in core.settings.data_dir.rglob("*") if path.is_file()]
    assert not [path for path in ca_files if b"PRIVATE KEY" in path.read_bytes()]
