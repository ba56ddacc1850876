"""Lists: pages, filters, and the three ways in which they print (spec 01 API-10, §13)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.frontends.cli.conftest import Run
from tests.frontends.client.live import Live

_COUNT = 7


@pytest.fixture(scope="module")
def listed(live: Live) -> str:
    """Some certificates that nothing else matches."""
    with live.client() as client:
        for number in range(_COUNT):
            client.certificates.create(
                common_name=f"n{number}.listed.example.test",
                environment="blue" if number % 2 else "green",
            )
    return "listed.example.test"


def test_a_limit_ends_the_walk_and_says_so(certctl: Run, listed: str) -> None:
    result = certctl("certificates", "list", "-q", listed, "--limit", "3")

    assert len(result.out.splitlines()) == 1 + 3
    assert f"3 of {_COUNT}" in result.err
    assert "--all" in result.err


def test_all_walks_to_the_end(certctl: Run, listed: str) -> None:
    document = certctl("certificates", "list", "-q", listed, "--all", "--json").json

    assert len(document["data"]) == document["total"] == _COUNT
    assert "next_cursor" not in document


@pytest.mark.spec("01/API-10")
def test_a_list_goes_on_where_it_ended(certctl: Run, listed: str) -> None:
    arguments = ("certificates", "list", "-q", listed, "--sort", "name", "--limit", "4", "--json")
    first = certctl(*arguments).json
    second = certctl(*arguments, "--cursor", first["next_cursor"]).json
    names = [row["name"] for row in first["data"] + second["data"]]

    assert names == [f"n{n}.listed.example.test" for n in range(_COUNT)]


def test_filters_reach_the_server(certctl: Run, listed: str) -> None:
    rows = certctl("certificates", "list", "-q", listed, "--env", "blue", "--json").json["data"]
    none = certctl("certificates", "list", "-q", listed, "--status", "revoked", "--json").json

    assert {row["environment"] for row in rows} == {"blue"}
    assert none == {"data": [], "total": 0}


def test_what_the_server_does_not_take_fails(certctl: Run) -> None:
    result = certctl("certificates", "list", "--sort", "nonsense")

    assert result.code == 1
    assert "sort" in result.err


def test_plain_text_is_aligned_and_has_no_color(certctl: Run, listed: str) -> None:
    lines = certctl("certificates", "list", "-q", listed).out.splitlines()
    column = lines[0].index("COMMON NAME")

    assert lines[0].startswith("ID ")
    assert all(line[column - 2 : column] == "  " for line in lines)
    assert all(line[column:].startswith("n") for line in lines[1:])
    assert "\x1b" not in "".join(lines)


def test_an_empty_list_says_so_beside_the_answer(certctl: Run) -> None:
    result = certctl("certificates", "list", "-q", "matches-nothing-at-all")

    assert result.out == ""
    assert "No certificates match" in result.err


@pytest.mark.parametrize(
    ("group", "row"),
    [("issuers", "iss-local"), ("profiles", "prof-default"), ("policies", "rp-default")],
)
def test_the_catalogue_can_be_listed_and_shown(certctl: Run, group: str, row: str) -> None:
    listed = certctl(group, "list")
    shown = certctl(group, "show", row)

    assert row in listed.out
    assert f"Id: {row}" in " ".join(shown.out.split())
    assert certctl(group, "show", row, "--json").json["id"] == row
    assert certctl(group, "show", "none").code == 3


class TestProfilePreview:
    """What would be issued, before anything is (02 PROF-1)."""

    def test_of_a_stored_profile(self, certctl: Run) -> None:
        document = certctl("profiles", "preview", "prof-default", "--json", role="viewer")
        text = certctl("profiles", "preview", "prof-default", "--name", "shop.example.com")

        assert (document.code, document.json["would_issue"]) == (0, True)
        assert document.json["certificate"]["issuer"]
        assert text.code == 0
        assert text.out.startswith("This would be issued.")
        assert "CN=shop.example.com" in text.out
        assert "extKeyUsage" in text.out

    def test_of_one_that_is_not_stored(self, certctl: Run, tmp_path: Path) -> None:
        file = tmp_path / "profile.json"
        shown = certctl("profiles", "show", "prof-default", "--json").json
        changed = shown | {"must_staple": True, "include_aia": False}
        file.write_text(json.dumps(changed))

        refused = certctl("profiles", "preview", "--file", str(file))
        changed["must_staple"] = False
        better = certctl("profiles", "preview", "--file", "-", stdin=json.dumps(changed))

        assert refused.code == 1
        assert "Nothing would be issued." in refused.out
        assert "refused: Must-staple needs the OCSP pointer" in refused.out
        assert better.code == 0
        assert certctl("profiles", "show", "prof-default", "--json").json == shown

    def test_the_sample_is_as_asked_for(self, certctl: Run) -> None:
        options = ("--name", "a.example.com", "--name", "192.0.2.7", "--key", "ECDSA-P384")
        sample = certctl("profiles", "preview", "prof-default", *options, "--json").json

        assert sample["certificate"]["names"] == ["a.example.com", "192.0.2.7"]
        assert "384" in sample["certificate"]["key"]

    def test_what_cannot_be_tried(self, certctl: Run, tmp_path: Path) -> None:
        file = tmp_path / "profile.json"
        preview = ("profiles", "preview")

        assert certctl(*preview).code == 2
        assert certctl(*preview, "prof-default", "--file", "-", stdin="{}").code == 2
        for text in ("no json", "[]"):
            file.write_text(text)
            assert certctl(*preview, "--file", str(file)).code == 2
        file.write_text('{"name": "x", "no_such_rule": true}')
        assert "no_such_rule" in certctl(*preview, "--file", str(file)).err
        assert certctl(*preview, "prof-none").code == 3
        refused = certctl(*preview, "prof-default", "--issuer", "iss-none")
        assert (refused.code, "There is no issuer iss-none" in refused.err) == (1, True)


def test_an_issuer_is_set_up_and_deleted(certctl: Run) -> None:
    made = certctl(
        "issuers", "create", "Branch CA", "--kind", "local", "--id", "iss-branch",
        "--set", "ca_common_name=Branch CA", "--set", "validity_days=30", "--disabled", "--json",
    )  # fmt: skip
    assert made.code == 0, made.err
    assert (made.json["id"], made.json["enabled"]) == ("iss-branch", False)
    assert made.json["config"]["validity_days"] == 30
    refused = certctl("issuers", "create", "x", "--kind", "local", "--set", "colour=red")
    assert refused.code == 1
    assert "config.colour" in refused.err

    assert "is deleted" in certctl("issuers", "delete", "iss-branch", "--yes").out
    assert certctl("issuers", "show", "iss-branch").code == 3


def test_issuers_are_tested(certctl: Run) -> None:
    result = certctl("issuers", "test", "iss-local")

    assert result.code == 0
    assert "PASSED" in result.out


def test_jobs_are_listed_and_refused(certctl: Run) -> None:
    assert certctl("jobs", "list", "--status", "failed", "--json").json["data"] == []
    assert certctl("jobs", "list", "--status", "Nonsense").code == 2
    assert certctl("jobs", "show", "job-none").code == 3
    assert certctl("jobs", "cancel", "job-none", "-y").code == 3
    assert certctl("jobs", "retry", "job-none").code == 3


def test_control_characters_of_others_do_not_reach_the_terminal(certctl: Run, live: Live) -> None:
    with live.client() as client:
        client.certificates.create(
            common_name="esc.example.test", environment="x", tags={"note": "\x1b[31mred\nline"}
        )
    shown = certctl("certificates", "show", "esc.example.test")
    document = certctl("certificates", "show", "esc.example.test", "--json")

    assert "\x1b" not in shown.out
    assert "note=\N{REPLACEMENT CHARACTER}[31mred" in shown.out
    assert "\x1b" not in document.out
    assert json.loads(document.out)["tags"]["note"] == "\x1b[31mred\nline"
