"""Lists that stand on somebody else's page end nowhere before their end (01 UI-01)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa

from certctl_core.app import Core
from certctl_core.fleet.deployments._tables import deployments
from certctl_core.testing.factories import issue, make_csr
from certctl_core.testing.fakes import FakeClock
from tests.core.agents.fleet import Fleet
from tests.frontends.flask.browsing import Reader, card, words

pytestmark = [
    pytest.mark.spec("01/UI-01"),
    pytest.mark.parametrize("database_engine", ["sqlite"]),
]
MANY = 60


@pytest.fixture
def core_settings() -> dict[str, Any]:
    return {"rate_limit_enabled": False}


def walked(reader: Reader, path: str) -> Iterator[str]:
    """The pages of a list, from the first by its links to the last."""
    while path:
        html = reader.open(path)
        yield html
        found = re.search(r'rel="next" href="([^"]*)"', html)
        path = unescape(found[1]) if found else ""


def test_every_version_of_a_certificate(core: Core) -> None:
    made = issue(core, "web.example.test")
    path = {"certificate_id": made.certificate.id}
    serials = {made.version.serial_number}
    for _ in range(MANY):
        body = {"csr_pem": make_csr("web.example.test")}
        renewed = core.call("certificates.renew", path=path, body=body)
        serials.add(renewed.issued.version.serial_number)

    pages = list(walked(Reader(core), f"/ui/certificates/{made.certificate.id}?tab=versions"))

    shown = [serial for html in pages for serial in serials if serial in html]
    assert sorted(shown) == sorted(serials)
    assert len(pages) == 2
    for html in pages:
        assert f"Versions {MANY + 1} " in words(html)
        assert f"{MANY + 1} versions" in words(html)


def test_every_deployment_of_a_certificate_and_to_a_target(core: Core, clock: FakeClock) -> None:
    fleet = Fleet(core=core, clock=clock)
    agent = fleet.agent()
    target_id = fleet.target(agent)
    made = issue(core, "web.example.test")
    with core.begin() as uow:
        empty: dict[str, Any] = {}
        uow.conn.execute(
            sa.insert(deployments),
            [
                {
                    "id": f"dep-{number}", "job_id": f"job-{number}", "attempt": 1,
                    "certificate_id": made.certificate.id, "version_id": made.version.id,
                    "target_id": target_id, "agent_id": agent.id, "outcome": "deployed",
                    "address": "", "fingerprint_sha256": f"{number:064x}", "stages": [],
                    "verification": {"status": "success"}, "rollback": empty, "details": empty,
                    "duration_ms": 1, "finished_at": uow.now,
                }
                for number in range(MANY)
            ],
        )  # fmt: skip
    reader = Reader(core)

    on_certificate = list(walked(reader, f"/ui/certificates/{made.certificate.id}?tab=deployments"))
    fingerprints = {f"{number:064x}" for number in range(MANY)}
    shown = [mark for html in on_certificate for mark in fingerprints if mark in html]
    assert sorted(shown) == sorted(fingerprints)

    on_target = list(walked(reader, f"/ui/targets/{target_id}"))
    assert sum(card(html, "Deployments").count("Success") for html in on_target) == MANY


def test_every_target_of_an_agent_and_of_a_certificate(core: Core, clock: FakeClock) -> None:
    fleet = Fleet(core=core, clock=clock)
    agent, certificate_id = fleet.agent(), fleet.certificate().id
    names = [f"site-{number:03}" for number in range(210)]
    for name in names:
        fleet.link(certificate_id, fleet.target(agent, name=name))
    reader = Reader(core)

    for path in (f"/ui/agents/{agent.id}", f"/ui/certificates/{certificate_id}"):
        shown = words(reader.open(path))
        assert [name for name in names if name not in shown] == []
