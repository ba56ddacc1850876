"""What a profile means, in sentences and as a sample (02 §7; issue: live explanation)."""

from __future__ import annotations

from typing import Any

import pytest

from certctl_core.app import Core
from certctl_core.kernel.errors import CertctlError
from certctl_core.lifecycle.authorities._tables import ca_issued_certificates
from certctl_core.testing.factories import make_csr

pytestmark = pytest.mark.parametrize("database_engine", ["sqlite"])


def preview(core: Core, **members: Any) -> Any:
    profile = {"name": "p", **members.pop("profile", {})}
    return core.call("profiles.preview", body={"profile": profile, **members})


def texts(answer: Any, level: str) -> str:
    return "\n".join(item.text for item in answer.sentences if item.level == level)


def test_the_sample_is_what_is_issued(core: Core) -> None:
    profile = {"name": "web", "allowed_ekus": ["serverAuth", "clientAuth"]}
    answer = preview(core, profile=profile, names=["www.example.test", "192.0.2.1"])
    made = core.call("profiles.create", body=profile)
    issued = core.issue(make_csr("www.example.test", "192.0.2.1"), certificate_profile_id=made.id)
    path = {"certificate_id": issued.certificate.id}
    real = core.call("certificates.details", path=path).details

    sample = answer.certificate
    assert answer.would_issue
    assert [item.name for item in sample.extensions] == [e["name"] for e in real["extensions"]]
    differing = {"subjectKeyIdentifier"}
    shown = {item.name: item.text for item in sample.extensions if item.name not in differing}
    assert shown == {e["name"]: e["text"] for e in real["extensions"] if e["name"] not in differing}
    assert (sample.not_before, sample.not_after) == (
        issued.version.not_before,
        issued.version.not_after,
    )
    assert answer.findings == []


def test_nothing_is_stored_or_signed_by_the_ca(core: Core) -> None:
    with core.units.read() as uow:
        before = uow.execute(ca_issued_certificates.select()).all()
    preview(core)
    with core.units.read() as uow:
        assert uow.execute(ca_issued_certificates.select()).all() == before
    assert core.call("certificates.list").total == core.call("issuer_orders.list").total == 0


@pytest.mark.parametrize(
    ("profile", "refusal"),
    [
        ({"enabled": False}, "disabled"),
        ({"requires_approval": True}, "second person"),
        ({"must_staple": True, "include_aia": False}, "Must-staple needs the OCSP pointer"),
        ({"required_san_patterns": [r".*\.corp\.example"]}, "outside the required patterns"),
        ({"spiffe_uri_pattern": "spiffe://example.test/*"}, "SPIFFE"),
    ],
)
def test_what_would_not_be_issued_says_why(
    core: Core, profile: dict[str, Any], refusal: str
) -> None:
    answer = preview(core, profile=profile)

    assert not answer.would_issue
    assert any(refusal in text for text in answer.refusals), answer.refusals


def test_risks_are_named(core: Core) -> None:
    risky = {
        "reuse_key": True,
        "include_aia": False,
        "include_cdp": False,
        "default_validity_seconds": 400 * 86400,
        "allowed_key_algorithms": [{"algorithm": "ML-DSA", "min_size": 65}],
    }
    told = texts(preview(core, profile=risky), "warning")

    for part in ("over 398 days", "keep the key", "never hear", "ML-DSA"):
        assert part in told
    assert preview(core, profile=risky).certificate.key == "ML-DSA-65"


def test_short_lived_ones_carry_no_pointers(core: Core) -> None:
    short = {"allow_short_lived": True, "max_ttl_seconds": 600}
    answer = preview(core, profile=short)

    names = {item.name for item in answer.certificate.extensions}
    assert "noRevAvail" in names
    assert "cRLDistributionPoints" not in names
    assert "valid for 10 minutes" in texts(answer, "info")


def test_bad_samples_are_refused(core: Core) -> None:
    with pytest.raises(CertctlError) as caught:
        preview(core, names=["bad name"])
    assert caught.value.code == "bad_name"
    with pytest.raises(CertctlError):
        preview(core, issuer_id="iss-none")
