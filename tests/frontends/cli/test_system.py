"""Keys, audit, status and the other small commands against a real server (spec 01 §13)."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from certctl_cli.waiting import in_turn

from certctl_core.kernel.release import VERSION
from tests.frontends.cli.conftest import Run
from tests.frontends.client.live import Live

_AUDIT = "certctl_core.kernel.audit.workflow"


class TestKeys:
    def test_are_created_used_rotated_and_revoked(
        self, certctl: Run, bare: Run, live: Live
    ) -> None:
        made = certctl("keys", "create", "robot", "--role", "r-viewer", "--expires-in", "1h")
        value = made.out.strip()
        where = ("--server", live.url, "--ca-bundle", str(live.ca_path))
        me = bare(*where, "--api-key", value, "me", "--json").json
        key_id = me["actor_id"]
        rotated = certctl("keys", "rotate", key_id, "--overlap", "0s", "--json").json

        assert me["roles"] == ["r-viewer"]
        assert bare(*where, "--api-key", value, "me").code == 4
        assert bare(*where, "--api-key", rotated["key_value"], "me").code == 0
        assert value not in certctl("keys", "list").out
        assert certctl("keys", "revoke", key_id, "-y").code == 0
        assert bare(*where, "--api-key", rotated["key_value"], "me").code == 4
        assert key_id not in certctl("keys", "list", "--all").out
        assert key_id in certctl("keys", "list", "--all", "--revoked").out

    @pytest.mark.parametrize("options", [(), ("--expires-in", "1d", "--no-expiry")])
    def test_need_exactly_one_word_about_their_end(
        self, bare: Run, options: tuple[str, ...]
    ) -> None:
        assert bare("keys", "create", "x", *options).code == 2

    def test_durations_have_units(self, bare: Run) -> None:
        result = bare("keys", "create", "x", "--expires-in", "soon")

        assert result.code == 2
        assert "90s, 15m, 24h or 7d" in result.err

    def test_are_not_for_everybody(self, certctl: Run) -> None:
        result = certctl("keys", "create", "x", "--no-expiry", role="viewer")

        assert result.code == 4
        assert "auth.key.create" in result.err


class TestStatus:
    def test_shows_readiness_and_numbers(self, certctl: Run) -> None:
        shown = certctl("status")
        document = certctl("status", "--json").json

        assert shown.code == 0
        assert "State:   ready" in shown.out
        assert "  end within 30 days: 0" in shown.out
        assert "expiring" not in shown.out
        assert document["status"] == "ready"
        assert document["summary"]["total_certificates"] >= 0

    def test_asks_without_a_key_what_everybody_may_know(self, bare: Run, live: Live) -> None:
        where = ("--server", live.url, "--ca-bundle", str(live.ca_path))
        result = bare(*where, "status")

        assert result.code == 0
        assert "ready" in result.out
        assert "left out" in result.err

    def test_fails_while_the_server_drains(self, certctl: Run, live: Live) -> None:
        live.core.draining = True
        try:
            result = certctl("status", "--json")
        finally:
            live.core.draining = False

        assert result.code == 1
        assert result.json["status"] == "draining"


class TestVersion:
    def test_shows_both_sides(self, certctl: Run) -> None:
        document = certctl("version", "--json").json

        assert document["client"]["version"] == VERSION
        assert document["server"]["version"] == VERSION

    def test_needs_no_server(self, bare: Run) -> None:
        result = bare("--server", "https://127.0.0.1:1", "version")

        assert result.code == 0
        assert VERSION in result.out
        assert "was not asked" in result.err


class TestAudit:
    def test_lists_filters_and_shows(self, certctl: Run) -> None:
        rows = certctl(
            "audit", "list", "--action", "profile.created", "--json", "--limit", "1"
        ).json["data"]
        shown = certctl("audit", "show", rows[0]["id"])

        assert rows[0]["action"] == "profile.created"
        assert "profile prof-default" in shown.out

    def test_waits_for_its_turn_to_verify(
        self, certctl: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waited: list[float] = []

        def sleep(seconds: float) -> None:
            waited.append(seconds)
            monkeypatch.setattr(f"{_AUDIT}._MIN_BETWEEN_REQUESTS", timedelta(0))

        monkeypatch.setattr("certctl_cli.audit.in_turn", partial(in_turn, sleep=sleep))
        monkeypatch.setattr(f"{_AUDIT}._MIN_BETWEEN_REQUESTS", timedelta(0))
        assert certctl("audit", "verify").code == 0
        monkeypatch.setattr(f"{_AUDIT}._MIN_BETWEEN_REQUESTS", timedelta(minutes=30))

        verified = certctl("audit", "verify")

        assert (verified.code, len(waited)) == (0, 1), verified.err
        assert 1700 < waited[0] <= 1800
        assert f"Waiting {waited[0]:g} s" in verified.err
        assert "Intact:" in verified.out

    def test_gives_up_when_others_are_always_faster(
        self, certctl: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waited: list[float] = []
        monkeypatch.setattr("certctl_cli.audit.in_turn", partial(in_turn, sleep=waited.append))
        monkeypatch.setattr(f"{_AUDIT}._MIN_BETWEEN_REQUESTS", timedelta(0))
        assert certctl("audit", "verify").code == 0
        monkeypatch.setattr(f"{_AUDIT}._MIN_BETWEEN_REQUESTS", timedelta(minutes=30))

        refused = certctl("audit", "verify", "--json")

        assert (refused.code, refused.out, len(waited)) == (1, "", 2)
        assert json.loads(refused.err)["error"]["code"] == "verified_just_now"

    def test_verifies_and_keeps_a_checkpoint(
        self, certctl: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(f"{_AUDIT}._MIN_BETWEEN_REQUESTS", timedelta(0))
        verified = certctl("audit", "verify", "--full", "--json")
        note = tmp_path / "checkpoint.txt"
        kept = certctl("audit", "checkpoint", "--out", str(note))

        assert verified.code == 0, verified.err
        assert verified.json["ok"]
        assert kept.code == 0, kept.err
        assert note.read_text() == certctl("audit", "checkpoint", "--json").json["note"]


class TestMore:
    def test_me_lists_what_i_may(self, certctl: Run) -> None:
        result = certctl("me", role="viewer")

        assert "r-viewer" in result.out
        assert "certificate.read" in result.out

    def test_plugins_are_listed(self, certctl: Run) -> None:
        document = certctl("plugins", "list", "--json").json

        assert "local" in {row["kind"] for row in document["plugins"]}
        assert "USABLE" in certctl("plugins", "list").out

    def test_signers_are_listed_with_their_purposes(self, certctl: Run) -> None:
        document = certctl("signers", "list", "--json").json
        ready = {row["kind"]: row["is_ready"] for row in document["signers"]}

        assert ready["file"]
        assert not ready["pkcs11"]
        text = certctl("signers", "list").out
        assert "no: The signer 'pkcs11' is not configured" in text
        assert "CERTCTL_SIGNER_CA" in text

    def test_crls_are_shown_and_regenerated(self, certctl: Run) -> None:
        made = certctl("crl", "regenerate", "--json").json
        shown = certctl("crl", "show")

        (number,) = made["crl_numbers"].values()
        assert str(number) in shown.out
        assert certctl("crl", "regenerate", "iss-none").code == 3

    @pytest.mark.spec("02/OPS-4")
    def test_a_certificate_is_looked_up_on_its_crl(self, certctl: Run, tmp_path: Path) -> None:
        name = "crl.example.test"
        assert certctl("issue", name, "--out", str(tmp_path / "web")).code == 0

        good = certctl("crl", "check", name, "--json", role="viewer")
        assert (good.code, good.json["is_listed"], good.json["is_verified"]) == (0, False, True)
        revoke = ("certificates", "revoke", name, "--reason", "keyCompromise", "--yes")
        assert certctl(*revoke).code == 0
        listed = certctl("crl", "check", name)
        assert listed.code == 1
        assert "keyCompromise" in listed.out
        assert good.json["serial_number"] in listed.out
        assert certctl("crl", "check", "none.example.test").code == 3

    def test_ocsp_is_checked_rotated_and_purged(self, certctl: Run, tmp_path: Path) -> None:
        name = "ocsp.example.test"
        assert certctl("issue", name, "--out", str(tmp_path / "web")).code == 0

        good = certctl("ocsp", "check", name, "--json")
        assert (good.code, good.json["status"], good.json["is_verified"]) == (0, "good", True)
        assert "good" in certctl("ocsp", "check", name).out
        shown = certctl("ocsp", "show").out
        assert "iss-local" in shown
        assert "ready" in shown
        (serial,) = certctl("ocsp", "rotate", "--json").json["serial_numbers"].values()
        assert serial in certctl("ocsp", "show").out
        assert "Deleted" in certctl("ocsp", "purge", "--issuer", "iss-local").out
        assert certctl("ocsp", "purge", "--serial", "zz").code != 0
        revoke = ("certificates", "revoke", name, "--reason", "superseded", "--yes")
        assert certctl(*revoke).code == 0
        revoked = certctl("ocsp", "check", name)
        assert (revoked.code, "revoked" in revoked.out) == (1, True)
        assert certctl("ocsp", "rotate", "iss-none").code == 3
        assert certctl("ocsp", "purge", role="viewer").code == 4

    def test_any_operation_can_be_called(self, certctl: Run, tmp_path: Path) -> None:
        body = '{"name": "by hand", "renewal_window_days": 5}'
        made = certctl("api", "POST", "/renewal-policies", "--data", "-", stdin=body).json
        path = f"renewal-policies/{made['id']}"
        late = certctl(
            "api", "PATCH", path, "--data", "-", "--if-match", '"v99"', stdin='{"name": "x"}'
        )

        assert certctl("api", "get", path).json["renewal_window_days"] == 5
        assert late.code == 1
        assert certctl("api", "DELETE", f"/api/v1/{path}").out == ""
        assert certctl("api", "GET", "/certificates", "--query", "nonsense=1").code == 1
        assert certctl("api", "POST", "/x", "--data", "-", stdin="{").code == 2
        pem = certctl("api", "GET", "/audit/export", "--query", "limit")
        assert pem.code == 2

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_completion_scripts_are_printed(self, bare: Run, shell: str) -> None:
        result = bare("completion", shell)

        assert result.code == 0
        assert "_CERTCTL_COMPLETE" in result.out
