"""The dispatcher (01 §1): what it takes, what it refuses, what it sends back."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from certctl_core.api import Answer, HTTPRequest, problem
from certctl_core.api.errors import BadFields
from certctl_core.app import Core
from certctl_core.kernel.actors import ANONYMOUS, SYSTEM
from certctl_core.kernel.errors import CertctlError
from certctl_core.testing.factories import actor_with
from certctl_core.testing.fakes import FakeClock

ONE_ENGINE = pytest.mark.parametrize("database_engine", ["sqlite"])
JSON_TYPE = "application/json"


def send(core: Core, name: str, **members: Any) -> Answer:
    """One request to an operation; ``json`` becomes the body."""
    if "json" in members:
        members["body"] = json.dumps(members.pop("json")).encode()
    members.setdefault("content_type", JSON_TYPE)
    members.setdefault("actor", SYSTEM)
    return core.dispatcher.http(core.table[name], HTTPRequest(**members))


def refused(core: Core, name: str, **members: Any) -> dict[str, Any]:
    """The problem document of a request that is refused."""
    with pytest.raises(CertctlError) as caught:
        send(core, name, **members)
    return dict(problem(caught.value, request_id="req-1").document)


def fields(document: dict[str, Any]) -> list[str]:
    return sorted(item["field"] for item in document.get("fields", []))


class TestBodies:
    @pytest.mark.spec("01/API-08")
    @pytest.mark.parametrize(
        ("body", "named"),
        [
            ({"name": "p", "colour": 1}, ["colour"]),
            ({"name": 5}, ["name"]),
            ({}, ["name"]),
            ({"name": "p", "enabled": "perhaps"}, ["enabled"]),
            ({"name": "p", "max_ttl_seconds": "x", "must_staple": []}, ["max_ttl_seconds", "must_staple"]),
            ({"name": "p", "allowed_key_algorithms": [{"algorithm": "RSA", "bits": 1}]},
             ["allowed_key_algorithms.0", "allowed_key_algorithms.0.bits"]),
        ],
    )  # fmt: skip
    @ONE_ENGINE
    def test_every_fault_is_named(self, core: Core, body: dict[str, Any], named: list[str]) -> None:
        document = refused(core, "profiles.create", json=body)

        assert (document["status"], document["code"]) == (400, "validation_error")
        assert set(fields(document)) <= set(named)
        assert fields(document)
        assert "req-1" in document["request_id"]
        assert core.call("profiles.list").total == 1

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[]", b"null", b'"x"', b'{"name": "\xff"}', b'{"name":"p"}{}', b"\x00"]
    )
    @ONE_ENGINE
    def test_what_is_no_object(self, core: Core, body: bytes) -> None:
        document = refused(core, "profiles.create", body=body)

        assert document["status"] == 400
        assert document["code"] in {"malformed_body", "validation_error"}

    @pytest.mark.spec("01/API-07")
    @pytest.mark.parametrize(
        ("name", "member", "value"),
        [
            ("certificates.create", "issuer_id", "iss-none"),
            ("certificates.create", "certificate_profile_id", "prof-none"),
            ("certificates.create", "renewal_policy_id", "rp-none"),
            ("certificates.update", "certificate_profile_id", "prof-none"),
        ],
    )
    @ONE_ENGINE
    def test_an_unknown_reference_is_a_bad_field(
        self, core: Core, name: str, member: str, value: str
    ) -> None:
        body = {"common_name": "www.example.test"}
        made = core.call("certificates.create", body=body)
        path = {"certificate_id": made.id} if name.endswith("update") else {}
        asked = {member: value} if path else body | {member: value}

        document = refused(core, name, json=asked, path=path)

        assert (document["status"], document["code"]) == (400, "validation_error")
        assert fields(document) == [member]
        assert value in document["fields"][0]["message"]

    @ONE_ENGINE
    def test_an_unknown_object_of_the_path_stays_unknown(self, core: Core) -> None:
        path = {"certificate_id": "mc-none"}
        document = refused(core, "certificates.update", json={"name": "mc-none"}, path=path)

        assert (document["status"], document["code"]) == (404, "certificate_not_found")

    @ONE_ENGINE
    def test_deep_and_odd_json(self, core: Core) -> None:
        deep = b'{"name":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        assert refused(core, "profiles.create", body=deep)["status"] == 400
        for text in (b'"\\ud800"', b'"a\\u0000b"', b"NaN", b"1e999"):
            document = refused(core, "profiles.create", body=b'{"name":' + text + b"}")
            assert document["status"] == 400, text

    @ONE_ENGINE
    def test_content_types(self, core: Core) -> None:
        for kind in (JSON_TYPE, "application/json; charset=utf-8", "Application/JSON", ""):
            send(core, "profiles.create", json={"name": f"p{kind}"}, content_type=kind)
        document = refused(core, "profiles.create", json={"name": "x"}, content_type="text/plain")
        assert (document["status"], document["code"]) == (415, "unsupported_media_type")
        assert send(
            core, "profiles.update", path={"profile_id": "prof-default"},
            json={"description": "d"}, content_type="application/merge-patch+json",
        ).status == 200  # fmt: skip

    @ONE_ENGINE
    def test_an_optional_body_may_be_missing(self, core: Core) -> None:
        made = core.call("certificates.create", body={"common_name": "a.test"})
        path = {"certificate_id": made.id}
        document = refused(core, "certificates.renew", path=path)
        assert document["code"] == "no_key_holder"
        assert core.call("api_keys.list").total == 0

    @ONE_ENGINE
    def test_an_own_limit_of_an_operation(self, core: Core) -> None:
        document = refused(core, "auth.bootstrap", body=b" " * 5000, actor=ANONYMOUS)
        assert (document["status"], document["code"]) == (413, "payload_too_large")


class TestParameters:
    @pytest.mark.spec("01/API-08")
    @ONE_ENGINE
    def test_unknown_and_repeated_ones(self, core: Core) -> None:
        for query in (
            [("colour", "red")],
            [("page", "1"), ("page", "2")],
            [("page", "one")],
            [("status", "")],
            [("expires_before", "yesterday")],
            [("include_archived", "perhaps")],
        ):
            document = refused(core, "certificates.list", query=query)
            assert document["code"] == "validation_error", query
            assert fields(document) == [query[0][0]]
        document = refused(
            core, "profiles.get", path={"profile_id": "prof-default"}, query=[("x", "1")]
        )
        assert fields(document) == ["x"]

    @pytest.mark.parametrize(
        ("given", "named"),
        [
            ({}, ["profile_id"]),
            ({"path": {"id": "prof-default"}}, ["profile_id", "id"]),
            ({"path": {"profile_id": "prof-default"}, "body": {"name": "x"}}, ["body"]),
            ({"path": {"profile_id": "prof-default"}, "query": {"q": "x"}}, ["query"]),
        ],
    )
    @ONE_ENGINE
    def test_a_program_that_calls_with_the_wrong_names(
        self, core: Core, given: dict[str, Any], named: list[str]
    ) -> None:
        with pytest.raises(BadFields) as caught:
            core.call("profiles.get", **given)
        assert [item.field for item in caught.value.fields] == named

    @pytest.mark.parametrize("text", ["", "..", ".", "a/b", "a b", "x" * 129, "ä", "a%00"])
    @ONE_ENGINE
    def test_what_is_no_id(self, core: Core, text: str) -> None:
        document = refused(core, "profiles.get", path={"profile_id": text})
        assert document["status"] in {400, 404}

    @pytest.mark.spec("01/API-12")
    @ONE_ENGINE
    def test_sparse_rows(self, core: Core) -> None:
        core.call("certificates.create", body={"common_name": "a.test"})
        answer = send(core, "certificates.list", query=[("fields", "id, common_name")])
        row = json.loads(answer.body)["data"][0]
        assert set(row) == {"id", "common_name"}


class TestAnswers:
    @pytest.mark.spec("01/API-09", "01/API-10")
    @ONE_ENGINE
    def test_the_envelopes(self, core: Core) -> None:
        for number in range(3):
            core.call("certificates.create", body={"common_name": f"c{number}.test"})
        offset = json.loads(send(core, "certificates.list", query=[("per_page", "2")]).body)
        keyset = json.loads(send(core, "certificates.list", query=[("page_size", "2")]).body)
        last = json.loads(send(core, "certificates.list", query=[("page_size", "3")]).body)

        assert set(offset) == {"data", "total", "page", "per_page"}
        assert (len(offset["data"]), offset["total"], offset["page"]) == (2, 3, 1)
        assert set(keyset) == {"data", "total", "page_size", "next_cursor"}
        assert set(last) == {"data", "total", "page_size"}

    @pytest.mark.spec("01/API-14", "08/HTTP-8")
    def test_list_etags_follow_every_change(self, core: Core) -> None:
        def etag(**members: Any) -> str:
            answer = send(core, "certificates.list", **members)
            assert answer.status == 200
            return dict(answer.headers)["ETag"]

        made = core.call("certificates.create", body={"common_name": "a.test"})
        first = etag()
        assert first.startswith('W/"')
        for sent in (first, first.removeprefix("W/"), f'"x", {first}', "*"):
            again = send(core, "certificates.list", if_none_match=sent)
            assert (again.status, again.body) == (304, b"")
            assert dict(again.headers)["ETag"] == first
        assert etag(query=[("status", "Active")]) != first
        seen = {first}
        path = {"certificate_id": made.id}
        from certctl_core.testing.factories import make_csr

        changes = [
            lambda: core.call("certificates.update", path=path, body={"environment": "x"}),
            lambda: core.call(
                "certificates.renew", path=path, body={"csr_pem": make_csr("a.test")}
            ),
            lambda: core.call(
                "renewal_policies.update",
                path={"renewal_policy_id": "rp-default"},
                body={"renewal_window_days": 5},
            ),
            lambda: core.call("certificates.revoke", path=path, body={"reason": "certificateHold"}),
            lambda: core.call("certificates.unhold", path=path),
            lambda: core.call("certificates.archive", path=path),
        ]
        for number, change in enumerate(changes):
            pages = {send(core, "certificates.list").body for _ in range(4)}
            assert len(pages) == 1, "a page that nothing changed is sent again as it was"
            change()
            new = etag()
            assert new not in seen, f"change {number} left the ETag"
            seen.add(new)
            rows = json.loads(send(core, "certificates.list").body)["data"]
            now = core.call("certificates.get", path=path).model_dump(mode="json", by_alias=True)
            shown = [] if now["status"] == "Archived" else [{name: now[name] for name in rows[0]}]
            assert rows == shown, f"change {number} is not seen"

    @pytest.mark.spec("01/API-14", "05/HDR-4")
    @ONE_ENGINE
    def test_an_etag_is_no_way_around_a_permission(self, core: Core) -> None:
        etags = {dict(send(core, "certificates.list").headers)["ETag"] for _ in range(4)}
        (etag,) = etags
        nobody = actor_with(core, "r-auditor", actor_id="u-audit")
        assert refused(core, "certificates.list", actor=nobody, if_none_match=etag)["status"] == 403
        assert refused(core, "certificates.list", actor=nobody)["status"] == 403
        assert (
            refused(core, "certificates.list", actor=ANONYMOUS, if_none_match="*")["status"] == 401
        )

    @ONE_ENGINE
    def test_statuses(self, core: Core) -> None:
        created = send(core, "profiles.create", json={"name": "p"})
        path = {"profile_id": json.loads(created.body)["id"]}
        assert (created.status, dict(created.headers)["ETag"]) == (201, '"v1"')
        assert send(core, "profiles.get", path=path).status == 200
        gone = send(core, "profiles.delete", path=path)
        assert (gone.status, gone.body) == (204, b"")

    @pytest.mark.spec("01/API-14")
    @ONE_ENGINE
    def test_if_match_forms(self, core: Core) -> None:
        path = {"profile_id": "prof-default"}

        def change(sent: str) -> str:
            try:
                send(core, "profiles.update", path=path, json={"description": sent}, if_match=sent)
            except CertctlError as error:
                return error.code
            return ""

        assert change('"v1"') == ""
        assert change('"v1"') == "precondition_failed"
        assert change("*") == ""
        for bad in ('"1"', "v", '"vx"', '"v-1"', '"v\u0663"', "nonsense"):
            assert change(bad) == "bad_if_match"
        assert change('"v99999999999999999999"') == "precondition_failed"


def test_times_are_utc_with_z(core: Core, clock: FakeClock) -> None:
    clock.advance(timedelta(microseconds=123))
    core.call("certificates.create", body={"common_name": "a.test"})

    row = json.loads(send(core, "certificates.list").body)["data"][0]

    assert row["created_at"] == "2026-01-15T12:00:00.000123Z"
