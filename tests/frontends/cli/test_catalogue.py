"""``certctl issuers``, ``profiles`` and ``policies``: made, changed and deleted (02 §7, 06 §4)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.frontends.cli.conftest import Run


@pytest.mark.spec("02/PROF-1")
def test_a_profile_is_made_changed_used_and_deleted(certctl: Run, tmp_path: Path) -> None:
    members = {
        "max_ttl_seconds": 86400,
        "allowed_key_algorithms": [{"algorithm": "ECDSA", "min_size": 256}],
    }
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(members))

    made = certctl(
        "profiles", "create", "web servers", "--id", "cp-web", "--file", str(file),
        "--set", "must_staple=true", "--set", "description=Of the shop", "--json",
    )  # fmt: skip
    changed = certctl("profiles", "change", "cp-web", "--set", "max_ttl_seconds=3600", "--json")

    assert made.code == 0, made.err
    assert changed.code == 0, changed.err
    shown = certctl("profiles", "show", "cp-web", "--json").json
    assert (made.json["must_staple"], made.json["description"]) == (True, "Of the shop")
    assert made.json["max_ttl_seconds"] == 86400
    assert changed.json == shown
    assert (shown["max_ttl_seconds"], shown["must_staple"], shown["version"]) == (3600, True, 2)
    # What one prints is what another is made from.
    copied = certctl("profiles", "create", "copy", "--file", "-", "--json", stdin=json.dumps(shown))
    assert copied.json["id"] != "cp-web"
    assert copied.json["allowed_key_algorithms"] == shown["allowed_key_algorithms"]
    assert certctl("profiles", "delete", "cp-web", "-y").code == 0
    gone = certctl("profiles", "show", "cp-web")
    assert (gone.code, "cp-web" in gone.err) == (3, True)


def test_a_member_that_is_wrong_is_named(certctl: Run) -> None:
    result = certctl("profiles", "create", "bad", "--set", "max_ttl_seconds=soon")

    assert result.code != 0
    assert "max_ttl_seconds" in result.err


@pytest.mark.parametrize("kind", ["profiles", "policies", "issuers"])
def test_a_change_of_nothing_is_refused(bare: Run, kind: str) -> None:
    result = bare(kind, "change", "x")

    assert (result.code, "--set" in result.err) == (2, True)


def test_a_file_that_is_no_object_is_refused(bare: Run) -> None:
    for text, said in (("[1]", "does not hold"), ("{", "is not JSON")):
        result = bare("profiles", "create", "x", "--file", "-", stdin=text)
        assert (result.code, said in result.err) == (2, True)


def test_a_renewal_policy_is_made_changed_and_deleted(certctl: Run) -> None:
    made = certctl("policies", "create", "early", "--set", "renewal_window_days=20", "--json").json
    changed = certctl("policies", "change", made["id"], "--set", "renewal_window_days=25", "--json")

    assert changed.json["renewal_window_days"] == 25
    assert certctl("policies", "delete", made["id"], "-y", "--json").json == {
        "status": "deleted",
        "id": made["id"],
    }


def test_an_issuer_is_made_tested_changed_used_and_deleted(certctl: Run, tmp_path: Path) -> None:
    made = certctl(
        "issuers", "create", "second", "--kind", "local", "--id", "iss-second",
        "--set", "ca_common_name=Second CA", "--set", "validity_days=20", "--test", "--json",
    )  # fmt: skip
    assert made.code == 0, made.err
    assert made.json["enabled"] is True

    off = certctl("issuers", "change", "iss-second", "--disable", "--set", "validity_days=10")
    refused = certctl(
        "issue", "off.example.test", "--issuer", "iss-second", "--out", str(tmp_path / "off")
    )
    on = certctl("issuers", "change", "iss-second", "--enable", "--name", "Third", "--json").json
    issued = certctl(
        "issue", "on.example.test", "--issuer", "iss-second", "--out", str(tmp_path / "on")
    )

    assert off.code == 0
    assert refused.code != 0
    assert (on["name"], on["config"]["validity_days"]) == ("Third", 10)
    assert on["config"]["ca_common_name"] == "Second CA"
    assert issued.code == 0, issued.err
    in_use = certctl("issuers", "delete", "iss-second", "-y")
    assert (in_use.code == 0, "in use" in in_use.err or "refer" in in_use.err) == (False, True)


def test_an_issuer_that_nothing_refers_to_is_deleted(certctl: Run) -> None:
    made = certctl("issuers", "create", "short", "--kind", "local", "--disabled", "--json").json

    refused = certctl("issuers", "create", "x", "--kind", "local", "--set", "colour=red")
    assert (refused.code, "config.colour" in refused.err) == (1, True)
    assert certctl("issuers", "delete", made["id"], "-y").code == 0
    assert made["id"] not in certctl("issuers", "list", "--all").out
