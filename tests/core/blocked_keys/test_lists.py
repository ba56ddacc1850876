"""Lists of weak keys: imported, asked at every issuance (02 PROF-3)."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from certctl_core.app import Core
from certctl_core.kernel.errors import CertctlError
from certctl_core.lifecycle.issuance import CSRRejected
from certctl_core.pki.key_marks import MARK_BYTES, KeyMark, key_mark
from certctl_core.pki.keys import KeyAlgorithm, generate, spki_sha256
from certctl_core.pki.x509 import parse_csr
from certctl_core.testing.factories import make_csr
from certctl_core.testing.fakes import FakeClock
from tests.core.blocked_keys import debian_weak as vectors

pytestmark = pytest.mark.spec("02/PROF-3")


def _packed(*digests: bytes) -> str:
    return base64.b64encode(b"".join(digests)).decode()


def _import(core: Core, name: str, mark: KeyMark, *digests: bytes) -> int:
    core.call("blocked_key_lists.create", body={"name": name, "mark": mark})
    path = {"name": name}
    added = core.call("blocked_key_lists.add", path=path, body={"digests": _packed(*digests)})
    return int(added.entries)


def _noise(size: int, count: int = 2000) -> list[bytes]:
    return [secrets.token_bytes(size) for _ in range(count)]


def _openssl_line(csr: str) -> bytes:
    """What the list of the Debian package holds for it, made as its manual page says."""
    key = parse_csr(csr).public_key
    assert isinstance(key, rsa.RSAPublicKey)
    text = f"Modulus={key.public_numbers().n:X}\n".encode()
    return hashlib.sha1(text).digest()[10:]  # noqa: S324


def test_a_debian_weak_key_is_refused(core: Core) -> None:
    core.issue(make_csr("before.example.test"))  # memory knows that there are no lists
    weak = _openssl_line(vectors.CSR)
    assert weak.hex() == "0855e3cc8ccc0fa105f4"
    assert _import(core, "debian-rsa-2048", KeyMark.OPENSSL, *_noise(10), weak) == 2001

    with pytest.raises(CSRRejected) as caught:
        core.issue(vectors.CSR)

    assert "on the list of weak keys 'debian-rsa-2048'" in caught.value.detail
    core.issue(make_csr("rsa.example.test", key=generate(KeyAlgorithm.RSA_2048)))
    core.issue(make_csr("ec.example.test"))


@pytest.mark.parametrize("mark", list(KeyMark))
def test_each_kind_of_list_is_asked_until_it_is_deleted(core: Core, mark: KeyMark) -> None:
    found = key_mark(parse_csr(vectors.CSR).public_key, mark)
    assert found is not None
    _import(core, "weak", mark, *_noise(MARK_BYTES[mark]), found)
    with pytest.raises(CSRRejected):
        core.issue(vectors.CSR)

    core.call("blocked_key_lists.delete", path={"name": "weak"})

    core.issue(vectors.CSR)
    actions = [event.action for event in core.call("audit.list").data]
    assert sorted(action for action in actions if action.startswith("key_list.")) == [
        "key_list.created",
        "key_list.deleted",
        "key_list.extended",
    ]


def test_an_import_can_be_repeated_and_goes_on(core: Core) -> None:
    digests = sorted(_noise(10, 900))
    _import(core, "weak", KeyMark.OPENSSL, *digests[:500])
    path = {"name": "weak"}

    again = core.call("blocked_key_lists.add", path=path, body={"digests": _packed(*digests[:500])})
    assert again.entries == 500
    weak = _openssl_line(vectors.CSR)
    more = [weak, *digests[400:]]
    done = core.call("blocked_key_lists.add", path=path, body={"digests": _packed(*more)})

    assert done.entries == 901
    with pytest.raises(CSRRejected):
        core.issue(vectors.CSR)
    (row,) = core.call("blocked_key_lists.list").data
    assert (row.name, row.entries) == ("weak", 901)


def test_several_lists_of_several_kinds_are_asked(core: Core) -> None:
    key = generate(KeyAlgorithm.ECDSA_P256)
    digest = bytes.fromhex(spki_sha256(key.public_key()))
    _import(core, "first", KeyMark.OPENSSL, *_noise(10))
    _import(core, "second", KeyMark.BADKEYS, *_noise(15))
    core.issue(make_csr("key.example.test", key=key))
    _import(core, "third", KeyMark.SPKI_SHA256, digest)

    with pytest.raises(CSRRejected) as caught:
        core.issue(make_csr("key.example.test", key=key))

    assert "'third'" in caught.value.detail


def test_a_certificate_does_not_renew_with_a_key_that_came_onto_a_list(
    core: Core, clock: FakeClock
) -> None:
    issued = core.issue(vectors.CSR)
    _import(core, "debian", KeyMark.OPENSSL, _openssl_line(vectors.CSR))
    clock.advance(timedelta(days=60))

    path = {"certificate_id": issued.certificate.id}
    with pytest.raises(CSRRejected):
        core.call("certificates.renew", path=path, body={"csr_pem": vectors.CSR})


def test_another_process_hears_of_it(core: Core) -> None:
    core.issue(make_csr("before.example.test"))
    _import(core, "debian", KeyMark.OPENSSL, _openssl_line(vectors.CSR))
    core.rooms.key_lists.drop_cache()  # what the change feed calls there

    with core.units.read() as uow:
        found = core.rooms.key_lists.find(uow, parse_csr(vectors.CSR).public_key)
    assert found == "debian"


def _add(name: str, digests: str) -> Callable[[Core], object]:
    return lambda core: core.call(
        "blocked_key_lists.add", path={"name": name}, body={"digests": digests}
    )


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (_add("none", "AAAA"), "key_list_not_found"),
        (_add("weak", "?" * 8), "bad_digests"),
        (_add("weak", _packed(bytes(11))), "bad_digests"),
        (_add("weak", _packed(bytes(32))), "bad_digests"),
        (
            lambda core: core.call(
                "blocked_key_lists.create", body={"name": "weak", "mark": "badkeys"}
            ),
            "key_list_taken",
        ),
        (
            lambda core: core.call(
                "blocked_key_lists.create", body={"name": "No Name", "mark": "badkeys"}
            ),
            "validation_error",
        ),
        (lambda core: core.call("blocked_key_lists.get", path={"name": "x"}), "key_list_not_found"),
        (
            lambda core: core.call("blocked_key_lists.delete", path={"name": "x"}),
            "key_list_not_found",
        ),
    ],
    ids=["unknown", "no_base64", "odd_size", "other_kind", "taken", "bad_name", "get", "delete"],
)
@pytest.mark.parametrize("database_engine", ["sqlite"])
def test_what_cannot_be_done_is_refused(
    core: Core, act: Callable[[Core], object], code: str
) -> None:
    core.call("blocked_key_lists.create", body={"name": "weak", "mark": KeyMark.OPENSSL})
    with pytest.raises(CertctlError) as caught:
        act(core)
    assert caught.value.code == code
    assert core.call("blocked_key_lists.get", path={"name": "weak"}).entries == 0
