"""Failures: exit codes, what stands on stderr, and where a trace comes from (spec 01 §13)."""

from __future__ import annotations

import json
import sys

import pytest
from certctl_cli.failures import EXIT_HELP, Exit, exit_code
from certctl_cli.root_help import TEXT
from certctl_client import APIError, ServerTimeout, ServerUnreachable

from certctl_core.kernel.errors import HTTP_STATUS, ErrorKind
from tests.frontends.cli.conftest import Run
from tests.frontends.client.live import Live


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_of_refusal_has_an_exit_code(kind: ErrorKind) -> None:
    error = APIError(status=HTTP_STATUS[kind], document={"code": "x", "detail": "X."})
    expected = {401: 4, 403: 4, 404: 3, 410: 3}.get(error.status, 1)

    assert exit_code(error) == expected


def test_local_failures_have_theirs() -> None:
    assert exit_code(ServerTimeout(url="https://x", timeout_seconds="1")) == 5
    assert exit_code(ServerUnreachable(url="https://x", reason="x")) == 1


def test_the_help_lists_every_exit_code() -> None:
    assert set(EXIT_HELP) == set(Exit)
    assert all(f"  {int(code)}" in TEXT and text in TEXT for code, text in EXIT_HELP.items())


def test_a_refusal_names_cause_object_and_next_step(certctl: Run) -> None:
    result = certctl("issuers", "show", "iss-none")

    assert result.code == 3
    assert result.out == ""
    assert result.err.startswith("certctl: ")
    assert "iss-none" in result.err
    assert "Traceback" not in result.err


def test_a_key_that_is_not_known_leads_to_where_it_is_kept(certctl: Run) -> None:
    result = certctl("--api-key", "ctl_none", "issuers", "list")

    assert result.code == 4
    assert "client.toml" in result.err
    assert "certctl admin create-key" in result.err
    assert "Bearer" not in result.err


def test_with_json_a_refusal_is_a_document(certctl: Run) -> None:
    result = certctl("certificates", "show", "mc-none", "--json")
    error = json.loads(result.err)["error"]

    assert error["code"] == "certificate_not_found"
    assert error["status"] == 404
    assert error["request_id"]


def test_bad_fields_are_listed(certctl: Run) -> None:
    result = certctl("certificates", "list", "--expires-before", "tomorrow")

    assert result.code == 1
    assert "  expires_before: " in result.err


def test_a_trace_comes_only_when_asked_for(certctl: Run) -> None:
    quiet = certctl("certificates", "show", "mc-none")
    loud = certctl("certificates", "show", "mc-none", "-v")

    assert "Traceback" not in quiet.err
    assert "Traceback" in loud.err
    assert "request: " in loud.err


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("certificates", "nonsense"), ("certificates", "show"), ("me", "--nonsense")],
)
def test_a_wrong_command_line_is_a_usage_error(bare: Run, arguments: tuple[str, ...]) -> None:
    result = bare(*arguments)

    assert result.code == 2
    assert "--help" in result.err
    assert result.out == ""


def test_no_command_at_all_shows_the_help(bare: Run) -> None:
    assert bare().code == 2
    assert bare("certificates").code == 2


def test_a_question_that_is_interrupted(
    certctl: Run, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("certctl_cli.audit.show_list", interrupt)

    result = certctl("audit", "list")

    assert result.code == 130
    assert "interrupted" in result.err


def test_an_unforeseen_failure_keeps_its_trace_for_verbose(
    certctl: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("who would have thought")

    monkeypatch.setattr("certctl_cli.audit.show_list", fail)

    quiet, loud = certctl("audit", "list"), certctl("audit", "list", "-v")

    assert quiet.code == loud.code == 1
    assert "who would have thought" in quiet.err
    assert "Traceback" not in quiet.err
    assert "Traceback" in loud.err
    assert sys.stdin is not None
