"""What an issuer gives back is verified before it counts (06 ISS-7, ISS-8), and what follows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certctl_core.app import Core
from certctl_core.contracts.issuers import Issued, IssueRequest, Pending
from certctl_core.kernel.actors import SYSTEM
from certctl_core.kernel.errors import CertctlError, Unavailable
from certctl_core.lifecycle.certificates import Status
from certctl_core.lifecycle.issuance import IssuedCertificateRejected, JobRef
from certctl_core.pki.keys import KeyAlgorithm, ca_key_id, generate, ski
from certctl_core.pki.x509 import build_root, to_pem
from certctl_core.testing.factories import issue, make_csr
from certctl_core.testing.fakes import FakeClock
from tests.core.certificates.support import assert_counters_hold, get

ONE_ENGINE = pytest.mark.parametrize("database_engine", ["sqlite"])


@dataclass
class Vendor:
    """A foreign CA that can be told to do something else than what it was asked for."""

    now: datetime
    asked: list[IssueRequest] = field(default_factory=list)
    names: list[str] | None = None
    days: float = 30
    key: Any = None
    is_ca: bool = False
    ekus: list[x509.ObjectIdentifier] = field(
        default_factory=lambda: [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    )
    signer: Any = None
    key_id: bytes = b""
    has_chain: bool = True

    def __post_init__(self) -> None:
        self.ca_key = generate(KeyAlgorithm.ECDSA_P256)
        self.root = build_root(
            "Vendor CA", self.ca_key, serial=7,
            not_before=self.now - timedelta(days=1), not_after=self.now + timedelta(days=999),
        )  # fmt: skip

    def submit(self, _issuer_id: str, request: IssueRequest) -> Issued | Pending:
        self.asked.append(request)
        csr = x509.load_der_x509_csr(request.csr_der)
        names = self.names or list(request.dns_names)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]))
            .issuer_name(self.root.subject)
            .public_key(self.key or csr.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - timedelta(hours=1))
            .not_valid_after(self.now + timedelta(days=self.days))
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
            )
            .add_extension(x509.BasicConstraints(ca=self.is_ca, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(self.ekus), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier(self.key_id or ski(self.root.public_key()), None, None),
                critical=False,
            )
        )
        leaf = builder.sign(self.signer or self.ca_key, SHA256())
        chain = (to_pem(self.root),) * 2 if self.has_chain else ()
        return Issued(leaf=to_pem(leaf), chain=chain)


@pytest.fixture
def vendor(core: Core, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Vendor:
    """The vendor stands behind ``iss-local``, as an issuer that is not ours."""
    made = Vendor(clock.now())
    monkeypatch.setattr(core.rooms.issuers, "submit", made.submit)
    monkeypatch.setattr(core.rooms.issuers, "is_local", lambda _issuer_id: False)
    return made


def only(core: Core) -> Any:
    return core.call("certificates.list").data[0]


@pytest.mark.spec("06/ISS-7")
def test_a_good_one_is_stored_without_the_root(core: Core, vendor: Vendor) -> None:
    issued = issue(core, "web.example.test")

    assert issued.certificate.status is Status.ACTIVE
    assert issued.chain_pem == ""
    assert issued.version.ca_key_id == ca_key_id(vendor.root.public_key())
    assert len(issued.version.ca_key_id or "") == 40
    request = vendor.asked[0]
    assert request.tag == f"certctl:{issued.certificate.id}:{issued.version.order_id}"
    assert request.max_ttl == timedelta(days=90)


def test_key_ids_of_other_forms_are_not_taken_for_ours(core: Core, vendor: Vendor) -> None:
    vendor.has_chain = False
    vendor.key_id = b"k" * 20
    assert issue(core, "a.example.test").version.ca_key_id == (b"k" * 20).hex()
    vendor.key_id = b"k" * 32  # a SHA-256, as some CAs have it
    assert issue(core, "b.example.test").version.ca_key_id is None
    assert issue(core, "c.example.test").version.ca_key_id is None


@pytest.mark.spec("06/ISS-8", "01/PROF-04")
@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"names": ["web.example.test", "extra.example.test"]}, "names were added"),
        ({"names": ["other.example.test"]}, "names are missing"),
        ({"days": 200}, "valid for longer"),
        ({"days": -0.01}, "expired already"),
        ({"is_ca": True}, "CA certificate"),
        ({"ekus": [ExtendedKeyUsageOID.SERVER_AUTH]}, "usages are missing"),
        ({"key": generate(KeyAlgorithm.ECDSA_P256).public_key()}, "not the CSR's"),
        ({"signer": generate(KeyAlgorithm.ECDSA_P256)}, "has signed it"),
        ({"key_id": b"k" * 20}, "has signed it"),
    ],
)  # fmt: skip
@ONE_ENGINE
def test_anything_else_is_never_installed(
    core: Core, vendor: Vendor, change: dict[str, Any], word: str
) -> None:
    for name, value in change.items():
        setattr(vendor, name, value)

    with pytest.raises(IssuedCertificateRejected):
        issue(core, "web.example.test")

    view = only(core)
    assert view.status is Status.FAILED
    assert core.call("certificates.versions", path={"certificate_id": view.id}).total == 0
    order = core.call("issuer_orders.list").data[0]
    assert order.state == "failed"
    assert word in order.last_error
    events = core.call("audit.list").data
    assert "issuer.certificate_rejected" in [item.action for item in events]
    assert_counters_hold(core)


@pytest.mark.parametrize(
    "leaf", ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
@ONE_ENGINE
def test_what_is_no_certificate(
    core: Core, vendor: Vendor, monkeypatch: pytest.MonkeyPatch, leaf: str
) -> None:
    monkeypatch.setattr(core.rooms.issuers, "submit", lambda *_: Issued(leaf=leaf))

    with pytest.raises(IssuedCertificateRejected):
        issue(core, "web.example.test")

    assert only(core).status is Status.FAILED
    assert core.call("issuer_orders.list").data[0].state == "failed"


def test_the_same_certificate_twice_is_refused(core: Core, vendor: Vendor) -> None:
    """A vendor that answers a new request from its cache has issued nothing."""
    issued = issue(core, "web.example.test")
    path = {"certificate_id": issued.certificate.id}
    pem = issued.certificate_pem
    core.rooms.issuers.submit = lambda *_: Issued(leaf=pem, chain=(to_pem(vendor.root),))  # type: ignore[method-assign]

    with pytest.raises(CertctlError) as caught:
        core.rooms.issuance.issue(
            certificate_id=issued.certificate.id,
            csr_pem=vendor.asked[0].csr_pem,
            actor=SYSTEM,
            request_id="",
            job=JobRef(job_id="job-x"),
        )

    assert caught.value.code == "version_already_stored"
    assert core.call("certificates.versions", path=path).total == 1
    assert {item.state for item in core.call("issuer_orders.list").data} == {"issued", "failed"}


def test_an_issuer_that_is_down(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    good = issue(core, "web.example.test")

    def down(*_: object) -> Issued:
        raise Unavailable

    monkeypatch.setattr(core.rooms.issuers, "submit", down)
    path = {"certificate_id": good.certificate.id}
    csr = make_csr("web.example.test")
    with pytest.raises(Unavailable):
        core.call("certificates.renew", path=path, body={"csr_pem": csr})

    view = get(core, good.certificate.id)
    assert (view.status, view.current_version_id) == (Status.ACTIVE, good.version.id)
    assert view.last_error
    monkeypatch.undo()
    again = core.call("certificates.renew", path=path, body={"csr_pem": csr})
    assert again.issued.version.id != good.version.id
    assert_counters_hold(core)


def test_one_that_answers_later(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    pending = Pending(vendor_ref="v-1", message="waiting for approval")
    monkeypatch.setattr(core.rooms.issuers, "submit", lambda *_: pending)

    with pytest.raises(CertctlError) as caught:
        issue(core, "web.example.test")

    assert caught.value.code == "issuance_pending"
    order = core.call("issuer_orders.list").data[0]
    assert (order.state, order.message, order.vendor_ref) == (
        "pending", "waiting for approval", {"ref": "v-1"},
    )  # fmt: skip
    assert core.rooms.issuance.recover(everything=True) == 0


@pytest.mark.parametrize("act", ["archive", "revoke"])
def test_what_ends_while_the_issuer_works_stays_ended(
    core: Core, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    good = issue(core, "web.example.test")
    path = {"certificate_id": good.certificate.id}
    submit: Callable[..., Any] = core.rooms.issuers.submit

    def slow(*arguments: Any) -> Any:
        result = submit(*arguments)
        core.call(f"certificates.{act}", path=path)
        return result

    monkeypatch.setattr(core.rooms.issuers, "submit", slow)
    with pytest.raises(CertctlError) as caught:
        core.call("certificates.renew", path=path, body={"csr_pem": make_csr("web.example.test")})

    assert caught.value.code == "wrong_state"
    assert get(core, good.certificate.id).status in {Status.ARCHIVED, Status.REVOKED}
    assert core.call("certificates.versions", path=path).total == 1
    assert [item.state for item in core.call("issuer_orders.list").data].count("failed") == 1
    assert_counters_hold(core)


def test_an_order_that_was_given_up_stores_nothing(
    core: Core, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An issuer slower than the lease: another process has settled the order meanwhile."""
    monkeypatch.setattr(core.rooms.issuance, "_signs_here", lambda _issuer_id: False)
    submit: Callable[..., Any] = core.rooms.issuers.submit

    def slow(*arguments: Any) -> Any:
        result = submit(*arguments)
        clock.advance(timedelta(seconds=60))
        assert core.rooms.issuance.recover() == 0
        clock.advance(timedelta(seconds=61))
        assert core.rooms.issuance.recover() == 1
        return result

    monkeypatch.setattr(core.rooms.issuers, "submit", slow)
    with pytest.raises(CertctlError) as caught:
        issue(core, "web.example.test")
    monkeypatch.undo()

    assert caught.value.code in {"order_settled_elsewhere", "wrong_state"}
    assert only(core).status is Status.FAILED
    with core.units.read() as uow:
        assert core.rooms.authorities.count_unexpired(uow, "iss-local") == 0


