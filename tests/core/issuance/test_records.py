"""What is written down of a certificate: under which name, with which key, by which CA, and for good."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from certctl_core.api.errors import BadFields
from certctl_core.app import Core
from certctl_core.lifecycle.issuance import CSRRejected
from certctl_core.pki.keys import KeyAlgorithm, generate
from certctl_core.testing.factories import make_csr
from tests.core.revocation.support import Web, make, revoke, sql


def _request(*attributes: tuple[x509.ObjectIdentifier, str]) -> str:
    """A request with this subject and without any name beside it."""
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    key: Any = generate(KeyAlgorithm.ECDSA_P256)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.mark.spec("02/CERT-4")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_the_subject_is_the_common_name_and_it_is_a_name_of_the_certificate(core: Core) -> None:
    csr = _request(
        (x509.NameOID.ORGANIZATION_NAME, "Somebody Else Ltd"),
        (x509.NameOID.COMMON_NAME, "web.example.test"),
    )

    issued = core.issue(csr)

    leaf = x509.load_pem_x509_certificate(issued.certificate_pem.encode())
    assert leaf.subject.rfc4514_string() == "CN=web.example.test"
    san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert san.get_values_for_type(x509.DNSName) == ["web.example.test"]
    assert issued.certificate.common_name == "web.example.test"


@pytest.mark.spec("02/PROF-6", "02/DATA-1", "06/ISS-9")
@pytest.mark.parametrize(
    ("algorithm", "stored"),
    [
        (KeyAlgorithm.ECDSA_P256, ("ECDSA", 256)),
        (KeyAlgorithm.ECDSA_P384, ("ECDSA", 384)),
        (KeyAlgorithm.RSA_2048, ("RSA", 2048)),
    ],
)
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_a_version_knows_its_key_and_who_signed_it(
    core: Core, algorithm: KeyAlgorithm, stored: tuple[str, int]
) -> None:
    issued = core.issue(make_csr("web.example.test", key=generate(algorithm)))

    path = {"certificate_id": issued.certificate.id}
    (version,) = core.call("certificates.versions", path=path).data
    assert (version.key_algorithm, version.key_size) == stored
    current = core.rooms.authorities.find_current("iss-local")
    assert current is not None
    assert (version.issuer_id, version.ca_key_id) == ("iss-local", current.ca_key_id)


@pytest.mark.spec("02/DATA-1")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_no_client_writes_a_state(core: Core) -> None:
    made = make(core)
    revoke(core, made.certificate_id)
    path = {"certificate_id": made.certificate_id}

    with pytest.raises(BadFields):
        core.call("certificates.update", path=path, body={"status": "Active"})

    assert core.call("certificates.get", path=path).status.value == "Revoked"


@pytest.mark.spec("02/DATA-1")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_another_issuer_from_now_on_changes_nothing_of_what_was_issued(core: Core) -> None:
    good, revoked = make(core), make(core, "revoked.example.test")
    web = Web(core)
    revoke(core, revoked.certificate_id)
    other = {"id": "iss-other", "name": "Other", "kind": "local", "config": {"signer": "file"}}
    core.call("issuers.create", body=other)

    for one in (good, revoked):
        path = {"certificate_id": one.certificate_id}
        core.call("certificates.update", path=path, body={"issuer_id": "iss-other"})
        assert core.call("certificates.get", path=path).issuer_id == "iss-other"

    assert (web.status(good.serial), web.status(revoked.serial)) == ("good", "revoked")
    assert set(web.listed()) == {revoked.serial.lstrip("0")}
    revoke(core, good.certificate_id)
    assert web.status(good.serial) == "revoked"


@pytest.mark.spec("02/REV-8")
def test_archiving_leaves_ledger_and_revocation(core: Core) -> None:
    revoked, good = make(core), make(core, "good.example.test")
    web = Web(core)
    revoke(core, revoked.certificate_id)
    tables = ("ca_issued_certificates", "certificate_revocations", "certificate_versions")

    def kept() -> list[list[tuple[Any, ...]]]:
        return [sql(core, f"SELECT count(*) FROM {table}") for table in tables]  # noqa: S608

    before = kept()
    for one in (revoked, good):
        core.call("certificates.archive", path={"certificate_id": one.certificate_id})

    assert kept() == before
    assert (web.status(revoked.serial), web.status(good.serial)) == ("revoked", "good")
    assert set(web.listed()) == {revoked.serial.lstrip("0")}


@pytest.mark.spec("02/PROF-1")
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_a_renewal_is_held_to_the_profile_as_the_first_request_is(core: Core) -> None:
    rules = [{"algorithm": "RSA", "min_size": 3072}]
    body = {"name": "RSA only", "allowed_key_algorithms": rules}
    profile = core.call("profiles.create", body=body)
    key = generate(KeyAlgorithm.RSA_3072)
    issued = core.issue(make_csr("web.example.test", key=key), certificate_profile_id=profile.id)
    path = {"certificate_id": issued.certificate.id}

    for wrong in (make_csr("web.example.test"), make_csr("other.example.test", key=key)):
        with pytest.raises(CSRRejected):
            core.call("certificates.renew", path=path, body={"csr_pem": wrong})

    assert len(core.call("certificates.versions", path=path).data) == 1
    right = make_csr("web.example.test", key=generate(KeyAlgorithm.RSA_3072))
    core.call("certificates.renew", path=path, body={"csr_pem": right})
    assert len(core.call("certificates.versions", path=path).data) == 2


@pytest.mark.spec("01/VER-01", "01/VER-03", "07/MOD-01")
def test_numbers_are_in_one_form_and_no_key_is_kept(core: Core) -> None:
    issued = [core.issue(make_csr("web.example.test")) for _ in range(20)]

    for one in issued:
        path = {"certificate_id": one.certificate.id}
        (version,) = core.call("certificates.versions", path=path).data
        leaf = x509.load_pem_x509_certificate(one.certificate_pem.encode())
        assert re.fullmatch(r"([0-9a-f]{2})+", version.serial_number)
        assert int(version.serial_number, 16) == leaf.serial_number
        assert version.fingerprint_sha256 == sha256(leaf.public_bytes(Encoding.DER)).hexdigest()
        assert "PRIVATE KEY" not in version.model_dump_json()
    assert len({one.version.serial_number for one in issued}) == len(issued)
    for table in ("certificate_versions", "issuer_orders"):
        assert "PRIVATE KEY" not in str(sql(core, f"SELECT * FROM {table}"))  # noqa: S608
