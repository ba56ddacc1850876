"""The choke point: what is issued, what is refused, and what a refusal leaves behind (02 §6, §7)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from certctl_core.app import Core
from certctl_core.kernel.errors import CertctlError
from certctl_core.lifecycle.certificates import CertificateQuery, Status
from certctl_core.lifecycle.issuance import ApprovalRequired, CSRRejected
from certctl_core.pki.keys import KeyAlgorithm, generate
from certctl_core.testing.factories import issue, make_csr
from certctl_core.testing.fakes import FakeClock


def _all(core: Core) -> int:
    total: int = core.call("certificates.list").total
    return total


@pytest.mark.spec("02/CERT-3")
def test_an_issued_certificate_is_active_stored_and_in_the_ledger(core: Core) -> None:
    issued = issue(core, "web.example.test", "alt.example.test")

    assert issued.certificate.status is Status.ACTIVE
    leaf = x509.load_pem_x509_certificate(issued.certificate_pem.encode())
    san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert san.get_values_for_type(x509.DNSName) == ["alt.example.test", "web.example.test"]
    with core.units.read() as uow:
        assert core.rooms.authorities.is_issued(
            uow, "iss-local", issued.version.ca_key_id or "", issued.version.serial_number
        )
    page = core.call("certificates.versions", path={"certificate_id": issued.certificate.id})
    assert [item.serial_number for item in page.data] == [issued.version.serial_number]


def test_the_decision_is_recorded_with_the_order(core: Core) -> None:
    issued = issue(core, "web.example.test")

    order = core.call("issuer_orders.get", path={"order_id": issued.version.order_id or ""})

    assert order.state == "issued"
    assert order.result_version_id == issued.version.id
    assert {item["rule"] for item in order.decision} >= {"csr.names", "profile.key_algorithm"}


@pytest.mark.parametrize(
    ("names", "members", "word"),
    [
        pytest.param(
            ["web.example.test", "evil.example.org"],
            {"common_name": "web.example.test", "sans": ["www.example.test"]},
            "evil.example.org",
            id="name_not_authorised",
        ),
        pytest.param(
            ["web.example.test"], {"sans": [], "common_name": "other.test"}, "web", id="other_cn"
        ),
    ],
)
@pytest.mark.spec("02/CERT-5")
def test_a_name_that_was_not_asked_for_is_refused(
    core: Core, names: list[str], members: dict[str, Any], word: str
) -> None:
    with pytest.raises(CSRRejected) as caught:
        core.issue(make_csr(*names), **members)

    assert word in caught.value.detail
    assert _all(core) == 0


@pytest.mark.spec("02/PROF-1", "02/PROF-3")
def test_a_key_outside_the_profile_is_refused(core: Core) -> None:
    profile = core.call(
        "profiles.create",
        body={
            "name": "RSA only",
            "allowed_key_algorithms": [{"algorithm": "RSA", "min_size": 3072}],
        },
    )

    with pytest.raises(CSRRejected, match="ECDSA"):
        issue(core, "web.example.test", certificate_profile_id=profile.id)
    key = generate(KeyAlgorithm.RSA_3072)
    issued = core.issue(make_csr("web.example.test", key=key), certificate_profile_id=profile.id)

    assert issued.version.key_size == 3072
    assert _all(core) == 1


@pytest.mark.spec("02/PROF-2")
def test_a_disabled_profile_issues_nothing(core: Core) -> None:
    profile = core.call("profiles.create", body={"name": "Off", "enabled": False})

    with pytest.raises(CSRRejected, match="disabled"):
        issue(core, "web.example.test", certificate_profile_id=profile.id)


@pytest.mark.spec("02/APPR-1")
def test_a_profile_that_needs_approval_fails_closed(core: Core) -> None:
    profile = core.call("profiles.create", body={"name": "Two", "requires_approval": True})

    with pytest.raises(ApprovalRequired):
        issue(core, "web.example.test", certificate_profile_id=profile.id)

    assert _all(core) == 0


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"])
def test_garbage_is_refused_with_a_reason(core: Core, text: str) -> None:
    with pytest.raises(CertctlError) as caught:
        core.issue(text or "nothing", common_name="web.example.test")

    assert caught.value.code == "csr_rejected"
    assert ".." not in caught.value.detail
    assert _all(core) == 0


def test_the_same_csr_again_is_the_same_certificate(core: Core, clock: FakeClock) -> None:
    issued = issue(core, "web.example.test")
    clock.advance(timedelta(days=1))
    csr = make_csr("web.example.test")
    path = {"certificate_id": issued.certificate.id}

    first = core.call("certificates.renew", path=path, body={"csr_pem": csr})
    second = core.call("certificates.renew", path=path, body={"csr_pem": csr})

    assert first.issued.version.id == second.issued.version.id
    page = core.call("certificates.versions", path=path)
    assert page.total == 2
    assert [item.is_current for item in page.data] == [True, False]


def test_an_interrupted_order_is_settled_and_can_be_repeated(core: Core) -> None:
    csr = make_csr("web.example.test")
    core.rooms.issuance._signs_here = lambda *_args: False  # type: ignore[method-assign]
    create = core.rooms.issuance._carry_out
    core.rooms.issuance._carry_out = lambda *_args: (_ for _ in ()).throw(SystemExit)  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        core.issue(csr)
    core.rooms.issuance._carry_out = create  # type: ignore[method-assign]

    assert core.rooms.issuance.recover(everything=True) == 1
    with core.units.read() as uow:
        found = core.rooms.certificates.page(uow, CertificateQuery()).data[0]
    assert found.status is Status.FAILED
    again = core.call(
        "certificates.renew", path={"certificate_id": found.id}, body={"csr_pem": csr}
    )
    assert again.issued.certificate.status is Status.ACTIVE
