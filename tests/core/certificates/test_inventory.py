"""Create, read, change, archive and list managed certificates (01 §2.1, §3.1)."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from certctl_core.api import Answer, HTTPRequest
from certctl_core.app import Core
from certctl_core.kernel.actors import SYSTEM
from certctl_core.kernel.errors import CertctlError
from certctl_core.lifecycle.certificates import CertificateView, Status
from certctl_core.testing.factories import issue, make_csr
from certctl_core.testing.fakes import FakeClock
from tests.core.certificates.support import active, assert_counters_hold, create, get

ONE_ENGINE = pytest.mark.parametrize("database_engine", ["sqlite"])


def http(core: Core, name: str, **members: object) -> Answer:
    request = HTTPRequest(actor=SYSTEM, **members)  # type: ignore[arg-type] # one helper for all
    return core.dispatcher.http(core.table[name], request)


def patch(core: Core, certificate_id: str, **body: object) -> CertificateView:
    path = {"certificate_id": certificate_id}
    view: CertificateView = core.call("certificates.update", path=path, body=body)
    return view


def names(core: Core, **query: object) -> list[str]:
    return [row.name for row in core.call("certificates.list", query=query).data]


class TestCreate:
    def test_defaults_and_audit(self, core: Core, clock: FakeClock) -> None:
        view = core.call("certificates.create", body={"common_name": "web.example.test"})

        assert view.id.startswith("mc-")
        assert (view.name, view.status, view.version) == ("web.example.test", Status.PENDING, 1)
        assert (view.issuer_id, view.source, view.created_at) == ("iss-local", "API", clock.now())
        assert (view.expires_at, view.next_renewal_at, view.issued) == (None, None, None)
        assert get(core, view.id).model_dump() == view.model_dump(exclude={"issued"})
        assert "certificate.created" in [item.action for item in core.call("audit.list").data]
        assert_counters_hold(core)

    def test_names_and_ids_are_unique(self, core: Core) -> None:
        create(core, "web.example.test", id="mc-chosen")

        for body in (
            {"common_name": "x.test", "name": "web.example.test"},
            {"common_name": "x.test", "id": "mc-chosen"},
        ):
            with pytest.raises(CertctlError) as caught:
                core.call("certificates.create", body=body)
            assert caught.value.code == "certificate_name_taken"
        twin = core.call("certificates.create", body={"common_name": "web.example.test"})
        assert twin.name.startswith("web.example.test-")
        assert core.call("certificates.list").total == 2
        assert_counters_hold(core)

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({}, "common_name_missing"),
            ({"common_name": ""}, "validation_error"),
            ({"common_name": "a..b"}, "bad_name"),
            ({"common_name": "ok.test", "sans": ["-x-.test"]}, "bad_name"),
            ({"common_name": "ok.test", "sans": ["\u202eevil.test"]}, "bad_name"),
            ({"common_name": "ok.test", "id": "../x"}, "validation_error"),
            ({"common_name": "ok.test", "issuer_id": "iss-none"}, "issuer_not_found"),
            ({"common_name": "ok.test", "certificate_profile_id": "prof-x"}, "profile_not_found"),
            ({"common_name": "ok.test", "renewal_policy_id": "rp-x"}, "renewal_policy_not_found"),
            ({"common_name": "ok.test", "status": "Active"}, "validation_error"),
            ({"common_name": "ok.test", "tags": {"": "x"}}, "validation_error"),
            ({"common_name": "ok.test", "sans": ["x.test"] * 101}, "validation_error"),
        ],
    )
    @ONE_ENGINE
    def test_what_is_refused(self, core: Core, body: dict[str, object], code: str) -> None:
        with pytest.raises(CertctlError) as caught:
            core.call("certificates.create", body=body)

        assert caught.value.code == code
        assert core.call("certificates.list").total == 0
        assert_counters_hold(core)

    def test_many_at_once_with_one_name(self, core: Core) -> None:
        codes: list[str] = []

        def attempt() -> None:
            try:
                create(core, "same.example.test")
                codes.append("")
            except CertctlError as error:
                codes.append(error.code)

        threads = [threading.Thread(target=attempt) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(codes) == ["", *["certificate_name_taken"] * 5]
        assert_counters_hold(core)


class TestChange:
    @pytest.mark.spec("01/API-14")
    def test_if_match(self, core: Core) -> None:
        view = create(core, "web.example.test")
        path = {"certificate_id": view.id}

        first = http(
            core, "certificates.update", path=path, body=b'{"environment":"a"}', if_match='"v1"'
        )
        assert dict(first.headers)["ETag"] == '"v2"'
        with pytest.raises(CertctlError) as caught:
            http(
                core, "certificates.update", path=path, body=b'{"environment":"b"}', if_match='"v1"'
            )
        assert caught.value.code == "precondition_failed"
        assert get(core, view.id).environment == "a"
        http(core, "certificates.update", path=path, body=b'{"environment":"c"}', if_match="*")
        assert (get(core, view.id).environment, get(core, view.id).version) == ("c", 3)
        read = http(core, "certificates.get", path=path, if_none_match='W/"v3"')
        assert (read.status, read.body) == (304, b"")

    def test_patch_changes_what_was_sent_and_null_clears(self, core: Core) -> None:
        policy = core.call("renewal_policies.create", body={"name": "Weekly"})
        view = create(
            core, "web.example.test", sans=["a.test"], environment="prod", tags={"k": "v"},
            renewal_policy_id=policy.id,
        )  # fmt: skip

        kept = patch(core, view.id, environment="test")
        assert (kept.sans, kept.tags, kept.renewal_policy_id) == (["a.test"], {"k": "v"}, policy.id)
        cleared = patch(core, view.id, sans=None, tags=None, renewal_policy_id=None, name=None)
        assert (cleared.sans, cleared.tags, cleared.renewal_policy_id) == ([], {}, None)
        assert (cleared.name, cleared.environment) == ("web.example.test", "test")
        with pytest.raises(CertctlError) as caught:
            patch(core, view.id, common_name=None)
        assert caught.value.code == "validation_error"
        assert [item.field for item in caught.value.fields] == ["common_name"]
        events = core.call("audit.list", query={"action": "certificate.updated"}).data
        changes = [event.details["changes"] for event in events]
        assert len(changes) == 2
        assert {"environment": ["prod", "test"]} in changes

    def test_put_replaces_everything(self, core: Core) -> None:
        view = create(core, "web.example.test", environment="prod", tags={"k": "v"})

        after = core.call(
            "certificates.replace",
            path={"certificate_id": view.id},
            body={"common_name": "new.example.test"},
        )

        assert (after.common_name, after.environment, after.tags) == ("new.example.test", "", {})
        assert after.name == "web.example.test"

    def test_names_collide(self, core: Core) -> None:
        create(core, "one.example.test")
        two = create(core, "two.example.test")

        with pytest.raises(CertctlError) as caught:
            patch(core, two.id, name="one.example.test")

        assert caught.value.code == "certificate_name_taken"
        assert get(core, two.id).name == "two.example.test"

    def test_writers_without_if_match_all_get_through(self, core: Core) -> None:
        view = create(core, "web.example.test")
        errors: list[BaseException] = []

        def write(number: int) -> None:
            try:
                patch(core, view.id, environment=f"e{number}")
            except CertctlError as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert errors == []
        assert get(core, view.id).version == 7

    def test_a_new_policy_plans_anew(self, core: Core) -> None:
        view = active(core, "web.example.test")
        policy = core.call(
            "renewal_policies.create",
            body={"name": "Late", "renewal_window_days": 5, "renew_at_percent": 50},
        )

        after = patch(core, view.id, renewal_policy_id=policy.id)

        assert view.next_renewal_at is not None
        assert after.next_renewal_at is not None
        assert after.next_renewal_at > view.next_renewal_at
        assert patch(core, view.id, managed_renewal=False).next_renewal_at is None
        assert patch(core, view.id, managed_renewal=True).next_renewal_at == after.next_renewal_at

    @ONE_ENGINE
    def test_a_disabled_issuer_stops_what_is_new_only(self, core: Core) -> None:
        view = create(core, "web.example.test")
        core.call("issuers.disable", path={"issuer_id": "iss-local"})

        assert patch(core, view.id, environment="prod").environment == "prod"
        for act in (
            lambda: create(core, "new.example.test"),
            lambda: issue(core, "new.example.test"),
            lambda: core.call(
                "certificates.renew",
                path={"certificate_id": view.id},
                body={"csr_pem": make_csr("web.example.test")},
            ),
        ):
            with pytest.raises(CertctlError, match="disabled"):
                act()

    def test_archived_ones_do_not_change(self, core: Core) -> None:
        view = create(core, "web.example.test")
        path = {"certificate_id": view.id}
        core.call("certificates.archive", path=path)

        for act in (
            lambda: patch(core, view.id, environment="x"),
            lambda: core.call("certificates.archive", path=path),
            lambda: core.call("certificates.renew", path=path, body={"csr_pem": make_csr("x.y")}),
        ):
            with pytest.raises(CertctlError) as caught:
                act()
            assert caught.value.code == "wrong_state"
        assert names(core) == []
        assert names(core, include_archived=True) == ["web.example.test"]
        assert names(core, status="Archived") == ["web.example.test"]
        assert_counters_hold(core)


class TestList:
    @pytest.fixture
    def some(self, core: Core, clock: FakeClock) -> None:
        profile = core.call("profiles.create", body={"name": "P", "id": "prof-p"})
        start = clock.now()
        create(core, "pending.example.test", environment="prod", tags={"team": "a", "x.y": "z"})
        clock.set(start + timedelta(hours=1))
        active(core, "ninety.example.test", sans=["alt.example.test"])
        clock.set(start + timedelta(hours=2))
        active(
            core, "week.example.test", days=7, certificate_profile_id=profile.id,
            environment="test", tags={"team": "b"},
        )  # fmt: skip

    @pytest.mark.usefixtures("some")
    def test_filters(self, core: Core, clock: FakeClock) -> None:
        def found(**query: object) -> set[str]:
            return {name.partition(".")[0] for name in names(core, **query)}

        now = clock.now()
        every = {"pending", "ninety", "week"}
        assert found() == every
        assert found(status="Pending") == {"pending"}
        assert found(environment="prod") == {"pending"}
        assert found(issuer_id="iss-local") == every
        assert found(issuer_id="iss-none") == set()
        assert found(profile_id="prof-p") == {"week"}
        assert found(source="API") == every
        assert found(source="ACME") == set()
        assert found(expires_before=now + timedelta(days=30)) == {"week"}
        assert found(expires_after=now + timedelta(days=30)) == {"ninety"}
        assert found(created_after=now - timedelta(minutes=90)) == {"ninety", "week"}
        assert found(updated_after=now) == {"week"}
        assert found(tag="team=a") == {"pending"}
        assert found(tag="team=none") == set()
        assert found(tag="x.y=z") == {"pending"}
        assert found(tag='a"b=z') == set()
        assert found(tag="team:a") == found(tag="x.y:z") == {"pending"}
        assert found(tag="team:a=b") == set()
        with pytest.raises(CertctlError) as caught:
            found(tag="team")
        assert [item.field for item in caught.value.fields] == ["tag"]
        assert found(status="Active", environment="test") == {"week"}

    @pytest.mark.usefixtures("some")
    def test_search_finds_names_serial_and_fingerprint(self, core: Core) -> None:
        page = core.call("certificates.list", query={"q": "ninety"})
        certificate_id = page.data[0].id
        path = {"certificate_id": certificate_id}
        version = core.call("certificates.versions", path=path).data[0]
        marks = (version.serial_number, version.serial_number[4:12].upper())

        for text in (*marks, version.fingerprint_sha256, "ALT.example", "ninety"):
            assert names(core, q=text) == ["ninety.example.test"], text
        assert names(core, q="%") == names(core, q="_") == []
        patch(core, certificate_id, sans=["other.example.test"])
        assert names(core, q="alt.example") == []
        for text in (*marks, version.fingerprint_sha256, "other"):
            assert names(core, q=text) == ["ninety.example.test"], text

    @pytest.mark.usefixtures("some")
    @pytest.mark.parametrize(
        ("sort", "order"),
        [
            (None, "wnp"),
            ("created_at", "pnw"),
            ("-createdAt", "wnp"),
            ("name", "npw"),
            ("-common_name", "wpn"),
            ("status", "nwp"),
            ("expires_at", "wn"),
            ("-notAfter", "nw"),
            ("environment", "npw"),
        ],
    )
    @ONE_ENGINE
    def test_sorts(self, core: Core, sort: str | None, order: str) -> None:
        query = {"sort": sort} if sort else {}
        wanted = list(order)
        if sort == "status":  # two are equal: the id decides
            wanted = [name[0] for name in sorted(names(core, status="Active"))] + ["p"]
            assert sorted(item[0] for item in names(core, **query)[:2]) == ["n", "w"]
            return
        assert [name[0] for name in names(core, **query)] == wanted

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ({"sort": "search_text"}, "bad_sort"),
            ({"sort": "-"}, "bad_sort"),
            ({"colour": "red"}, "validation_error"),
            ({"status": "Nice"}, "validation_error"),
            ({"per_page": 501}, "validation_error"),
            ({"per_page": 0}, "validation_error"),
            ({"page": -1}, "validation_error"),
            ({"page_size": 501}, "validation_error"),
            ({"page": 21, "per_page": 500}, "page_too_deep"),
            ({"expires_before": "2026-01-01"}, "validation_error"),
            ({"cursor": "nonsense"}, "bad_cursor"),
        ],
    )
    @ONE_ENGINE
    def test_bad_queries(self, core: Core, query: dict[str, object], code: str) -> None:
        with pytest.raises(CertctlError) as caught:
            core.call("certificates.list", query=query)

        assert caught.value.code == code


@pytest.mark.spec("01/API-10")
def test_a_walk_under_inserts_sees_everything_once(core: Core, clock: FakeClock) -> None:
    expected = {create(core, f"w{number:03}.example.test").id for number in range(240)}
    seen: list[str] = []
    query: dict[str, object] = {"page_size": 37, "sort": "-created_at"}
    page = core.call("certificates.list", query=query)
    number = 0
    while True:
        seen += [row.id for row in page.data]
        number += 1
        clock.advance(timedelta(seconds=1))
        create(core, f"late{number}.example.test")
        if page.next_cursor is None:
            break
        page = core.call("certificates.list", query={**query, "cursor": page.next_cursor})

    assert len(seen) == len(set(seen))
    assert set(seen) == expected
    assert number == 7


def test_export_and_details(core: Core) -> None:
    issued = issue(core, "web.example.test")
    path = {"certificate_id": issued.certificate.id}

    export = core.call("certificates.download", path=path)
    file = http(core, "certificates.download", path=path, query=[("download", "true")])
    details = core.call("certificates.details", path=path)

    assert export.cert_pem == issued.certificate_pem
    assert export.full_pem == export.cert_pem + export.chain_pem
    assert file.body.decode() == export.full_pem
    assert dict(file.headers)["Content-Disposition"].endswith('filename="web.example.test.pem"')
    assert details.version.id == issued.version.id
    assert details.details["serial"] == issued.version.serial_number
    assert "certificate.exported" in [item.action for item in core.call("audit.list").data]
    with pytest.raises(CertctlError, match="has no such version"):
        core.call("certificates.download", path=path, query={"version_id": "cv-none"})
