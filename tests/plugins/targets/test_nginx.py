"""The nginx target with a real nginx as the judge (spec 07 §9, §20 and acceptance 7, 12, 14, 15)."""

from __future__ import annotations

import json
import os
import pwd
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from certctl_targets.nginx import Nginx

from certctl_core.contracts.targets import Bundle
from certctl_core.deploy import Outcome, VerificationStatus
from certctl_core.testing.target import Authority
from tests.plugins.targets.nginx_host import NAME, OTHER, TARGET_ID, NginxHost

CHILD = Path(__file__).with_name("nginx_host.py")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def host(tmp_path: Path, tool: Callable[[str], str], authority: Authority) -> Iterator[NginxHost]:
    host = NginxHost.make(tmp_path, tool("nginx"), authority.issue("v0", name=OTHER))
    yield host
    host.stop()


@pytest.fixture
def old(authority: Authority) -> Bundle:
    return authority.issue("v1", name=NAME)


@pytest.fixture
def new(authority: Authority) -> Bundle:
    return authority.issue("v2", name=NAME)


@pytest.fixture
def running(host: NginxHost, old: Bundle) -> NginxHost:
    """nginx serves ``old``, put there by hand."""
    host.put(old)
    host.start()
    assert host.settles_on(old.fingerprint)
    return host


def _state(path: Path) -> tuple[bytes, int, int, int]:
    state = path.stat()
    return path.read_bytes(), stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid


def _kill_at(point: str, host: NginxHost, bundle: Bundle) -> None:
    """Deploy in another process, which kills itself there."""
    given = {
        "directory": str(host.directory),
        "nginx": host.nginx,
        "port": host.port,
        "point": point,
        "leaf": bundle.leaf,
        "chain": bundle.chain,
        "key": bundle.key.decode(),
        "certificate_id": bundle.certificate_id,
        "version_id": bundle.version_id,
    }
    child = subprocess.run([sys.executable, str(CHILD)], input=json.dumps(given), text=True)
    assert child.returncode == -signal.SIGKILL


