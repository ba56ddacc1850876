"""Keys that are never certified again (02 PROF-3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certctl_core.app import Core
from certctl_core.kernel.errors import CertctlError
from certctl_core.lifecycle.issuance import CSRRejected
from certctl_core.pki.keys import KeyAlgorithm, SigningKey, generate, spki_sha256
from certctl_core.testing.factories import make_csr
from certctl_core.testing.fakes import FakeClock

pytestmark = pytest.mark.spec("02/PROF-3")


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return generate(KeyAlgorithm.ECDSA_P256)


def refused(core: Core, key: SigningKey) -> str:
    with pytest.raises(CSRRejected) as caught:
        core.issue(make_csr("other.example.test", key=key))
    return caught.value.detail


def test_the_key_of_a_compromised_certificate_is_never_certified_again(
    core: Core, key: SigningKey
) -> None:
    issued = core.issue(make_csr("web.example.test", key=key))
    path = {"certificate_id": issued.certificate.id}
    core.call("certificates.revoke", path=path, body={"reason": "keyCompromise"})

    assert "the key is blocked" in refused(core, key)
    (row,) = core.call("blocked_keys.list").data
    assert (row.spki_sha256, row.source) == (spki_sha256(key.public_key()), "revocation")
    assert row.certificate_id == issued.certificate.id
    core.issue(make_csr("other.example.test"))
    actions = [event.action for event in core.call("audit.list").data]
    assert actions.count("key.blocked") == 1


def test_another_reason_leaves_the_key_free(core: Core, key: SigningKey) -> None:
    issued = core.issue(make_csr("web.example.test", key=key))
    path = {"certificate_id": issued.certificate.id}
    core.call("certificates.revoke", path=path, body={"reason": "superseded"})

    core.issue(make_csr("other.example.test", key=key))
    assert core.call("blocked_keys.list").total == 0


@pytest.mark.parametrize("form", ["spki_sha256", "certificate_pem", "csr_pem", "public_key_pem"])
def test_an_operator_blocks_and_unblocks(core: Core, key: SigningKey, form: str) -> None:
    core.issue(make_csr("first.example.test", key=key))  # memory knows the empty list
    body = {form: _form(core, key, form), "note": "found in a public repository"}
    made = core.call("blocked_keys.create", body=body)

    assert made.spki_sha256 == spki_sha256(key.public_key())
    assert "the key is blocked" in refused(core, key)
    with pytest.raises(CertctlError) as caught:
        core.call("blocked_keys.create", body=body)
    assert caught.value.code == "key_blocked_already"
    path = {"digest": made.spki_sha256}
    assert core.call("blocked_keys.get", path=path).note == body["note"]

    core.call("blocked_keys.delete", path=path)
    core.issue(make_csr("other.example.test", key=key))
    with pytest.raises(CertctlError) as caught:
        core.call("blocked_keys.delete", path=path)
    assert caught.value.code == "blocked_key_not_found"


def _form(core: Core, key: SigningKey, form: str) -> str:
    public = key.public_key()
    if form == "spki_sha256":
        return spki_sha256(public)
    if form == "certificate_pem":
        return core.issue(make_csr("web.example.test", key=key)).certificate_pem
    if form == "csr_pem":
        return make_csr("web.example.test", key=key)
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"spki_sha256": "0" * 64, "csr_pem": "x"},
        {"certificate_pem": "no PEM"},
        {"csr_pem": "-----BEGIN CERTIFICATE REQUEST-----\nAAAA"},
        {"public_key_pem": "ä"},
        {"spki_sha256": "0" * 63},
    ],
)
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_what_names_no_key_is_refused(core: Core, body: dict[str, Any]) -> None:
    with pytest.raises(CertctlError) as caught:
        core.call("blocked_keys.create", body=body)
    assert caught.value.code in {"no_key_given", "validation_error"}
    assert core.call("blocked_keys.list").total == 0


@pytest.fixture
def replica(core: Core, clock: FakeClock) -> Iterator[Core]:
    """A second process on the same database."""
    with Core.open(core.settings, clock=clock, migrate=False) as other:
        yield other


def test_another_process_hears_of_it(core: Core, replica: Core, key: SigningKey) -> None:
    digest = spki_sha256(key.public_key())

    def blocked_there() -> bool:
        with replica.units.read() as uow:
            return replica.rooms.blocked_keys.is_blocked(uow, digest)

    def heard() -> None:
        replica.rooms.blocked_keys.drop_cache()  # what the change feed calls there

    assert not blocked_there()
    heard()  # of something else: nothing has moved
    assert not blocked_there()

    core.call("blocked_keys.create", body={"spki_sha256": digest})
    heard()
    assert blocked_there()
    assert "the key is blocked" in refused(replica, key)

    core.call("blocked_keys.delete", path={"digest": digest})
    heard()
    assert not blocked_there()


@pytest.mark.spec("01/API-10")
@pytest.mark.parametrize("name", ["blocked_keys", "blocked_key_lists"])
def test_the_list_goes_on_behind_its_first_page(core: Core, name: str) -> None:
    for number in range(5):
        body = {"name": f"list-{number}", "mark": "badkeys"}
        if name == "blocked_keys":
            body = {"spki_sha256": f"{number:064x}"}
        core.call(f"{name}.create", body=body)
    query, seen = {"page_size": "2"}, []
    while True:
        page = core.call(f"{name}.list", query=query)
        seen += [row.spki_sha256 if name == "blocked_keys" else row.name for row in page.data]
        if page.next_cursor is None:
            break
        query["cursor"] = page.next_cursor
    assert len(set(seen)) == len(seen) == 5
