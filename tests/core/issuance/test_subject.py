"""What of a CSR's subject is certified besides its common name (02 CERT-4)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509

from certctl_core.app import Core
from certctl_core.kernel.errors import CertctlError
from certctl_core.lifecycle.authorities._tables import ca_issued_certificates
from certctl_core.lifecycle.issuance import CSRRejected
from certctl_core.testing.factories import make_csr

pytestmark = pytest.mark.spec("02/CERT-4")
ONE_ENGINE = pytest.mark.parametrize("database_engine", ["sqlite"])

O, OU, C, L, SERIAL = "2.5.4.10", "2.5.4.11", "2.5.4.6", "2.5.4.7", "2.5.4.5"  # noqa: E741
EMAIL = "1.2.840.113549.1.9.1"
ASKED = ((C, "DE"), (L, "Zürich"), (O, "Example, Inc."), (OU, "Web"), (SERIAL, "A-1"))


def under(core: Core, *allowed: str) -> str:
    made = core.call(
        "profiles.create", body={"name": "Own", "allowed_subject_attributes": list(allowed)}
    )
    assert core.call("profiles.get", path={"profile_id": made.id}) == made
    return str(made.id)


def decision(core: Core, order_id: str | None) -> tuple[dict[str, Any], str]:
    order = core.call("issuer_orders.get", path={"order_id": order_id or ""})
    details = [
        item["detail"] for item in order.decision if item["rule"] == "profile.subject_attributes"
    ]
    return order.request, "".join(details)


def test_what_the_profile_allows_is_issued(core: Core, tool: Callable[[str], str]) -> None:
    profile_id = under(core, "O", "countryName", "l", "serialnumber")
    csr = make_csr("web.example.test", attributes=ASKED)

    issued = core.issue(csr, certificate_profile_id=profile_id)

    command = (tool("openssl"), "x509", "-noout", "-subject", "-nameopt", "oneline,utf8,-esc_msb")
    shown = subprocess.run(
        command, input=issued.certificate_pem.encode(), capture_output=True, check=True
    ).stdout.decode()
    expected = (
        'subject=C = DE, L = Zürich, O = "Example, Inc.", serialNumber = A-1, CN = web.example.test'
    )
    assert shown.strip() == expected
    request, said = decision(core, issued.version.order_id)
    whole = "CN=web.example.test,2.5.4.5=A-1,O=Example\\, Inc.,L=Zürich,C=DE"
    assert request["subject"] == whole
    assert said == "left out of the subject: OU"
    with core.units.read() as uow:
        assert uow.scalar(ca_issued_certificates.select().with_only_columns(
            ca_issued_certificates.c.subject
        )) == whole  # fmt: skip


def test_without_the_list_all_is_left_out_and_the_order_says_so(core: Core) -> None:
    csr = make_csr("web.example.test", attributes=((EMAIL, "a@example.test"), *ASKED))

    issued = core.issue(csr)

    leaf = x509.load_pem_x509_certificate(issued.certificate_pem.encode())
    assert leaf.subject.rfc4514_string() == "CN=web.example.test"
    request, said = decision(core, issued.version.order_id)
    assert "subject" not in request
    assert said == "left out of the subject: emailAddress, C, L, O, OU, serialNumber"
    plain = core.issue(make_csr("plain.example.test"))
    assert decision(core, plain.version.order_id)[1] == ""


def test_a_renewal_keeps_them(core: Core) -> None:
    profile_id = under(core, "O")
    csr = make_csr("web.example.test", attributes=((O, "Example"),))
    issued = core.issue(csr, certificate_profile_id=profile_id)

    path = {"certificate_id": issued.certificate.id}
    csr = make_csr("web.example.test", attributes=((O, "Example"),))
    renewed = core.call("certificates.renew", path=path, body={"csr_pem": csr, "force": True})

    leaf = x509.load_pem_x509_certificate(renewed.issued.certificate_pem.encode())
    assert leaf.subject.rfc4514_string() == "CN=web.example.test,O=Example"


@ONE_ENGINE
@pytest.mark.spec("02/CERT-7")
@pytest.mark.parametrize(
    ("oid", "value", "word"),
    [
        pytest.param(O, "Example\u202eInc", "U+202E", id="bidi_control"),
        pytest.param(O, "Exa\u200bmple", "U+200B", id="zero_width"),
        pytest.param(OU, "line\nbreak", "U+000A", id="control"),
        pytest.param(O, "Ex\u0430mple", "mixes Latin", id="look_alike"),
        pytest.param(O, "x" * 65, "at most 64", id="ub_organization_name"),
        pytest.param(OU, "x" * 65, "at most 64", id="ub_organizational_unit_name"),
        pytest.param(L, "x" * 129, "at most 128", id="ub_locality_name"),
        pytest.param(SERIAL, "x" * 65, "at most 64", id="ub_serial_number"),
        pytest.param(O, " Example", "outer white space", id="outer_space"),
        pytest.param(C, "D1", "two letters", id="country"),
    ],
)
def test_unsafe_values_are_refused(core: Core, oid: str, value: str, word: str) -> None:
    profile_id = under(core, "O", "OU", "C", "L", "serialNumber")
    csr = make_csr("web.example.test", attributes=((oid, value),))

    with pytest.raises(CSRRejected) as caught:
        core.issue(csr, certificate_profile_id=profile_id)

    assert word in caught.value.detail
    assert core.call("certificates.list").total == 0
    core.issue(csr)  # where it is left out, it does not matter


@ONE_ENGINE
@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("favouriteColour", "known are"),
        ("2.5.4.10", "known are"),
        ("CN", "has its common name"),
        ("emailAddress", "subject alternative names"),
    ],
)
def test_attributes_that_a_profile_cannot_allow(core: Core, name: str, word: str) -> None:
    with pytest.raises(CertctlError) as caught:
        under(core, "O", name)

    (field,) = caught.value.fields
    assert field.field == "allowed_subject_attributes"
    assert word in field.message


@ONE_ENGINE
class TestPreview:
    def preview(self, core: Core, *allowed: str, **members: Any) -> Any:
        profile = {"name": "p", "allowed_subject_attributes": list(allowed)}
        return core.call("profiles.preview", body={"profile": profile, **members})

    def test_the_sample_carries_what_is_allowed(self, core: Core) -> None:
        found = self.preview(core, "O", "C", subject="serialNumber=1,OU=Web,O=Example,C=DE")

        said = " ".join(item.text for item in found.sentences)
        assert found.certificate.subject == "CN=www.example.com,O=Example,C=DE"
        assert "where the CSR has them, O and C" in said
        assert "Left out of the subject: OU, serialNumber." in said
        assert "common name alone" in " ".join(t.text for t in self.preview(core).sentences)

    def test_what_would_be_refused_says_why(self, core: Core) -> None:
        found = self.preview(core, "O", subject=f"O={'x' * 65}")

        assert not found.would_issue
        assert "O has at most 64 characters" in " ".join(found.refusals)

    def test_a_subject_that_is_none(self, core: Core) -> None:
        with pytest.raises(CertctlError) as caught:
            self.preview(core, subject="O")
        assert [field.field for field in caught.value.fields] == ["subject"]
