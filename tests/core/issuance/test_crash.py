"""A process dies between any two steps of an issuance: nothing unknown, nothing twice (02 CERT-3)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from certctl_core.app import Core
from certctl_core.kernel.config import Settings
from certctl_core.kernel.secrets import generate_keyring
from certctl_core.lifecycle.authorities._tables import ca_issued_certificates as ledger
from certctl_core.lifecycle.certificates import CertificateQuery, Status
from certctl_core.lifecycle.certificates._tables import certificate_versions as versions
from certctl_core.lifecycle.issuance._tables import issuer_orders as orders
from certctl_core.testing.fakes import FakeClock
from tests.core.certificates.support import assert_counters_hold, get

PROGRAM = Path(__file__).with_name("crashing.py")


@dataclass
class Aftermath:
    """The installation after its process died at each step in turn."""

    core: Core
    csrs: dict[int, str]
    steps: int

    def ids(self) -> dict[int, str]:
        """Step at which the process died → the certificate it was at work on, if it exists."""
        with self.core.units.read() as uow:
            page = self.core.rooms.certificates.page(uow, CertificateQuery(per_page=500))
        return {int(row.common_name.partition(".")[0][1:]): row.id for row in page.data}


@pytest.fixture
def aftermath(flow: str, database_url: str, tmp_path: Path) -> Iterator[Aftermath]:
    given = {"database_url": database_url, "config_encryption_keys": generate_keyring()}
    data_dir, folder = tmp_path / "data", tmp_path / "csrs"
    folder.mkdir()
    settings = Settings.for_directory(data_dir, **given)
    with Core.open(settings, clock=FakeClock()):
        pass  # the CA is made
    document = {**given, "flow": flow, "folder": str(folder), "data_dir": str(data_dir)}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), json.dumps(document)],
        capture_output=True,
        text=True,
        timeout=540,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    csrs = {int(path.stem): path.read_text() for path in folder.glob("*.csr")}
    with Core.open(settings, clock=FakeClock()) as core:
        core.rooms.issuance.recover(everything=True)
        yield Aftermath(core, csrs, int(done.stdout))


@pytest.mark.spec("02/CERT-3")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("database_engine", "flow"),
    [
        ("sqlite", "issue"),
        ("postgres", "issue"),
        ("sqlite", "renew"),
        ("sqlite", "at once"),
        ("postgres", "at once"),
    ],
)
def test_killed_at_every_step(aftermath: Aftermath, flow: str) -> None:
    core = aftermath.core
    is_renewal, is_at_once = flow == "renew", flow == "at once"
    assert aftermath.steps >= (3 if is_at_once else 8)
    ids = aftermath.ids()

    with core.units.read() as uow:
        recorded = set(
            uow.execute(
                sa.select(ledger.c.ca_key_id, ledger.c.serial_number).where(ledger.c.kind == "leaf")
            ).all()
        )
        stored = set(uow.execute(sa.select(versions.c.ca_key_id, versions.c.serial_number)).all())
        states = Counter(uow.execute(sa.select(orders.c.state)).scalars())
        results = list(
            uow.execute(
                sa.select(orders.c.result_version_id).where(orders.c.state == "issued")
            ).scalars()
        )
    assert recorded == stored, "the ledger and the versions tell of different certificates"
    assert set(states) <= {"issued", "failed"}, "an order is not settled"
    assert states["failed"] == 0 if is_at_once else states["failed"] >= 3
    assert len(results) == len(set(results)) == len(stored)
    assert_counters_hold(core)

    done = Counter[str]()
    for step, certificate_id in sorted(ids.items()):
        before = get(core, certificate_id)
        expected = {Status.ACTIVE} if is_renewal else {Status.ACTIVE, Status.FAILED}
        assert before.status in expected, f"killed at step {step}"
        path = {"certificate_id": certificate_id}
        count = core.call("certificates.versions", path=path).total
        finished = count == (2 if is_renewal else 1)
        again = core.call("certificates.renew", path=path, body={"csr_pem": aftermath.csrs[step]})
        after = core.call("certificates.versions", path=path).total
        assert after == (2 if is_renewal else 1), f"killed at step {step}: issued twice"
        assert again.issued.certificate.status is Status.ACTIVE
        done["finished" if finished else "again"] += 1
    assert done["again"] == 0 if is_at_once else done["again"] >= 3
    assert done["finished"] >= 1
    lost = aftermath.csrs.keys() - ids.keys()
    for step in lost:  # nothing of it is left, not even its name
        assert core.issue(aftermath.csrs[step]).certificate.name == f"w{step}.example.test"
    assert len(lost) >= 2 or not is_at_once
    assert_counters_hold(core)
    assert core.call("audit.verify").ok