@pytest.mark.spec("02/CERT-2")
def test_a_serial_that_is_taken_is_drawn_again(core: Core) -> None:
    serials = iter([0x1111, 0x1111, 0x1111, 0x2222])
    core.rooms.authorities._recent.clear()
    core.rooms.authorities._draw = lambda: next(serials)
    first = issue(core, "a.example.test")
    core.rooms.authorities._recent.clear()

    second = issue(core, "b.example.test")

    assert (first.version.serial_number, second.version.serial_number) == ("1111", "2222")


@pytest.mark.spec("02/CERT-3")
def test_what_our_own_ca_refuses_is_written_down(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed in one go, but a failure leaves what it always leaves: order and certificate."""
    submit: Callable[..., Any] = core.rooms.issuers.submit

    def down(*_: object) -> Issued:
        raise Unavailable

    issue(core, "web.example.test")
    monkeypatch.setattr(core.rooms.issuers, "submit", down)
    with pytest.raises(Unavailable):
        issue(core, "web.example.test")
    monkeypatch.setattr(core.rooms.issuers, "submit", submit)

    failed = next(row for row in core.call("certificates.list").data if row.status == "Failed")
    assert failed.name.startswith("web.example.test-")
    assert failed.last_error
    orders = core.call("issuer_orders.list").data
    assert sorted(item.state for item in orders) == ["failed", "issued"]
    path = {"certificate_id": failed.id}
    again = core.call(
        "certificates.renew", path=path, body={"csr_pem": make_csr(failed.common_name)}
    )
    assert again.issued.certificate.status is Status.ACTIVE
    assert_counters_hold(core)


@pytest.mark.key_files
@pytest.mark.spec("02/CERT-3")
def test_a_new_certificate_is_one_transaction(core: Core) -> None:
    """Certificate, order, version, ledger and audit commit together or not at all.

    With a token the order is committed first: nothing is asked inside a transaction.
    """
    issue(core, "warm.example.test")
    commits: list[object] = []
    sa.event.listen(core.database.writer, "commit", commits.append)

    issued = issue(core, "web.example.test")

    assert len(commits) == 1
    order = core.call("issuer_orders.get", path={"order_id": issued.version.order_id or ""})
    assert (order.state, order.certificate_id) == ("issued", issued.certificate.id)
    seen = {event.action for event in core.call("audit.list").data
            if event.resource_id == issued.certificate.id}  # fmt: skip
    assert seen == {"certificate.created", "certificate.issued"}


@pytest.mark.spec("06/ORD-6")
def test_the_same_request_at_once_is_one_order(core: Core) -> None:
    issued = issue(core, "web.example.test")
    csr = make_csr("web.example.test")
    path = {"certificate_id": issued.certificate.id}
    outcomes: list[str] = []

    def attempt() -> None:
        try:
            view = core.call("certificates.renew", path=path, body={"csr_pem": csr})
            outcomes.append(view.issued.version.id)
        except CertctlError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=attempt) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    versions = {item for item in outcomes if item.startswith("cv-")}
    assert len(versions) == 1
    assert set(outcomes) - versions <= {"wrong_state", "order_in_progress"}
    assert core.call("certificates.versions", path=path).total == 2
    assert_counters_hold(core)