@pytest.mark.spec("07/TGT-01", "07/VER-02")
def test_nginx_serves_the_new_certificate_with_its_chain(
    running: NginxHost, new: Bundle, tool: Callable[[str], str]
) -> None:
    report = running.deploy(new)

    assert report.outcome is Outcome.DEPLOYED, report
    assert report.verification.status is VerificationStatus.SUCCESS
    assert report.verification.chain_ok is True
    shown = subprocess.run(
        [
            *(tool("openssl"), "s_client", "-connect", f"127.0.0.1:{running.port}"),
            *("-servername", NAME, "-showcerts"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    ).stdout
    assert shown.count("BEGIN CERTIFICATE") == 2
    assert new.leaf.splitlines()[2] in shown


@pytest.mark.spec("07/DEP-02")
def test_the_first_deployment_works_although_nginx_cannot_start_without_files(
    host: NginxHost, old: Bundle
) -> None:
    report = host.deploy(old, reload_command=host.command)

    assert report.outcome is Outcome.DEPLOYED, report
    baseline = next(stage for stage in report.stages if stage.name == "BASELINE")
    assert "broken" in baseline.detail
    assert host.settles_on(old.fingerprint)
    assert stat.S_IMODE(host.cert.stat().st_mode) == 0o644
    assert stat.S_IMODE(host.key.stat().st_mode) == 0o640
    if os.geteuid() == 0:
        assert host.key.stat().st_uid == 0
        assert pwd.getpwuid(host.cert.stat().st_uid).pw_name in {"nginx", "www-data", "root"}


@pytest.mark.spec("07/DEP-11")
def test_an_unchanged_run_does_not_reload(running: NginxHost, old: Bundle, new: Bundle) -> None:
    before = running.workers()
    running.deploy(new)
    assert running.has_only_new_workers(before)
    workers = running.workers()
    again = running.deploy(new)

    assert again.outcome is Outcome.UNCHANGED, again
    assert again.verification.status is VerificationStatus.SUCCESS
    assert "RELOAD" not in {stage.name for stage in again.stages}
    assert running.workers() == workers

    assert running.deploy(new, force=True).outcome is Outcome.DEPLOYED
    assert running.has_only_new_workers(workers)


def test_a_service_that_missed_a_reload_is_reloaded_once(running: NginxHost, new: Bundle) -> None:
    # The files are of the new version already, the running nginx is not.
    running.put(new)
    report = running.deploy(
        new,
        reload_command=[str(running.waiting_reload)],
        verify={"endpoint": f"127.0.0.1:{running.port}", "server_name": NAME, "attempts": 1},
    )

    assert report.outcome is Outcome.UNCHANGED, report
    assert [stage.name for stage in report.stages][-3:] == ["VERIFY", "RELOAD", "VERIFY"]
    assert running.settles_on(new.fingerprint)


def test_a_broken_vhost_of_others_stops_the_deployment(
    running: NginxHost, old: Bundle, new: Bundle
) -> None:
    running.break_configuration()
    before = (_state(running.cert), _state(running.key))
    report = running.deploy(new)

    assert report.outcome is Outcome.FAILED_PRECHECK
    assert report.failure is not None
    assert report.failure.code == "baseline_broken"
    assert not report.retryable
    assert "no_such_directive" in report.failure.message
    assert (_state(running.cert), _state(running.key)) == before
    assert running.settles_on(old.fingerprint)


def test_the_key_of_another_certificate_is_refused_before_anything(
    running: NginxHost, old: Bundle, new: Bundle
) -> None:
    before = (_state(running.cert), _state(running.key))
    report = running.deploy(replace(new, key=old.key))

    assert report.outcome is Outcome.FAILED_PRECHECK
    assert report.failure is not None
    assert (report.failure.code, report.failure.stage) == ("pair_mismatch", "PRECHECK")
    assert [stage.name for stage in report.stages] == ["PRECHECK"]
    assert (_state(running.cert), _state(running.key)) == before


@pytest.mark.spec("07/DEP-01", "07/DEP-02")
def test_a_failing_reload_brings_bytes_modes_and_owners_back(
    running: NginxHost, old: Bundle, new: Bundle
) -> None:
    if os.geteuid() == 0:
        os.chown(running.key, 0, 33)
        os.chown(running.cert, 33, 33)
    running.key.chmod(0o640)
    before = (_state(running.cert), _state(running.key))
    once = running.directory / "reload"
    mark = running.directory / "failed-once"
    once.write_text(
        f"#!/bin/sh\nif [ ! -f {mark} ]; then touch {mark}; echo no; exit 1; fi\n"
        f"exec {' '.join(running.command)} -s reload\n"
    )
    once.chmod(0o700)
    engine = running.engine(None, str(once))
    target = engine.build(Nginx, running.config(reload_command=[str(once)]), target_id=TARGET_ID)
    report = engine.deploy(target, new, version_id="v2", target_id=TARGET_ID)

    assert report.outcome is Outcome.ROLLED_BACK, report
    assert report.failure is not None
    assert report.failure.code == "reload_failed"
    assert report.retryable
    assert "served again" in report.rollback.detail
    assert (_state(running.cert), _state(running.key)) == before
    assert running.settles_on(old.fingerprint)


@pytest.mark.spec("07/DEP-01")
def test_a_reload_that_keeps_failing_is_a_failed_rollback(
    running: NginxHost, old: Bundle, new: Bundle
) -> None:
    report = running.deploy(new, reload_command=[*running.command, "-s", "no-such-signal"])

    assert report.outcome is Outcome.ROLLBACK_FAILED
    assert report.failure is not None
    assert report.failure.code == "rollback_failed"
    assert not report.retryable
    assert str(report.details["snapshot"]) in report.rollback.detail
    assert running.cert.read_text() == old.fullchain


@pytest.mark.spec("07/VER-03")
def test_the_wrong_vhost_fails_verification_and_rolls_back(
    running: NginxHost, old: Bundle, new: Bundle
) -> None:
    verify = {"endpoint": f"127.0.0.1:{running.port}", "server_name": OTHER, "attempts": 2}
    report = running.deploy(new, verify={**verify, "backoff": "50ms"})

    assert report.outcome is Outcome.ROLLED_BACK, report
    assert report.failure is not None
    assert (report.failure.code, report.failure.stage) == ("verify_failed", "VERIFY")
    assert report.verification.attempts == 2
    assert report.verification.actual_fingerprint == running.served(OTHER).leaf
    assert running.cert.read_text() == old.fullchain
    assert running.key.read_bytes() == old.key


@pytest.mark.spec("07/VER-02")
def test_a_missing_intermediate_fails_verification(
    running: NginxHost, old: Bundle, new: Bundle
) -> None:
    # nginx knows no chain directive, so with a chain file of its own clients get the leaf alone.
    report = running.deploy(
        new,
        chain_path=str(running.tls / "chain.pem"),
        reload_command=[str(running.waiting_reload)],
        verify={"endpoint": f"127.0.0.1:{running.port}", "server_name": NAME, "attempts": 1},
    )

    assert report.outcome is Outcome.ROLLED_BACK
    assert report.verification.chain_ok is False
    assert not (running.tls / "chain.pem").exists()
    assert running.cert.read_text() == old.fullchain


@pytest.mark.spec("07/DEP-06")
def test_a_link_stays_and_its_target_is_replaced(running: NginxHost, new: Bundle) -> None:
    live = running.tls / "live"
    live.mkdir()
    running.cert.rename(live / "cert.pem")
    running.cert.symlink_to("live/cert.pem")
    report = running.deploy(new)

    assert report.outcome is Outcome.DEPLOYED, report
    assert running.cert.is_symlink()
    assert (live / "cert.pem").read_text() == new.fullchain
    assert running.settles_on(new.fingerprint)


@pytest.mark.spec("07/DEP-03")
def test_the_key_is_never_readable_by_everybody(
    running: NginxHost, old: Bundle, authority: Authority
) -> None:
    seen: list[str] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for entry in os.scandir(running.tls):
                try:
                    mode = entry.stat().st_mode
                    if mode & 0o007 and b"PRIVATE KEY" in Path(entry.path).read_bytes():
                        seen.append(f"{entry.name} {mode:o}")
                except FileNotFoundError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    before = os.umask(0)
    try:
        outcomes = [running.deploy(authority.issue(f"v{n}", name=NAME)).outcome for n in (2, 3, 4)]
    finally:
        os.umask(before)
        done.set()
        watcher.join()

    assert outcomes == [Outcome.DEPLOYED] * 3
    assert seen == []


@pytest.mark.spec("07/DEP-08", "07/DEP-09")
def test_backups_lie_outside_and_are_pruned(running: NginxHost, authority: Authority) -> None:
    for number in range(2, 5):
        bundle = authority.issue(f"v{number}", name=NAME)
        assert running.deploy(bundle, backup_retention=2).outcome is Outcome.DEPLOYED
    backups = running.directory / "state" / "backups" / TARGET_ID

    assert sorted(path.name.rpartition("-")[2] for path in backups.iterdir()) == ["v3", "v4"]
    assert stat.S_IMODE(backups.stat().st_mode) == 0o700
    assert {path.name for path in running.tls.iterdir()} == {"cert.pem", "key.pem"}

    running.deploy(authority.issue("v5", name=NAME), backup_retention=0)
    assert list(backups.iterdir()) == []


_POINTS = ["SNAPSHOT", "JOURNAL", "STAGE", "COMMIT", "between renames", "VALIDATE", "RELOAD"]
_FINISHED = ["VERIFY", "FINISH"]


@pytest.mark.spec("07/DEP-16")
@pytest.mark.parametrize("point", [*_POINTS, *_FINISHED])
def test_a_killed_agent_leaves_a_host_that_recovers(
    running: NginxHost, old: Bundle, new: Bundle, point: str
) -> None:
    before = (_state(running.cert), _state(running.key))
    _kill_at(point, running, new)
    # Whatever happened, nginx still serves a valid pair.
    assert running.served().leaf in {old.fingerprint, new.fingerprint}

    reports = running.engine().recover()

    if point in {"SNAPSHOT", "JOURNAL"}:
        assert reports == []
    else:
        (report,) = reports
        assert report.recovered
        assert report.tag == "job-1:lease-1"
        if point in _FINISHED:
            assert report.outcome is Outcome.DEPLOYED, report
        elif point in {"STAGE", "COMMIT"}:
            assert report.outcome is Outcome.FAILED_VALIDATE, report
        else:
            assert report.outcome is Outcome.ROLLED_BACK, report
        if not report.outcome.ok:
            assert report.failure is not None
            assert report.failure.code == "agent_lost"
            assert report.retryable
    expected = new if point in _FINISHED else old
    assert running.settles_on(expected.fingerprint)
    assert running.cert.read_text() == expected.fullchain
    assert running.key.read_bytes() == expected.key
    if expected is old:
        assert (_state(running.cert), _state(running.key)) == before
    assert {path.name for path in running.tls.iterdir()} == {"cert.pem", "key.pem"}
    assert running.engine().recovery_pending == 0
    assert running.deploy(new).outcome.ok


def test_a_deployment_after_a_crash_recovers_first(
    running: NginxHost, old: Bundle, new: Bundle, authority: Authority
) -> None:
    _kill_at("between renames", running, new)
    newest = authority.issue("v3", name=NAME)
    report = running.deploy(newest)

    assert report.outcome is Outcome.DEPLOYED, report
    assert any("interrupted deployment of version v2" in text for text in report.warnings)
    assert running.settles_on(newest.fingerprint)


def test_check_says_what_is_wrong_without_touching(running: NginxHost, old: Bundle) -> None:
    engine = running.engine()
    good = engine.check(engine.build(Nginx, running.config(), target_id=TARGET_ID))
    running.break_configuration()
    bad = engine.check(engine.build(Nginx, running.config(), target_id=TARGET_ID))
    outside = engine.build(Nginx, running.config(cert_path="/nowhere/x.pem"), target_id=TARGET_ID)
    denied = engine.check(outside)

    assert good.ok, good
    assert [check.name for check in bad.checks if not check.ok] == ["configuration"]
    assert [check.name for check in denied.checks if not check.ok] == ["path"]
    assert running.cert.read_text() == old.fullchain
