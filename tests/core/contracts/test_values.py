"""Values at the plugin border: headers, answers, links, state, locks (spec 06 §1.4, §1.5)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certctl_core.contracts.checks import Check, CheckReport
from certctl_core.contracts.errors import (
    AuthError,
    ConfigProblem,
    LockBusy,
    RequestNotValid,
    RequestRejected,
    UpstreamProtocolError,
)
from certctl_core.contracts.host import MemoryState, ProcessLocks
from certctl_core.contracts.host.http import join_url
from certctl_core.contracts.http import Headers, HttpResponse
from certctl_core.contracts.issuers import Cap, Issuer, capability_gaps
from certctl_core.contracts.protocols import text_response
from certctl_core.kernel.errors import FieldError


class TestHeaders:
    def test_names_have_no_case_and_may_repeat(self):
        headers = Headers([("Link", "a"), ("LINK", "b"), ("Content-Type", "text/plain")])
        assert headers["link"] == "a"
        assert headers.get_all("Link") == ("a", "b")
        assert dict(headers) == {"link": "a", "content-type": "text/plain"}
        assert len(headers) == 2
        assert headers.get("absent", "-") == "-"
        assert headers.pairs()[1] == ("LINK", "b")

    def test_values_are_not_shown(self):
        assert "canary" not in repr(Headers({"Authorization": "Bearer canary"}))


class TestHttpResponse:
    def test_field_finds_or_names_what_is_missing(self):
        response = HttpResponse(status=200, body=b'{"a": [{"b": "x"}], "n": 1}', url="https://h/p")
        assert response.field("a", 0, "b") == "x"
        assert response.text_field("a", 0, "b") == "x"
        for path in (("a", 1), ("a", "b"), ("z",), ("n", 0)):
            with pytest.raises(UpstreamProtocolError) as caught:
                response.field(*path)
            assert ".".join(map(str, path)) in caught.value.detail
        with pytest.raises(UpstreamProtocolError):
            response.text_field("n")

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
    def test_no_json_is_a_protocol_error(self, body):
        with pytest.raises(UpstreamProtocolError):
            HttpResponse(status=200, body=body).json()


@pytest.mark.spec("06/NET-6")
class TestLinks:
    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("", "https://ca.example/api?t=1"),
            ("v1/x", "https://ca.example/api/v1/x?t=1"),
            ("/v1/x?y=2", "https://ca.example/api/v1/x?y=2&t=1"),
            ("https://ca.example/other", "https://ca.example/other"),
        ],
    )
    def test_paths_and_links_of_the_same_origin(self, path, expected):
        assert join_url("https://ca.example/api?t=1", path) == expected

    @pytest.mark.parametrize(
        "link",
        [
            "https://evil.example/",
            "http://ca.example/",
            "https://ca.example:8443/",
            "//evil.example/",
            "https://ca.example@evil.example/",
        ],
    )
    def test_links_elsewhere_are_refused(self, link):
        with pytest.raises(ConfigProblem):
            join_url("https://ca.example/api", link)


class TestState:
    def test_compare_and_set_has_one_winner(self):
        state = MemoryState()
        assert state.get("account") is None
        assert state.compare_and_set("account", b"1", version=None)
        assert not state.compare_and_set("account", b"2", version=None)
        stored = state.get("account")
        assert stored is not None
        assert (stored.value, stored.version) == (b"1", 1)
        assert state.compare_and_set("account", b"2", version=1)
        assert not state.compare_and_set("account", b"3", version=1)
        assert state.put("account", b"4") == 3
        state.delete("account")
        state.delete("account")
        assert state.get("account") is None

    @pytest.mark.parametrize("key", ["", "a b", "x" * 129, "a/b"])
    def test_odd_keys_are_refused(self, key):
        with pytest.raises(ValueError):
            MemoryState().put(key, b"")

    def test_large_values_are_refused(self):
        with pytest.raises(ValueError):
            MemoryState().put("k", b"x" * 65_537)


def test_lock_has_one_holder():
    lock = ProcessLocks()
    second = timedelta(seconds=1)
    with lock("a", second), lock("b", second), pytest.raises(LockBusy), lock("a", second):
        pass
    with lock("a", second):
        pass


def test_report_is_good_when_every_check_is():
    good, bad = Check(name="a", ok=True), Check(name="b", ok=False)
    assert CheckReport.of([good]).ok
    assert not CheckReport.of([good, bad]).ok
    failed = CheckReport.failed("authentication", AuthError("HTTP status 401"))
    assert "401" in failed.checks[0].detail
    assert failed.checks[0].hint


def test_errors_carry_what_the_other_side_says_cleaned_and_short():
    error = RequestRejected("bad\x00\u202e name\n" + "x" * 1000, vendor_code="E\r\n7")
    assert error.public == {"vendor_code": "E 7"}
    assert "\u202e" not in error.detail
    assert len(error.detail) < 600
    invalid = RequestNotValid([FieldError(field="ekus", message="are not offered")])
    assert "ekus are not offered" in invalid.detail


def test_capability_gaps_are_found_both_ways():
    class Odd(Issuer):
        kind, title, api_version = "odd", "Odd", 1
        capabilities = frozenset({Cap.REVOKE})

        def test(self):
            return CheckReport()

        def submit(self, req):
            raise NotImplementedError

        def ca_chain(self):
            return []

    assert capability_gaps(Odd) == (
        "declares REVOKE but has no revoke()",
        "has ca_chain() but does not declare CA_CHAIN",
    )


def test_text_response_is_one_line():
    response = text_response(404, "unknown label", headers=[("Allow", "GET")])
    assert response.body == b"unknown label\n"
    assert response.content_type == "text/plain; charset=utf-8"
