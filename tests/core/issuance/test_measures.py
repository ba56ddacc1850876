"""Issuing is counted and timed (08 MET, 01 MET-03, MET-04)."""

from __future__ import annotations

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from certctl_core.app import Core
from certctl_core.kernel.errors import CertctlError, Unavailable
from certctl_core.kernel.observability import REGISTRY
from certctl_core.testing.factories import issue
from tests.core.issuance.test_results import Vendor, vendor

__all__ = ["vendor"]
pytestmark = pytest.mark.parametrize("database_engine", ["sqlite"])


def counted(name: str, *labels: str) -> float:
    found = REGISTRY.get(name)
    assert found is not None
    return sum(one.value for one in found.series() if tuple(dict(one.labels).values()) == labels)


def timed() -> float:
    found = REGISTRY.get("certctl_issuance_duration_seconds")
    assert found is not None
    return sum(one.value for one in found.series() if one.name.endswith("_bucket"))


@pytest.mark.spec("01/MET-03", "01/MET-04", "08/MET-1")
def test_what_is_issued_is_counted_and_timed(core: Core) -> None:
    total, times = counted("certctl_issuance_total", "local", "success"), timed()

    issue(core, "web.example.test")

    assert counted("certctl_issuance_total", "local", "success") == total + 1
    assert timed() == times + 1


@pytest.mark.spec("01/MET-03", "06/ISS-4", "08/MET-1")
@pytest.mark.parametrize("fault", ["rejected", "unavailable"])
def test_what_fails_is_counted_once_with_its_class(
    core: Core, vendor: Vendor, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def submit(*_: object) -> object:
        raise Unavailable

    error_class = "validation"
    vendor.ekus = [ExtendedKeyUsageOID.SERVER_AUTH]
    if fault == "unavailable":
        error_class = "other"
        monkeypatch.setattr(core.rooms.issuers, "submit", submit)
    total = counted("certctl_issuance_total", "local", "failure")
    failures = counted("certctl_issuance_failures_total", "local", error_class)

    with pytest.raises(CertctlError):
        issue(core, "web.example.test")

    assert counted("certctl_issuance_total", "local", "failure") == total + 1
    assert counted("certctl_issuance_failures_total", "local", error_class) == failures + 1
